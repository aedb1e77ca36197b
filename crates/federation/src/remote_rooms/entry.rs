//! What a server answers to a join, checked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId, RoomId, RoomVersionId, api::federation::membership::create_join_event::v2::RoomState,
    events::TimelineEventType,
};
use serde::Deserialize;
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::Entry;

use super::{RemoteError, template::authorised_via};
use crate::{
    ask::{Ask, Raws},
    ingest::order::{authorized_among, chain_of},
};

/// Events of the state and its authorization chain.
const EVENTS_MAX: usize = 400_000;

const fn wrong(what: &'static str) -> RemoteError {
    RemoteError::Untrustworthy(what)
}

/// The join as the room's servers have it: with the signature of the server that authorises it, where one has to.
pub(crate) async fn countersigned(
    ask: &dyn Ask,
    version: RoomVersion,
    join: Arc<Pdu>,
    answered: Option<Box<serde_json::value::RawValue>>,
) -> Result<Arc<Pdu>, RemoteError> {
    let checked = match answered {
        Some(event) => ask.check(version, vec![event]).await.pop().and_then(Result::ok),
        None => None,
    };
    match checked.filter(|event| event.event_id() == join.event_id() && event.json().len() >= join.json().len()) {
        Some(event) => Ok(event),
        None if authorised_via(&join).is_some() => {
            Err(wrong("the join lacks the signature of the server that authorises it"))
        }
        None => Ok(join),
    }
}

/// Checks what a server says of a room's state before a join.
///
/// Events that are not signed as they have to be are left out, with all that they authorize. What nothing leads to is left
/// out too.
pub(crate) async fn check(
    ask: &dyn Ask,
    room: &RoomId,
    version: RoomVersion,
    join: Arc<Pdu>,
    answer: RoomState,
) -> Result<Entry, RemoteError> {
    if answer.state.len() + answer.auth_chain.len() > EVENTS_MAX {
        return Err(wrong("the state is larger than that of any room"));
    }
    let (state, chain) = without_repetitions(answer.state, answer.auth_chain);
    let state_len = state.len();
    let raws: Raws = state.into_iter().chain(chain).collect();
    let checked = ask.check(version, raws).await;
    let mut state_ids: HashSet<OwnedEventId> = HashSet::with_capacity(state_len);
    let mut seen: HashSet<OwnedEventId> = HashSet::with_capacity(checked.len());
    let mut events = Vec::with_capacity(checked.len());
    for (index, event) in checked.into_iter().enumerate() {
        let Ok(event) = event else { continue };
        if event.room_id() != room || !event.is_state() || event.event_id() == join.event_id() {
            continue;
        }
        if index < state_len {
            state_ids.insert(event.event_id().to_owned());
        }
        if seen.insert(event.event_id().to_owned()) {
            events.push(event);
        }
    }
    let events = authorized_among(&events);
    let good: HashSet<&EventId> = events.iter().map(|event| event.event_id()).collect();
    if !join.auth_events().all(|id| good.contains(id)) {
        return Err(wrong("authorization events of the join are missing"));
    }
    let state: Vec<Arc<Pdu>> = events.iter().filter(|event| state_ids.contains(event.event_id())).cloned().collect();
    check_state(&state, version)?;
    let mut auth_chain = chain_of(&events, state.iter().map(|event| &**event).chain([&*join]));
    auth_chain.retain(|event| !state_ids.contains(event.event_id()));
    Ok(Entry { room: room.to_owned(), version, join, state, auth_chain })
}

/// The events of the chain that are not in the state letter by letter: most of it is.
fn without_repetitions(state: Raws, mut chain: Raws) -> (Raws, Raws) {
    let known: HashSet<&str> = state.iter().map(|event| event.get()).collect();
    let repeated: Vec<bool> = chain.iter().map(|event| known.contains(event.get())).collect();
    let mut repeated = repeated.into_iter();
    chain.retain(|_| !repeated.next().unwrap_or(false));
    (state, chain)
}

/// A state has one event in each place, and one that created the room, of the version that was said.
fn check_state(state: &[Arc<Pdu>], version: RoomVersion) -> Result<(), RemoteError> {
    #[derive(Deserialize)]
    struct Create {
        room_version: Option<RoomVersionId>,
    }
    let mut places = HashMap::with_capacity(state.len());
    for event in state {
        if places.insert((event.kind().to_string(), event.state_key()), event).is_some() {
            return Err(wrong("the state has two events in one place"));
        }
    }
    let create = places.get(&(TimelineEventType::RoomCreate.to_string(), Some("")));
    let Some(create) = create else { return Err(wrong("the state has no create event")) };
    let said = create.content_as::<Create>().map_err(|_| wrong("the create event cannot be read"))?.room_version;
    if said.unwrap_or(RoomVersionId::V1) != *version.id() {
        return Err(wrong("the create event is of another room version"));
    }
    Ok(())
}
