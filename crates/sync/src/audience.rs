//! Who is woken by changes of somebody's devices.

use std::pin::Pin;

use wardroom_accounts::{Audience, UserNid as AccountNid};
use wardroom_rooms::{Membership, Rooms, UserNid};
use wardroom_store::WatchKey;

/// Those who share a room.
#[derive(Clone, Debug)]
pub(crate) struct Roommates(pub(crate) Rooms);

impl Audience for Roommates {
    fn of(&self, user: AccountNid) -> Pin<Box<dyn Future<Output = Vec<WatchKey>> + Send + '_>> {
        Box::pin(async move {
            // Where the rooms cannot be read nobody is woken, and everybody hears of it with their next sync.
            let memberships = self.0.memberships(UserNid::new(user.get())).await.unwrap_or_default();
            let joined = memberships.iter().filter(|entry| entry.membership == Membership::Join);
            joined.map(|entry| entry.room.watch()).collect()
        })
    }
}
