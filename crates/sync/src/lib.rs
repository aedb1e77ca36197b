//! What a client has to hear: `GET /_matrix/client/v3/sync`, and simplified sliding sync (`sliding`).
//!
//! A sync token is one position of the store's log. One sync takes the newest position, reads what came behind the
//! token up to there, and answers with that position as the next token. Invariants:
//!
//! - Everything is read as it was at one position. Consecutive syncs tell each event once and leave none out, except
//!   where a timeline is `limited` and says so.
//! - What nobody touched is not read: rooms are compared with the token in memory.
//! - Who waits is woken by what concerns them and by nothing else, and never misses a wake-up: a waiter is registered
//!   before the last look.
//! - What is the same for several receivers is worked out once: events as text, what push rules ask of an event.
//! - No answer is kept: the same token asked twice is answered twice. Messages to a device are kept until it comes back
//!   with a token that says it has them. Sliding sync alone keeps what it has told of
//!   which room, and a client that it has forgotten starts anew.
//! - Everything kept in memory has a bound, and losing any of it costs time only.
//!
//! Deliberately absent: HTTP.

mod account_data;
mod audience;
mod device_lists;
mod error;
mod event_fields;
mod event_format;
mod filter;
mod hearing;
mod lazy_members;
mod memberships;
mod peeking;
mod presence;
mod response;
mod rooms;
mod sights;
mod sliding;
mod to_device;
mod token;
mod unread;
mod waiting;

use std::sync::Arc;

use wardroom_accounts::Accounts;
use wardroom_clock::SharedClock;
use wardroom_push::Unread;
use wardroom_rooms::Rooms;
use wardroom_store::Store;

pub use self::{
    device_lists::DeviceLists,
    error::SyncError,
    filter::FilterChoice,
    peeking::Peeked,
    presence::LOUD_ROOM_MEMBERS_MAX,
    response::SyncResponse,
    sights::RoomSights,
    sliding::{BadRequest, SlidingRequest, SlidingResponse},
    token::{BadToken, SyncToken},
    waiting::SyncRequest,
};

/// Tells clients what is news. Clones share everything.
#[derive(Clone, Debug)]
pub struct Syncer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    rooms: Rooms,
    accounts: Accounts,
    clock: SharedClock,
    memberships: memberships::MembershipCache,
    formatted: event_format::FormattedEvents,
    told_members: lazy_members::ToldMembers,
    sliding: sliding::Shared,
    unread: Unread,
}

impl Syncer {
    /// Tells of these rooms and accounts, all kept in `store`. From now on, changes of somebody's devices wake those who
    /// share a room with them.
    pub fn new(store: Store, rooms: Rooms, accounts: Accounts, clock: SharedClock) -> Self {
        let unread = Unread::new(store.clone(), rooms.clone(), accounts.clone());
        accounts.set_audience(Box::new(audience::Roommates(rooms.clone())));
        Self(Arc::new(Inner {
            store,
            rooms,
            accounts,
            clock,
            memberships: memberships::MembershipCache::default(),
            formatted: event_format::FormattedEvents::default(),
            told_members: lazy_members::ToldMembers::default(),
            sliding: sliding::Shared::default(),
            unread,
        }))
    }

    /// Who counts what users have not read: one for all who ask, so that each finds what others found.
    pub fn unread(&self) -> &Unread {
        &self.0.unread
    }
}
