//! State resolution: power struggles, and what version 2.1 does better.

use ruma::{
    OwnedEventId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::{Value, json};
use wardroom_event::{ResolveError, RoomVersion, StateMap, resolve};

use crate::room::{ALICE, BOB, CAROL, Room};

fn levels(version: RoomVersion, users: &Value) -> Value {
    let mut users = users.clone();
    if version.rules().authorization.explicitly_privilege_room_creators {
        users.as_object_mut().unwrap().remove(ALICE);
    }
    json!({"users": users})
}

/// Resolves the states of forks in every order and makes sure that the order is nothing.
fn resolved(forks: &[&Room]) -> StateMap {
    let mut room = forks[0].clone();
    for fork in forks {
        room.know(fork);
    }
    let mut states: Vec<StateMap> = forks.iter().map(|fork| fork.state.clone()).collect();
    let forward = resolve(room.version, &states, |id| room.event(id)).unwrap();
    states.reverse();
    let backward = resolve(room.version, &states, |id| room.event(id)).unwrap();
    assert_eq!(forward, backward);
    forward
}

fn get(state: &StateMap, kind: &str, state_key: &str) -> Option<OwnedEventId> {
    state.get(&(kind.into(), state_key.to_owned())).cloned()
}

fn topic(text: &str) -> Value {
    json!({"topic": text})
}

#[test]
fn equal_states_stay() {
    for version in RoomVersion::ALL {
        let room = Room::public(version, &levels(version, &json!({ALICE: 100, BOB: 50})));
        assert_eq!(resolved(&[&room, &room, &room]), room.state);
        assert_eq!(resolve(version, &[], |_| None).unwrap(), StateMap::new());
        // One state needs no events.
        assert_eq!(resolve(version, std::slice::from_ref(&room.state), |_| None).unwrap(), room.state);
    }
}

#[test]
fn unrelated_changes_meet() {
    for version in RoomVersion::ALL {
        let mut one = Room::public(version, &levels(version, &json!({ALICE: 100, BOB: 50})));
        let mut two = one.clone();
        let name = one.state(ALICE, "m.room.name", "", json!({"name": "n"})).unwrap();
        let carol = two.member(CAROL, CAROL, "join").unwrap();
        let state = resolved(&[&one, &two]);
        assert_eq!(get(&state, "m.room.name", "").unwrap(), name.event_id());
        assert_eq!(get(&state, "m.room.member", CAROL).unwrap(), carol.event_id());
        assert_eq!(state.len(), one.state.len() + 1);
    }
}

#[test]
fn the_later_of_equal_changes_wins() {
    for version in RoomVersion::ALL {
        let mut one = Room::public(version, &levels(version, &json!({ALICE: 100, BOB: 50})));
        let mut two = one.clone();
        let early = one.state(ALICE, "m.room.topic", "", topic("early")).unwrap();
        two.wait_ms(10);
        let late = two.state(BOB, "m.room.topic", "", topic("late")).unwrap();
        assert!(early.origin_server_ts() < late.origin_server_ts());
        assert_eq!(get(&resolved(&[&one, &two]), "m.room.topic", "").unwrap(), late.event_id());
    }
}

#[test]
fn a_ban_wins_over_what_the_banned_did_meanwhile() {
    for version in RoomVersion::ALL {
        let mut one = Room::public(version, &levels(version, &json!({ALICE: 100, BOB: 50})));
        let mut two = one.clone();
        let before = one.state(ALICE, "m.room.topic", "", topic("before")).unwrap();
        let ban = one.member(ALICE, BOB, "ban").unwrap();
        two.wait_ms(100_000);
        two.state(BOB, "m.room.topic", "", topic("bob's")).unwrap();
        two.state(BOB, "m.room.name", "", json!({"name": "bob's"})).unwrap();
        let state = resolved(&[&one, &two]);
        assert_eq!(get(&state, "m.room.member", BOB).unwrap(), ban.event_id());
        assert_eq!(get(&state, "m.room.topic", "").unwrap(), before.event_id());
        assert_eq!(get(&state, "m.room.name", ""), None);
    }
}

#[test]
fn the_more_powerful_wins_a_struggle() {
    for version in RoomVersion::ALL {
        let both = levels(version, &json!({ALICE: 100, BOB: 50}));
        let mut one = Room::public(version, &both);
        let mut two = one.clone();
        // Bob is first, but Alice is above him: what she takes from him counts from the start.
        let closed = two.state(BOB, "m.room.join_rules", "", json!({"join_rule": "invite"})).unwrap();
        one.wait_ms(100_000);
        let demotion = one.state(ALICE, "m.room.power_levels", "", levels(version, &json!({ALICE: 100}))).unwrap();
        assert!(closed.origin_server_ts() < demotion.origin_server_ts());
        let state = resolved(&[&one, &two]);
        assert_eq!(get(&state, "m.room.power_levels", "").unwrap(), demotion.event_id());
        assert_eq!(get(&state, "m.room.join_rules", ""), one.id_of("m.room.join_rules"));
    }
}

#[test]
fn changes_of_those_who_lost_power_meanwhile_are_undone() {
    for version in RoomVersion::ALL {
        let both = json!({ALICE: 100, BOB: 50});
        let mut one = Room::public(version, &levels(version, &both));
        let before = one.state(ALICE, "m.room.topic", "", topic("before")).unwrap();
        let mut two = one.clone();
        one.state(ALICE, "m.room.power_levels", "", levels(version, &json!({ALICE: 100, BOB: 0}))).unwrap();
        two.wait_ms(5);
        two.state(BOB, "m.room.topic", "", topic("after")).unwrap();
        let state = resolved(&[&one, &two]);
        assert_eq!(get(&state, "m.room.topic", "").unwrap(), before.event_id());
        // Three ways: another fork that knows nothing new changes nothing.
        let mut three = one.clone();
        three.message(ALICE).unwrap();
        assert_eq!(resolved(&[&one, &two, &three]), state);
    }
}

/// [MSC4297](https://github.com/matrix-org/matrix-spec-proposals/pull/4297), problem A: beginning with the
/// unconflicted state judges old events by newer ones.
#[test]
fn version_2_1_does_not_judge_old_events_by_later_state() {
    for version in RoomVersion::ALL {
        let mut one = Room::public(version, &levels(version, &json!({ALICE: 100, BOB: 100})));
        let with_topic = one.state(ALICE, "m.room.topic", "", topic("kept")).unwrap();
        one.member(ALICE, ALICE, "leave").unwrap();
        let mut two = one.clone();
        two.state.remove(&(StateEventType::RoomTopic, String::new()));
        let kept = get(&resolved(&[&one, &two]), "m.room.topic", "");
        let expected = (version >= RoomVersion::V12).then(|| with_topic.event_id().to_owned());
        assert_eq!(kept, expected, "{version}");
    }
}

/// MSC4297, problem B: without the events between conflicted ones, the later of them cannot be authorized.
#[test]
fn version_2_1_replays_what_lies_between() {
    for version in RoomVersion::ALL {
        let mut one = Room::public(version, &levels(version, &json!({ALICE: 100})));
        let first = one.id_of("m.room.power_levels").unwrap();
        let mut two = one.clone();
        let second =
            two.state(ALICE, "m.room.power_levels", "", levels(version, &json!({ALICE: 100, BOB: 50}))).unwrap();
        // Known to both states, so the second power levels are in both auth chains and in no difference.
        let name = two.state(ALICE, "m.room.name", "", json!({"name": "n"})).unwrap();
        assert!(name.auth_events().any(|id| id == second.event_id()));
        one.know(&two);
        one.state.insert((StateEventType::RoomName, String::new()), name.event_id().to_owned());
        let third = two
            .state(BOB, "m.room.power_levels", "", levels(version, &json!({ALICE: 100, BOB: 50, CAROL: 50})))
            .unwrap();
        let state = resolved(&[&one, &two]);
        let expected = if version >= RoomVersion::V12 { third.event_id().to_owned() } else { first };
        assert_eq!(get(&state, "m.room.power_levels", "").unwrap(), expected, "{version}");
    }
}

#[test]
fn missing_events_are_an_error() {
    for version in RoomVersion::ALL {
        let mut one = Room::public(version, &levels(version, &json!({ALICE: 100, BOB: 50})));
        let mut two = one.clone();
        one.member(ALICE, BOB, "ban").unwrap();
        two.state(BOB, "m.room.topic", "", topic("t")).unwrap();
        one.know(&two);
        let states = [one.state.clone(), two.state.clone()];
        let all = resolve(version, &states, |id| one.event(id)).unwrap();
        let mut needed = 0;
        for hidden in one.events.keys() {
            match resolve(version, &states, |id| one.event(id).filter(|_| id != hidden)) {
                // What is not needed changes nothing.
                Ok(state) => assert_eq!(state, all),
                Err(ResolveError::Missing(id)) => {
                    assert_eq!(&id, hidden);
                    needed += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(needed >= 6, "{version}: only {needed} events were needed");
    }
}

#[test]
fn asks_for_each_event_once_and_for_few_of_a_large_state() {
    let version = RoomVersion::V12;
    let mut one = Room::public(version, &levels(version, &json!({BOB: 50})));
    for member in 0..200 {
        let id = format!("@member{member}:one.example");
        one.member(&id, &id, "join").unwrap();
    }
    let mut two = one.clone();
    one.state(ALICE, "m.room.topic", "", topic("one")).unwrap();
    two.state(ALICE, "m.room.topic", "", topic("two")).unwrap();
    one.know(&two);
    let asked = std::cell::RefCell::new(Vec::new());
    let states = [one.state.clone(), two.state.clone()];
    resolve(version, &states, |id| {
        asked.borrow_mut().push(id.to_owned());
        one.event(id)
    })
    .unwrap();
    let mut asked = asked.into_inner();
    let calls = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(calls, asked.len());
    assert!(calls < 20, "asked for {calls} events");
    assert!(asked.iter().all(|id| *one.event(id).unwrap().kind() != TimelineEventType::RoomMessage));
}
