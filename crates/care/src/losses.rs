//! Since when members of rooms do not meet the room's policy any more.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use ruma::{OwnedUserId, UserId};
use wardroom_rooms::{NS_USER, RoomNid, UserNid};
use wardroom_store::{Batch, Packed, Scan, Store};

use crate::{CareError, tables::LOSSES};

/// Rows read at once.
const ROWS_PER_READ: usize = 1_000;

type Since = HashMap<(RoomNid, OwnedUserId), u64>;

/// Who does not meet the policy of a room they are in, and since when. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    store: Store,
    since: Arc<RwLock<Since>>,
}

impl Losses {
    /// Reads them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(store: Store) -> Result<Self, CareError> {
        let (mut since, mut scan) = (Since::new(), Scan::all());
        loop {
            let rows = store.latest().scan(&LOSSES, scan.limit(ROWS_PER_READ)).await?;
            let nids: Vec<u64> = rows.iter().map(|((_, user), _)| user.get()).collect();
            let names = store.interner().resolve_many(NS_USER, &nids).await?;
            for (name, ((room, _), Packed(since_ms))) in names.into_iter().zip(&rows) {
                if let Some(user) = name.and_then(|name| OwnedUserId::try_from(&*name).ok()) {
                    since.insert((*room, user), *since_ms);
                }
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => scan = Scan::all().after(last),
                _ => break,
            }
        }
        Ok(Self { store, since: Arc::new(RwLock::new(since)) })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(RoomNid, OwnedUserId)> {
        self.since.read().keys().cloned().collect()
    }

    /// Whether somebody who does not meet a policy may still stay for a while: from the moment at which that is noticed.
    pub(crate) fn is_in_grace(&self, room: RoomNid, user: &UserId, grace_ms: u64, now_ms: u64) -> bool {
        let since_ms = || self.since.read().get(&(room, user.to_owned())).copied().unwrap_or(now_ms);
        grace_ms > 0 && now_ms < since_ms().saturating_add(grace_ms)
    }

    /// Since when somebody does not meet a room's policy: since now, where that was not known.
    pub(crate) async fn note(&self, room: RoomNid, user: (UserNid, &UserId), now_ms: u64) -> Result<u64, CareError> {
        let key = (room, user.1.to_owned());
        if let Some(since_ms) = self.since.read().get(&key) {
            return Ok(*since_ms);
        }
        let mut batch = Batch::default();
        batch.put(&LOSSES, &(room, user.0), &Packed(now_ms));
        self.store.commit(batch).await?;
        self.since.write().insert(key, now_ms);
        Ok(now_ms)
    }

    /// Somebody meets a room's policy again, or is not there any more.
    pub(crate) async fn clear(&self, room: RoomNid, user: (UserNid, &UserId)) -> Result<(), CareError> {
        let key = (room, user.1.to_owned());
        if !self.since.read().contains_key(&key) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete(&LOSSES, &(room, user.0));
        self.store.commit(batch).await?;
        self.since.write().remove(&key);
        Ok(())
    }
}
