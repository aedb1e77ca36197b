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
pub(crate) fn authorized_among(events: &[Arc<Pdu>]) -> Vec<Arc<Pdu>> {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use ruma::{EventId, OwnedEventId, room_id, server_name, user_id};
    use serde_json::{json, value::to_raw_value};
    use wardroom_event::{Draft, Pdu, RoomVersion, SigningKey};

    use super::{ancestors, authorized_among, chain_of};

    fn event(number: usize, follows: &[&Arc<Pdu>], authorized_by: &[&Arc<Pdu>]) -> Arc<Pdu> {
        let ids = |events: &[&Arc<Pdu>]| events.iter().map(|event| event.event_id().to_owned()).collect();
        let draft = Draft {
            room_id: Some(room_id!("!r:a.example").to_owned()),
            sender: user_id!("@u:a.example").to_owned(),
            kind: "m.room.message".into(),
            state_key: None,
            content: to_raw_value(&json!({ "number": number })).unwrap(),
            redacts: None,
            prev_events: ids(follows),
            auth_events: ids(authorized_by),
            depth: 1,
            origin_server_ts: 1,
        };
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        Arc::new(draft.sign(RoomVersion::V11, server_name!("a.example"), &key).unwrap())
    }

    fn ids(events: &[Arc<Pdu>]) -> Vec<&EventId> {
        events.iter().map(|event| event.event_id()).collect()
    }

    fn is_sorted_by(events: &[Arc<Pdu>], before: impl Fn(&Pdu) -> Vec<OwnedEventId>) -> bool {
        let at = |id: &EventId| events.iter().position(|event| event.event_id() == id);
        events
            .iter()
            .enumerate()
            .all(|(index, event)| before(event).iter().all(|id| at(id).is_none_or(|earlier| earlier < index)))
    }

    fn followed(event: &Pdu) -> Vec<OwnedEventId> {
        event.prev_events().map(ToOwned::to_owned).collect()
    }

    proptest! {
        #[test]
        fn each_event_comes_once_and_after_those_that_it_follows(
            edges in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..30),
            rotation in 0..30_usize,
        ) {
            let mut events: Vec<Arc<Pdu>> = Vec::new();
            for (number, edges) in edges.iter().enumerate() {
                let follows: Vec<Arc<Pdu>> = match events.len() {
                    0 => Vec::new(),
                    length => edges.iter().map(|index| Arc::clone(&events[index.index(length)])).collect(),
                };
                let follows: Vec<&Arc<Pdu>> = follows.iter().collect();
                events.push(event(number, &follows, &follows));
            }
            let last = events.last().map(|event| event.event_id().to_owned()).unwrap();
            let mut shuffled = events.clone();
            shuffled.rotate_left(rotation % events.len());
            let ordered = ancestors(shuffled.clone(), [&*last]);
            prop_assert!(is_sorted_by(&ordered, followed));
            prop_assert_eq!(ordered.last().map(|event| event.event_id()), Some(&*last));
            let mut unique = ids(&ordered);
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), ordered.len());
            // Nothing is left out that the last one leads to.
            prop_assert!(ordered.iter().flat_map(|event| followed(event)).all(|id| ids(&ordered).contains(&&*id)));

            let all = authorized_among(&shuffled);
            prop_assert_eq!(all.len(), events.len());
            prop_assert!(is_sorted_by(&all, |event| event.auth_events().map(ToOwned::to_owned).collect()));
        }
    }

    #[test]
    fn what_leads_nowhere_is_left_out() {
        let (a, stray) = (event(0, &[], &[]), event(1, &[], &[]));
        let b = event(2, &[&a], &[&a]);
        let hidden = event(3, &[], &[]);
        let c = event(4, &[&b, &hidden], &[&b]);
        let ordered = ancestors(vec![Arc::clone(&stray), Arc::clone(&b), Arc::clone(&a)], c.prev_events());
        assert_eq!(ids(&ordered), [a.event_id(), b.event_id()]);
        let chain = chain_of([&a, &b, &stray], [&*c]);
        assert_eq!(ids(&chain), [b.event_id(), a.event_id()]);
    }

    #[test]
    fn what_lacks_an_authorization_event_is_left_out_with_what_it_authorizes() {
        let hidden = event(0, &[], &[]);
        let (a, b) = (event(1, &[], &[]), event(2, &[], &[&hidden]));
        let (c, d) = (event(3, &[], &[&a]), event(4, &[], &[&a, &b]));
        let good = authorized_among(&[d, Arc::clone(&c), b, Arc::clone(&a)]);
        assert_eq!(ids(&good), [a.event_id(), c.event_id()]);
    }
}
