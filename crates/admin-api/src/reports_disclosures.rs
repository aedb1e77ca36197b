//! `GET /_wardroom/admin/v1/reports/disclosures`: which other servers received what of a room, or of the rooms that somebody
//! is or was in (45 CFR 164.528).

use std::collections::BTreeMap;

use axum::Json;
use ruma::UserId;
use serde::Serialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Act, ENTRIES_MAX, Query, Record};
use wardroom_rooms::UserNid;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const DISCLOSURES: &str = "/_wardroom/admin/v1/reports/disclosures";
/// Records that one answer is made of; `next` leads to those behind them.
const RECORDS_MAX: usize = 50_000;
/// Rooms of one user that are looked at.
const ROOMS_MAX: usize = 1_000;

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new().get(
        DISCLOSURES,
        Audit,
        "Lists the servers that received events of `room_id`, or of the rooms that `user_id` is or was in, with how many, the \
         first and the last, between `from_ts` and `to_ts` (milliseconds); `server` for one of them alone. `next`, if it is \
         there, goes on as `after`.",
        disclosures,
    )
}

/// What a server received of a room.
#[derive(Clone, Debug, Default, Serialize)]
struct Disclosed {
    server: String,
    room_id: Option<String>,
    /// Events that were sent, or asked for and given.
    events: u64,
    first_event_id: Option<String>,
    last_event_id: Option<String>,
    first_ts: u64,
    last_ts: u64,
    /// In which ways, with the number of records of each.
    by: BTreeMap<String, u64>,
}

/// Servers and rooms, with what was received.
type Found = BTreeMap<(String, Option<String>), Disclosed>;

async fn disclosures(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (room, user, server) = (asked.text("room_id"), asked.text("user_id"), asked.text("server"));
    let rooms = match user {
        Some(user) => Some(rooms_of(&state, &user).await?),
        None => None,
    };
    let mut query = Query {
        room,
        acts: vec![Act::FederationSend],
        from_ms: asked.number("from_ts")?,
        before_ms: asked.number("to_ts")?,
        after: asked.number("after")?,
        limit: ENTRIES_MAX,
        ..Query::default()
    };
    let (mut found, mut read, mut next) = (Found::new(), 0, None);
    loop {
        let page = state.audit.search(&query).await.map_err(error::of_audit)?;
        read += page.len();
        for entry in &page {
            let record = &entry.record;
            if rooms.as_ref().is_none_or(|rooms| record.on.room.as_ref().is_some_and(|room| rooms.contains(room))) {
                note(&mut found, record, server.as_deref());
            }
        }
        query.after = page.last().map(|entry| entry.number);
        if page.len() < ENTRIES_MAX {
            break;
        }
        if read >= RECORDS_MAX {
            next = query.after;
            break;
        }
    }
    let record = Record::of(Act::AuditRead).detail("disclosures").query(asked.query_string()).count(read as u64);
    state.audit.write(record).await.map_err(error::of_audit)?;
    let found: Vec<Disclosed> = found.into_values().collect();
    Ok(Json(json!({ "disclosures": found, "next": next })))
}

fn note(found: &mut Found, record: &Record, only: Option<&str>) {
    let on = &record.on;
    for server in on.servers.iter().filter(|server| only.is_none_or(|only| *server == only)) {
        let entry = found.entry((server.clone(), on.room.clone())).or_insert_with(|| Disclosed {
            server: server.clone(),
            room_id: on.room.clone(),
            first_event_id: on.event.clone(),
            first_ts: record.at,
            ..Disclosed::default()
        });
        entry.events = entry.events.saturating_add(on.count.unwrap_or(1));
        entry.last_event_id = on.last.clone().or_else(|| on.event.clone());
        entry.last_ts = record.at;
        *entry.by.entry(on.detail.clone().unwrap_or_default()).or_default() += 1;
    }
}

/// The rooms that a user of any server is or was in, as far as this server knows.
async fn rooms_of(state: &AdminState, user: &str) -> Result<Vec<String>, ApiError> {
    let user = <&UserId>::try_from(user).map_err(|_| ApiError::invalid_param("user_id: this is no user id."))?;
    let Some(nid) = state.accounts.user_nid(user).await? else { return Ok(Vec::new()) };
    let rooms = state.rooms.rooms_ever_joined(UserNid::new(nid.get())).await.map_err(error::of_room)?;
    if rooms.len() > ROOMS_MAX {
        return Err(ApiError::invalid_param("user_id: was in too many rooms; ask for one with `room_id`."));
    }
    Ok(rooms.into_iter().map(|room| room.to_string()).collect())
}
