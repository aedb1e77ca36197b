//! The order in which events of a graph follow each other.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId};
use wardroom_event::Pdu;

/// Of these events, those that others lead back to, each once and after the events that it follows.
///
/// `of` names events above them, or among them. What is not reachable from there has no business in the answer that it
/// came in. Ids are hashes, so there are no cycles; what claims to be one is cut all the same.
pub(crate) fn ancestors<'a>(events: Vec<Arc<Pdu>>, of: impl IntoIterator<Item = &'a EventId>) -> Vec<Arc<Pdu>> {
    let mut known: HashMap<OwnedEventId, Arc<Pdu>> =
        events.into_iter().map(|event| (event.event_id().to_owned(), event)).collect();
    let mut ordered = Vec::with_capacity(known.len());
    let mut starts: Vec<OwnedEventId> = of.into_iter().map(ToOwned::to_owned).collect();
    starts.sort_unstable();
    starts.dedup();
    for start in starts {
        // Events on the way down, with those of their predecessors that are still to be visited.
        let mut path: Vec<(Arc<Pdu>, Vec<OwnedEventId>)> = Vec::new();
        let enter = |known: &mut HashMap<OwnedEventId, Arc<Pdu>>, id: &EventId| {
            let event = known.remove(id)?;
            let before = event.prev_events().map(ToOwned::to_owned).collect();
            Some((event, before))
        };
        path.extend(enter(&mut known, &start));
        while let Some((_, before)) = path.last_mut() {
            match before.pop() {
                Some(id) => path.extend(enter(&mut known, &id)),
                None => ordered.extend(path.pop().map(|(event, _)| event)),
            }
        }
    }
    ordered
}

/// Of these events, those whose authorization events are all among them, in an order in which each comes after its
/// authorization events.
pub(crate) fn authorized_among(events: Vec<Arc<Pdu>>) -> Vec<Arc<Pdu>> {
    let mut waiting: HashMap<OwnedEventId, Vec<usize>> = HashMap::new();
    let ids: HashSet<&EventId> = events.iter().map(|event| event.event_id()).collect();
    let mut open: Vec<usize> = Vec::with_capacity(events.len());
    let mut ready = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let mut needed: Vec<&EventId> = event.auth_events().collect();
        needed.sort_unstable();
        needed.dedup();
        if !needed.iter().all(|id| ids.contains(id)) {
            // Never becomes ready.
            open.push(usize::MAX);
            continue;
        }
        open.push(needed.len());
        if needed.is_empty() {
            ready.push(index);
        }
        for id in needed {
            waiting.entry(id.to_owned()).or_default().push(index);
        }
    }
    let mut ordered = Vec::with_capacity(events.len());
    while let Some(index) = ready.pop() {
        ordered.push(Arc::clone(&events[index]));
        for after in waiting.remove(events[index].event_id()).unwrap_or_default() {
            open[after] -= 1;
            if open[after] == 0 {
                ready.push(after);
            }
        }
    }
    ordered
}

/// Of these events, those that are part of the authorization chains of others.
pub(crate) fn chain_of<'a>(
    events: impl IntoIterator<Item = &'a Arc<Pdu>>,
    of: impl IntoIterator<Item = &'a Pdu>,
) -> Vec<Arc<Pdu>> {
    let mut known: HashMap<&EventId, &Arc<Pdu>> = events.into_iter().map(|event| (event.event_id(), event)).collect();
    let mut chain: Vec<Arc<Pdu>> = Vec::new();
    let mut enter = |event: &Pdu, chain: &mut Vec<Arc<Pdu>>| {
        chain.extend(event.auth_events().filter_map(|id| known.remove(id)).map(Arc::clone));
    };
    for event in of {
        enter(event, &mut chain);
    }
    let mut next = 0;
    while let Some(event) = chain.get(next).map(Arc::clone) {
        enter(&event, &mut chain);
        next += 1;
    }
    chain
}
