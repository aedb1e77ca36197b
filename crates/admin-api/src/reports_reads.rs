//! `GET /_wardroom/admin/v1/reports/...`: who has read what, who has read unusually much, and who can read which rooms.
//! Each report leaves a record.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Audit;
use wardroom_audit::{Act, Entry, Query, Record};
use wardroom_care::{Assessment, Standing};
use wardroom_rooms::{Membership, RoomView};
use wardroom_web::ApiError;

use crate::{
    AdminState, csv,
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

const READS: &str = "/_wardroom/admin/v1/reports/reads";
const MASS_READS: &str = "/_wardroom/admin/v1/reports/mass_reads";
const ACCESS_REVIEW: &str = "/_wardroom/admin/v1/reports/access_review";

/// Acts by which somebody sees what is in rooms.
const READING: [Act; 6] =
    [Act::RoomRead, Act::MediaRead, Act::Search, Act::Directory, Act::Hierarchy, Act::AccountExport];
/// Pages of the trail that one answer looks at, of [`wardroom_audit::ENTRIES_MAX`] records each.
const PAGES_MAX: usize = 200;
/// Readers times hours that one answer of the second report tells apart.
const BUCKETS_MAX: usize = 50_000;
/// Rooms of one of them that are told apart.
const BUCKET_ROOMS_MAX: usize = 10_000;
/// Members or rooms of one answer of the third report.
const REVIEWED_MAX: usize = 10_000;
/// Events that are unusually many, where the request does not say.
const EVENTS_THRESHOLD: u64 = 1_000;
/// Rooms that are unusually many, where the request does not say.
const ROOMS_THRESHOLD: u64 = 50;
/// Within so many seconds, where the request does not say: an hour.
const WINDOW_SECONDS: u64 = 60 * 60;

const READ_COLUMNS: [&str; 14] = [
    "number",
    "from_ts",
    "to_ts",
    "user_id",
    "device_id",
    "ip",
    "act",
    "room_id",
    "media",
    "count",
    "first_event_id",
    "last_event_id",
    "by",
    "query",
];
const MASS_COLUMNS: [&str; 6] = ["user_id", "device_id", "from_ts", "to_ts", "events", "rooms"];
const REVIEW_COLUMNS: [&str; 8] =
    ["room_id", "user_id", "membership", "can_read", "by", "roles", "missing", "last_read_ts"];

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(
            READS,
            Audit,
            "Lists who read what, by `user_id`, `room_id`, `from_ts` and `to_ts` (milliseconds), after the record in `after`, \
             also as CSV (`format=csv`).",
            reads,
        )
        .get(
            MASS_READS,
            Audit,
            "Lists devices that read at least `threshold` events or `rooms` rooms within `window` seconds, between `from_ts` \
             and `to_ts`, also as CSV.",
            mass_reads,
        )
        .get(
            ACCESS_REVIEW,
            Audit,
            "Lists who can read the room in `room_id`, or what the user in `user_id` can read, by what, and when they last \
             did, also as CSV.",
            access_review,
        )
}

/// Records of reads that overlap the time asked for, as many pages as one answer looks at, while `take` wants more. Where to
/// go on, if there may be more.
async fn each_read(
    state: &AdminState,
    asked: &Asked,
    mut take: impl FnMut(u64, &Record) -> bool,
) -> Result<Option<u64>, ApiError> {
    // What is being read belongs to the report, too.
    state.audit.finish_windows().await.map_err(error::of_audit)?;
    let to_ms = asked.number("to_ts")?.unwrap_or(u64::MAX);
    let mut query = Query {
        user: asked.text("user_id"),
        room: asked.text("room_id"),
        acts: READING.to_vec(),
        from_ms: asked.number("from_ts")?,
        after: asked.number("after")?,
        limit: wardroom_audit::ENTRIES_MAX,
        ..Query::default()
    };
    for _ in 0..PAGES_MAX {
        let page = state.audit.search(&query).await.map_err(error::of_audit)?;
        for Entry { number, record } in &page {
            query.after = Some(*number);
            // A record is written when the read is over, after a crash later than that: its own time says when it was.
            let (since, until) = times(record);
            let overlaps = since < to_ms && query.from_ms.is_none_or(|from_ms| until >= from_ms);
            if overlaps && !take(*number, record) {
                return Ok(query.after);
            }
        }
        if page.len() < query.limit {
            return Ok(None);
        }
    }
    Ok(query.after)
}

/// From when to when somebody read, in milliseconds since 1970.
fn times(record: &Record) -> (u64, u64) {
    (record.on.since.unwrap_or(record.at), record.on.until.unwrap_or(record.at))
}

async fn leave_record(state: &AdminState, asked: &Asked, name: &str, rows: usize) -> Result<(), ApiError> {
    let record = Record::of(Act::AuditRead).detail(name).query(asked.query_string()).count(rows as u64);
    state.audit.write(record).await.map_err(error::of_audit)
}

async fn reads(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let (_, limit) = asked.page()?;
    let mut rows = Vec::new();
    let take = |number, record: &Record| {
        rows.push(read_row(number, record));
        rows.len() < limit
    };
    let next = each_read(&state, &asked, take).await?;
    leave_record(&state, &asked, "reads", rows.len()).await?;
    csv::answer(&asked, "reads", &READ_COLUMNS, &rows, next)
}

fn read_row(number: u64, record: &Record) -> Value {
    let ((since, until), on, who) = (times(record), &record.on, &record.who);
    json!({
        "number": number, "from_ts": since, "to_ts": until, "user_id": who.user, "device_id": who.device, "ip": who.ip,
        "act": record.act, "room_id": on.room, "media": on.media, "count": on.count, "first_event_id": on.event,
        "last_event_id": on.last, "by": on.detail, "query": on.query,
    })
}

/// What somebody read in one stretch of time.
#[derive(Debug, Default)]
struct Amount {
    since: u64,
    until: u64,
    events: u64,
    rooms: BTreeSet<String>,
}

async fn mass_reads(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let threshold = asked.number("threshold")?.unwrap_or(EVENTS_THRESHOLD);
    let rooms_threshold = asked.number("rooms")?.unwrap_or(ROOMS_THRESHOLD);
    let window_ms = match asked.number("window")?.unwrap_or(WINDOW_SECONDS).saturating_mul(1_000) {
        0 => return Err(ApiError::invalid_param("window: must be a number of seconds, 1 or more.")),
        window_ms => window_ms,
    };
    let mut amounts: BTreeMap<(Option<String>, Option<String>, u64), Amount> = BTreeMap::new();
    let add = |_, record: &Record| {
        let (since, until) = times(record);
        let key = (record.who.user.clone(), record.who.device.clone(), since / window_ms);
        let amount = amounts.entry(key).or_insert_with(|| Amount { since, ..Amount::default() });
        (amount.since, amount.until) = (amount.since.min(since), amount.until.max(until));
        amount.events = amount.events.saturating_add(record.on.count.unwrap_or(1));
        if amount.rooms.len() < BUCKET_ROOMS_MAX {
            amount.rooms.extend(record.on.room.clone());
        }
        amounts.len() < BUCKETS_MAX
    };
    let next = each_read(&state, &asked, add).await?;
    let many = amounts.into_iter().filter(|(_, amount)| {
        amount.events >= threshold || u64::try_from(amount.rooms.len()).is_ok_and(|rooms| rooms >= rooms_threshold)
    });
    let rows: Vec<Value> = many
        .map(|((user, device, _), amount)| {
            json!({
                "user_id": user, "device_id": device, "from_ts": amount.since, "to_ts": amount.until,
                "events": amount.events, "rooms": amount.rooms.len(),
            })
        })
        .collect();
    leave_record(&state, &asked, "mass_reads", rows.len()).await?;
    csv::answer(&asked, "readers", &MASS_COLUMNS, &rows, next)
}

async fn access_review(state: AdminState, asked: Asked) -> Result<Response, ApiError> {
    let parsed = |name: &'static str| asked.text(name).map(|id| (name, id));
    let wrong = |name: &'static str| move |_| ApiError::invalid_param(format!("{name}: this is no id."));
    state.audit.finish_windows().await.map_err(error::of_audit)?;
    let rows = match (parsed("room_id"), parsed("user_id")) {
        (Some((name, room)), None) => review_room(&state, &OwnedRoomId::try_from(room).map_err(wrong(name))?).await?,
        (None, Some((name, user))) => review_user(&state, &OwnedUserId::try_from(user).map_err(wrong(name))?).await?,
        _ => return Err(ApiError::invalid_param("room_id: name a room, or a user in user_id, and not both.")),
    };
    leave_record(&state, &asked, "access_review", rows.len()).await?;
    csv::answer(&asked, "access", &REVIEW_COLUMNS, &rows, None)
}

/// Who is in a room, or may be soon.
async fn review_room(state: &AdminState, room: &OwnedRoomId) -> Result<Vec<Value>, ApiError> {
    let view = state.rooms.view(room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let mut rows = Vec::new();
    for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
        let left = REVIEWED_MAX.saturating_sub(rows.len());
        let members = state.rooms.members(view.nid, membership, None, left).await.map_err(error::of_room)?;
        for user in state.rooms.user_ids(&members).await.map_err(error::of_room)? {
            rows.push(review_row(state, &view, &user, membership).await?);
        }
    }
    Ok(rows)
}

/// In which rooms a user is, or may be soon.
async fn review_user(state: &AdminState, user: &OwnedUserId) -> Result<Vec<Value>, ApiError> {
    let mut rows = Vec::new();
    let memberships = state.care.memberships(user).await.map_err(error::of_care)?;
    let present = memberships
        .into_iter()
        .filter(|(_, membership)| matches!(membership, Membership::Join | Membership::Invite | Membership::Knock));
    for (room, membership) in present.take(REVIEWED_MAX) {
        let view = state.rooms.view_of(room).await.map_err(error::of_room)?;
        rows.push(review_row(state, &view, user, membership).await?);
    }
    Ok(rows)
}

async fn review_row(
    state: &AdminState,
    view: &RoomView,
    user: &OwnedUserId,
    membership: Membership,
) -> Result<Value, ApiError> {
    let policy = state.care.policy(view);
    let by_roles = state.care.assess(user, policy.as_ref());
    let assessed = state.care.assess_in(view, user, policy.as_ref());
    let can_read = state.care.can_read(user, view).await.map_err(error::of_care)?;
    let by = can_read.then(|| basis(membership, policy.is_some(), &by_roles, &assessed));
    let last_read = state.audit.last_read(view.id.as_str(), user.as_str()).await.map_err(error::of_audit)?;
    Ok(json!({
        "room_id": view.id, "user_id": user, "membership": name_of(membership), "can_read": can_read, "by": by,
        "roles": assessed.roles, "missing": assessed.missing, "last_read_ts": last_read,
    }))
}

/// By what somebody whom the gate lets read a room may do so.
fn basis(membership: Membership, has_policy: bool, by_roles: &Assessment, assessed: &Assessment) -> &'static str {
    let compliant = |assessment: &Assessment| assessment.verdict == Standing::Compliant;
    match membership {
        _ if has_policy && compliant(by_roles) => "role",
        _ if has_policy && compliant(assessed) => "emergency",
        // The policy lets who was invited stay, leaves reading to members, or gives time.
        Membership::Join if has_policy => "membership despite the policy",
        Membership::Join => "membership",
        _ => "the room is world-readable",
    }
}

const fn name_of(membership: Membership) -> &'static str {
    match membership {
        Membership::Join => "join",
        Membership::Invite => "invite",
        Membership::Knock => "knock",
        Membership::Leave => "leave",
        Membership::Ban => "ban",
    }
}
