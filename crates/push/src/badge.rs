//! The number at an application's icon: how much a user has not read, over all rooms.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use wardroom_rooms::{Membership, MembershipEntry, Place, RoomNid, Rooms, UserNid};
use wardroom_store::{Position, Store};

use crate::{BadgeCounts, PushError, Unread, Whose, unread::hides};

/// Rooms of users with pushers of which counts are kept in memory, about 32 bytes each.
const ROOMS_KEPT_MAX: u64 = 1_000_000;
/// Mean rooms of a user, from which the cache sizes its tables.
const ROOMS_PER_USER_MEAN: u64 = 30;

/// What was counted of a user, as of a position.
#[derive(Debug)]
struct Known {
    at: Position,
    /// Room, since when the user is joined, and unread notifications there.
    rooms: Vec<(RoomNid, Place, u64)>,
    invites: u64,
}

#[derive(Clone, Debug)]
struct ByRooms;

impl Weighter<UserNid, Arc<Known>> for ByRooms {
    fn weight(&self, _: &UserNid, known: &Arc<Known>) -> u64 {
        u64::try_from(known.rooms.len()).unwrap_or(u64::MAX / 2).saturating_add(2)
    }
}

/// Counts over all rooms of a user, going on from what was counted before.
#[derive(Debug)]
pub(crate) struct Badges {
    store: Store,
    rooms: Rooms,
    unread: Unread,
    counts: BadgeCounts,
    known: Cache<UserNid, Arc<Known>, ByRooms>,
}

impl Badges {
    pub(crate) fn new(store: Store, unread: Unread, counts: BadgeCounts) -> Self {
        let entries = usize::try_from(ROOMS_KEPT_MAX / ROOMS_PER_USER_MEAN).unwrap_or(usize::MAX);
        let known = Cache::with_weighter(entries, ROOMS_KEPT_MAX, ByRooms);
        Self { store, rooms: unread.rooms().clone(), unread, counts, known }
    }

    /// How much a user has not read now. Rooms that nobody touched since the last count are not looked at.
    pub(crate) async fn count(&self, whose: Whose<'_>) -> Result<u64, PushError> {
        let at = self.store.position();
        let known = self.known.get(&whose.nid);
        let watches = self.store.watches();
        let same_rooms = known.as_ref().filter(|known| watches.last(whose.nid.watch()) <= known.at);
        let counted = match same_rooms {
            Some(known) => {
                let mut rooms = known.rooms.clone();
                for (room, joined, unread) in &mut rooms {
                    if watches.last(room.watch()) > known.at {
                        *unread = self.unread_in(whose, *room, *joined).await?;
                    }
                }
                Known { at, rooms, invites: known.invites }
            }
            None => self.count_all(whose, at).await?,
        };
        let unread = counted.rooms.iter().map(|(.., unread)| *unread);
        let unread = match self.counts {
            BadgeCounts::Rooms => unread.map(|unread| u64::from(unread > 0)).sum::<u64>(),
            BadgeCounts::Messages => unread.sum::<u64>(),
        };
        let total = unread.saturating_add(counted.invites);
        self.known.insert(whose.nid, Arc::new(counted));
        Ok(total)
    }

    async fn count_all(&self, whose: Whose<'_>, at: Position) -> Result<Known, PushError> {
        let (mut rooms, mut invites) = (Vec::new(), 0);
        let ignored = self.unread.ignored_by(whose).await?;
        for MembershipEntry { room, membership, place, event, .. } in self.rooms.memberships(whose.nid).await? {
            match membership {
                Membership::Join => rooms.push((room, place, self.unread_in(whose, room, place).await?)),
                Membership::Invite if ignored.is_empty() => invites += 1,
                Membership::Invite => {
                    let invitation = self.rooms.events(room, &[event]).await?.pop();
                    invites += u64::from(invitation.is_some_and(|event| !hides(&ignored, &event.pdu)));
                }
                _ => {}
            }
            tokio::task::consume_budget().await;
        }
        Ok(Known { at, rooms, invites })
    }

    async fn unread_in(&self, whose: Whose<'_>, room: RoomNid, joined: Place) -> Result<u64, PushError> {
        let view = self.rooms.view_of(room).await?;
        Ok(self.unread.tally(whose, &view, joined, view.end).await?.total().notification_count)
    }
}
