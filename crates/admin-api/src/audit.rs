//! `GET /_wardroom/admin/v1/audit/records`: the audit trail. Who reads it leaves a record as well.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Act, Entry, Query, Record};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const RECORDS: &str = "/_wardroom/admin/v1/audit/records";

/// What the administration sees of the trail.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new().get(
        RECORDS,
        Audit,
        "Lists audit records by `user_id`, `room_id`, `act`, `from_ts` and `to_ts` (milliseconds), after the record in `after`, \
         with `dir=b` the newest first.",
        records,
    )
}

async fn records(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (_, limit) = asked.page()?;
    let act = |word: &str| {
        let unknown = || ApiError::invalid_param(format!("act: there is no act called {word}"));
        Act::of_word(word).ok_or_else(unknown)
    };
    let query = Query {
        user: asked.text("user_id"),
        room: asked.text("room_id"),
        acts: asked.all("act").map(act).collect::<Result<_, _>>()?,
        outcome: None,
        from_ms: asked.number("from_ts")?,
        before_ms: asked.number("to_ts")?,
        newest_first: asked.backwards(false)?,
        after: asked.number("after")?,
        limit,
    };
    let found = state.audit.search(&query).await.map_err(error::of_audit)?;
    let record = Record::of(Act::AuditRead).query(asked.query_string()).count(found.len() as u64);
    state.audit.write(record).await.map_err(error::of_audit)?;
    let next = found.last().filter(|_| found.len() == limit).map(|entry| entry.number);
    let records: Vec<Value> =
        found.into_iter().map(|Entry { number, record }| json!({ "number": number, "record": record })).collect();
    Ok(Json(json!({ "records": records, "next": next })))
}
