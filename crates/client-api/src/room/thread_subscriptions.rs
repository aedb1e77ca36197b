//! Thread subscriptions ([MSC4306](https://github.com/matrix-org/matrix-spec-proposals/pull/4306)), and the changes of
//! them ([MSC4308](https://github.com/matrix-org/matrix-spec-proposals/pull/4308)).

use std::collections::BTreeMap;

use axum::extract::State;
use http::Method;
use ruma::{
    OwnedEventId, OwnedRoomId, UInt,
    api::{
        IncomingRequest, Metadata,
        client::threads::{
            get_thread_subscription::unstable as get_subscription,
            get_thread_subscriptions_changes::unstable::{
                Request as Changes, Response as ChangesResponse, ThreadSubscription, ThreadUnsubscription,
            },
            subscribe_thread::unstable as subscribe,
            unsubscribe_thread::unstable as unsubscribe,
        },
        error::{DeserializationError, Error},
    },
};
use wardroom_rooms::{Place, RoomError, SUBSCRIPTION_CHANGES_MAX};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{at_most, place, registered};
use crate::{ClientState, error};

/// Changes of a page where the client does not say.
const LIMIT_DEFAULT: usize = 100;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_thread_subscription)
        .endpoint(subscribe_thread)
        .endpoint(unsubscribe_thread)
        .endpoint(get_thread_subscriptions_changes)
}

async fn get_thread_subscription(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<get_subscription::Request>,
) -> Result<Reply<get_subscription::Response>, ApiError> {
    let found = state.rooms.thread_subscription(registered(&session)?, &request.room_id, &request.thread_root).await;
    let automatic = found.map_err(error::of_room)?;
    let missing = RoomError::NotFound("You are not subscribed to this thread.");
    Ok(Reply(get_subscription::Response::new(automatic.ok_or_else(|| error::of_room(missing))?)))
}

async fn subscribe_thread(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<subscribe::Request>,
) -> Result<Reply<subscribe::Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    let (actor, cause) = (registered(&session)?, request.automatic.as_deref());
    let subscribed = state.rooms.subscribe_thread(actor, &request.room_id, &request.thread_root, cause);
    subscribed.await.map_err(error::of_room)?;
    Ok(Reply(subscribe::Response::new()))
}

async fn unsubscribe_thread(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<unsubscribe::Request>,
) -> Result<Reply<unsubscribe::Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    let ended = state.rooms.unsubscribe_thread(registered(&session)?, &request.room_id, &request.thread_root);
    ended.await.map_err(error::of_room)?;
    Ok(Reply(unsubscribe::Response::new()))
}

/// A page of changes that is asked for. ruma's request hides the direction, of which there is only one.
#[derive(Debug)]
struct ChangesRequest {
    page: Changes,
    forwards: bool,
}

impl Metadata for ChangesRequest {
    const METHOD: Method = Changes::METHOD;
    const RATE_LIMITED: bool = Changes::RATE_LIMITED;
    type Authentication = <Changes as Metadata>::Authentication;
    type PathBuilder = <Changes as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Changes::PATH_BUILDER;
}

impl IncomingRequest for ChangesRequest {
    type EndpointError = Error;
    type OutgoingResponse = ChangesResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let query = request.uri().query().unwrap_or_default();
        // The last of several counts, as for ruma.
        let direction = query.split('&').rev().find_map(|pair| pair.strip_prefix("dir="));
        let forwards = direction == Some("f");
        Ok(Self { page: Changes::try_from_http_request_inner(request, path_args)?, forwards })
    }
}

async fn get_thread_subscriptions_changes(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<ChangesRequest>,
) -> Result<Reply<ChangesResponse>, ApiError> {
    let actor = registered(&session)?;
    if request.forwards {
        return Err(ApiError::invalid_param("dir: must be b."));
    }
    let limit = request.page.limit.map_or(LIMIT_DEFAULT, |limit| at_most(limit, SUBSCRIPTION_CHANGES_MAX));
    if limit == 0 {
        return Err(ApiError::invalid_param("limit: must be greater than zero."));
    }
    let newest = place("from", request.page.from.as_deref())?.unwrap_or(Place::LAST);
    let oldest = place("to", request.page.to.as_deref())?.unwrap_or(Place::FIRST);
    let found = state.rooms.thread_subscription_changes(actor.nid, oldest, newest, limit).await;
    let found = found.map_err(error::of_room)?;
    let mut response = ChangesResponse::new();
    for change in found.changes {
        let bump_stamp = UInt::new_saturating(change.bump_stamp);
        let (room, root): (OwnedRoomId, OwnedEventId) = (change.room, change.root);
        match change.automatic {
            Some(automatic) => {
                let subscribed: &mut BTreeMap<_, _> = response.subscribed.entry(room).or_default();
                subscribed.insert(root, ThreadSubscription::new(automatic, bump_stamp));
            }
            None => {
                let unsubscribed: &mut BTreeMap<_, _> = response.unsubscribed.entry(room).or_default();
                unsubscribed.insert(root, ThreadUnsubscription::new(bump_stamp));
            }
        }
    }
    response.end = found.more.map(|more| more.to_string());
    Ok(Reply(response))
}
