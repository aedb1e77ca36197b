//! Devices and keys of users of other servers (server-server API, sections "Device Management" and "End-to-End
//! Encryption").
//!
//! Whose devices a local user asks for while they share a room is followed from then on: `accounts` keeps the list, and
//! [`Edus`](crate::Edus) hears of its changes. A list that may have missed one is fetched anew, by whoever asks for it
//! or in the background. Others are asked for each time.

mod claim;
mod query;
mod resync;
mod wire;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use wardroom_accounts::{Accounts, ListState, UserNid};
use wardroom_rooms::Rooms;
use wardroom_store::{Position, Store};

pub use self::{
    claim::{KeyClaim, KeyClaims},
    query::{KeyAnswers, RemoteKeys},
};
use crate::{FederationError, Partners, Parts};

/// How long another server may take to answer for a client that waits.
pub const KEYS_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// How long a question waits for what happened in rooms before it to be known.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// Devices and keys of users of other servers. Clones are cheap.
#[derive(Clone)]
pub struct RemoteDevices(Arc<Inner>);

struct Inner {
    store: Store,
    accounts: Accounts,
    rooms: Rooms,
    partners: Partners,
    /// Some lists became stale.
    stale: Notify,
    /// Up to which position it is known who came to share a room, and who ceased to.
    followed: watch::Sender<Position>,
    /// Servers that could not be reached, until when they are left alone.
    resting: Mutex<HashMap<OwnedServerName, Instant>>,
    /// Held while a user's list is fetched, so that all who want it wait for the same answer.
    fetching: Mutex<HashMap<OwnedUserId, Weak<tokio::sync::Mutex<()>>>>,
}

impl fmt::Debug for RemoteDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteDevices").finish_non_exhaustive()
    }
}

impl RemoteDevices {
    pub(crate) fn new(parts: &Parts, partners: &Partners) -> Self {
        Self(Arc::new(Inner {
            store: parts.store.clone(),
            accounts: parts.accounts.clone(),
            rooms: parts.rooms.clone(),
            partners: partners.clone(),
            stale: Notify::new(),
            followed: watch::Sender::new(Position::ZERO),
            resting: Mutex::default(),
            fetching: Mutex::default(),
        }))
    }

    /// What happened in rooms up to a position is taken into account.
    pub(crate) fn followed_up_to(&self, position: Position) {
        self.0.followed.send_if_modified(|followed| {
            let newer = position > *followed;
            *followed = position.max(*followed);
            newer
        });
    }

    /// A server is there again.
    pub(crate) fn heard_from(&self, server: &ServerName) {
        self.0.resting.lock().remove(server);
    }

    /// Looks for stale lists now.
    pub(crate) fn wake(&self) {
        self.0.stale.notify_one();
    }

    /// Waits until what happened in rooms so far is taken into account.
    async fn caught_up(&self) {
        let now = self.0.store.position();
        let mut followed = self.0.followed.subscribe();
        // Where it takes longer, the answer may be as old as what is known.
        let _ = tokio::time::timeout(FOLLOWED_WITHIN, followed.wait_for(|followed| *followed >= now)).await;
    }

    /// The user's number, if the user is in a room with one of this server's.
    pub(crate) async fn neighbour(&self, user: &UserId) -> Result<Option<UserNid>, FederationError> {
        let Some(nid) = self.0.accounts.user_nid(user).await? else { return Ok(None) };
        if self.0.rooms.shares_a_room_here(wardroom_rooms::UserNid::new(nid.get()), None).await? {
            return Ok(Some(nid));
        }
        if self.0.accounts.remote_list(nid).await? != ListState::Unknown {
            // However it came that no room is shared any more: what changes from now on is not told to this server.
            self.0.accounts.drop_remote_lists(&[nid]).await?;
        }
        Ok(None)
    }
}
