//! `/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`: devices that receive keys while nobody is signed
//! in ([MSC3814](https://github.com/matrix-org/matrix-spec-proposals/pull/3814)).

use std::collections::BTreeMap;

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderValue, header::CONTENT_TYPE};
use ruma::{
    OwnedDeviceId, OwnedOneTimeKeyId,
    api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        client::dehydrated_device::{
            delete_dehydrated_device, get_dehydrated_device, get_events as post_events, put_dehydrated_device,
        },
        error::{DeserializationError, Error},
        metadata,
    },
    encryption::OneTimeKey,
    serde::Raw,
};
use serde::Serialize;
use serde_json::value::RawValue;
use wardroom_accounts::{AccountError, DehydratedEvents, DehydratedToken, KeyUpload, NewDehydrated, Session};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(put_dehydrated_device)
        .endpoint(get_dehydrated_device)
        .endpoint(delete_dehydrated_device)
        .endpoint(get_events)
        .endpoint(post_events)
}

async fn put_dehydrated_device(
    State(state): State<ClientState>,
    request: Ruma<put_dehydrated_device::unstable::Request>,
) -> Result<Reply<put_dehydrated_device::unstable::Response>, ApiError> {
    let Ruma { body, session, .. } = request;
    state.limits.take(Class::Keys, session.nid)?;
    let keys = KeyUpload {
        device_keys: Some(body.device_keys.into_json()),
        one_time_keys: by_id(body.one_time_keys),
        fallback_keys: by_id(body.fallback_keys),
    };
    let new = NewDehydrated {
        device_id: &body.device_id,
        device_data: body.device_data.json(),
        display_name: body.initial_device_display_name.as_deref(),
        keys: &keys,
    };
    state.accounts.dehydrate(&session, &new).await?;
    Ok(Reply(put_dehydrated_device::unstable::Response::new(body.device_id)))
}

fn by_id(keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>) -> Vec<(String, Box<RawValue>)> {
    keys.into_iter().map(|(id, key)| (id.to_string(), key.into_json())).collect()
}

fn none() -> ApiError {
    ApiError::not_found("You have no dehydrated device.")
}

async fn get_dehydrated_device(
    State(state): State<ClientState>,
    request: Ruma<get_dehydrated_device::unstable::Request>,
) -> Result<Reply<get_dehydrated_device::unstable::Response>, ApiError> {
    let found = state.accounts.dehydrated(request.session.nid).await?.ok_or_else(none)?;
    let data = Raw::from_json(found.device_data);
    Ok(Reply(get_dehydrated_device::unstable::Response::new(found.device_id, data)))
}

async fn delete_dehydrated_device(
    State(state): State<ClientState>,
    request: Ruma<delete_dehydrated_device::unstable::Request>,
) -> Result<Reply<delete_dehydrated_device::unstable::Response>, ApiError> {
    let user = request.session.nid;
    state.limits.take(Class::Keys, user)?;
    let deleted = state.accounts.delete_dehydrated(user).await?.ok_or_else(none)?;
    Ok(Reply(delete_dehydrated_device::unstable::Response::new(deleted)))
}

/// `GET .../dehydrated_device/{device_id}/events`, as the proposal has it now; ruma knows the older POST only.
#[derive(Debug)]
struct GetEvents {
    device_id: OwnedDeviceId,
    from: Option<String>,
}

metadata! {
    @for GetEvents,
    method: GET,
    rate_limited: false,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events",
}

impl IncomingRequest for GetEvents {
    type EndpointError = Error;
    type OutgoingResponse = post_events::unstable::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let from = query(request.uri(), "from");
        Ok(Self { device_id: path_args.first().copied().unwrap_or_default().into(), from })
    }
}

/// A query parameter. Tokens hold nothing that would have to be decoded; what does is no token.
fn query(uri: &http::Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
}

/// A page of messages. ruma's response would say `null` where nothing follows, and clients would ask on for ever.
#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

/// Clients go on while `next_batch` is there.
async fn get_events(State(state): State<ClientState>, request: Ruma<GetEvents>) -> Result<Response, ApiError> {
    let (session, body) = (&request.session, &request.body);
    let found = events(&state, session, &body.device_id, "from", body.from.as_deref()).await?;
    let next_batch = found.more.then(|| found.next.to_string());
    let page = Page { events: raw(found)?, next_batch };
    let json = serde_json::to_vec(&page).map_err(|error| ApiError::internal(&error))?;
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Clients of the older form go on until `events` is empty, and are always told where.
async fn post_events(
    State(state): State<ClientState>,
    request: Ruma<post_events::unstable::Request>,
) -> Result<Reply<post_events::unstable::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    let found = events(&state, session, &body.device_id, "next_batch", body.next_batch.as_deref()).await?;
    let next_batch = Some(found.next.to_string());
    let mut response = post_events::unstable::Response::new(raw(found)?.into_iter().map(Raw::from_json).collect());
    response.next_batch = next_batch;
    Ok(Reply(response))
}

async fn events(
    state: &ClientState,
    session: &Session,
    device: &ruma::DeviceId,
    field: &str,
    from: Option<&str>,
) -> Result<DehydratedEvents, ApiError> {
    let after = from.map(str::parse::<DehydratedToken>).transpose();
    let after = after.map_err(|error| ApiError::invalid_param(format!("{field}: {error}.")))?.unwrap_or_default();
    let found = state.accounts.dehydrated_events(session.nid, device, after).await?;
    found.ok_or_else(|| ApiError::forbidden("This is not your dehydrated device."))
}

/// The messages as JSON.
fn raw(found: DehydratedEvents) -> Result<Vec<Box<RawValue>>, AccountError> {
    let events = found.events.into_iter().map(|event| {
        let json = String::from_utf8(event.json).ok().and_then(|json| RawValue::from_string(json).ok());
        json.ok_or(AccountError::Damaged("message to a device"))
    });
    events.collect()
}
