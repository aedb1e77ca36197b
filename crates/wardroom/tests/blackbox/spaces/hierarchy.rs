//! `GET /rooms/{roomId}/hierarchy`.

use wardroom_testkit::{Actor, Reply, Target, User, Value, events, json, raw, unique, v1};

use super::{restricted, room_ids, set_child, space};
use crate::ward;

fn path(space: &str) -> Target {
    v1(&["rooms", space, "hierarchy"])
}

fn ask(user: &User, space: &str) -> Reply {
    user.get(path(space))
}

#[track_caller]
fn ids(user: &User, target: Target) -> Vec<String> {
    room_ids(&user.get(target).ok()["rooms"]).into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn told(user: &User, target: Target, rooms: &[&str]) {
    assert_eq!(room_ids(&user.get(target).ok()["rooms"]), rooms);
}

#[test]
fn a_tree_is_walked_depth_first_in_the_order_of_the_children() {
    let alice = ward().user("alice");
    let rooms: Vec<String> = (0..4).map(|n| alice.create_room(json!({ "name": format!("Room {n}") }))).collect();
    let inner = space(&alice, "Inner", &[&rooms[0], &rooms[1]]);
    let outer = space(&alice, "Outer", &[&inner, &rooms[2], &rooms[3]]);
    let answer = ask(&alice, &outer).ok();
    assert_eq!(room_ids(&answer["rooms"]), [&outer, &inner, &rooms[0], &rooms[1], &rooms[2], &rooms[3]]);
    assert!(answer.get("next_batch").is_none(), "{answer}");

    let shown = &answer["rooms"][0];
    assert_eq!((&shown["name"], &shown["room_type"]), (&json!("Outer"), &json!("m.space")));
    assert_eq!((&shown["num_joined_members"], &shown["join_rule"]), (&json!(1), &json!("public")));
    assert_eq!((&shown["world_readable"], &shown["guest_can_join"]), (&json!(false), &json!(false)));
    assert_eq!(shown["room_version"], "12");
    let children = events(&shown["children_state"]);
    assert_eq!(children.len(), 3);
    let first = &children[0];
    assert_eq!((&first["type"], &first["state_key"]), (&json!("m.space.child"), &json!(inner)));
    assert_eq!((&first["sender"], &first["content"]["order"]), (&json!(alice.id), &json!("0000")));
    assert!(first["origin_server_ts"].as_u64().is_some_and(|time| time > 1_600_000_000_000), "{first}");
    assert!(first.get("event_id").is_none() && first.get("room_id").is_none(), "stripped: {first}");
    assert_eq!(answer["rooms"][2]["children_state"], json!([]));
    assert!(answer["rooms"][2].get("room_type").is_none());
}

#[test]
fn children_are_ordered_by_order_then_age_then_id() {
    let alice = ward().user("alice");
    let rooms: Vec<String> = (0..7).map(|_| alice.create_room(json!({}))).collect();
    let space = space(&alice, "Ordered", &[]);
    for (room, order) in [
        (0, json!("b")),
        (1, json!(7)),
        (2, json!(" ")),
        (3, json!("x".repeat(51))),
        (4, json!("ä")),
        (5, json!("aa")),
        (6, json!("")),
    ] {
        set_child(&alice, &space, &rooms[room], json!({ "order": order }));
    }
    let expected: Vec<&String> = [2, 5, 0, 1, 3, 4, 6].into_iter().map(|room| &rooms[room]).collect();
    assert_eq!(ids(&alice, path(&space))[1..].iter().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_no_child_is_left_out() {
    let alice = ward().user("alice");
    let (kept, taken_away) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let unknown = format!("!{}:{}", unique("nowhere"), ward().name());
    let space = space(&alice, "Loose ends", &[&kept, &taken_away, &unknown]);
    alice.set_state(&space, "m.space.child", &taken_away, json!({}));
    alice.set_state(&space, "m.space.child", "not a room id", json!({ "via": ["a.example"] }));
    let other = alice.create_room(json!({}));
    alice.set_state(&space, "m.space.child", &other, json!({ "via": "a.example" }));
    let answer = ask(&alice, &space).ok();
    assert_eq!(room_ids(&answer["rooms"]), [&space, &kept]);
    let named: Vec<&Value> =
        events(&answer["rooms"][0]["children_state"]).iter().map(|child| &child["state_key"]).collect();
    assert_eq!(named, [&json!(kept), &json!(unknown)], "an unknown room may be known to others");
}

#[test]
fn a_room_is_told_once_and_a_loop_ends() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let a = space(&alice, "A", &[&room]);
    let b = space(&alice, "B", &[&a, &room]);
    set_child(&alice, &a, &b, json!({}));
    set_child(&alice, &a, &a, json!({}));
    told(&alice, path(&a), &[&a, &room, &b]);
    told(&alice, path(&b), &[&b, &a, &room]);
}

#[test]
fn only_rooms_that_the_user_may_know_of_are_told() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let state = |kind: &str, content: Value| json!({ "initial_state": [{ "type": kind, "content": content }] });
    let key = alice.create_room(json!({}));
    let private = alice.create_room(json!({}));
    let public = alice.create_room(json!({ "preset": "public_chat" }));
    let knock = alice.create_room(state("m.room.join_rules", json!({ "join_rule": "knock" })));
    let readable =
        alice.create_room(state("m.room.history_visibility", json!({ "history_visibility": "world_readable" })));
    let invited = alice.create_room(json!({ "invite": [bob.id] }));
    let by_key = restricted(&alice, "11", "restricted", &[&key]);
    let by_knock = restricted(&alice, "11", "knock_restricted", &[&key]);
    let banned = alice.create_room(json!({ "preset": "public_chat" }));
    alice.on_member("ban", &banned, &bob).ok();
    let all = [&private, &public, &knock, &readable, &invited, &by_key, &by_knock, &banned];
    let all: Vec<&str> = all.into_iter().map(String::as_str).collect();
    let space = space(&alice, "All kinds", &all);
    told(&bob, path(&space), &[&space, &public, &knock, &readable, &invited, &by_knock]);
    let answer = ask(&alice, &space).ok();
    assert_eq!(room_ids(&answer["rooms"]).len(), 9, "a member of all sees all");
    let shown = &answer["rooms"][6];
    assert_eq!((&shown["join_rule"], &shown["allowed_room_ids"]), (&json!("restricted"), &json!([key])));
    alice.invite(&key, &bob);
    assert!(!ids(&bob, path(&space)).contains(&by_key), "an invitation is no membership");
    bob.join(&key);
    assert!(ids(&bob, path(&space)).contains(&by_key));
}

#[test]
fn who_may_not_know_of_the_space_is_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let space = alice.create_room(json!({ "creation_content": { "type": "m.space" } }));
    ask(&bob, &space).refused(403, "M_FORBIDDEN");
    ask(&bob, &format!("!{}:{}", unique("nowhere"), ward().name())).refused(403, "M_FORBIDDEN");
    alice.invite(&space, &bob);
    ask(&bob, &space).ok();
    alice.on_member("ban", &space, &bob).ok();
    ask(&bob, &space).refused(403, "M_FORBIDDEN");
    alice.anonymous().get(path(&space)).refused(401, "M_MISSING_TOKEN");
    alice.get(v1(&["rooms", "no room", "hierarchy"])).refused(400, "M_INVALID_PARAM");
}

#[test]
fn depth_and_suggestions_limit_the_walk() {
    let alice = ward().user("alice");
    let deep = alice.create_room(json!({}));
    let low = space(&alice, "Low", &[&deep]);
    let middle = space(&alice, "Middle", &[&low]);
    let top = space(&alice, "Top", &[]);
    let plain = alice.create_room(json!({}));
    set_child(&alice, &top, &middle, json!({ "suggested": true, "order": "a" }));
    set_child(&alice, &top, &plain, json!({ "suggested": "yes", "order": "b" }));
    told(&alice, path(&top), &[&top, &middle, &low, &deep, &plain]);
    told(&alice, path(&top).query("max_depth", "0"), &[&top]);
    told(&alice, path(&top).query("max_depth", "1"), &[&top, &middle, &plain]);
    told(&alice, path(&top).query("max_depth", "2"), &[&top, &middle, &low, &plain]);
    told(&alice, path(&top).query("suggested_only", "true"), &[&top, &middle]);
    // A room that is no space has no children.
    told(&alice, path(&plain), &[&plain]);
}

#[test]
fn pages_hold_each_room_once() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let rooms: Vec<String> = (0..7).map(|_| alice.create_room(json!({ "preset": "public_chat" }))).collect();
    let children: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let space = space(&alice, "Pages", &children);
    let first = || path(&space).query("limit", "3").query("max_depth", "2");
    let (mut found, mut next) = (Vec::new(), None::<String>);
    for _ in 0..4 {
        let target = next.iter().fold(first(), |target, token| target.query("from", token));
        let page = alice.get(target).ok();
        assert!(room_ids(&page["rooms"]).len() <= 3, "{page}");
        found.extend(room_ids(&page["rooms"]).into_iter().map(str::to_owned));
        next = page["next_batch"].as_str().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    assert_eq!(next, None);
    assert_eq!(found[0], space);
    assert_eq!(found[1..], rooms);

    let token = alice.get(first()).ok()["next_batch"].as_str().unwrap().to_owned();
    let again = ids(&alice, first().query("from", &token));
    assert_eq!(again, ids(&alice, first().query("from", &token)), "a token can be used twice");
    alice.get(path(&space).query("max_depth", "3").query("from", &token)).refused(400, "M_INVALID_PARAM");
    alice.get(first().query("suggested_only", "true").query("from", &token)).refused(400, "M_INVALID_PARAM");
    bob.get(first().query("from", &token)).refused(400, "M_INVALID_PARAM");
    alice.get(first().query("from", "junk")).refused(400, "M_INVALID_PARAM");
    alice.get(path(&space).query("limit", "0")).refused(400, "M_INVALID_PARAM");
    for (key, value) in [("limit", "-1"), ("limit", "x"), ("max_depth", "-1"), ("suggested_only", "maybe")] {
        alice.get(path(&space).query(key, value)).refused_with_one_of(400, &["M_INVALID_PARAM", "M_BAD_JSON"]);
    }
    // The last room told goes away: the walk goes on behind where it was.
    alice.set_state(&space, "m.space.child", &rooms[1], json!({}));
    let rest = ids(&alice, path(&space).query("max_depth", "2").query("from", &token));
    assert_eq!(rest, rooms[2..]);
}

#[test]
fn a_large_space_is_told_whole() {
    let alice = ward().user("alice");
    // Aliases of one room would do for the server, not for the specification: each child is a room.
    let rooms: Vec<String> = (0..120).map(|_| alice.create_room(json!({}))).collect();
    let children: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let space = space(&alice, "Large", &children);
    let first = ask(&alice, &space).ok();
    assert_eq!(room_ids(&first["rooms"]).len(), 50, "the default page");
    assert_eq!(events(&first["rooms"][0]["children_state"]).len(), 120);
    assert_eq!(ids(&alice, path(&space).query("limit", "1000000")).len(), 121);
}

#[test]
fn the_path_of_the_proposal_leads_to_the_same_place() {
    let alice = ward().user("alice");
    let space = space(&alice, "Old path", &[]);
    let old = format!("/_matrix/client/unstable/org.matrix.msc2946/rooms/{space}/hierarchy");
    assert_eq!(alice.get(raw(&old)).ok(), ask(&alice, &space).ok());
}
