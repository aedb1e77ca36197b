//! One state out of several, the same on every server.
//!
//! [State resolution](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution) version 2 in room versions 6 to 11,
//! [2.1](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution) in 12. The algorithm is ruma's; what it leaves to
//! its caller is here: auth chains, the conflicted state subgraph, and the certainty that no event is missing, since
//! ruma passes over events that it cannot find and two servers would then resolve differently.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
    state_res::{self, utils::event_id_set::EventIdSet},
};

use crate::{Pdu, RoomVersion, auth_types};

/// A room state: event ids by type and state key.
pub type StateMap = HashMap<(StateEventType, String), OwnedEventId>;

/// The most events that one resolution looks at.
pub const AUTH_CHAIN_EVENTS_MAX: usize = 500_000;

/// Why states cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// An event that takes part is not here; resolving without it could end in a state of our own.
    #[error("event {0} is missing")]
    Missing(OwnedEventId),
    /// The auth chains are longer than [`AUTH_CHAIN_EVENTS_MAX`].
    #[error("auth chains of more than {AUTH_CHAIN_EVENTS_MAX} events")]
    TooLong,
    /// An event of the room breaks an assumption of the algorithm.
    #[error("state resolution failed: {0}")]
    Failed(String),
}

/// Resolves the states after several events of one room into one.
///
/// `event` is asked for every conflicted event, their auth chains, and what their authorization needs, each about once.
/// If the conflicted events have different auth chains, it is also asked for the auth chain of the rest of the state.
/// This can take long for large conflicts: keep it off threads that must not block.
pub fn resolve(
    version: RoomVersion,
    states: &[StateMap],
    event: impl Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<StateMap, ResolveError> {
    let Some((first, rest)) = states.split_first() else { return Ok(StateMap::new()) };
    if rest.iter().all(|state| state == first) {
        return Ok(first.clone());
    }
    let graph = AuthGraph::new(event);
    let unconflicted = unconflicted(first, rest);
    let conflicted: Vec<Vec<&OwnedEventId>> = states
        .iter()
        .map(|state| state.iter().filter(|(key, _)| !unconflicted.contains_key(*key)).map(|(_, id)| id).collect())
        .collect();
    let chains = graph.chains(&conflicted, &unconflicted)?;
    let all_conflicted: HashSet<OwnedEventId> = conflicted.into_iter().flatten().cloned().collect();
    finish(version, &graph, states, chains, &all_conflicted, &unconflicted)
}

/// States that differ in a part, with what is known of the rest: for who can tell what differs without walking
/// everything.
#[derive(Clone, Debug, Default)]
pub struct Conflict {
    /// What differs: of each state, the events at the places about which the states do not agree.
    pub sides: Vec<StateMap>,
    /// Of what all states agree about, at least what the authorization of the events that take part asks for.
    pub agreed: StateMap,
    /// Per state, the events of its full auth chain that are not in the auth chains of all of them.
    pub differences: Vec<HashSet<OwnedEventId>>,
}

/// As [`resolve`], with the conflict worked out by the caller. The answer has places about which the states do not
/// agree, and those of [`Conflict::agreed`]; a place that is not in it is empty in the resolved state.
pub fn resolve_conflict(
    version: RoomVersion,
    conflict: Conflict,
    event: impl Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<StateMap, ResolveError> {
    let Conflict { mut sides, agreed, differences } = conflict;
    let graph = AuthGraph::new(event);
    let all_conflicted: HashSet<OwnedEventId> = sides.iter().flat_map(HashMap::values).cloned().collect();
    for side in &mut sides {
        side.extend(agreed.iter().map(|(key, id)| (key.clone(), id.clone())));
    }
    let unconflicted = agreed.iter().collect();
    finish(version, &graph, &sides, differences, &all_conflicted, &unconflicted)
}

/// The algorithm itself, once it is known what is in conflict.
fn finish<F: Fn(&EventId) -> Option<Arc<Pdu>>>(
    version: RoomVersion,
    graph: &AuthGraph<F>,
    states: &[StateMap],
    chains: Vec<HashSet<OwnedEventId>>,
    all_conflicted: &HashSet<OwnedEventId>,
    unconflicted: &HashMap<&(StateEventType, String), &OwnedEventId>,
) -> Result<StateMap, ResolveError> {
    let rules = version.rules();
    let Some(state_res_rules) = rules.state_res.v2_rules() else {
        return Err(ResolveError::Failed("unsupported state resolution".to_owned()));
    };
    let subgraph = graph.subgraph(all_conflicted)?;
    graph.check_complete(version, all_conflicted, &chains, &subgraph, unconflicted)?;

    state_res::resolve(
        &rules.authorization,
        state_res_rules,
        states,
        chains.into_iter().map(|chain| chain.into_iter().collect()).collect(),
        |id| graph.event(id),
        |_| Some(subgraph.iter().cloned().collect::<EventIdSet<_>>()),
    )
    .map_err(|error| match error {
        state_res::Error::NotFound(id) => ResolveError::Missing(id),
        other => ResolveError::Failed(other.to_string()),
    })
}

/// What all states agree about.
fn unconflicted<'s>(first: &'s StateMap, rest: &[StateMap]) -> HashMap<&'s (StateEventType, String), &'s OwnedEventId> {
    first.iter().filter(|(key, id)| rest.iter().all(|state| state.get(*key) == Some(*id))).collect()
}

/// The events of a room along `auth_events`, remembered as they are asked for.
struct AuthGraph<F> {
    fetch: F,
    events: RefCell<HashMap<OwnedEventId, Arc<Pdu>>>,
}

impl<F: Fn(&EventId) -> Option<Arc<Pdu>>> AuthGraph<F> {
    fn new(fetch: F) -> Self {
        Self { fetch, events: RefCell::new(HashMap::new()) }
    }

    fn event(&self, id: &EventId) -> Option<Arc<Pdu>> {
        if let Some(pdu) = self.events.borrow().get(id) {
            return Some(Arc::clone(pdu));
        }
        let pdu = (self.fetch)(id)?;
        self.events.borrow_mut().insert(id.to_owned(), Arc::clone(&pdu));
        Some(pdu)
    }

    fn required(&self, id: &EventId) -> Result<Arc<Pdu>, ResolveError> {
        let pdu = self.event(id).ok_or_else(|| ResolveError::Missing(id.to_owned()))?;
        if self.events.borrow().len() > AUTH_CHAIN_EVENTS_MAX {
            return Err(ResolveError::TooLong);
        }
        Ok(pdu)
    }

    /// The auth chain of some events: all that is reached along `auth_events`, without the events themselves unless
    /// they are reached.
    fn chain<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i OwnedEventId>,
    ) -> Result<HashSet<OwnedEventId>, ResolveError> {
        let mut chain = HashSet::new();
        let mut open: Vec<Arc<Pdu>> = Vec::new();
        for id in ids {
            open.push(self.required(id)?);
            while let Some(pdu) = open.pop() {
                for id in pdu.auth_events() {
                    if !chain.contains(id) {
                        open.push(self.required(id)?);
                        chain.insert(id.to_owned());
                    }
                }
            }
        }
        Ok(chain)
    }

    /// One auth chain per state, less what all of them share.
    ///
    /// Only the difference of the chains matters. The unconflicted state is in every state, so its chain is in every
    /// chain and can be left out of all of them; and if the chains of the conflicted events are equal, it need not
    /// even be known.
    fn chains(
        &self,
        conflicted: &[Vec<&OwnedEventId>],
        unconflicted: &HashMap<&(StateEventType, String), &OwnedEventId>,
    ) -> Result<Vec<HashSet<OwnedEventId>>, ResolveError> {
        let mut chains = conflicted.iter().map(|ids| self.chain(ids.iter().copied())).collect::<Result<Vec<_>, _>>()?;
        let Some((first, rest)) = chains.split_first() else { return Ok(chains) };
        if rest.iter().all(|chain| chain == first) {
            return Ok(vec![HashSet::new(); chains.len()]);
        }
        let shared = self.chain(unconflicted.values().copied())?;
        for chain in &mut chains {
            chain.retain(|id| !shared.contains(id));
        }
        Ok(chains)
    }

    /// The conflicted state subgraph: every event on a path along `auth_events` from one conflicted event to another,
    /// ends included. [MSC4297](https://github.com/matrix-org/matrix-spec-proposals/pull/4297).
    fn subgraph(&self, conflicted: &HashSet<OwnedEventId>) -> Result<HashSet<OwnedEventId>, ResolveError> {
        // Below the conflicted events: themselves and their chain. Those of it that lead to a conflicted event are on
        // a path. So walk up from the conflicted events, staying in that set.
        let mut below = self.chain(conflicted)?;
        below.extend(conflicted.iter().cloned());
        let mut named_by: HashMap<OwnedEventId, Vec<&OwnedEventId>> = HashMap::new();
        for id in &below {
            for auth_event in self.required(id)?.auth_events() {
                named_by.entry(auth_event.to_owned()).or_default().push(id);
            }
        }
        let mut subgraph = conflicted.clone();
        let mut open: Vec<&OwnedEventId> = conflicted.iter().collect();
        while let Some(id) = open.pop() {
            for &above in named_by.get(id).into_iter().flatten() {
                if !subgraph.contains(above) {
                    subgraph.insert(above.clone());
                    open.push(above);
                }
            }
        }
        Ok(subgraph)
    }

    /// Makes sure that every event that ruma may ask for is there.
    fn check_complete(
        &self,
        version: RoomVersion,
        conflicted: &HashSet<OwnedEventId>,
        chains: &[HashSet<OwnedEventId>],
        subgraph: &HashSet<OwnedEventId>,
        unconflicted: &HashMap<&(StateEventType, String), &OwnedEventId>,
    ) -> Result<(), ResolveError> {
        let participants: HashSet<&OwnedEventId> =
            conflicted.iter().chain(chains.iter().flatten()).chain(subgraph).collect();
        for id in participants {
            let pdu = self.required(id)?;
            for auth_event in pdu.auth_events() {
                self.required(auth_event)?;
            }
            self.check_create(version, &pdu)?;
            let types = auth_types(version, pdu.kind(), pdu.sender(), pdu.state_key(), pdu.content());
            for key in types.unwrap_or_default() {
                if let Some(id) = unconflicted.get(&key) {
                    self.required(id)?;
                }
            }
        }
        // The mainline: the power levels before the current ones, and before those.
        let power_levels = (StateEventType::RoomPowerLevels, String::new());
        let mut open: Vec<OwnedEventId> = unconflicted.get(&power_levels).map(|id| (*id).clone()).into_iter().collect();
        while let Some(id) = open.pop() {
            let pdu = self.required(&id)?;
            for auth_event in pdu.auth_events() {
                if *self.required(auth_event)?.kind() == TimelineEventType::RoomPowerLevels {
                    open.push(auth_event.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Version 12 events do not list the create event, which their authorization needs nevertheless.
    fn check_create(&self, version: RoomVersion, pdu: &Pdu) -> Result<(), ResolveError> {
        if !version.rules().authorization.room_create_event_id_as_room_id {
            return Ok(());
        }
        let create = format!("${}", pdu.room_id().strip_sigil());
        match OwnedEventId::try_from(create) {
            Ok(id) => self.required(&id).map(drop),
            Err(_) => Err(ResolveError::Failed("the room id is not a reference hash".to_owned())),
        }
    }
}
