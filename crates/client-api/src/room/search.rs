//! `POST /search` ([spec](https://spec.matrix.org/v1.19/client-server-api/#server-side-search)).

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UInt,
    api::client::search::search_events::v3::{Criteria, GroupingKey, OrderBy, Request, SearchKeys},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_accounts::IgnoredUsers;
use wardroom_audit::{Act, Record};
use wardroom_rooms::{
    SEARCH_CONTEXT_MAX, SEARCH_PAGE_MAX, SearchHit, SearchKey, SearchOrder, SearchPage, SearchQuery, SearchToken,
    Stored, Viewer,
};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::{
    Ignores, actor, at_most,
    event_json::{Events, EventsReply},
    hides,
};
use crate::{ClientState, error};

/// Results of a page where the filter does not say.
const LIMIT_DEFAULT: usize = 10;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(search)
}

#[derive(Default, Serialize)]
struct Answer {
    search_categories: Categories,
}

#[derive(Default, Serialize)]
struct Categories {
    #[serde(skip_serializing_if = "Option::is_none")]
    room_events: Option<RoomEvents>,
}

#[derive(Default, Serialize)]
struct RoomEvents {
    count: usize,
    highlights: Vec<String>,
    results: Vec<Found>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<&'static str, BTreeMap<String, Group>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    state: BTreeMap<OwnedRoomId, Events>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

#[derive(Serialize)]
struct Found {
    rank: f64,
    result: Box<RawJsonValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

#[derive(Serialize)]
struct Context {
    start: String,
    end: String,
    events_before: Events,
    events_after: Events,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_info: Option<BTreeMap<OwnedUserId, Profile>>,
}

#[derive(Serialize)]
struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// Results of one room or sender.
#[derive(Default, Serialize)]
struct Group {
    /// Groups come in the order of their first results.
    order: usize,
    results: Vec<OwnedEventId>,
}

/// Whether surroundings are asked for: ruma's request does not tell none from the default.
fn asks_for_context(json: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    struct Body {
        search_categories: Categories,
    }
    #[derive(Default, Deserialize)]
    struct Categories {
        room_events: Option<RoomEvents>,
    }
    #[derive(Deserialize)]
    struct RoomEvents {
        event_context: Option<IgnoredAny>,
    }
    let body: Body = serde_json::from_slice(json).unwrap_or_default();
    body.search_categories.room_events.is_some_and(|asked| asked.event_context.is_some())
}

fn keys(asked: Option<&[SearchKeys]>) -> Result<Vec<SearchKey>, ApiError> {
    let key = |key: &SearchKeys| match key {
        SearchKeys::ContentBody => Ok(SearchKey::Body),
        SearchKeys::ContentName => Ok(SearchKey::Name),
        SearchKeys::ContentTopic => Ok(SearchKey::Topic),
        _ => Err(ApiError::invalid_param("keys: must be content.body, content.name or content.topic.")),
    };
    asked.unwrap_or_default().iter().map(key).collect()
}

fn order(asked: Option<&OrderBy>) -> Result<SearchOrder, ApiError> {
    match asked {
        None | Some(OrderBy::Rank) => Ok(SearchOrder::Rank),
        Some(OrderBy::Recent) => Ok(SearchOrder::Recent),
        Some(_) => Err(ApiError::invalid_param("order_by: must be rank or recent.")),
    }
}

/// Names and keys of the groups that are asked for.
fn groupings(criteria: &Criteria) -> Result<Vec<(&'static str, GroupingKey)>, ApiError> {
    let group = |key: GroupingKey| match key {
        GroupingKey::RoomId => Ok(("room_id", key)),
        GroupingKey::Sender => Ok(("sender", key)),
        _ => Err(ApiError::invalid_param("key: results are grouped by room_id or sender.")),
    };
    criteria.groupings.group_by.iter().filter_map(|grouping| grouping.key.clone()).map(group).collect()
}

async fn search(
    State(state): State<ClientState>,
    Ruma { body: request, session, json, .. }: Ruma<Request>,
) -> Result<EventsReply<Answer>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    let Some(criteria) = &request.search_categories.room_events else {
        return Ok(EventsReply::recorded(Answer::default(), 0));
    };
    let (keys, groupings) = (keys(criteria.keys.as_deref())?, groupings(criteria)?);
    let from = request.next_batch.as_deref().map(str::parse::<SearchToken>).transpose();
    let from = from.map_err(|_| ApiError::invalid_param("next_batch: this is not a token that this server gave."))?;
    let query = SearchQuery {
        term: &criteria.search_term,
        keys: &keys,
        filter: &criteria.filter,
        order: order(criteria.order_by.as_ref())?,
        limit: criteria.filter.limit.map_or(LIMIT_DEFAULT, |limit| at_most(limit, SEARCH_PAGE_MAX)),
        from,
    };
    let ignored = state.accounts.ignored_users(session.nid).await?;
    let ignores = Ignores::of(&ignored);
    let viewer = ignores.viewer(actor(&session));
    let page = state.rooms.search(viewer, query).await.map_err(error::of_room)?;
    let with_context = asks_for_context(&json);
    let mut found = RoomEvents { groups: group(&page, &groupings), ..RoomEvents::default() };
    for hit in &page.hits {
        let event = [hit.item.event.clone()];
        let told = state.rooms.client_events(viewer, &hit.room.id, &event).await.map_err(error::of_room)?.pop();
        let Some(result) = told else { continue };
        let context = if with_context { Some(context(&state, viewer, &ignored, hit, criteria).await?) } else { None };
        found.results.push(Found { rank: hit.rank, result, context });
        if criteria.include_state == Some(true) && !found.state.contains_key(&hit.room.id) {
            let events = state.rooms.current_state(viewer.actor, &hit.room.id).await.map_err(error::of_room)?;
            found.state.insert(hit.room.id.clone(), Events::of(&state, viewer.actor, &events).await?);
        }
    }
    note(&state, criteria, &page, &found).await?;
    found.count = page.count;
    found.highlights = page.words;
    found.next_batch = page.next.map(|next| next.to_string());
    let events_bytes = found.results.iter().map(|found| found.result.get().len()).sum();
    let body = Answer { search_categories: Categories { room_events: Some(found) } };
    Ok(EventsReply::recorded(body, events_bytes))
}

/// Records the search, and what it gives away of each room.
async fn note(state: &ClientState, criteria: &Criteria, page: &SearchPage, found: &RoomEvents) -> Result<(), ApiError> {
    let mut record = Record::of(Act::Search).query(&*criteria.search_term).count(found.results.len() as u64);
    if let Some([room]) = criteria.filter.rooms.as_deref() {
        record = record.room(room.as_str());
    }
    state.audit.repeated(record).await.map_err(error::of_audit)?;
    let mut rooms: BTreeMap<&RoomId, Vec<Arc<Stored>>> = BTreeMap::new();
    for (hit, found) in page.hits.iter().zip(&found.results) {
        let seen = rooms.entry(&hit.room.id).or_default();
        let around = found.context.iter().flat_map(|around| [&around.events_before, &around.events_after]);
        seen.push(Arc::clone(&hit.item.event));
        seen.extend(around.flat_map(|events| events.stored()).cloned());
    }
    for (room, events) in &found.state {
        rooms.entry(room).or_default().extend(events.stored().iter().cloned());
    }
    for (room, events) in rooms {
        state.note_seen(room, "search", &events).await?;
    }
    Ok(())
}

/// The results of a page by what they have in common.
fn group(
    page: &SearchPage,
    groupings: &[(&'static str, GroupingKey)],
) -> BTreeMap<&'static str, BTreeMap<String, Group>> {
    let mut all = BTreeMap::new();
    for (name, key) in groupings {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (index, hit) in page.hits.iter().enumerate() {
            let pdu = &hit.item.event.pdu;
            let value = match key {
                GroupingKey::Sender => pdu.sender().to_string(),
                _ => hit.room.id.to_string(),
            };
            let group = groups.entry(value).or_insert_with(|| Group { order: index + 1, results: Vec::new() });
            group.results.push(pdu.event_id().to_owned());
        }
        all.insert(*name, groups);
    }
    all
}

async fn context(
    state: &ClientState,
    viewer: Viewer<'_>,
    ignored: &IgnoredUsers,
    hit: &SearchHit,
    criteria: &Criteria,
) -> Result<Context, ApiError> {
    let asked = &criteria.event_context;
    let side = |limit: UInt| at_most(limit, SEARCH_CONTEXT_MAX);
    let sides = (side(asked.before_limit), side(asked.after_limit));
    let around = state.rooms.search_context(viewer.actor, hit, sides, asked.include_profile).await;
    let mut around = around.map_err(error::of_room)?;
    around.before.retain(|event| !hides(ignored, event));
    around.after.retain(|event| !hides(ignored, event));
    let profiles = around
        .profiles
        .into_iter()
        .map(|(user, profile)| (user, Profile { displayname: profile.displayname, avatar_url: profile.avatar_url }));
    Ok(Context {
        start: around.start.to_string(),
        end: around.end.to_string(),
        events_before: Events::with_relations(state, viewer, &hit.room.id, &around.before).await?,
        events_after: Events::with_relations(state, viewer, &hit.room.id, &around.after).await?,
        profile_info: asked.include_profile.then(|| profiles.collect()),
    })
}
