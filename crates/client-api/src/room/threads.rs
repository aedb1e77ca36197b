//! `GET /rooms/{roomId}/threads`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads)).

use axum::extract::State;
use ruma::api::client::threads::get_threads::v1::{IncludeThreads, Request};
use serde::Serialize;
use wardroom_rooms::THREADS_PAGE_MAX;
use wardroom_web::{ApiError, Routes, Ruma};

use super::{
    Ignores, actor, at_most,
    event_json::{Events, EventsReply},
    place,
};
use crate::ClientState;

/// Threads of a page where the client does not say.
const LIMIT_DEFAULT: usize = 20;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_threads)
}

#[derive(Serialize)]
struct Threads {
    chunk: Events,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

async fn get_threads(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<EventsReply<Threads>, ApiError> {
    let participated = match request.include {
        IncludeThreads::All => false,
        IncludeThreads::Participated => true,
        _ => return Err(ApiError::invalid_param("include: must be all or participated.")),
    };
    let limit = request.limit.map_or(LIMIT_DEFAULT, |limit| at_most(limit, THREADS_PAGE_MAX));
    if limit == 0 {
        return Err(ApiError::invalid_param("limit: must be greater than zero."));
    }
    let ignores = Ignores::of(&state.accounts.ignored_users(session.nid).await?);
    let (viewer, room) = (ignores.viewer(actor(&session)), &*request.room_id);
    let from = place("from", request.from.as_deref())?;
    let page = state.rooms.threads(viewer, room, participated, from, limit).await;
    let page = state.may_read(viewer.actor, room, "threads", page).await?;
    let body = Threads {
        chunk: Events::with_relations(&state, viewer, room, &page.chunk).await?,
        next_batch: page.next.map(|next| next.to_string()),
    };
    EventsReply::of_room(&state, room, "threads", body, |body| vec![&body.chunk]).await
}
