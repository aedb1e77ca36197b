//! The emergencies that go on, in memory: what the gate decides by.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use ruma::{OwnedUserId, UserId};
use tokio::sync::Notify;
use wardroom_rooms::{NS_USER, RoomNid, UserNid};
use wardroom_store::{Json, Scan, Store};

use super::tables::{EmergencyRow, GOING_ON, RECORDS};
use crate::CareError;

/// Rows read at once.
const ROWS_PER_READ: usize = 1_000;

/// How far an emergency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is recorded; the user may not be in the room yet.
    Begun,
    /// The user was let in; not everybody may have been told.
    Entered,
    /// Everybody was told.
    Told,
    /// It ended; the user may not be out yet.
    Ended,
}

/// An emergency that goes on, or of which not all is undone yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) id: u64,
    pub(crate) nid: UserNid,
    pub(crate) until_ms: u64,
    pub(crate) brought_in: bool,
    pub(crate) stage: Stage,
    /// Somebody works on it now.
    pub(crate) busy: bool,
    /// Nobody works on it before, since that failed.
    pub(crate) not_before_ms: u64,
}

impl Grant {
    pub(crate) fn of(id: u64, row: &EmergencyRow) -> Self {
        let stage = match row {
            EmergencyRow { end: Some(_), .. } => Stage::Ended,
            EmergencyRow { told: true, .. } => Stage::Told,
            EmergencyRow { entered: true, .. } => Stage::Entered,
            _ => Stage::Begun,
        };
        let (nid, until_ms, brought_in) = (row.user, row.until_ms, row.brought_in);
        Self { id, nid, until_ms, brought_in, stage, busy: false, not_before_ms: 0 }
    }
}

/// What an emergency means for somebody in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Nothing: there is none.
    None,
    /// They may be there.
    Open,
    /// They may not be there any more, and are about to be put out.
    Over,
}

type ByRoom = HashMap<RoomNid, HashMap<OwnedUserId, Grant>>;

/// The emergencies that go on. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Grants {
    by_room: Arc<RwLock<ByRoom>>,
    next_id: Arc<AtomicU64>,
    /// Something is to be done about one of them.
    changed: Arc<Notify>,
    /// Somebody has stopped working on one of them.
    released: Arc<Notify>,
}

impl Grants {
    /// Reads them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(store: &Store) -> Result<Self, CareError> {
        let (mut by_room, mut scan, view) = (ByRoom::new(), Scan::all(), store.latest());
        loop {
            let rows = view.scan(&GOING_ON, scan.limit(ROWS_PER_READ)).await?;
            let nids: Vec<u64> = rows.iter().map(|((_, user), _)| user.get()).collect();
            let names = store.interner().resolve_many(NS_USER, &nids).await?;
            for (name, ((room, _), id)) in names.into_iter().zip(&rows) {
                let user = name.and_then(|name| OwnedUserId::try_from(&*name).ok());
                if let (Some(user), Some(Json(row))) = (user, view.get(&RECORDS, id).await?) {
                    by_room.entry(*room).or_default().insert(user, Grant::of(*id, &row));
                }
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => scan = Scan::all().after(last),
                _ => break,
            }
        }
        let newest = view.scan_keys(&RECORDS, Scan::all().reverse().limit(1)).await?.pop();
        let next_id = Arc::new(AtomicU64::new(newest.map_or(1, |newest| newest.saturating_add(1))));
        Ok(Self { by_room: Arc::new(RwLock::new(by_room)), next_id, changed: Arc::default(), released: Arc::default() })
    }

    /// A number for a new one.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// What goes on of a user in a room.
    pub(crate) fn get(&self, room: RoomNid, user: &UserId) -> Option<Grant> {
        self.by_room.read().get(&room)?.get(user).cloned()
    }

    /// Numbers of what goes on of a user.
    pub(crate) fn of_user(&self, user: &UserId) -> Vec<u64> {
        let by_room = self.by_room.read();
        let mut ids: Vec<u64> = by_room.values().filter_map(|users| users.get(user)).map(|grant| grant.id).collect();
        ids.sort_unstable();
        ids
    }

    /// What that means now, where the room's policy and what is known of the user still allow emergencies, or not.
    pub(crate) fn pass(&self, room: RoomNid, user: &UserId, now_ms: u64, allowed: bool) -> Pass {
        let by_room = self.by_room.read();
        let Some(grant) = by_room.get(&room).and_then(|users| users.get(user)) else { return Pass::None };
        if allowed && grant.stage != Stage::Ended && now_ms < grant.until_ms {
            return Pass::Open;
        }
        if grant.brought_in { Pass::Over } else { Pass::None }
    }

    /// Enters one, or replaces it.
    pub(crate) fn put(&self, room: RoomNid, user: OwnedUserId, grant: Grant) {
        self.by_room.write().entry(room).or_default().insert(user, grant);
    }

    /// Nothing of it is left to do.
    pub(crate) fn remove(&self, room: RoomNid, user: &UserId, id: u64) {
        let mut by_room = self.by_room.write();
        let Some(users) = by_room.get_mut(&room) else { return };
        if users.get(user).is_some_and(|grant| grant.id == id) {
            users.remove(user);
        }
        if users.is_empty() {
            by_room.remove(&room);
        }
    }

    /// Changes one, where it is still there.
    pub(crate) fn change(&self, room: RoomNid, user: &UserId, id: u64, change: impl FnOnce(&mut Grant)) {
        let mut by_room = self.by_room.write();
        let grant = by_room.get_mut(&room).and_then(|users| users.get_mut(user)).filter(|grant| grant.id == id);
        if let Some(grant) = grant {
            change(grant);
        }
    }

    /// Those on which nobody works.
    pub(crate) fn idle(&self) -> Vec<(RoomNid, OwnedUserId, Grant)> {
        let by_room = self.by_room.read();
        let all = by_room.iter().flat_map(|(room, users)| users.iter().map(|(user, grant)| (*room, user, grant)));
        all.filter(|(_, _, grant)| !grant.busy).map(|(room, user, grant)| (room, user.clone(), grant.clone())).collect()
    }

    /// Keeps others from working on one until the answer is dropped; none where somebody works on it already.
    pub(crate) fn work_on(&self, room: RoomNid, user: &UserId, id: u64) -> Option<Working> {
        let mut free = false;
        self.change(room, user, id, |grant| free = !std::mem::replace(&mut grant.busy, true));
        free.then(|| Working { grants: self.clone(), room, user: user.to_owned(), id })
    }

    /// Resolves when no emergency of a user in a room has ended without all of it being undone.
    pub(crate) async fn settled(&self, room: RoomNid, user: &UserId) {
        loop {
            // Before the look, so that nothing is missed.
            let released = self.released.notified();
            if self.get(room, user).is_none_or(|grant| grant.stage != Stage::Ended) {
                return;
            }
            released.await;
        }
    }

    /// Resolves when something is to be done.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Somebody works on an emergency. What is left when this is dropped is looked at by [`crate::Care::run_emergencies`].
#[derive(Debug)]
pub(crate) struct Working {
    grants: Grants,
    room: RoomNid,
    user: OwnedUserId,
    id: u64,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.grants.change(self.room, &self.user, self.id, |grant| grant.busy = false);
        self.grants.changed.notify_one();
        self.grants.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use ruma::user_id;
    use wardroom_rooms::{RoomNid, UserNid};
    use wardroom_store::{Catalogue, Store};

    use super::{Grant, Grants, Pass, Stage};
    use crate::TABLES;

    #[tokio::test]
    async fn an_emergency_lets_pass_until_its_time_is_over_and_nobody_else() {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let grants = Grants::load(&store).await.unwrap();
        let (room, user) = (RoomNid::new(1), user_id!("@a:b.c"));
        let grant = |brought_in, stage| Grant {
            id: 7,
            nid: UserNid::new(2),
            until_ms: 1_000,
            brought_in,
            stage,
            busy: false,
            not_before_ms: 0,
        };
        assert_eq!(grants.pass(room, user, 0, true), Pass::None);
        for (brought_in, over) in [(true, Pass::Over), (false, Pass::None)] {
            for stage in [Stage::Begun, Stage::Entered, Stage::Told] {
                grants.put(room, user.to_owned(), grant(brought_in, stage));
                assert_eq!(grants.pass(room, user, 999, true), Pass::Open);
                assert_eq!(grants.pass(room, user, 1_000, true), over);
                assert_eq!(grants.pass(room, user, 999, false), over);
                assert_eq!(grants.pass(room, user_id!("@b:b.c"), 999, true), Pass::None);
                assert_eq!(grants.pass(RoomNid::new(2), user, 999, true), Pass::None);
            }
            grants.put(room, user.to_owned(), grant(brought_in, Stage::Ended));
            assert_eq!(grants.pass(room, user, 999, true), over);
        }
    }

    #[tokio::test]
    async fn one_works_on_an_emergency_at_a_time() {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let grants = Grants::load(&store).await.unwrap();
        let (room, user) = (RoomNid::new(1), user_id!("@a:b.c"));
        let grant = Grant {
            id: 7,
            nid: UserNid::new(2),
            until_ms: 1_000,
            brought_in: true,
            stage: Stage::Begun,
            busy: false,
            not_before_ms: 0,
        };
        grants.put(room, user.to_owned(), grant);
        let working = grants.work_on(room, user, 7).unwrap();
        assert!(grants.work_on(room, user, 7).is_none() && grants.idle().is_empty());
        drop(working);
        grants.changed().await;
        assert!(grants.work_on(room, user, 8).is_none() && grants.idle().len() == 1);
        grants.remove(room, user, 8);
        assert_eq!(grants.of_user(user), [7]);
        let working = grants.work_on(room, user, 7).unwrap();
        grants.change(room, user, 7, |grant| grant.stage = Stage::Ended);
        let mut settled = std::pin::pin!(grants.settled(room, user));
        assert!(settled.as_mut().now_or_never().is_none());
        grants.remove(room, user, 7);
        drop(working);
        settled.await;
        assert!(grants.get(room, user).is_none());
    }
}
