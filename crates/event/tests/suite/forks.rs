//! State resolution of random histories, beside ruma's on full auth chains.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};
use ruma::{EventId, OwnedEventId, events::StateEventType, state_res::utils::event_id_set::EventIdSet};
use serde_json::{Value, json};
use wardroom_event::{RoomVersion, StateMap, resolve};

use crate::room::{ALICE, BOB, CAROL, DAVE, Room};

/// One thing that somebody tries in a room; what is not allowed does not happen.
#[derive(Debug, Clone)]
enum Deed {
    Member(usize, usize, &'static str),
    Levels(usize, usize, i64),
    JoinRule(usize, &'static str),
    Topic(usize, u8),
    Wait(u64),
}

const USERS: [&str; 4] = [ALICE, BOB, CAROL, DAVE];

fn deed() -> impl Strategy<Value = Deed> {
    let user = 0..USERS.len();
    let membership = proptest::sample::select(vec!["join", "join", "join", "leave", "invite", "ban"]);
    prop_oneof![
        3 => (user.clone(), user.clone(), membership).prop_map(|(by, of, to)| Deed::Member(by, of, to)),
        2 => (user.clone(), user.clone(), proptest::sample::select(vec![0, 50, 100]))
            .prop_map(|(by, of, level)| Deed::Levels(by, of, level)),
        1 => (user.clone(), proptest::sample::select(vec!["public", "invite"]))
            .prop_map(|(by, rule)| Deed::JoinRule(by, rule)),
        2 => (user, any::<u8>()).prop_map(|(by, text)| Deed::Topic(by, text)),
        1 => (0_u64..5000).prop_map(Deed::Wait),
    ]
}

fn act(room: &mut Room, deed: &Deed) {
    let _ = match *deed {
        Deed::Member(by, of, membership) => room.member(USERS[by], USERS[of], membership),
        Deed::Levels(by, of, level) => {
            let levels = room.current(&StateEventType::RoomPowerLevels, "").unwrap();
            let mut content: Value = levels.content_as().unwrap();
            content["users"][USERS[of]] = json!(level);
            room.state(USERS[by], "m.room.power_levels", "", content)
        }
        Deed::JoinRule(by, rule) => room.state(USERS[by], "m.room.join_rules", "", json!({"join_rule": rule})),
        Deed::Topic(by, text) => room.state(USERS[by], "m.room.topic", "", json!({"topic": text})),
        Deed::Wait(ms) => {
            room.wait_ms(ms);
            return;
        }
    };
}

/// The auth chain, as plainly as it can be computed.
fn auth_chain(room: &Room, id: &EventId) -> HashSet<OwnedEventId> {
    let mut chain = HashSet::new();
    for auth_event in room.event(id).unwrap().auth_events() {
        chain.extend(auth_chain(room, auth_event));
        chain.insert(auth_event.to_owned());
    }
    chain
}

/// ruma's resolution on full auth chains, with the subgraph by its definition.
fn plainly_resolved(room: &Room, states: &[StateMap]) -> StateMap {
    let chains = states
        .iter()
        .map(|state| state.values().flat_map(|id| auth_chain(room, id)).collect::<EventIdSet<_>>())
        .collect();
    let rules = room.version.rules();
    ruma::state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules().unwrap(),
        states,
        chains,
        |id| room.event(id),
        |conflicted| {
            let ends: Vec<&OwnedEventId> = conflicted.values().flatten().collect();
            let on_path = |id: &OwnedEventId| {
                let below = auth_chain(room, id);
                let leads = ends.iter().any(|&end| end == id || below.contains(end));
                leads && ends.iter().any(|&end| end == id || auth_chain(room, end).contains(id))
            };
            Some(room.events.keys().filter(|id| on_path(id)).cloned().collect())
        },
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn resolution_is_that_of_full_auth_chains(
        version in proptest::sample::select(vec![RoomVersion::V6, RoomVersion::V11, RoomVersion::V12]),
        before in vec(deed(), 0..6),
        forks in vec(vec(deed(), 0..8), 2..4),
        after in vec(deed(), 0..3),
        stale in vec(any::<bool>(), 8),
    ) {
        let creator = !version.rules().authorization.explicitly_privilege_room_creators;
        let users = if creator { json!({ALICE: 100, BOB: 50}) } else { json!({BOB: 50}) };
        let mut trunk = Room::public(version, &json!({"users": users}));
        before.iter().for_each(|deed| act(&mut trunk, deed));
        let mut all = trunk.clone();
        let mut states = Vec::new();
        for deeds in &forks {
            let mut fork = trunk.clone();
            deeds.iter().for_each(|deed| act(&mut fork, deed));
            all.know(&fork);
            states.push(fork.state);
        }
        // And a state that is partly behind, so that auth chains that all states share lead between conflicted events.
        let mut behind = states[0].clone();
        let mut changed: Vec<_> = trunk.state.iter().filter(|(key, id)| behind.get(*key) != Some(*id)).collect();
        changed.sort();
        let old = changed.into_iter().zip(&stale).filter(|(_, stale)| **stale).map(|(entry, _)| entry);
        behind.extend(old.map(|(key, id)| (key.clone(), id.clone())));
        let pair = [states[0].clone(), behind];
        prop_assert_eq!(resolve(version, &pair, |id| all.event(id)).unwrap(), plainly_resolved(&all, &pair));
        let resolved = resolve(version, &states, |id| all.event(id)).unwrap();
        prop_assert_eq!(&resolved, &plainly_resolved(&all, &states));
        // Life goes on on the resolved state, and meets one of the forks again.
        let mut merged = all.clone();
        merged.state = resolved;
        after.iter().for_each(|deed| act(&mut merged, deed));
        let states = [merged.state.clone(), states.swap_remove(0)];
        let resolved = resolve(version, &states, |id| merged.event(id)).unwrap();
        prop_assert_eq!(resolved, plainly_resolved(&merged, &states));
    }
}
