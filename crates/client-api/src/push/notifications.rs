//! `GET /_matrix/client/v3/notifications`.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use ruma::{MilliSecondsSinceUnixEpoch, RoomId, UInt, api::client::push::get_notifications, serde::Raw};
use wardroom_push::{NOTIFICATIONS_PAGE_MAX, Only};
use wardroom_rooms::{Place, Stored};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::of_push;
use crate::{ClientState, caller::registered};

/// Notifications of a page when the client does not say how many it wants.
const LIMIT_DEFAULT: usize = 50;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_notifications)
}

async fn get_notifications(
    State(state): State<ClientState>,
    request: Ruma<get_notifications::v3::Request>,
) -> Result<Reply<get_notifications::v3::Response>, ApiError> {
    let actor = registered(&request.session)?;
    let get_notifications::v3::Request { from, limit, only, .. } = request.body;
    let from = from.map(|from| from.parse::<Place>()).transpose();
    let from = from.map_err(|error| ApiError::invalid_param(format!("from: {error}.")))?;
    let only = match only.as_deref() {
        None | Some("") => Only::All,
        Some("highlight") => Only::Highlights,
        Some(_) => return Err(ApiError::invalid_param("only: must be highlight.")),
    };
    let limit = limit.map_or(LIMIT_DEFAULT, |limit| usize::try_from(limit).unwrap_or(NOTIFICATIONS_PAGE_MAX));
    let page = state.push.notifications(actor, from, limit, only).await.map_err(of_push)?;
    let mut rooms: BTreeMap<&RoomId, Vec<&Arc<Stored>>> = BTreeMap::new();
    for one in &page.chunk {
        rooms.entry(&one.room).or_default().push(&one.stored);
    }
    for (room, events) in rooms {
        state.note_seen(room, "notifications", events).await?;
    }
    let notifications = page.chunk.into_iter().map(|one| {
        let ts = MilliSecondsSinceUnixEpoch(UInt::new_saturating(one.ts_ms));
        let event = Raw::from_json(one.event);
        let mut shown = get_notifications::v3::Notification::new(one.actions, event, one.read, one.room, ts);
        // Clients expect the field; rules of today have no profiles.
        shown.profile_tag = Some(String::new());
        shown
    });
    let mut response = get_notifications::v3::Response::new(notifications.collect());
    response.next_token = page.next.map(|next| next.to_string());
    Ok(Reply(response))
}
