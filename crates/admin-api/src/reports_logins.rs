//! `GET /_wardroom/admin/v1/reports/logins`: who signed in, and who tried in vain (45 CFR 164.308(a)(5)(ii)(C)).

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

const LOGINS: &str = "/_wardroom/admin/v1/reports/logins";

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new().get(
        LOGINS,
        Audit,
        "Lists sign-ins, refused ones (`failed=true`) or the others (`failed=false`) or both, of `user_id`, between `from_ts` \
         and `to_ts` (milliseconds), the newest first, after the record in `after`.",
        logins,
    )
}

async fn logins(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (_, limit) = asked.page()?;
    let acts = match asked.flag("failed")? {
        Some(true) => vec![Act::LoginFailed],
        Some(false) => vec![Act::Login, Act::AdminImpersonate],
        None => vec![Act::Login, Act::AdminImpersonate, Act::LoginFailed],
    };
    let query = Query {
        user: asked.text("user_id"),
        acts,
        from_ms: asked.number("from_ts")?,
        before_ms: asked.number("to_ts")?,
        newest_first: true,
        after: asked.number("after")?,
        limit,
        ..Query::default()
    };
    let found = state.audit.search(&query).await.map_err(error::of_audit)?;
    let record = Record::of(Act::AuditRead).detail("logins").query(asked.query_string()).count(found.len() as u64);
    state.audit.write(record).await.map_err(error::of_audit)?;
    let next = found.last().filter(|_| found.len() == limit).map(|entry| entry.number);
    let logins: Vec<Value> = found.into_iter().map(shown).collect();
    Ok(Json(json!({ "logins": logins, "next": next })))
}

fn shown(Entry { number, record }: Entry) -> Value {
    let mut shown = json!({
        "number": number,
        "ts": record.at,
        "failed": record.act == Act::LoginFailed,
        "user_id": record.on.user,
        "device_id": record.on.device,
        "ip": record.who.ip,
        "kind": record.on.detail,
        // Of refusals: how often, where it was more than once.
        "count": record.on.count.unwrap_or(1),
    });
    let others = [
        ("subject", record.who.subject),
        ("administrator", record.who.user.filter(|_| record.act == Act::AdminImpersonate)),
        ("unknown_name_sha256", record.on.name),
        ("why", record.why),
    ];
    for (name, value) in others {
        if let Some(value) = value {
            shown[name] = value.into();
        }
    }
    shown
}
