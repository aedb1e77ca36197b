//! Rooms of other servers: entering and leaving them, inviting to them, and what their servers tell of them.
//!
//! No server is believed more than it can prove: what it answers is checked event by event, and where it lies or does not
//! answer, the next one is asked.

mod backfill;
mod directory;
mod entry;
mod hierarchy;
mod invite;
mod join;
mod knock;
mod leave;
mod passing;
mod template;
mod timestamps;
mod turns;

use std::{collections::HashSet, sync::Arc, time::Duration};

use ruma::{
    OwnedServerName, RoomId, RoomVersionId, ServerName, UserId,
    api::{OutgoingRequest, federation::authentication::ServerSignatures, path_builder::SinglePath},
};
use tokio_util::sync::CancellationToken;
use wardroom_clock::SharedClock;
use wardroom_event::{RoomVersion, SigningKey};
use wardroom_rooms::{Actor, MemberProfile, RoomError, Rooms};

pub use self::{
    hierarchy::{Lookups, ToldRoom},
    invite::Invitation,
};
use self::{passing::Passing, turns::Turns};
use crate::{Ingest, Limits, Outbox, PartnerError, Partners, Parts, ingest::invites::Told};

/// Servers that are asked for the same thing.
const SERVERS_MAX: usize = 10;
/// Time for a short question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of the answer to a short question.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why something about a room of other servers did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RemoteError {
    /// No server is known that could be asked.
    #[error("there is no such room on this server, and no other server is known that is in it")]
    NoServer,
    /// The other servers could not be asked, or said no; this is what the first of them said that says something.
    #[error(transparent)]
    Partner(#[from] PartnerError),
    /// The other servers gave answers that break the rules.
    #[error("another server gave an answer that cannot be trusted: {0}")]
    Untrustworthy(&'static str),
    /// The other server answered with something that is no event.
    #[error("another server gave an answer that cannot be read: {0}")]
    BadEvent(&'static str),
    /// The room is of a version that this server does not speak.
    #[error("the room's version {0} is not supported; supported are 6 to 12")]
    UnsupportedVersion(String),
    /// What is wanted cannot be made into an event.
    #[error("{0}")]
    Unmakeable(String),
    /// It took too long.
    #[error("the other servers took too long")]
    Timeout,
    /// The rooms of this server say no, or fail.
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl RemoteError {
    /// How much this tells whoever asked, compared with what other servers said.
    fn weight(&self) -> u8 {
        match self {
            Self::Room(_) | Self::UnsupportedVersion(_) | Self::Unmakeable(_) => 4,
            Self::Partner(PartnerError::Refused { status, .. }) if status.is_client_error() => 3,
            Self::Untrustworthy(_) | Self::BadEvent(_) => 2,
            Self::Partner(_) | Self::Timeout => 1,
            Self::NoServer => 0,
        }
    }
}

/// Of the failures of several servers, the first that tells most.
fn telling(before: Option<RemoteError>, now: RemoteError) -> RemoteError {
    match before {
        Some(before) if before.weight() >= now.weight() => before,
        _ => now,
    }
}

/// Rooms of other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct RemoteRooms {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server_name: OwnedServerName,
    rooms: Rooms,
    clock: SharedClock,
    key: Arc<SigningKey>,
    partners: Partners,
    ingest: Ingest,
    /// Who enters which room.
    entering: Turns,
    /// Who is on the way into which room.
    passing: Passing,
    /// Whose gaps are filled.
    filling: Turns,
    stopping: CancellationToken,
    /// What other servers told of rooms lately.
    told_rooms: hierarchy::ToldRooms,
}

/// A local user who wants into or out of a room.
#[derive(Clone, Debug)]
pub struct Passage<'a> {
    /// Who.
    pub actor: Actor<'a>,
    /// The room.
    pub room: &'a RoomId,
    /// Servers that the user names as being in the room.
    pub via: &'a [OwnedServerName],
    /// The user's profile.
    pub profile: MemberProfile,
    /// Why, in the user's words.
    pub reason: Option<String>,
}

impl RemoteRooms {
    pub(crate) fn new(parts: &Parts, partners: &Partners, ingest: &Ingest, _outbox: &Outbox) -> Self {
        let inner = Inner {
            server_name: parts.server_name.clone(),
            rooms: parts.rooms.clone(),
            clock: Arc::clone(&parts.clock),
            key: Arc::clone(&parts.signing_key),
            partners: partners.clone(),
            ingest: ingest.clone(),
            entering: Turns::default(),
            passing: Passing::default(),
            filling: Turns::default(),
            stopping: parts.stopping.clone(),
            told_rooms: hierarchy::told_rooms(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    /// Asks a short question.
    async fn ask<R>(&self, server: &ServerName, request: R) -> Result<R::IncomingResponse, PartnerError>
    where
        R: OutgoingRequest<Authentication = ServerSignatures, PathBuilder = SinglePath>,
    {
        let limits = Limits { timeout: QUESTION_TIMEOUT, answer_bytes_max: ANSWER_BYTES_MAX, ..Limits::default() };
        self.partners.request(server, request, limits).await
    }

    /// What the user was told of the room with an invitation or a knock.
    async fn told(&self, passage: &Passage<'_>) -> Result<Told, RoomError> {
        Told::of(&self.rooms, passage.room, passage.actor.nid, passage.actor.user).await
    }

    /// The servers to ask about a room that this server is not in: those that the user names, the inviter's, the one in the
    /// room's id, and those that were in it when this server last was.
    async fn candidates(&self, passage: &Passage<'_>, told: &Told) -> Result<Vec<OwnedServerName>, RemoteError> {
        let mut servers = passage.via.to_vec();
        servers.extend(told.inviter.as_ref().map(|inviter| inviter.server_name().to_owned()));
        servers.extend(passage.room.server_name().map(ToOwned::to_owned));
        if let Some(view) = self.rooms.view(passage.room).await? {
            servers.extend(self.rooms.servers(view.nid).await?.iter().cloned());
        }
        servers.extend(told.servers.iter().cloned());
        self.admitted(servers)
    }

    /// Of these servers, those that may be asked: each once, and not too many.
    fn admitted(&self, servers: Vec<OwnedServerName>) -> Result<Vec<OwnedServerName>, RemoteError> {
        let mut seen = HashSet::new();
        let others = servers.into_iter().filter(|server| *server != self.server_name && seen.insert(server.clone()));
        let (admitted, denied): (Vec<_>, Vec<_>) = others.partition(|server| self.partners.admits(server));
        match denied.into_iter().next() {
            Some(server) if admitted.is_empty() => Err(PartnerError::Denied(server).into()),
            _ => Ok(admitted.into_iter().take(SERVERS_MAX).collect()),
        }
    }

    /// Whether this server is in the room.
    async fn is_resident(&self, room: &RoomId) -> Result<bool, RoomError> {
        self.rooms.is_here(room).await
    }
}

/// The versions that this server speaks, as `ver` says them.
fn spoken() -> Vec<RoomVersionId> {
    RoomVersion::ALL.iter().map(|version| version.id().clone()).collect()
}

/// The version that a server names for a room; rooms without one are of version 1.
fn version_of(named: Option<RoomVersionId>) -> Result<RoomVersion, RemoteError> {
    let named = named.unwrap_or(RoomVersionId::V1);
    RoomVersion::new(&named).ok_or_else(|| RemoteError::UnsupportedVersion(named.to_string()))
}

/// Whether a user is of a server.
fn is_of(user: &UserId, server: &ServerName) -> bool {
    user.server_name() == server
}
