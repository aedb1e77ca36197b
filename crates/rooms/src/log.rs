//! The log of all rooms, for those who follow it: whoever sends something out of the server when something happens.
//!
//! What happens is written here in the batch that makes it happen. A follower reads on from a durable cursor of its own
//! and moves the cursor in the batch with what it made of what it read: a crash loses nothing and repeats nothing. What
//! all followers have read is dropped.

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, CommitError, Packed, Position, Profile, Scan, Seal, Table};

use crate::{
    Rooms,
    error::RoomError,
    ids::{EventNid, Place, RoomNid, UserNid},
};

/// Entries that one read returns at most.
pub const LOG_PAGE_MAX: usize = 1_000;
/// Pages of entries dropped by one call.
const TRIM_PAGES_MAX: usize = 20;
/// Attempts to become a follower against others that do.
const FOLLOW_ATTEMPTS_MAX: u32 = 16;

/// (position, index) -> what happened, in the order in which it did.
pub(crate) const LOG: Table<(Position, u16), Packed<LogRecord>> =
    Table::new(0x0250, "room_log", Profile::Churn, Seal::System);
/// Follower -> the boundary up to which it has read.
pub(crate) const FOLLOWERS: Table<u8, Packed<Place>> =
    Table::new(0x0251, "room_log_followers", Profile::Point, Seal::System);

/// An entry at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogRecord {
    /// An event came into a room.
    Event(RoomNid, EventNid),
    /// A user's receipt moved.
    Read(RoomNid, UserNid),
    /// A user's membership of a room that this server is not in changed.
    Afar(RoomNid, UserNid),
}

/// Who follows the log. The numbers are kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Follower {
    /// Push notifications.
    Push = 1,
    /// What other servers are told besides events.
    Edus = 2,
    /// The server's own user, who listens in direct chats.
    Access = 3,
}

/// Something that happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Where in the log; of an event, this is its place in the timeline.
    pub place: Place,
    /// The room.
    pub room: RoomNid,
    /// What it was.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// An event came.
    Event(EventNid),
    /// A user has read up to another event, by public or private receipt.
    Read(UserNid),
    /// A user was invited to a room that this server is not in, has knocked there, or that came to its end: no timeline
    /// has the event.
    Afar(UserNid),
}

impl Rooms {
    /// The boundary up to which a follower has read. One that is new starts with what happens from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow(&self, follower: Follower) -> Result<Place, RoomError> {
        let (store, key) = (&self.engine.store, follower as u8);
        for _ in 0..FOLLOW_ATTEMPTS_MAX {
            if let Some(Packed(place)) = store.latest().get(&FOLLOWERS, &key).await? {
                return Ok(place);
            }
            let place = Place::after(store.position());
            let mut batch = Batch::default();
            batch.expect_absent(&FOLLOWERS, &key);
            batch.put(&FOLLOWERS, &key, &Packed(place));
            match store.commit(batch).await {
                Err(CommitError::Conflict { .. }) => {}
                done => return Ok(done.map(|_| place)?),
            }
        }
        Err(RoomError::inconsistent("a follower that never starts"))
    }

    /// Ends following: what happens from now on is not kept for this follower. One that comes back starts anew.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unfollow(&self, follower: Follower) -> Result<(), RoomError> {
        let (store, key) = (&self.engine.store, follower as u8);
        if store.latest().get(&FOLLOWERS, &key).await?.is_some() {
            let mut batch = Batch::default();
            batch.delete(&FOLLOWERS, &key);
            store.commit(batch).await?;
        }
        Ok(())
    }

    /// What happened from a boundary on, up to and with the commit at `up_to`, oldest first: at most [`LOG_PAGE_MAX`]
    /// entries.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log(&self, from: Place, up_to: Position) -> Result<Vec<Logged>, RoomError> {
        let end = Place::after(up_to);
        if from >= end {
            return Ok(Vec::new());
        }
        let key = |place: Place| (place.position(), place.index());
        let scan = Scan::range(&key(from), &key(end)).limit(LOG_PAGE_MAX);
        let rows = self.engine.store.latest().scan(&LOG, scan).await?;
        let logged = rows.into_iter().map(|((position, index), Packed(record))| {
            let place = Place::new(position, index);
            match record {
                LogRecord::Event(room, event) => Logged { place, room, what: Happened::Event(event) },
                LogRecord::Read(room, user) => Logged { place, room, what: Happened::Read(user) },
                LogRecord::Afar(room, user) => Logged { place, room, what: Happened::Afar(user) },
            }
        });
        Ok(logged.collect())
    }

    /// Moves a follower's cursor in the batch with what it made of what it read.
    pub fn followed(&self, batch: &mut Batch, follower: Follower, up_to: Place) {
        batch.put(&FOLLOWERS, &(follower as u8), &Packed(up_to));
    }

    /// Drops what all followers have read, or a part of it where there is much.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trim_log(&self) -> Result<(), RoomError> {
        let store = &self.engine.store;
        let followers = store.latest().scan(&FOLLOWERS, Scan::all()).await?;
        let Some(slowest) = followers.into_iter().map(|(_, Packed(place))| place).min() else { return Ok(()) };
        for _ in 0..TRIM_PAGES_MAX {
            let scan = Scan::all().before(&(slowest.position(), slowest.index())).limit(LOG_PAGE_MAX);
            let keys = store.latest().scan_keys(&LOG, scan).await?;
            let mut batch = Batch::default();
            keys.iter().for_each(|key| batch.delete(&LOG, key));
            if keys.is_empty() {
                return Ok(());
            }
            store.commit(batch).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{
        events::receipt::{ReceiptThread, ReceiptType},
        user_id,
    };
    use serde_json::{json, value::to_raw_value};
    use wardroom_store::Batch;

    use super::{Follower, Happened};
    use crate::{
        Place, Preset,
        tests::{World, new_room, run},
    };

    #[test]
    fn a_follower_hears_everything_once_and_what_it_heard_is_dropped() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let before = Place::after(world.store.position());
            let start = world.rooms.follow(Follower::Push).await.unwrap();
            assert_eq!(start, before, "what was before is not for who begins");
            let body = to_raw_value(&json!({ "body": "hello" })).unwrap();
            let sent = world.rooms.send(alice.actor(), &room, "m.room.message", body, None).await.unwrap();
            let (kind, thread) = (ReceiptType::ReadPrivate, ReceiptThread::Unthreaded);
            world.rooms.set_receipt(alice.actor(), &room, &kind, &sent, &thread).await.unwrap();
            let logged = world.rooms.log(start, world.store.position()).await.unwrap();
            let (nid, place) = world.rooms.place_of(&sent).await.unwrap().unwrap();
            assert_eq!(logged.len(), 2);
            assert_eq!((logged[0].room, logged[0].place), (nid, place));
            assert!(matches!(logged[0].what, Happened::Event(_)));
            assert_eq!(logged[1].what, Happened::Read(alice.actor().nid));

            let mut batch = Batch::default();
            world.rooms.followed(&mut batch, Follower::Push, logged[0].place.next());
            world.store.commit(batch).await.unwrap();
            world.rooms.trim_log().await.unwrap();
            assert_eq!(world.rooms.follow(Follower::Push).await.unwrap(), place.next());
            let left = world.rooms.log(Place::FIRST, world.store.position()).await.unwrap();
            assert_eq!(left, logged[1..]);
        });
    }
}
