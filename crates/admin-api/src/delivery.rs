//! `GET /_wardroom/admin/v1/rooms/{room_id}/events/{event_id}/delivery`: which devices received an event, and who has read
//! it. Private receipts are no evidence to others and do not count.

use std::collections::BTreeMap;

use axum::response::Response;
use ruma::EventId;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Act, Record};
use wardroom_rooms::RoomError;
use wardroom_web::ApiError;

use crate::{
    AdminState, csv,
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

const DELIVERY: &str = "/_wardroom/admin/v1/rooms/{room_id}/events/{event_id}/delivery";
const COLUMNS: [&str; 4] = ["user_id", "device_id", "delivered_ts", "read_ts"];

pub(crate) fn endpoints() -> Endpoints {
    let summary = "Tells which devices received an event and who has read it, with times, also as CSV (`format=csv`).";
    Endpoints::new().get(DELIVERY, Audit, summary, delivery)
}

async fn delivery(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let room = asked.room_id(0)?;
    let event = EventId::parse(asked.part(1)).map_err(|_| ApiError::invalid_param("event_id: this is no event id."))?;
    let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let found = state.rooms.first_read(view.nid, &event).await.map_err(|error| match error {
        RoomError::NoSuchEvent => ApiError::not_found("There is no such event in this room."),
        error => error::of_room(error),
    })?;
    let (stored, read) = found;
    let mut read: BTreeMap<String, u64> = read.into_iter().map(|(user, ts_ms)| (user.to_string(), ts_ms)).collect();
    let delivered = state.audit.deliveries(stored.nid.get()).await.map_err(error::of_audit)?;
    let mut rows: Vec<Value> = Vec::with_capacity(delivered.len());
    for one in &delivered {
        let read_ts = read.get(&one.user);
        rows.push(json!({
            "user_id": one.user, "device_id": one.device, "delivered_ts": one.at_ms, "read_ts": read_ts,
        }));
    }
    // Users of other servers, of whose devices nothing is known here.
    for one in &delivered {
        read.remove(&one.user);
    }
    rows.extend(read.into_iter().map(
        |(user, read_ts)| json!({ "user_id": user, "device_id": null, "delivered_ts": null, "read_ts": read_ts }),
    ));
    let record = Record::of(Act::AuditRead).room(room.as_str()).event(event.as_str()).detail("delivery");
    state.audit.write(record.count(rows.len() as u64)).await.map_err(error::of_audit)?;
    csv::answer(&asked, "deliveries", &COLUMNS, &rows, None)
}
