//! What servers say to each other about the roles of their users, signed, and for a day at most.
//!
//! A room's policy says which server may vouch for which roles (`authorities`). Before somebody of such a server is let
//! in, this server asks theirs; the answer is one of the sources of roles, and counts in rooms whose policy says so. What
//! this server says of its own users, and to whom, is the operator's word; it never passes on what it was told itself.
//!
//! - [`handed`]: what is said of this server's users, and taken back when they lose a role.
//! - [`heard`]: what is asked of others, and what of it is believed.
//! - [`keeping`]: asking again before a word ends, or when it was taken back.

mod errands;
mod handed;
mod heard;
mod keeping;
mod word;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, Store};

use self::{errands::Errands, keeping::Renewals};
pub use self::{handed::Handed, keeping::Received, word::Attestation};
use crate::{judge::Judge, role::Requirement, turns::Turns};

/// Type of the EDU by which a server takes back what it said of a user.
pub const ROLE_REVOKED: &str = "org.wardroom.role_revoked";

/// Answers remembered.
const LATELY_MAX: usize = 10_000;

/// Which roles of this server's users another server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestTo {
    /// The other server.
    pub server: OwnedServerName,
    /// Roles that meet one of these.
    pub roles: Vec<Requirement>,
    /// Also of users who have nothing to do with the room yet: the other server may want to invite them.
    pub before_invitations: bool,
}

/// Why nothing is believed of a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// The user's server says nothing of them.
    #[error("the user's server says nothing of them")]
    Refused,
    /// What it says cannot be believed.
    #[error("what the user's server says cannot be believed: {0}")]
    Untrustworthy(String),
    /// It cannot be asked.
    #[error("the user's server cannot be asked: {0}")]
    Unreachable(String),
}

/// Asks other servers.
pub trait Attesters: fmt::Debug + Send + Sync {
    /// What a user's server says of them in a room: canonical JSON without its signature, which was made with a key of
    /// that server that is good now.
    fn ask<'a>(&'a self, user: &'a UserId, room: &'a RoomId) -> BoxFuture<'a, Result<Vec<u8>, Unheard>>;
}

/// Tells other servers what is taken back.
pub trait Tellers: fmt::Debug + Send + Sync {
    /// Adds an EDU to a batch: it is sent when the batch is committed, and again until the server has it.
    fn tell<'a>(
        &'a self,
        batch: &'a mut Batch,
        server: &'a ServerName,
        kind: &'static str,
        content: Box<RawJsonValue>,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// What servers say to each other about roles. Clones share everything.
#[derive(Clone)]
pub struct Attestations(Arc<Inner>);

struct Inner {
    store: Store,
    clock: SharedClock,
    judge: Judge,
    /// What the operator lets be told, by server.
    attest_to: BTreeMap<OwnedServerName, AttestTo>,
    attesters: OnceLock<Arc<dyn Attesters>>,
    /// What is said of a user is asked for and taken by one at a time, so that what is said last counts.
    asking: Turns,
    /// Until when a user's server is not asked again about a room, in milliseconds since 1970.
    lately: Cache<(OwnedUserId, OwnedRoomId), u64>,
    /// Held while what was said to others is read and written again.
    handing: tokio::sync::Mutex<()>,
    /// What is asked without anybody waiting for it.
    errands: Errands,
    /// When words are asked for anew.
    renewals: Mutex<Renewals>,
}

impl fmt::Debug for Attestations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestations").field("attest_to", &self.0.attest_to.len()).finish_non_exhaustive()
    }
}

impl Attestations {
    /// By what is known of users. Nobody is asked before [`Attestations::ask_by`].
    pub fn new(store: Store, clock: SharedClock, judge: Judge, attest_to: Vec<AttestTo>) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            judge,
            attest_to: attest_to.into_iter().map(|to| (to.server.clone(), to)).collect(),
            attesters: OnceLock::new(),
            asking: Turns::default(),
            lately: Cache::new(LATELY_MAX),
            handing: tokio::sync::Mutex::default(),
            errands: Errands::default(),
            renewals: Mutex::default(),
        }))
    }

    /// Says who asks other servers. Counts the first time only.
    pub fn ask_by(&self, attesters: Arc<dyn Attesters>) {
        // A second one is a mistake of whoever puts the parts together, and harmless.
        let _ = self.0.attesters.set(attesters);
    }
}

#[cfg(test)]
mod tests;
