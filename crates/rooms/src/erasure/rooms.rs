//! What a person who is erased leaves in a room.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt as _;
use ruma::OwnedServerName;
use tokio::time::sleep;
use wardroom_holds::Verdict;
use wardroom_store::{Batch, Json, Scan};

use super::{ERASURES, ErasedMessages, Erasure, HeldItem};
use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::{Place, RoomNid, UserNid},
    receipts::{RECEIPT_CHANGES, RECEIPTS},
    retention::{Cause, PAUSE, PERISHABLE, Perishable},
    room::Room,
    thread_subscriptions::SUBSCRIPTIONS,
};

/// Events that are looked at, and pruned, in one commit.
const EVENTS_AT_ONCE: usize = 200;

/// What other servers have of a room.
#[derive(Debug, Default)]
struct Elsewhere {
    /// Up to where they took what was sent to them; none for those that only are in the room.
    servers: BTreeMap<OwnedServerName, Option<Place>>,
}

impl Rooms {
    /// Erases what a person left in a room.
    pub(super) async fn erase_in(&self, room: RoomNid, nid: UserNid, row: &mut Erasure) -> Result<(), RoomError> {
        let room = self.engine.room(room).await?;
        let elsewhere = self.elsewhere(&room, row).await?;
        let mut held = BTreeMap::new();
        let mut scan = Scan::prefix(&room.nid).limit(EVENTS_AT_ONCE);
        loop {
            let rows = self.engine.store.latest().scan(&PERISHABLE, scan).await?;
            let Some((last, _)) = rows.last().copied() else { break };
            scan = Scan::prefix(&room.nid).after(&last).limit(EVENTS_AT_ONCE);
            let rows: Vec<Perishable> = rows
                .into_iter()
                .map(|((_, born_ms, event), received_ms)| Perishable { born_ms, event, received_ms })
                .collect();
            let found = self.sent_by(&room, row, rows).await?;
            if found.is_empty() {
                continue;
            }
            if row.found_in != Some(room.nid) {
                row.found_in = Some(room.nid);
                for server in elsewhere.servers.keys() {
                    row.servers.entry(server.clone()).or_default().rooms += 1;
                }
            }
            self.note_copies(&room, &elsewhere, &found, row).await?;
            if row.messages == ErasedMessages::Prune {
                self.prune_sent(&room, found, (nid, row), &mut held).await?;
            }
        }
        let room_id = room.view().id.clone();
        row.held.retain(|item| item.room_id.as_ref() != Some(&room_id));
        row.held.extend(held.into_iter().map(|(hold, count)| HeldItem {
            kind: "events".to_owned(),
            room_id: Some(room_id.clone()),
            count,
            hold,
        }));
        self.erase_traces(room.nid, nid, row).await
    }

    /// Which other servers have something of the room.
    async fn elsewhere(&self, room: &Room, row: &Erasure) -> Result<Elsewhere, RoomError> {
        let mut servers: BTreeMap<OwnedServerName, Option<Place>> = BTreeMap::new();
        if row.user_id.server_name() != self.engine.server_name {
            // The person's own server knows.
            return Ok(Elsewhere { servers });
        }
        let present = self.servers(room.nid).await?;
        servers
            .extend(present.iter().filter(|name| **name != self.engine.server_name).map(|name| (name.clone(), None)));
        if let Some(memory) = self.engine.erasing.memory.get() {
            servers.extend(memory.sent(room.nid).await?.into_iter().map(|(server, place)| (server, Some(place))));
        }
        Ok(Elsewhere { servers })
    }

    /// Those of these events that the person sent.
    async fn sent_by(
        &self,
        room: &Room,
        row: &Erasure,
        rows: Vec<Perishable>,
    ) -> Result<Vec<(Perishable, Arc<Stored>)>, RoomError> {
        let numbers: Vec<_> = rows.iter().map(|row| row.event).collect();
        let events = self.engine.events(room.nid, &numbers).await?;
        let with_events = rows.into_iter().zip(events).filter_map(|(row, event)| Some((row, event?)));
        Ok(with_events.filter(|(_, event)| event.pdu.sender() == row.user_id && !event.pruned).collect())
    }

    /// Notes the newest of these events that each other server took.
    async fn note_copies(
        &self,
        room: &Room,
        elsewhere: &Elsewhere,
        found: &[(Perishable, Arc<Stored>)],
        row: &mut Erasure,
    ) -> Result<(), RoomError> {
        for (_, event) in found {
            let Some((_, place)) = self.engine.any_meta(event.nid).await? else { continue };
            let ts_ms = event.pdu.origin_server_ts();
            for (server, sent) in &elsewhere.servers {
                let copies = row.servers.entry(server.clone()).or_default();
                let newer = copies.last_event_ts.is_none_or(|last_ms| last_ms <= ts_ms);
                if newer && sent.is_some_and(|sent| place <= sent) {
                    copies.last_room_id = Some(room.view().id.clone());
                    copies.last_event_id = Some(event.pdu.event_id().to_owned());
                    copies.last_event_ts = Some(ts_ms);
                }
            }
        }
        Ok(())
    }

    async fn prune_sent(
        &self,
        room: &Arc<Room>,
        found: Vec<(Perishable, Arc<Stored>)>,
        (nid, row): (UserNid, &mut Erasure),
        held: &mut BTreeMap<String, u64>,
    ) -> Result<(), RoomError> {
        let (now_ms, user, view) = (self.engine.clock.now_ms(), row.user_id.clone(), room.view());
        let guard = self.nothing_changes().await;
        let mut due: Vec<Perishable> = Vec::with_capacity(found.len());
        for (row, event) in found {
            match guard.event(&view.id, &user, event.received_ms, event.pdu.origin_server_ts()) {
                Verdict::Free => due.push(row),
                Verdict::Held(hold) => *held.entry(hold.to_string()).or_default() += 1,
            }
        }
        let (cause, mut dealt) = (Cause::Erasure(user), 0);
        while let Some(rest) = due.get(dealt..).filter(|rest| !rest.is_empty()) {
            let (rest, cause, guard) = (rest.to_vec(), cause.clone(), Arc::clone(&guard));
            let mut counted = row.clone();
            // Counted with the deed: a crash leaves none uncounted, nor who else has them.
            let (counted, pruned) = self
                .patiently(room, move |writer| {
                    async move {
                        let pruned = writer.prune(rest, now_ms, &cause, guard).await?;
                        *counted.removed.entry("events".to_owned()).or_default() += pruned.events;
                        writer.batch.put(&ERASURES, &nid, &Json(counted.clone()));
                        Ok((counted, pruned.dealt))
                    }
                    .boxed()
                })
                .await?;
            (*row, dealt) = (counted, dealt + pruned);
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What is not an event: how far they have read, and which threads they follow.
    async fn erase_traces(&self, room: RoomNid, nid: UserNid, row: &mut Erasure) -> Result<(), RoomError> {
        self.stop_typing(nid, room).await?;
        let store = self.engine.store.latest();
        let mut batch = Batch::default();
        let receipts = store.scan_versioned(&RECEIPTS, Scan::prefix(&(room, nid))).await?;
        for (key, _, written) in &receipts {
            let (room, user, kind, thread) = *key;
            batch.delete(&RECEIPTS, key);
            batch.delete(&RECEIPT_CHANGES, &(room, *written, user, kind, thread));
        }
        let threads = store.scan_keys(&SUBSCRIPTIONS, Scan::prefix(&(nid, room))).await?;
        threads.iter().for_each(|key| batch.delete(&SUBSCRIPTIONS, key));
        *row.removed.entry("receipts".to_owned()).or_default() += receipts.len() as u64;
        if !batch.is_empty() {
            batch.put(&ERASURES, &nid, &Json(row.clone()));
            self.engine.store.commit(batch).await?;
        }
        Ok(())
    }
}
