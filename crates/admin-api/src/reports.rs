//! What users reported: `GET` and `DELETE /_synapse/admin/v1/event_reports` and `v1/user_reports`, and below.

use axum::Json;
use ruma::OwnedUserId;
use serde::Serialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::{Privacy, Rooms};
use wardroom_rooms::{Report, Reported, RoomFacts, Stored};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, next_place},
    error,
};

/// Reports that are looked at for one answer, the newest.
const REPORTS_MAX: usize = 100_000;
/// Reports read at a time.
const REPORTS_PAGE: usize = 1_000;

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v1/event_reports", Rooms, "Lists reports of events.", events)
        .get("/_synapse/admin/v1/event_reports/{report_id}", Privacy, "Tells of one report, with the event.", event)
        .delete("/_synapse/admin/v1/event_reports/{report_id}", Rooms, "Deletes a report of an event.", delete_event)
        .get("/_synapse/admin/v1/user_reports", Rooms, "Lists reports of users.", users)
        .get("/_synapse/admin/v1/user_reports/{report_id}", Rooms, "Tells of one report of a user.", user)
        .delete("/_synapse/admin/v1/user_reports/{report_id}", Rooms, "Deletes a report of a user.", delete_user)
}

#[derive(Serialize)]
struct EventReport {
    id: u64,
    received_ts: u64,
    room_id: Option<String>,
    event_id: Option<String>,
    user_id: Option<OwnedUserId>,
    reason: Option<String>,
    score: Option<i8>,
    sender: Option<String>,
    canonical_alias: Option<String>,
    name: Option<String>,
}

#[derive(Serialize)]
struct UserReport {
    id: u64,
    received_ts: u64,
    target_user_id: Option<OwnedUserId>,
    user_id: Option<OwnedUserId>,
    reason: Option<String>,
}

/// Reports that this says yes to, in the order asked for: the newest first unless something else is said.
async fn all(state: &AdminState, asked: &Asked, wanted: fn(&Reported) -> bool) -> Result<Vec<Report>, ApiError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = state.rooms.reports(after, REPORTS_PAGE).await.map_err(error::of_room)?;
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        all.extend(page.into_iter().filter(|report| wanted(&report.reported)));
        if all.len() > REPORTS_MAX {
            all.drain(..all.len() - REPORTS_MAX);
        }
    }
    if asked.backwards(true)? {
        all.reverse();
    }
    Ok(all)
}

fn has(text: Option<&str>, part: Option<&String>) -> bool {
    part.is_none_or(|part| text.is_some_and(|text| text.to_lowercase().contains(&part.to_lowercase())))
}

/// A report with what is known of its event.
async fn shown(state: &AdminState, report: &Report) -> Result<(EventReport, Option<std::sync::Arc<Stored>>), ApiError> {
    let Reported::Event(room, event) = report.reported else {
        return Err(ApiError::not_found("report_id: there is no such report."));
    };
    let stored = state.rooms.live_event(room, event).await.map_err(error::of_room)?;
    let room_id = state.rooms.room_id(room).await.map_err(error::of_room)?;
    let facts = match &room_id {
        Some(id) => state.rooms.overview_of(id).await.map_err(error::of_room)?.map(|room| room.facts),
        None => None,
    };
    let text = |field: fn(&RoomFacts) -> Option<String>| facts.as_ref().and_then(|facts| field(facts));
    let event_id = state.rooms.event_ids(&[event]).await.map_err(error::of_room)?.pop();
    let shown = EventReport {
        id: report.position.get(),
        received_ts: report.at_ms,
        room_id: room_id.map(|id| id.to_string()),
        event_id: event_id.map(|id| id.to_string()),
        user_id: state.rooms.user_ids(&[report.reporter]).await.map_err(error::of_room)?.pop(),
        reason: Some(report.reason.clone()).filter(|reason| !reason.is_empty()),
        score: report.score,
        sender: stored.as_ref().map(|stored| stored.pdu.sender().to_string()),
        canonical_alias: text(|facts| facts.canonical_alias.clone()),
        name: text(|facts| facts.name.clone()),
    };
    Ok((shown, stored))
}

async fn events(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (from, limit) = asked.page()?;
    let (by, room, sender) = (asked.text("user_id"), asked.text("room_id"), asked.text("event_sender_user_id"));
    let reports = all(&state, &asked, |reported| matches!(reported, Reported::Event(..))).await?;
    let (mut page, mut total) = (Vec::new(), 0);
    let unfiltered = by.is_none() && room.is_none() && sender.is_none();
    for report in &reports {
        let on_page = total >= from && page.len() < limit;
        // What is not on the page is read only where it may not count.
        if unfiltered && !on_page {
            total += 1;
            continue;
        }
        let report = shown(&state, report).await?.0;
        if has(report.user_id.as_ref().map(|id| id.as_str()), by.as_ref())
            && has(report.room_id.as_deref(), room.as_ref())
            && has(report.sender.as_deref(), sender.as_ref())
        {
            total += 1;
            if on_page {
                page.push(report);
            }
        }
    }
    Ok(listed("event_reports", &page, from, total))
}

fn listed<T: Serialize>(name: &str, page: &[T], from: usize, total: usize) -> Json<Value> {
    let mut answer = json!({ name: page, "total": total });
    if let Some(next) = next_place(from, page.len(), total) {
        answer["next_token"] = next.into();
    }
    Json(answer)
}

/// The report of the path.
async fn named(state: &AdminState, asked: &Asked) -> Result<Report, ApiError> {
    let wrong = || ApiError::invalid_param("report_id: not a number from 0 on");
    let id: u64 = asked.part(0).parse().map_err(|_| wrong())?;
    let report = state.rooms.report_at(id).await.map_err(error::of_room)?;
    report.ok_or_else(|| ApiError::not_found("report_id: there is no such report."))
}

async fn event(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let report = named(&state, &asked).await?;
    let (report, stored) = shown(&state, &report).await?;
    let mut answer = json!(report);
    answer["event_json"] = match stored {
        Some(stored) => json!(state.rooms.client_event(asked.actor(), &stored, true).await.map_err(error::of_room)?),
        None => Value::Null,
    };
    tracing::info!(admin = asked.nid().get(), report = report.id, "an administrator reads a reported event");
    Ok(Json(answer))
}

async fn user_shown(state: &AdminState, report: &Report) -> Result<UserReport, ApiError> {
    let Reported::User(target) = report.reported else {
        return Err(ApiError::not_found("report_id: there is no such report."));
    };
    Ok(UserReport {
        id: report.position.get(),
        received_ts: report.at_ms,
        target_user_id: state.rooms.user_ids(&[target]).await.map_err(error::of_room)?.pop(),
        user_id: state.rooms.user_ids(&[report.reporter]).await.map_err(error::of_room)?.pop(),
        reason: Some(report.reason.clone()).filter(|reason| !reason.is_empty()),
    })
}

async fn users(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (from, limit) = asked.page()?;
    let (by, target) = (asked.text("user_id"), asked.text("target_user_id"));
    let (mut page, mut total) = (Vec::new(), 0);
    for report in all(&state, &asked, |reported| matches!(reported, Reported::User(_))).await? {
        let report = user_shown(&state, &report).await?;
        if has(report.user_id.as_ref().map(|id| id.as_str()), by.as_ref())
            && has(report.target_user_id.as_ref().map(|id| id.as_str()), target.as_ref())
        {
            if total >= from && page.len() < limit {
                page.push(report);
            }
            total += 1;
        }
    }
    Ok(listed("user_reports", &page, from, total))
}

async fn user(state: AdminState, asked: Asked) -> Result<Json<UserReport>, ApiError> {
    let report = named(&state, &asked).await?;
    Ok(Json(user_shown(&state, &report).await?))
}

async fn delete_event(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    delete(&state, &asked, |reported| matches!(reported, Reported::Event(..))).await
}

async fn delete_user(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    delete(&state, &asked, |reported| matches!(reported, Reported::User(_))).await
}

async fn delete(state: &AdminState, asked: &Asked, of_kind: fn(&Reported) -> bool) -> Result<Json<Value>, ApiError> {
    let report = named(state, asked).await?;
    if !of_kind(&report.reported) || !state.rooms.delete_report(report.position).await.map_err(error::of_room)? {
        return Err(ApiError::not_found("report_id: there is no such report."));
    }
    Ok(Json(json!({})))
}
