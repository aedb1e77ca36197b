//! `/_wardroom/admin/v1/audit`: the audit trail, and what proves it. Who reads records leaves a record as well.

mod proofs;
mod raw;
mod witness;

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Act, BUCKETS_MAX, Entry, Page, Query, Record, Span, Step};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const RECORDS: &str = "/_wardroom/admin/v1/audit/records";
const ACTIVITY: &str = "/_wardroom/admin/v1/audit/activity";

/// What the administration sees of the trail.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(
            RECORDS,
            Audit,
            "Lists audit records by `user_id`, `room_id`, `act`, `outcome` (0, 4, 8, 12), `from_ts` and `to_ts` (milliseconds), \
             after the record in `after`, with `dir=b` the newest first. Where `next` is a number there may be more after it, \
             also when the page is not full.",
            records,
        )
        .get(
            ACTIVITY,
            Audit,
            "Counts audit records by act in each `step` (`hour` or `day`, in UTC) from `from_ts` to `to_ts` (milliseconds), of \
             `user_id`, in `room_id`.",
            activity,
        )
        .merge(proofs::endpoints())
        .merge(raw::endpoints())
        .merge(witness::endpoints())
}

async fn records(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (_, limit) = asked.page()?;
    let act = |word: &str| {
        let unknown = || ApiError::invalid_param(format!("act: there is no act called {word}"));
        Act::of_word(word).ok_or_else(unknown)
    };
    let outcome = asked.number("outcome")?.map(|number| {
        let outcome = u8::try_from(number).ok().and_then(|number| number.try_into().ok());
        outcome.ok_or_else(|| ApiError::invalid_param("outcome: neither 0, 4, 8 nor 12"))
    });
    let query = Query {
        user: asked.text("user_id"),
        room: asked.text("room_id"),
        acts: asked.all("act").map(act).collect::<Result<_, _>>()?,
        outcome: outcome.transpose()?,
        from_ms: asked.number("from_ts")?,
        before_ms: asked.number("to_ts")?,
        newest_first: asked.backwards(false)?,
        after: asked.number("after")?,
        limit,
    };
    let Page { entries, next } = state.audit.page(&query).await.map_err(error::of_audit)?;
    let record = Record::of(Act::AuditRead).query(asked.query_string()).count(entries.len() as u64);
    state.audit.write(record).await.map_err(error::of_audit)?;
    let records: Vec<Value> =
        entries.into_iter().map(|Entry { number, record }| json!({ "number": number, "record": record })).collect();
    Ok(Json(json!({ "records": records, "next": next })))
}

async fn activity(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let needed = |name: &'static str| {
        let missing = || ApiError::missing_param(format!("{name}: which time is asked for, in milliseconds"));
        asked.number(name)?.ok_or_else(missing)
    };
    let (word, step) = match asked.get("step") {
        None | Some("hour") => ("hour", Step::Hour),
        Some("day") => ("day", Step::Day),
        Some(_) => return Err(ApiError::invalid_param("step: neither hour nor day")),
    };
    let span = Span { from_ms: needed("from_ts")?, before_ms: needed("to_ts")?, step };
    if span.steps() > BUCKETS_MAX {
        return Err(ApiError::invalid_param(format!("to_ts: more than {BUCKETS_MAX} steps after from_ts")));
    }
    let (user, room) = (asked.text("user_id"), asked.text("room_id"));
    let found = state.audit.activity(span, user.as_deref(), room.as_deref()).await.map_err(error::of_audit)?;
    if found.cut {
        return Err(ApiError::invalid_param("to_ts: there are too many records to count: ask for a shorter time"));
    }
    let record = Record::of(Act::AuditRead).query(asked.query_string());
    state.audit.write(record).await.map_err(error::of_audit)?;
    let bucket = |(from_ts, bucket): (_, wardroom_audit::Bucket)| json!({ "from_ts": from_ts, "total": bucket.total, "counts": bucket.acts });
    let buckets: Vec<Value> = found.buckets.into_iter().map(bucket).collect();
    Ok(Json(json!({ "step": word, "buckets": buckets })))
}
