//! Requests of our own at endpoints where ruma's type reads too much: a room's events are checked against the room's
//! version, and what is wrong with them is told by name; old paths that servers still ask; fields that may be absent.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use axum::extract::Query;
use http::Method;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedServerName, OwnedServerSigningKeyId, OwnedUserId, UInt,
    api::{
        IncomingRequest, Metadata,
        auth_scheme::NoAuthentication,
        error::{DeserializationError, Error},
        federation::{
            authentication::ServerSignatures,
            discovery::get_remote_server_keys::v2 as get_remote_server_keys,
            event::get_missing_events::v1 as get_missing_events,
            membership::{create_invite::v2 as create_invite, create_leave_event::v2 as create_leave_event},
        },
        path_builder::SinglePath,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_audit::Cosignature;

/// Gives a type the method, paths and authentication of ruma's `T`.
macro_rules! same_endpoint {
    ($name:ty, $of:ty) => {
        impl Metadata for $name {
            const METHOD: Method = <$of as Metadata>::METHOD;
            const RATE_LIMITED: bool = <$of as Metadata>::RATE_LIMITED;
            type Authentication = <$of as Metadata>::Authentication;
            type PathBuilder = <$of as Metadata>::PathBuilder;
            const PATH_BUILDER: Self::PathBuilder = <$of as Metadata>::PATH_BUILDER;
        }
    };
}

/// `PUT` of an event of a room: `/{room_id}/{event_id}` behind the path of the endpoint `T`.
pub(crate) struct SendEvent<T> {
    /// The room.
    pub(crate) room_id: OwnedRoomId,
    /// The event's id as the path has it, which need not be an event id.
    pub(crate) event_id: String,
    /// `omit_members` of `send_join`.
    pub(crate) omit_members: bool,
    /// The body.
    pub(crate) event: Box<RawJsonValue>,
    endpoint: PhantomData<T>,
}

impl<T> fmt::Debug for SendEvent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendEvent").finish_non_exhaustive()
    }
}

impl<T: Metadata> Metadata for SendEvent<T> {
    const METHOD: Method = T::METHOD;
    const RATE_LIMITED: bool = T::RATE_LIMITED;
    type Authentication = T::Authentication;
    type PathBuilder = T::PathBuilder;
    const PATH_BUILDER: T::PathBuilder = T::PATH_BUILDER;
}

impl<T: Metadata> IncomingRequest for SendEvent<T> {
    type EndpointError = Error;
    type OutgoingResponse = create_leave_event::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let room_id = path_args.first().copied().unwrap_or_default().try_into()?;
        let event_id = path_args.get(1).copied().unwrap_or_default().to_owned();
        let mut query = request.uri().query().unwrap_or_default().split('&');
        let omit_members = query.any(|parameter| parameter == "omit_members=true");
        let event = serde_json::from_slice(request.into_body())?;
        Ok(Self { room_id, event_id, omit_members, event, endpoint: PhantomData })
    }
}

/// An endpoint that ruma has left behind: its answer stands in a list beside the number 200.
macro_rules! old_endpoint {
    ($(#[$doc:meta])* $name:ident, $path:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Metadata for $name {
            const METHOD: Method = Method::PUT;
            const RATE_LIMITED: bool = false;
            type Authentication = ServerSignatures;
            type PathBuilder = SinglePath;
            const PATH_BUILDER: SinglePath = SinglePath::new($path);
        }
    };
}

old_endpoint! {
    /// The first version of `send_join`.
    SendJoinV1, "/_matrix/federation/v1/send_join/{room_id}/{event_id}"
}
old_endpoint! {
    /// The first version of `send_leave`.
    SendLeaveV1, "/_matrix/federation/v1/send_leave/{room_id}/{event_id}"
}
old_endpoint! {
    /// The first version of `invite`.
    InviteV1, "/_matrix/federation/v1/invite/{room_id}/{event_id}"
}

/// `GET /_matrix/key/v2/query/{serverName}/{keyId}`, as old servers ask for the keys of another server.
#[derive(Debug)]
pub(crate) struct KeyOfAnother {
    /// The server.
    pub(crate) server_name: OwnedServerName,
    /// The key that is wanted.
    pub(crate) key_id: OwnedServerSigningKeyId,
    /// Until when it should be valid.
    pub(crate) minimum_valid_until_ts: Option<u64>,
}

impl Metadata for KeyOfAnother {
    const METHOD: Method = Method::GET;
    const RATE_LIMITED: bool = false;
    type Authentication = NoAuthentication;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath = SinglePath::new("/_matrix/key/v2/query/{server_name}/{key_id}");
}

impl IncomingRequest for KeyOfAnother {
    type EndpointError = Error;
    type OutgoingResponse = get_remote_server_keys::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let server_name = path_args.first().copied().unwrap_or_default().try_into()?;
        let key_id = path_args.get(1).copied().unwrap_or_default().try_into()?;
        let mut query = request.uri().query().unwrap_or_default().split('&');
        let until = query.find_map(|parameter| parameter.strip_prefix("minimum_valid_until_ts="));
        Ok(Self { server_name, key_id, minimum_valid_until_ts: until.and_then(|until| until.parse().ok()) })
    }
}

/// `GET /_matrix/federation/unstable/org.wardroom/v1/attestation/{userId}?room_id=`: what this server says of the roles of
/// one of its users.
#[derive(Debug)]
pub(crate) struct RolesOf {
    /// The user.
    pub(crate) user_id: OwnedUserId,
    /// The room for which it is asked.
    pub(crate) room_id: OwnedRoomId,
}

impl Metadata for RolesOf {
    const METHOD: Method = Method::GET;
    const RATE_LIMITED: bool = true;
    type Authentication = ServerSignatures;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath =
        SinglePath::new("/_matrix/federation/unstable/org.wardroom/v1/attestation/{user_id}");
}

impl IncomingRequest for RolesOf {
    type EndpointError = Error;
    type OutgoingResponse = create_leave_event::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let user_id = path_args.first().copied().unwrap_or_default().try_into()?;
        let parameters = Query::<BTreeMap<String, String>>::try_from_uri(request.uri());
        let parameters = parameters.map(|Query(parameters)| parameters).unwrap_or_default();
        let room_id = parameters.get("room_id").map(String::as_str).unwrap_or_default().try_into()?;
        Ok(Self { user_id, room_id })
    }
}

/// `GET /_wardroom/federation/v1/audit/checkpoint`: what the audit trail is.
#[derive(Debug)]
pub(crate) struct NewCheckpoint {
    /// How many records it had when the witness saw it last.
    pub(crate) from: Option<u64>,
}

impl Metadata for NewCheckpoint {
    const METHOD: Method = Method::GET;
    const RATE_LIMITED: bool = true;
    type Authentication = ServerSignatures;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath = SinglePath::new("/_wardroom/federation/v1/audit/checkpoint");
}

impl IncomingRequest for NewCheckpoint {
    type EndpointError = Error;
    type OutgoingResponse = create_leave_event::Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        let parameters = Query::<BTreeMap<String, String>>::try_from_uri(request.uri());
        let parameters = parameters.map(|Query(parameters)| parameters).unwrap_or_default();
        // What is no number is as good as none: the answer is then without a proof.
        Ok(Self { from: parameters.get("from").and_then(|from| from.parse().ok()) })
    }
}

/// `POST /_wardroom/federation/v1/audit/cosignature`: what a witness says of the audit trail.
#[derive(Debug)]
pub(crate) struct NewCosignature(pub(crate) Cosignature);

impl Metadata for NewCosignature {
    const METHOD: Method = Method::POST;
    const RATE_LIMITED: bool = true;
    type Authentication = ServerSignatures;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath = SinglePath::new("/_wardroom/federation/v1/audit/cosignature");
}

impl IncomingRequest for NewCosignature {
    type EndpointError = Error;
    type OutgoingResponse = create_leave_event::Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self(serde_json::from_slice(request.into_body())?))
    }
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`: without `invite_room_state` too, and with entries in it that
/// are neither events nor stripped state.
#[derive(Debug)]
pub(crate) struct Invite {
    /// The room.
    pub(crate) room_id: OwnedRoomId,
    /// The event's id as the path has it.
    pub(crate) event_id: String,
    /// The body.
    pub(crate) body: InviteBody,
}

/// The body of an invite.
#[derive(Debug, Deserialize)]
pub(crate) struct InviteBody {
    /// The room's version.
    pub(crate) room_version: String,
    /// The invite.
    pub(crate) event: Box<RawJsonValue>,
    /// What the invited user is told of the room.
    #[serde(default)]
    pub(crate) invite_room_state: Vec<Box<RawJsonValue>>,
}

same_endpoint!(Invite, create_invite::Request);

impl IncomingRequest for Invite {
    type EndpointError = Error;
    type OutgoingResponse = create_invite::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let room_id = path_args.first().copied().unwrap_or_default().try_into()?;
        let event_id = path_args.get(1).copied().unwrap_or_default().to_owned();
        Ok(Self { room_id, event_id, body: serde_json::from_slice(request.into_body())? })
    }
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`: a body without events, as servers send it to find out
/// whether they are let in, asks for none.
#[derive(Debug)]
pub(crate) struct MissingEvents {
    /// The room.
    pub(crate) room_id: OwnedRoomId,
    /// The body.
    pub(crate) body: MissingEventsBody,
}

/// The body of a question for missing events.
#[derive(Debug, Deserialize)]
pub(crate) struct MissingEventsBody {
    /// Events wanted.
    #[serde(default = "missing_events_default")]
    pub(crate) limit: UInt,
    /// Depth below which none are wanted.
    #[serde(default)]
    pub(crate) min_depth: UInt,
    /// What the server has.
    #[serde(default)]
    pub(crate) earliest_events: Vec<OwnedEventId>,
    /// Before what it lacks some.
    #[serde(default)]
    pub(crate) latest_events: Vec<OwnedEventId>,
}

fn missing_events_default() -> UInt {
    UInt::from(10_u8)
}

same_endpoint!(MissingEvents, get_missing_events::Request);

impl IncomingRequest for MissingEvents {
    type EndpointError = Error;
    type OutgoingResponse = get_missing_events::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let room_id = path_args.first().copied().unwrap_or_default().try_into()?;
        Ok(Self { room_id, body: serde_json::from_slice(request.into_body())? })
    }
}

#[cfg(test)]
mod tests {
    use ruma::api::{
        IncomingRequestExt as _, federation::membership::create_join_event::v2 as create_join_event,
        path_builder::PathBuilder as _,
    };

    use super::{Metadata, MissingEvents, SendEvent, SendJoinV1};

    #[test]
    fn a_sent_event_is_read_as_it_is() {
        let read = |uri: &str, body: &[u8]| {
            let request = http::Request::put(uri).body(body).unwrap();
            SendEvent::<create_join_event::Request>::try_from_http_request(request, &["!r:a.example", "xxx"])
        };
        let sent = read("/x?omit_members=true", b"{\"a\":1.1}").unwrap();
        assert_eq!((sent.event_id.as_str(), sent.event.get(), sent.omit_members), ("xxx", "{\"a\":1.1}", true));
        assert!(!read("/x?omit_members=false", b"{}").unwrap().omit_members);
        assert!(!read("/x", b"{}").unwrap().omit_members);
        read("/x", b"{").unwrap_err();
    }

    #[test]
    fn old_paths_are_known() {
        let paths: Vec<_> = SendEvent::<SendJoinV1>::PATH_BUILDER.all_paths().collect();
        assert_eq!(paths, ["/_matrix/federation/v1/send_join/{room_id}/{event_id}"]);
    }

    #[test]
    fn a_question_for_nothing_is_one() {
        let request = http::Request::post("/x").body(&b"{}"[..]).unwrap();
        let read = MissingEvents::try_from_http_request(request, &["!r:a.example"]).unwrap();
        assert!(read.body.latest_events.is_empty() && read.body.limit == 10_u8.into());
    }
}
