//! `GET`, `PUT` and `DELETE /_wardroom/admin/v1/rooms/{room}/retention`: how long the messages of a room are kept,
//! by which layer (`source`: who says when they go), and what the room and an administrator say; and
//! `GET /_wardroom/admin/v1/retention/receipts`: what was purged.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Privacy;
use wardroom_rooms::{Override, PurgeReceipt, RECEIPTS_PAGE_MAX, RetentionOf, Terms};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

const ROOM: &str = "/_wardroom/admin/v1/rooms/{room_id}/retention";
const RECEIPTS: &str = "/_wardroom/admin/v1/retention/receipts";

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(ROOM, Privacy, "Shows how long a room's messages are kept, and what was set for it.", show)
        .put(ROOM, Privacy, "Sets how long a room's messages are kept, whatever the room says itself.", set)
        .delete(ROOM, Privacy, "Lets the room say itself how long its messages are kept.", remove)
        .get(
            RECEIPTS,
            Privacy,
            "Lists the signed receipts of purges, newest first, before the time in `before_ts` (milliseconds).",
            receipts,
        )
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = asked.room_id(0)?;
    let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let RetentionOf { set, said, template } = state.rooms.retention_of(&view).await.map_err(error::of_room)?;
    let min_ms = Some(view.lifetime.min_ms).filter(|ms| *ms > 0);
    let mut shown = json!(Terms { max_ms: view.lifetime.max_ms, min_ms });
    let says = |terms: Option<Terms>| terms.is_some_and(|terms| terms.max_ms.is_some());
    shown["source"] = match (says(set.map(|set| set.terms)), says(said), says(template)) {
        (true, ..) => "override",
        (false, true, _) => "room",
        (false, false, true) => "template",
        (false, false, false) => "server",
    }
    .into();
    if let Some(template) = template {
        shown["template"] = json!(template);
    }
    if let Some(said) = said {
        shown["room"] = json!(said);
    }
    if let Some(set) = set {
        shown["override"] = json!(set);
    }
    if state.holds.nothing_changes().await.room(&room).is_held() {
        shown["held"] = true.into();
    }
    Ok(Json(shown))
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (room, set): (_, Override) = (asked.room_id(0)?, asked.body()?);
    state.rooms.set_retention_override(&room, Some(set)).await.map_err(error::of_room)?;
    show(state, asked).await
}

async fn remove(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = asked.room_id(0)?;
    state.rooms.set_retention_override(&room, None).await.map_err(error::of_room)?;
    show(state, asked).await
}

async fn receipts(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (_, limit) = asked.page()?;
    let limit = limit.min(RECEIPTS_PAGE_MAX);
    let receipts: Vec<PurgeReceipt> =
        state.rooms.purge_receipts(asked.number("before_ts")?, limit).await.map_err(error::of_room)?;
    Ok(Json(json!({ "receipts": receipts })))
}
