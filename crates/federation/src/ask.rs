//! What other servers are asked about events, as a trait: the logic of fetching is tested without a network.

use std::{fmt, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use ruma::{
    OwnedEventId, OwnedRoomId, ServerName, UInt,
    api::federation::{
        authorization::get_event_authorization::v1 as get_event_authorization,
        backfill::get_backfill::v1 as get_backfill,
        event::{
            get_event::v1 as get_event, get_missing_events::v1 as get_missing_events,
            get_room_state::v1 as get_room_state, get_room_state_ids::v1 as get_room_state_ids,
        },
    },
};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::RoomVersion;

use crate::{CheckedEvent, Limits, PartnerError, Partners};

/// Time for a question about a few events.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of an answer with a few events: 100 of the largest ones.
const EVENTS_ANSWER_BYTES_MAX: usize = 100 * 65_536 + 65_536;
/// Time for a whole state.
const STATE_TIMEOUT: Duration = Duration::from_secs(180);
/// Bytes of a whole state.
const STATE_ANSWER_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Bytes of the ids of a whole state: 200,000 of them.
const STATE_IDS_ANSWER_BYTES_MAX: usize = 200_000 * 50;
/// Bytes of an authorization chain.
const AUTH_CHAIN_ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Events as they came.
pub(crate) type Raws = Vec<Box<RawJsonValue>>;
/// What comes of a question.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, PartnerError>>;

/// What is asked in `get_missing_events`.
#[derive(Clone, Debug)]
pub(crate) struct MissingEvents {
    pub(crate) room: OwnedRoomId,
    pub(crate) earliest: Vec<OwnedEventId>,
    pub(crate) latest: Vec<OwnedEventId>,
    pub(crate) limit: u32,
}

/// Asks other servers about events.
pub(crate) trait Ask: fmt::Debug + Send + Sync + 'static {
    /// As [`Partners::check_events`].
    fn check(&self, version: RoomVersion, events: Raws) -> BoxFuture<'_, Vec<CheckedEvent>>;

    /// Events between others (`POST /_matrix/federation/v1/get_missing_events/{roomId}`).
    fn missing_events<'a>(&'a self, server: &'a ServerName, question: MissingEvents) -> Asked<'a, Raws>;

    /// Ids of the state before an event and of its authorization chain (`GET /state_ids/{roomId}`).
    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room: OwnedRoomId,
        event: OwnedEventId,
    ) -> Asked<'a, (Vec<OwnedEventId>, Vec<OwnedEventId>)>;

    /// The state before an event and its authorization chain, in one (`GET /state/{roomId}`).
    fn state<'a>(&'a self, server: &'a ServerName, room: OwnedRoomId, event: OwnedEventId) -> Asked<'a, Raws>;

    /// One event (`GET /event/{eventId}`).
    fn event<'a>(&'a self, server: &'a ServerName, event: OwnedEventId) -> Asked<'a, Box<RawJsonValue>>;

    /// The authorization chain of an event (`GET /event_auth/{roomId}/{eventId}`).
    fn event_auth<'a>(&'a self, server: &'a ServerName, room: OwnedRoomId, event: OwnedEventId) -> Asked<'a, Raws>;

    /// Events and what came before them (`GET /backfill/{roomId}`).
    fn backfill<'a>(
        &'a self,
        server: &'a ServerName,
        room: OwnedRoomId,
        from: Vec<OwnedEventId>,
        limit: u32,
    ) -> Asked<'a, Raws>;
}

fn limits(timeout: Duration, answer_bytes_max: usize) -> Limits {
    Limits { timeout, answer_bytes_max, ..Limits::default() }
}

impl Ask for Partners {
    fn check(&self, version: RoomVersion, events: Raws) -> BoxFuture<'_, Vec<CheckedEvent>> {
        self.check_events(version, events).boxed()
    }

    fn missing_events<'a>(&'a self, server: &'a ServerName, question: MissingEvents) -> Asked<'a, Raws> {
        let mut request = get_missing_events::Request::new(question.room, question.earliest, question.latest);
        request.limit = question.limit.into();
        async move {
            let limits = limits(QUESTION_TIMEOUT, EVENTS_ANSWER_BYTES_MAX);
            Ok(self.request(server, request, limits).await?.events)
        }
        .boxed()
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room: OwnedRoomId,
        event: OwnedEventId,
    ) -> Asked<'a, (Vec<OwnedEventId>, Vec<OwnedEventId>)> {
        async move {
            let request = get_room_state_ids::Request::new(event, room);
            let limits = limits(STATE_TIMEOUT, STATE_IDS_ANSWER_BYTES_MAX);
            let answer = self.request(server, request, limits).await?;
            Ok((answer.pdu_ids, answer.auth_chain_ids))
        }
        .boxed()
    }

    fn state<'a>(&'a self, server: &'a ServerName, room: OwnedRoomId, event: OwnedEventId) -> Asked<'a, Raws> {
        async move {
            let request = get_room_state::Request::new(event, room);
            let answer = self.request(server, request, limits(STATE_TIMEOUT, STATE_ANSWER_BYTES_MAX)).await?;
            let mut events = answer.pdus;
            events.extend(answer.auth_chain);
            Ok(events)
        }
        .boxed()
    }

    fn event<'a>(&'a self, server: &'a ServerName, event: OwnedEventId) -> Asked<'a, Box<RawJsonValue>> {
        async move {
            let limits = limits(QUESTION_TIMEOUT, EVENTS_ANSWER_BYTES_MAX);
            Ok(self.request(server, get_event::Request::new(event), limits).await?.pdu)
        }
        .boxed()
    }

    fn event_auth<'a>(&'a self, server: &'a ServerName, room: OwnedRoomId, event: OwnedEventId) -> Asked<'a, Raws> {
        async move {
            let request = get_event_authorization::Request::new(room, event);
            let limits = limits(STATE_TIMEOUT, AUTH_CHAIN_ANSWER_BYTES_MAX);
            Ok(self.request(server, request, limits).await?.auth_chain)
        }
        .boxed()
    }

    fn backfill<'a>(
        &'a self,
        server: &'a ServerName,
        room: OwnedRoomId,
        from: Vec<OwnedEventId>,
        limit: u32,
    ) -> Asked<'a, Raws> {
        async move {
            let request = get_backfill::Request::new(room, from, UInt::from(limit));
            let limits = limits(QUESTION_TIMEOUT, EVENTS_ANSWER_BYTES_MAX);
            Ok(self.request(server, request, limits).await?.pdus)
        }
        .boxed()
    }
}
