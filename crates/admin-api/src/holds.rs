//! `/_wardroom/admin/v1/holds`: legal holds, and what they cover.

use std::time::Duration;

use axum::Json;
use http::StatusCode;
use ruma::api::error::ErrorKind;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Privacy;
use wardroom_audit::{Act, Record};
use wardroom_holds::{Hold, HoldError, HoldId, NewHold, State};
use wardroom_rooms::HeldEvent;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const ALL: &str = "/_wardroom/admin/v1/holds";
const ONE: &str = "/_wardroom/admin/v1/holds/{hold_id}";
const EVENTS: &str = "/_wardroom/admin/v1/holds/{hold_id}/events";
/// How long to wait before trying again where something is being deleted.
const BUSY_RETRY: Duration = Duration::from_secs(1);

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(ALL, Privacy, "Lists legal holds, the newest first.", list)
        .post(ALL, Privacy, "Sets a legal hold: what it covers is not deleted.", set)
        .get(ONE, Privacy, "Shows a legal hold.", show)
        .delete(ONE, Privacy, "Releases a legal hold, or asks for its release where two are needed for it.", release)
        .get(EVENTS, Privacy, "Shows the events that a legal hold covers.", events)
}

fn of_hold(error: HoldError) -> ApiError {
    let sentence = error.to_string();
    match error {
        HoldError::Invalid(sentence) => ApiError::invalid_param(sentence),
        HoldError::NoSuchHold => ApiError::not_found(sentence),
        HoldError::Conflict(_) | HoldError::TooMany(_) => {
            ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, sentence)
        }
        HoldError::Busy => ApiError::limit_exceeded(BUSY_RETRY),
        HoldError::DiskFull => ApiError::disk_full(),
        error @ (HoldError::Read(_) | HoldError::Commit(_) | HoldError::Damaged) => ApiError::internal(&error),
    }
}

/// The hold in the path.
fn id_of(asked: &Asked) -> Result<HoldId, ApiError> {
    asked.part(0).parse().map_err(of_hold)
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let which = match asked.get("state") {
        None | Some("in_force") => State::InForce,
        Some("released") => State::Released,
        Some("all") => State::All,
        Some(_) => return Err(ApiError::invalid_param("state: neither in_force nor released nor all")),
    };
    let limit = asked.number("limit")?.map_or(100, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let wrong = |_| ApiError::invalid_param("from: no `next_token` of this list");
    let after = asked.text("from").map(|from| from.parse()).transpose().map_err(wrong)?;
    let page = state.holds.list(which, after, limit).await.map_err(of_hold)?;
    let mut shown = json!({ "holds": page.holds });
    if let Some(next) = page.next {
        shown["next_token"] = next.to_string().into();
    }
    Ok(Json(shown))
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Hold>, ApiError> {
    let new: NewHold = asked.body()?;
    state.holds.set(new, &asked.session.user).await.map(Json).map_err(of_hold)
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Hold>, ApiError> {
    state.holds.get(id_of(&asked)?).await.map(Json).map_err(of_hold)
}

async fn release(state: AdminState, asked: Asked) -> Result<Json<Hold>, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        reason: String,
    }
    let (id, Body { reason }) = (id_of(&asked)?, asked.body()?);
    state.holds.release(id, &asked.session.user, &reason).await.map(Json).map_err(of_hold)
}

async fn events(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let hold = state.holds.get(id_of(&asked)?).await.map_err(of_hold)?;
    if hold.released_ts.is_some() {
        return Err(of_hold(HoldError::Conflict("hold_id: the hold was released already.")));
    }
    let wrong = |()| ApiError::invalid_param("from: no `next_token` of this list");
    let from = asked.text("from").map(|from| from.parse()).transpose().map_err(wrong)?;
    let page = state.rooms.held_events(&hold.scope, from).await.map_err(error::of_room)?;
    for of_room in page.events.chunk_by(|a, b| a.room_id == b.room_id) {
        state.audit.write(record(hold.id, of_room)).await.map_err(error::of_audit)?;
    }
    let mut shown = json!({ "events": page.events });
    if let Some(next) = page.next {
        shown["next_token"] = next.to_string().into();
    }
    Ok(Json(shown))
}

/// That events of a room were looked at by way of a hold.
fn record(hold: HoldId, events: &[HeldEvent]) -> Record {
    let record = Record::of(Act::HoldRead).name(hold.to_string()).count(events.len() as u64);
    match (events.first(), events.last()) {
        (Some(first), Some(last)) => {
            record.room(first.room_id.as_str()).event(first.event_id.as_str()).last(last.event_id.as_str())
        }
        _ => record,
    }
}
