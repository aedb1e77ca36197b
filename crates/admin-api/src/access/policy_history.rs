//! `GET /_wardroom/admin/v1/rooms/{room}/policy/history`: every version of what a room required of people and of how long it
//! kept their messages, each with the time for which it was in force (45 CFR 164.316(b)(2)).

use axum::Json;
use ruma::events::StateEventType;
use serde::Serialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_audit::{Act, ENTRIES_MAX, Query, Record};
use wardroom_care::ACCESS_POLICY;
use wardroom_rooms::{InForce, OVERRIDE_REMOVED, OVERRIDE_SET, RETENTION_TYPES};
use wardroom_web::ApiError;

use super::policy::view;
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const HISTORY: &str = "/_wardroom/admin/v1/rooms/{room_id}/policy/history";
/// Parts of the trail that one answer is made of, each a bounded amount of work.
const TRAIL_PAGES_MAX: usize = 50;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(
        HISTORY,
        Rooms,
        "Lists every version of a room's access policy and of how long its messages are kept, newest first, each with the time \
         for which it was in force (`from_ts`, `until_ts`); and under `overrides` what administrators set. `type` asks for \
         another type of state.",
        history,
    )
}

/// Something that was in force for a time.
#[derive(Serialize)]
struct Version {
    #[serde(rename = "type")]
    kind: String,
    event_id: String,
    /// Who sent it.
    sender: String,
    from_ts: u64,
    /// Absent while it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ts: Option<u64>,
    /// What is left of it, where it was redacted.
    content: Value,
    /// The redaction, and when it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<Value>,
}

impl Version {
    fn of(kind: &str, InForce { event, from_ms, until_ms }: &InForce) -> Self {
        let redacted = event.redacted_because.as_ref().map(
            |by| json!({ "event_id": by.event_id(), "sender": by.sender(), "origin_server_ts": by.origin_server_ts() }),
        );
        Self {
            kind: kind.to_owned(),
            event_id: event.pdu.event_id().to_string(),
            sender: event.pdu.sender().to_string(),
            from_ts: *from_ms,
            until_ts: *until_ms,
            content: event.pdu.content_as().unwrap_or_default(),
            redacted,
        }
    }
}

async fn history(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = view(&state, &asked).await?;
    let kinds = match asked.text("type") {
        Some(kind) => vec![kind],
        None => [ACCESS_POLICY].into_iter().chain(RETENTION_TYPES).map(str::to_owned).collect(),
    };
    let mut versions = Vec::new();
    for kind in kinds {
        let found = state.rooms.state_history(&room, &StateEventType::from(kind.as_str())).await;
        versions.extend(found.map_err(error::of_room)?.iter().map(|version| Version::of(&kind, version)));
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.from_ts));
    let (overrides, complete) = overrides(&state, room.id.as_str()).await?;
    Ok(Json(json!({ "versions": versions, "overrides": overrides, "overrides_complete": complete })))
}

/// What administrators set, newest first, and whether that is all.
async fn overrides(state: &AdminState, room: &str) -> Result<(Vec<Value>, bool), ApiError> {
    let mut query = Query {
        room: Some(room.to_owned()),
        acts: vec![Act::RoomChange],
        newest_first: true,
        limit: ENTRIES_MAX,
        ..Query::default()
    };
    let (mut found, mut until_ts) = (Vec::new(), None);
    for _ in 0..TRAIL_PAGES_MAX {
        let page = state.audit.page(&query).await.map_err(error::of_audit)?;
        for entry in &page.entries {
            let what = entry.record.on.detail.as_deref();
            if what == Some(OVERRIDE_SET) {
                found.push(of_override(&entry.record, until_ts));
            }
            if matches!(what, Some(OVERRIDE_SET | OVERRIDE_REMOVED)) {
                until_ts = Some(entry.record.at);
            }
        }
        query.after = page.next;
        if page.next.is_none() {
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

fn of_override(record: &Record, until_ts: Option<u64>) -> Value {
    let terms: Option<Value> = record.on.name.as_deref().and_then(|terms| serde_json::from_str(terms).ok());
    let mut shown = json!({ "from_ts": record.at, "set_by": record.who.user, "content": terms });
    if let Some(until_ts) = until_ts {
        shown["until_ts"] = until_ts.into();
    }
    shown
}
