//! The rooms of a user, at hand as long as nothing of them changes.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use wardroom_rooms::{MembershipEntry, UserNid};
use wardroom_store::Position;

use crate::{Inner, SyncError};

/// Memberships kept in memory over all users, about 100 bytes each.
const ENTRIES_MAX: u64 = 100_000;
/// Mean memberships of a user, from which the cache sizes its tables.
const ENTRIES_MEAN: u64 = 25;
/// Attempts to read memberships that change at the same time. Each failure takes a new commit of one user's making.
const ATTEMPTS_MAX: u32 = 64;

/// What memberships a user had at one position, and has until the user's watch key is touched.
#[derive(Debug)]
pub(crate) struct Known {
    at: Position,
    pub(crate) entries: Vec<MembershipEntry>,
}

#[derive(Clone, Debug)]
struct ByEntries;

impl Weighter<UserNid, Arc<Known>> for ByEntries {
    fn weight(&self, _: &UserNid, known: &Arc<Known>) -> u64 {
        1 + u64::try_from(known.entries.len()).unwrap_or(u64::MAX / 2)
    }
}

/// Memberships by user.
#[derive(Debug)]
pub(crate) struct MembershipCache(Cache<UserNid, Arc<Known>, ByEntries>);

impl Default for MembershipCache {
    fn default() -> Self {
        let users = usize::try_from(ENTRIES_MAX / ENTRIES_MEAN).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(users, ENTRIES_MAX, ByEntries))
    }
}

impl Inner {
    /// The newest position, and a user's memberships as they were at it.
    ///
    /// The store's newest data may be ahead of the position: what it says is taken only where it is not, so that a
    /// change is told either by this sync or by the next one.
    pub(crate) async fn memberships(&self, user: UserNid) -> Result<(Position, Arc<Known>), SyncError> {
        for _ in 0..ATTEMPTS_MAX {
            let now = self.store.position();
            let known = match self.memberships.0.get(&user) {
                // Whatever was published until now has noted its touches.
                Some(known) if self.store.watches().last(user.watch()) <= known.at => known,
                _ => {
                    let known = Arc::new(Known { at: now, entries: self.rooms.memberships(user).await? });
                    self.memberships.0.insert(user, Arc::clone(&known));
                    known
                }
            };
            let newest = known.entries.iter().map(|entry| entry.place.position()).max().unwrap_or_default();
            if newest <= now {
                return Ok((now, known));
            }
            // It is committed and about to be published. The sender lives in the store, which lives here.
            let _ = self.store.published().wait_for(|published| *published >= newest).await;
        }
        Err(SyncError::Restless)
    }
}
