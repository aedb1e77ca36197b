//! Joining rooms through other servers (specification, server-server API, "Joining Rooms").

use std::{sync::Arc, time::Duration};

use ruma::{
    OwnedServerName, ServerName,
    api::federation::membership::{create_join_event::v2 as send_join, prepare_join_event::v1 as make_join},
};
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::RoomError;

use super::{
    Inner, Passage, RemoteError, RemoteRooms, entry, spoken, telling,
    template::{self, Signer, Wanted},
    version_of,
};
use crate::{
    Limits, PartnerError,
    ingest::fetch::{Budget, Errand},
};

/// Time for the whole join, over all servers.
const JOIN_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Time for the answer of one server, with the room's state.
const SEND_JOIN_TIMEOUT: Duration = Duration::from_secs(240);
/// Bytes of that answer: a state of 100,000 members.
const SEND_JOIN_ANSWER_BYTES_MAX: usize = 192 * 1024 * 1024;
/// Requests for what the join of a room that this server is in lacks.
const CATCH_UP_REQUESTS_MAX: usize = 250;

impl RemoteRooms {
    /// Joins a room: here, where this server is in it and may let the user in; through another server otherwise.
    ///
    /// # Errors
    /// As [`RemoteError`] says; those of [`wardroom_rooms::Rooms::join`] where the room is here.
    pub async fn join(&self, passage: Passage<'_>) -> Result<(), RemoteError> {
        self.inner.rooms.check_unblocked_id(passage.room).await?;
        if let Some(done) = self.inner.join_here(&passage).await? {
            return done;
        }
        let _turn = self.inner.entering.take(passage.room).await;
        // Whoever had the turn before may have brought this server into the room.
        if let Some(done) = self.inner.join_here(&passage).await? {
            return done;
        }
        let joined = tokio::time::timeout(JOIN_TIME_MAX, self.inner.join_elsewhere(&passage)).await;
        joined.unwrap_or(Err(RemoteError::Timeout))?;
        self.fetch_history_of(passage.room);
        Ok(())
    }
}

impl Inner {
    /// Joins where this server is in the room. `None` where it takes another server.
    async fn join_here(&self, passage: &Passage<'_>) -> Result<Option<Result<(), RemoteError>>, RemoteError> {
        if !self.is_resident(passage.room).await? {
            return Ok(None);
        }
        Ok(match self.join_locally(passage).await {
            Err(RoomError::CannotAuthorizeJoin) => None,
            joined => Some(joined.map_err(RemoteError::from)),
        })
    }

    async fn join_locally(&self, passage: &Passage<'_>) -> Result<(), RoomError> {
        let Passage { actor, room, profile, reason, .. } = passage;
        self.rooms.join(*actor, room, profile.clone(), reason.clone()).await
    }

    async fn join_elsewhere(&self, passage: &Passage<'_>) -> Result<(), RemoteError> {
        let told = self.told(passage).await?;
        let servers = self.candidates(passage, &told).await?;
        if servers.is_empty() {
            // A room that everybody of this server has left, and that nobody else is in.
            return match self.join_locally(passage).await {
                Err(RoomError::NoSuchRoom | RoomError::NotFound(_)) => Err(RemoteError::NoServer),
                joined => Ok(joined?),
            };
        }
        let mut failure = None;
        for server in &servers {
            match self.join_through(server, passage).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::info!(%server, %error, "a room could not be joined through this server");
                    failure = Some(telling(failure, error));
                }
            }
        }
        Err(failure.unwrap_or(RemoteError::NoServer))
    }

    /// Joins through one server.
    async fn join_through(&self, server: &OwnedServerName, passage: &Passage<'_>) -> Result<(), RemoteError> {
        // Nobody else knows who is a guest: that the room lets them in is for this server to see to beforehand.
        if passage.actor.guest && !self.lets_guests_in(server, passage.room).await? {
            return Err(RoomError::Forbidden("This room does not let guests in.".to_owned()).into());
        }
        let _on_the_way = self.passing.note(passage, server);
        let mut request = make_join::Request::new(passage.room.to_owned(), passage.actor.user.to_owned());
        request.ver = spoken();
        let answer = self.ask(server, request).await?;
        let version = version_of(answer.room_version)?;
        let wanted = Wanted {
            room: passage.room,
            user: passage.actor.user,
            membership: "join",
            version,
            profile: &passage.profile,
            reason: passage.reason.as_deref(),
            now_ms: self.clock.now_ms(),
        };
        let signer = Signer { server: &self.server_name, key: &self.key };
        let join = Arc::new(template::sign(&answer.event, &wanted, signer)?);
        let answer = self.send_join(server, &join).await?;
        let ask = &*self.ingest.fetcher().ask;
        let mut state = answer.room_state;
        if state.members_omitted {
            // Nobody asked for that, and who may be in a room is decided by all of its state.
            return Err(RemoteError::Untrustworthy("the members of the room are left out of its state"));
        }
        let join = entry::countersigned(ask, version, join, state.event.take()).await?;
        if self.is_resident(passage.room).await? {
            return self.receive_own(server, passage, version, join).await;
        }
        let entry = entry::check(ask, passage.room, version, join, state).await?;
        self.rooms.enter(entry).await.map_err(|error| match error {
            RoomError::Forbidden(_) | RoomError::Lacking | RoomError::BadContent(_) => {
                RemoteError::Untrustworthy("the rules of the room do not allow the join in the state that it tells")
            }
            other => other.into(),
        })
    }

    async fn send_join(&self, server: &ServerName, join: &Pdu) -> Result<send_join::Response, RemoteError> {
        let pdu = raw(join)?;
        let request = send_join::Request::new(join.room_id().to_owned(), join.event_id().to_owned(), pdu);
        let limits =
            Limits { timeout: SEND_JOIN_TIMEOUT, answer_bytes_max: SEND_JOIN_ANSWER_BYTES_MAX, ..Limits::default() };
        Ok(self.partners.request(server, request, limits).await?)
    }

    /// Takes the join of a room that this server is in already, but could not let the user into.
    async fn receive_own(
        &self,
        server: &ServerName,
        passage: &Passage<'_>,
        version: RoomVersion,
        join: Arc<Pdu>,
    ) -> Result<(), RemoteError> {
        let errand = Errand {
            room: passage.room,
            version,
            servers: vec![server.to_owned()],
            budget: Budget::new(CATCH_UP_REQUESTS_MAX, JOIN_TIME_MAX),
        };
        match self.ingest.receive(&errand, join).await {
            Ok(wardroom_rooms::Received::Accepted | wardroom_rooms::Received::Known) => Ok(()),
            Ok(_) => Err(RemoteError::Untrustworthy("the room's rules do not allow the join")),
            Err(crate::ingest::fetch::Shortfall::Room(error)) => Err(error.into()),
            Err(error) => Err(PartnerError::Unreachable(error.to_string()).into()),
        }
    }
}

/// An event as it is sent.
pub(super) fn raw(event: &Pdu) -> Result<Box<serde_json::value::RawValue>, RemoteError> {
    serde_json::from_slice(event.json()).map_err(|error| RemoteError::Unmakeable(error.to_string()))
}
