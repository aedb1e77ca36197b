//! Walks against the direction of time, along `prev_events`.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet, VecDeque},
    future::Future,
    sync::Arc,
};

use ruma::{EventId, OwnedEventId};

use crate::{Rooms, error::RoomError, events::Stored, ids::RoomNid, tables::Standing};

/// Events that one walk looks at, whether it returns them or not.
pub const WALK_EVENTS_MAX: usize = 2_000;

/// An event on the way.
struct Node<T> {
    id: OwnedEventId,
    depth: u64,
    prev_events: Vec<OwnedEventId>,
    /// Whether it is returned; the way goes on behind it all the same.
    served: bool,
    event: T,
}

impl Rooms {
    /// The named events and those before them, newest first, at most `limit`: what `/backfill` returns. Rejected events
    /// are left out, and what is not part of the room or has no place in the graph; where `from` names nothing else,
    /// nothing is found.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn backfill_from(
        &self,
        room: RoomNid,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Arc<Stored>>, RoomError> {
        backwards(from, limit, |id| self.node(room, id)).await
    }

    /// Events before `latest` that are neither in `earliest` nor before it as far as that is met on the way, oldest
    /// first, at most `limit`, none less deep than `min_depth`: what `/get_missing_events` returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn missing_between(
        &self,
        room: RoomNid,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: usize,
        min_depth: u64,
    ) -> Result<Vec<Arc<Stored>>, RoomError> {
        between(earliest, latest, limit, min_depth, |id| self.node(room, id)).await
    }

    /// An event that has a place in the room's graph; one whose time is over leads on, and is not served.
    async fn node(&self, room: RoomNid, id: OwnedEventId) -> Result<Option<Node<Arc<Stored>>>, RoomError> {
        let Some((there, standing, stored)) = self.standing(&id).await? else { return Ok(None) };
        let served = match standing {
            Standing::Timeline | Standing::SoftFailed => true,
            Standing::Rejected => false,
            Standing::Outlier | Standing::RejectedOutlier => return Ok(None),
        };
        if there != room {
            return Ok(None);
        }
        let view = self.view_of(room).await?;
        let served = served && self.engine.is_served(&view, &stored);
        let prev_events = stored.pdu.prev_events().map(EventId::to_owned).collect();
        Ok(Some(Node { id, depth: stored.pdu.depth(), prev_events, served, event: stored }))
    }
}

/// The deepest event that was met is the next: an event comes before those that it follows, as far as depths are true.
async fn backwards<T, F, L>(from: &[OwnedEventId], limit: usize, look: impl Fn(OwnedEventId) -> L) -> Result<Vec<T>, F>
where
    L: Future<Output = Result<Option<Node<T>>, F>>,
{
    let mut met: HashSet<OwnedEventId> = HashSet::new();
    // By depth, and of the same depth the first that was met.
    let mut open: BinaryHeap<(u64, Reverse<usize>)> = BinaryHeap::new();
    let mut nodes: Vec<Option<Node<T>>> = Vec::new();
    let mut found = Vec::new();
    let mut next: Vec<OwnedEventId> = from.to_vec();
    while found.len() < limit {
        for id in next.drain(..) {
            if nodes.len() < WALK_EVENTS_MAX
                && met.insert(id.clone())
                && let Some(node) = look(id).await?
            {
                open.push((node.depth, Reverse(nodes.len())));
                nodes.push(Some(node));
            }
        }
        let Some((_, Reverse(index))) = open.pop() else { break };
        let Some(node) = nodes.get_mut(index).and_then(Option::take) else { continue };
        next = node.prev_events;
        if node.served {
            found.push(node.event);
        }
    }
    Ok(found)
}

/// Breadth first, as the specification has it.
async fn between<T, F, L>(
    earliest: &[OwnedEventId],
    latest: &[OwnedEventId],
    limit: usize,
    min_depth: u64,
    look: impl Fn(OwnedEventId) -> L,
) -> Result<Vec<T>, F>
where
    L: Future<Output = Result<Option<Node<T>>, F>>,
{
    let mut met: HashSet<OwnedEventId> = earliest.iter().cloned().collect();
    let mut open: VecDeque<(OwnedEventId, bool)> = VecDeque::new();
    open.extend(latest.iter().filter(|id| met.insert((*id).clone())).map(|id| (id.clone(), true)));
    let (mut found, mut looked) = (Vec::new(), 0);
    while let Some((id, is_latest)) = open.pop_front() {
        if found.len() >= limit || looked >= WALK_EVENTS_MAX {
            break;
        }
        looked += 1;
        let Some(node) = look(id).await? else { continue };
        if node.depth < min_depth {
            continue;
        }
        if node.served && !is_latest {
            found.push((node.depth, node.id, node.event));
        }
        for id in node.prev_events {
            if met.insert(id.clone()) {
                open.push_back((id, false));
            }
        }
    }
    found.reverse();
    // Whoever takes them in order finds what an event follows before it.
    found.sort_by_key(|(depth, ..)| *depth);
    Ok(found.into_iter().map(|(_, _, event)| event).collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, convert::Infallible, future::ready};

    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use ruma::OwnedEventId;

    use super::{Node, WALK_EVENTS_MAX, backwards, between};

    fn id(number: usize) -> OwnedEventId {
        OwnedEventId::try_from(format!("${number:043}")).unwrap()
    }

    /// A graph: the depth of each event, whether it is served, and which events it follows.
    type Graph = Vec<(u64, bool, Vec<usize>)>;

    fn look(
        graph: &Graph,
    ) -> impl Fn(OwnedEventId) -> std::future::Ready<Result<Option<Node<usize>>, Infallible>> + '_ {
        let numbers: HashMap<OwnedEventId, usize> = (0..graph.len()).map(|number| (id(number), number)).collect();
        move |id_| {
            let node = numbers.get(&id_).map(|number| {
                let (depth, served, prev) = &graph[*number];
                let prev_events = prev.iter().map(|prev| id(*prev)).collect();
                Node { id: id_, depth: *depth, prev_events, served: *served, event: *number }
            });
            ready(Ok(node))
        }
    }

    fn back(graph: &Graph, from: &[usize], limit: usize) -> Vec<usize> {
        let from: Vec<_> = from.iter().map(|number| id(*number)).collect();
        backwards(&from, limit, look(graph)).now_or_never().unwrap().unwrap()
    }

    fn missing(graph: &Graph, earliest: &[usize], latest: &[usize], limit: usize, min_depth: u64) -> Vec<usize> {
        let ids = |numbers: &[usize]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
        between(&ids(earliest), &ids(latest), limit, min_depth, look(graph)).now_or_never().unwrap().unwrap()
    }

    /// 0 - 1 - 2 - 4 - 5 and 1 - 3 - 4; 3 is rejected.
    fn diamond() -> Graph {
        vec![
            (1, true, vec![]),
            (2, true, vec![0]),
            (3, true, vec![1]),
            (3, false, vec![1]),
            (4, true, vec![2, 3]),
            (5, true, vec![4]),
        ]
    }

    #[test]
    fn backfill_gives_the_events_themselves_and_those_before_newest_first() {
        assert_eq!(back(&diamond(), &[5], 100), [5, 4, 2, 1, 0]);
        assert_eq!(back(&diamond(), &[5], 2), [5, 4]);
        assert_eq!(back(&diamond(), &[3], 100), [1, 0], "what was rejected is not told, what it follows is");
        assert_eq!(back(&diamond(), &[2, 3, 5], 3), [5, 4, 2]);
        assert!(back(&diamond(), &[9], 100).is_empty());
        assert!(back(&diamond(), &[5], 0).is_empty());
    }

    #[test]
    fn what_is_missing_lies_between_and_comes_oldest_first() {
        assert_eq!(missing(&diamond(), &[1], &[5], 10, 0), [2, 4]);
        assert_eq!(missing(&diamond(), &[], &[5], 10, 0), [0, 1, 2, 4]);
        assert_eq!(missing(&diamond(), &[], &[5], 10, 3), [2, 4]);
        assert_eq!(missing(&diamond(), &[], &[5], 1, 0), [4], "the limit keeps the newest");
        assert_eq!(missing(&diamond(), &[2], &[5, 4], 10, 0), [0, 1], "round the one that is known");
        assert!(missing(&diamond(), &[5], &[5], 10, 0).is_empty());
        assert!(missing(&diamond(), &[0], &[9], 10, 0).is_empty());
    }

    #[test]
    fn a_walk_has_an_end() {
        let rejected: Graph = (0_usize..3_000)
            .map(|number| (number as u64, number == 0, number.checked_sub(1).into_iter().collect()))
            .collect();
        assert!(back(&rejected, &[2_999], 10).is_empty());
        assert!(missing(&rejected, &[], &[2_999], 10, 0).is_empty());
        assert_eq!(back(&rejected, &[WALK_EVENTS_MAX - 1], 10), [0]);
        let circle: Graph = vec![(1, true, vec![1]), (1, true, vec![0])];
        assert_eq!(back(&circle, &[0], 10), [0, 1]);
        assert_eq!(missing(&circle, &[], &[0], 10, 0), [1]);
    }

    fn graph() -> impl Strategy<Value = Graph> {
        let node = (any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 0..3));
        prop::collection::vec(node, 1..40).prop_map(|nodes| {
            let mut graph: Graph = Vec::new();
            for (number, (served, prev)) in nodes.into_iter().enumerate() {
                let prev: Vec<usize> = prev.iter().filter(|_| number > 0).map(|prev| prev.index(number)).collect();
                let depth = prev.iter().map(|prev| graph[*prev].0).max().unwrap_or(0) + 1;
                graph.push((depth, served, prev));
            }
            graph
        })
    }

    proptest! {
        #[test]
        fn walks_keep_the_order_of_the_graph(graph in graph(), from: prop::sample::Index, limit in 1_usize..50) {
            let from = from.index(graph.len());
            let place = |events: &[usize], number: usize| events.iter().position(|event| *event == number);
            let newest_first = back(&graph, &[from], limit);
            prop_assert!(newest_first.len() <= limit);
            let oldest_first = missing(&graph, &[], &[from], limit, 0);
            prop_assert!(oldest_first.len() <= limit && !oldest_first.contains(&from));
            for (number, (_, served, prev)) in graph.iter().enumerate() {
                prop_assert!(*served || !newest_first.contains(&number) && !oldest_first.contains(&number));
                for prev in prev {
                    if let (Some(newer), Some(older)) = (place(&newest_first, number), place(&newest_first, *prev)) {
                        prop_assert!(newer < older);
                    }
                    if let (Some(newer), Some(older)) = (place(&oldest_first, number), place(&oldest_first, *prev)) {
                        prop_assert!(older < newer);
                    }
                }
            }
            if limit > graph.len() {
                let mut both = oldest_first;
                both.extend(graph[from].1.then_some(from));
                both.sort_unstable();
                let mut all = newest_first;
                all.sort_unstable();
                prop_assert_eq!(both, all);
            }
        }
    }
}
