//! The task that erases a person, step by step. Each step may be done twice.

use std::{collections::HashSet, sync::Arc};

use wardroom_audit::{Act, Record};
use wardroom_holds::{HoldId, Verdict};
use wardroom_store::{Batch, Json, Scan};

use super::{ERASURES, ERASURES_MAX, Erasure, ErasureState, HeldItem, Memory, NotForgotten};
use crate::{
    Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
    tasks::{Task, Work},
};

impl From<NotForgotten> for RoomError {
    /// It is tried again.
    fn from(NotForgotten(why): NotForgotten) -> Self {
        Self::Storage(why)
    }
}

impl Rooms {
    pub(crate) async fn do_erasure(&self, task: &mut Task) -> Result<(), RoomError> {
        let Work::Erase { nid, .. } = task.work else {
            return Err(RoomError::inconsistent("a task of another kind"));
        };
        let Some(mut row) = self.erasure(nid).await? else { return Ok(()) };
        if row.state == ErasureState::Complete {
            return Ok(());
        }
        self.close_account(task, nid, &mut row).await?;
        let now_ms = self.engine.clock.now_ms();
        // Somebody may have put it off while the account was being closed.
        if let Some(newest) = self.erasure(nid).await? {
            row.deferred_until_ts = newest.deferred_until_ts;
            row.reason = newest.reason;
        }
        if row.deferred_until_ts.is_some_and(|until_ms| until_ms > now_ms) {
            return self.put_off(task, nid, row, ErasureState::Deferred).await;
        }
        // Asked again for each part; this is for what has no parts.
        if let Verdict::Held(hold) = self.nothing_changes().await.user(&row.user_id) {
            let item = HeldItem { kind: "user".to_owned(), room_id: None, count: 1, hold: hold.to_string() };
            row.held = vec![item];
            return self.put_off(task, nid, row, ErasureState::Held).await;
        }
        if row.state != ErasureState::Active {
            (row.state, row.last_room, row.rooms_done) = (ErasureState::Active, None, 0);
            row.found_in = None;
            row.deferred_until_ts = None;
            row.held.clear();
            self.note(task, nid, &row, Some("began")).await?;
        }
        self.hide(&row);
        self.forget_elsewhere(task, nid, &mut row).await?;
        self.erase_in_rooms(task, nid, &mut row).await?;
        self.tell_servers(task, nid, &mut row).await?;
        self.finish_erasure(task, nid, row).await
    }

    fn memory(&self) -> Option<Arc<dyn Memory>> {
        self.engine.erasing.memory.get().cloned()
    }

    /// Writes down how far it got, with the task, and in the audit trail where there is something to say.
    async fn note(&self, task: &mut Task, nid: UserNid, row: &Erasure, detail: Option<&str>) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        batch.put(&ERASURES, &nid, &Json(row.clone()));
        if let Some(detail) = detail {
            let count = row.removed.get("events").copied().unwrap_or_default();
            let record = Record::of(Act::AccountErase).user(row.user_id.as_str()).detail(detail).count(count);
            self.engine.audit.add(&mut batch, record);
        }
        self.save_task(task, batch).await
    }

    async fn close_account(&self, task: &mut Task, nid: UserNid, row: &mut Erasure) -> Result<(), RoomError> {
        if row.closed || row.user_id.server_name() != self.engine.server_name {
            return Ok(());
        }
        if let Some(memory) = self.memory() {
            memory.close(&row.user_id).await?;
        }
        self.leave_everything(&row.user_id, nid).await?;
        row.closed = true;
        self.note(task, nid, row, None).await
    }

    async fn put_off(
        &self,
        task: &mut Task,
        nid: UserNid,
        mut row: Erasure,
        state: ErasureState,
    ) -> Result<(), RoomError> {
        row.state = state;
        self.note(task, nid, &row, None).await
    }

    async fn forget_elsewhere(&self, task: &mut Task, nid: UserNid, row: &mut Erasure) -> Result<(), RoomError> {
        if row.last_room.is_some() {
            // Done before the first room.
            return Ok(());
        }
        if let Some(memory) = self.memory() {
            let forgotten = memory.forget(&row.user_id, nid).await?;
            for (kind, count) in forgotten.removed {
                *row.removed.entry(kind).or_default() += count;
            }
            row.held = forgotten.held;
        }
        let delayed = self.forget_delayed_of(nid).await?;
        *row.removed.entry("delayed_events".to_owned()).or_default() += delayed;
        self.note(task, nid, row, None).await
    }

    async fn erase_in_rooms(&self, task: &mut Task, nid: UserNid, row: &mut Erasure) -> Result<(), RoomError> {
        let rooms: Vec<RoomNid> = self.memberships(nid).await?.into_iter().map(|entry| entry.room).collect();
        row.rooms = rooms.len() as u64;
        let done = row.last_room;
        for room in rooms.into_iter().filter(|room| done.is_none_or(|last| *room > last)) {
            match self.erase_in(room, nid, row).await {
                // It is being destroyed.
                Ok(()) | Err(RoomError::NoSuchRoom) => {}
                Err(error) => return Err(error),
            }
            row.last_room = Some(room);
            row.rooms_done += 1;
            self.note(task, nid, row, None).await?;
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    async fn tell_servers(&self, task: &mut Task, nid: UserNid, row: &mut Erasure) -> Result<(), RoomError> {
        let untold = row.servers.iter().filter(|(_, copies)| copies.told_ts.is_none());
        let untold: Vec<_> = untold.map(|(server, _)| server.clone()).collect();
        let is_own = row.user_id.server_name() == self.engine.server_name;
        let Some(memory) = self.memory().filter(|_| is_own && !untold.is_empty()) else { return Ok(()) };
        let told: HashSet<_> = memory.tell(&row.user_id, untold).await?.into_iter().collect();
        let now_ms = self.engine.clock.now_ms();
        for (server, copies) in &mut row.servers {
            if told.contains(server) {
                copies.told_ts = Some(now_ms);
            }
        }
        self.note(task, nid, row, None).await
    }

    async fn finish_erasure(&self, task: &mut Task, nid: UserNid, mut row: Erasure) -> Result<(), RoomError> {
        if !row.held.is_empty() {
            (row.state, row.last_room) = (ErasureState::Held, None);
            return self.note(task, nid, &row, Some("held")).await;
        }
        if let Some(memory) = self.memory() {
            memory.destroy_key(&row.user_id, nid).await?;
        }
        (row.state, row.completed_ts) = (ErasureState::Complete, Some(self.engine.clock.now_ms()));
        self.note(task, nid, &row, Some("complete")).await?;
        self.engine.erasing.whole.write().remove(&row.user_id);
        Ok(())
    }

    /// Whether one of the holds because of which something stays is in force no more.
    async fn any_released(&self, row: &Erasure) -> bool {
        for item in &row.held {
            let Ok(id) = item.hold.parse::<HoldId>() else { return true };
            if self.engine.holds.get(id).await.is_ok_and(|hold| hold.released_ts.is_some()) {
                return true;
            }
        }
        false
    }

    /// Goes on with erasures that were put off or held, and with those whose task failed.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn resume_erasures(&self) -> Result<(), RoomError> {
        let now_ms = self.engine.clock.now_ms();
        let rows = self.engine.store.latest().scan(&ERASURES, Scan::all().limit(ERASURES_MAX)).await?;
        for (nid, Json(row)) in rows {
            let waits = row.deferred_until_ts.is_some_and(|until_ms| until_ms > now_ms);
            if row.state == ErasureState::Complete || waits {
                continue;
            }
            if row.state != ErasureState::Held || self.any_released(&row).await {
                self.begin_erasure(Batch::default(), &row.user_id, nid).await?;
            }
        }
        Ok(())
    }
}
