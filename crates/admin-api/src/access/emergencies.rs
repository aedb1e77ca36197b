//! `/_wardroom/admin/v1/break_glass`: who came into rooms without the role in an emergency, and the review of it.

use axum::Json;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Privacy;
use wardroom_care::{Emergency, EmergencyQuery, EndedWhy, ReviewVerdict};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const ALL: &str = "/_wardroom/admin/v1/break_glass";
const ONE: &str = "/_wardroom/admin/v1/break_glass/{emergency_id}";
const REVIEW: &str = "/_wardroom/admin/v1/break_glass/{emergency_id}/review";
const END: &str = "/_wardroom/admin/v1/break_glass/{emergency_id}/end";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(ALL, Privacy, "Lists who came into rooms in an emergency, and why; the newest first.", list)
        .get(ONE, Privacy, "Shows one emergency access.", show)
        .post(REVIEW, Privacy, "Says whether an emergency access was justified.", review)
        .post(END, Privacy, "Ends an emergency access.", end)
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = asked.text("room_id").map(OwnedRoomId::try_from).transpose();
    let room = room.map_err(|_| ApiError::invalid_param("room_id: this is no room id."))?;
    let user = asked.text("user_id").map(OwnedUserId::try_from).transpose();
    let user = user.map_err(|_| ApiError::invalid_param("user_id: this is no user id."))?;
    let (_, limit) = asked.page()?;
    let query = EmergencyQuery {
        open: asked.flag("open")?,
        reviewed: asked.flag("reviewed")?,
        room: room.as_deref(),
        user: user.as_deref(),
        before: asked.number("from")?,
        limit: limit.max(1),
    };
    let page = state.care.emergencies(query).await.map_err(error::of_care)?;
    Ok(Json(json!({ "emergencies": page.emergencies, "next_token": page.next })))
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Emergency>, ApiError> {
    state.care.emergency(asked.part(0)).await.map(Json).map_err(error::of_care)
}

async fn review(state: AdminState, asked: Asked) -> Result<Json<Emergency>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        verdict: ReviewVerdict,
        #[serde(default)]
        note: String,
    }
    let Body { verdict, note } = asked.body()?;
    let reviewed = state.care.review_emergency(asked.part(0), &asked.session.user, verdict, note).await;
    reviewed.map(Json).map_err(error::of_care)
}

async fn end(state: AdminState, asked: Asked) -> Result<Json<Emergency>, ApiError> {
    let ended = state.care.end_emergency(asked.part(0), EndedWhy::EndedByAdmin, Some(&asked.session.user)).await;
    ended.map(Json).map_err(error::of_care)
}
