//! Since when members of rooms do not meet the room's policy any more.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use ruma::{OwnedUserId, UserId};
use wardroom_rooms::{NS_USER, RoomNid, UserNid};
use wardroom_store::{Batch, Packed, Scan, Store};

use crate::{CareError, tables::LOSSES};

/// Rows read at once.
const ROWS_PER_READ: usize = 1_000;

/// Who does not meet the policy of a room they are in, and since when, where something depends on it. Clones share
/// everything.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    store: Store,
    known: Arc<RwLock<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// In milliseconds since 1970.
    since: HashMap<(RoomNid, OwnedUserId), u64>,
    /// When times of grace end.
    ends: BTreeSet<(u64, RoomNid, OwnedUserId)>,
}

/// That somebody does not meet a policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    /// Since when that is known.
    pub(crate) since_ms: u64,
    /// It was not known before.
    pub(crate) is_new: bool,
}

impl Losses {
    /// Reads them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(store: Store) -> Result<Self, CareError> {
        let (mut known, mut scan) = (Known::default(), Scan::all());
        loop {
            let rows = store.latest().scan(&LOSSES, scan.limit(ROWS_PER_READ)).await?;
            let nids: Vec<u64> = rows.iter().map(|((_, user), _)| user.get()).collect();
            let names = store.interner().resolve_many(NS_USER, &nids).await?;
            for (name, ((room, _), Packed(since_ms))) in names.into_iter().zip(&rows) {
                if let Some(user) = name.and_then(|name| OwnedUserId::try_from(&*name).ok()) {
                    known.since.insert((*room, user), *since_ms);
                }
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => scan = Scan::all().after(last),
                _ => break,
            }
        }
        Ok(Self { store, known: Arc::new(RwLock::new(known)) })
    }

    /// Those whose time of grace is over by now. Each is told once.
    pub(crate) fn over(&self, now_ms: u64) -> Vec<(RoomNid, OwnedUserId)> {
        let mut over = Vec::new();
        let mut known = self.known.write();
        while known.ends.first().is_some_and(|(at_ms, ..)| *at_ms <= now_ms) {
            over.extend(known.ends.pop_first().map(|(_, room, user)| (room, user)));
        }
        over
    }

    /// When the next time of grace ends, in milliseconds since 1970.
    pub(crate) fn next_end_ms(&self) -> Option<u64> {
        self.known.read().ends.first().map(|(at_ms, ..)| *at_ms)
    }

    /// Whether somebody who does not meet a policy may still stay for a while: from the moment at which that is noticed.
    pub(crate) fn is_in_grace(&self, room: RoomNid, user: &UserId, grace_ms: u64, now_ms: u64) -> bool {
        let since_ms = || self.known.read().since.get(&(room, user.to_owned())).copied().unwrap_or(now_ms);
        grace_ms > 0 && now_ms < since_ms().saturating_add(grace_ms)
    }

    /// Since when somebody does not meet a room's policy: since now, where that was not known.
    pub(crate) async fn note(
        &self,
        room: RoomNid,
        user: (UserNid, &UserId),
        (now_ms, grace_ms): (u64, u64),
    ) -> Result<Noted, CareError> {
        let key = (room, user.1.to_owned());
        let noted_ms = self.known.read().since.get(&key).copied();
        let since_ms = noted_ms.unwrap_or(now_ms);
        if noted_ms.is_none() {
            let mut batch = Batch::default();
            batch.put(&LOSSES, &(room, user.0), &Packed(now_ms));
            self.store.commit(batch).await?;
        }
        let mut known = self.known.write();
        known.since.insert(key, since_ms);
        let end_ms = since_ms.saturating_add(grace_ms);
        if end_ms > now_ms {
            known.ends.insert((end_ms, room, user.1.to_owned()));
        }
        Ok(Noted { since_ms, is_new: noted_ms.is_none() })
    }

    /// Somebody meets a room's policy again, or is not there any more.
    pub(crate) async fn clear(&self, room: RoomNid, user: (UserNid, &UserId)) -> Result<(), CareError> {
        if self.known.read().since.is_empty() {
            // As nearly always: no name has to be copied to look it up.
            return Ok(());
        }
        let key = (room, user.1.to_owned());
        if !self.known.read().since.contains_key(&key) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete(&LOSSES, &(room, user.0));
        self.store.commit(batch).await?;
        self.known.write().since.remove(&key);
        Ok(())
    }
}
