//! Windows of lists: which rooms are in them, and in which order they come.

use wardroom_testkit::{Actor, User, bodies, events, json, raw, text};

use super::{Connection, all, room, sorted, told};
use crate::ward;

/// Rooms with one message each, the oldest first.
fn rooms_of(user: &User, count: usize) -> Vec<String> {
    let rooms: Vec<String> = (0..count).map(|_| user.create_room(json!({}))).collect();
    rooms.iter().for_each(|room| drop(user.say(room, "hello")));
    rooms
}

#[test]
fn it_is_advertised() {
    let answer = ward().anonymous().get(raw("/_matrix/client/versions")).ok();
    assert_eq!(answer["unstable_features"]["org.matrix.simplified_msc3575"], true, "{answer}");
}

#[test]
fn a_window_has_the_most_recent_rooms() {
    let alice = ward().user("alice");
    let rooms = rooms_of(&alice, 5);
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": all(1, 1) }, "txn_id": "mine" }));
    let first = connection.next();
    assert_eq!(told(&first), sorted(&[&rooms[3], &rooms[4]]), "{first}");
    assert_eq!((&first["lists"]["a"]["count"], &first["txn_id"]), (&json!(5), &json!("mine")));
    let newest = room(&first, &rooms[4]);
    assert_eq!((&newest["initial"], &newest["limited"], &newest["num_live"]), (&json!(true), &json!(true), &json!(0)));
    assert_eq!(bodies(events(&newest["timeline"])), ["hello"]);
    assert_eq!((&newest["membership"], &newest["lists"]), (&json!("join"), &json!(["a"])));
    assert!(newest["bump_stamp"].as_u64() > room(&first, &rooms[3])["bump_stamp"].as_u64());
    // The window grows: the rooms in it are known already.
    connection.ask_for(json!({ "lists": { "a": all(3, 1) } }));
    let grown = connection.next();
    assert_eq!(told(&grown), sorted(&[&rooms[1], &rooms[2]]), "{grown}");
    assert_eq!(room(&grown, &rooms[1])["initial"], true);
    // A room that was out of sight comes to the top.
    alice.say(&rooms[0], "back");
    let bumped = connection.next();
    assert_eq!(told(&bumped), sorted(&[&rooms[0]]), "{bumped}");
    let back = room(&bumped, &rooms[0]);
    assert_eq!((&back["initial"], &back["num_live"]), (&json!(true), &json!(1)), "one of its events just happened");
    assert_eq!(told(&connection.next()), [] as [String; 0], "nothing is news any more");
}

#[test]
fn a_room_that_was_out_of_sight_is_told_from_where_it_is_known() {
    let alice = ward().user("alice");
    let rooms = rooms_of(&alice, 2);
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": all(1, 3) } }));
    connection.next();
    connection.ask_for(json!({ "lists": { "a": all(0, 3) } }));
    alice.say(&rooms[0], "unseen");
    alice.say(&rooms[1], "on top");
    let answer = connection.next();
    assert_eq!(told(&answer), sorted(&[&rooms[1]]), "{answer}");
    connection.ask_for(json!({ "lists": { "a": all(1, 3) } }));
    let answer = connection.next();
    assert_eq!(told(&answer), sorted(&[&rooms[0]]), "{answer}");
    let known = room(&answer, &rooms[0]);
    assert!(known["initial"].is_null() && known["required_state"].is_null(), "{answer}");
    assert_eq!(bodies(events(&known["timeline"])), ["unseen"]);
}

#[test]
fn state_makes_a_room_recent_but_does_not_bump_it() {
    let alice = ward().user("alice");
    let rooms = rooms_of(&alice, 2);
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": all(0, 1) } }));
    assert_eq!(told(&connection.next()), sorted(&[&rooms[1]]));
    alice.set_state(&rooms[0], "m.room.topic", "", json!({ "topic": "quiet" }));
    let answer = connection.next();
    assert_eq!(told(&answer), sorted(&[&rooms[0]]), "the list goes by the newest event of any kind: {answer}");
    let before = room(&answer, &rooms[0])["bump_stamp"].as_u64().unwrap();
    alice.say(&rooms[0], "loud");
    let after = connection.next();
    assert!(room(&after, &rooms[0])["bump_stamp"].as_u64().unwrap() > before, "{after}");
    alice.try_send(&rooms[0], "org.example.quiet", "1", text("quiet")).ok();
    let answer = connection.next();
    assert!(room(&answer, &rooms[0])["timeline"].is_array() && room(&answer, &rooms[0])["bump_stamp"].is_null());
}

#[test]
fn lists_may_have_several_windows_and_overlap() {
    let alice = ward().user("alice");
    let rooms = rooms_of(&alice, 6);
    let ranges = json!({ "ranges": [[0, 0], [2, 3], [3, 3]], "timeline_limit": 1 });
    let lists = json!({ "lists": { "a": ranges, "b": all(0, 5), "none": all(99, 1) } });
    let mut body = lists;
    body["lists"]["none"]["filters"] = json!({ "is_dm": true });
    let answer = Connection::new(&alice, body).next();
    assert_eq!(told(&answer), sorted(&[&rooms[5], &rooms[3], &rooms[2]]), "{answer}");
    let newest = room(&answer, &rooms[5]);
    assert_eq!(newest["lists"], json!(["a", "b"]));
    assert_eq!(events(&newest["timeline"]).len(), 5, "the larger of the limits");
    assert_eq!(events(&room(&answer, &rooms[3])["timeline"]).len(), 1);
    assert_eq!((&answer["lists"]["none"]["count"], &answer["lists"]["b"]["count"]), (&json!(0), &json!(6)));
}

#[test]
fn huge_windows_have_all_rooms() {
    let alice = ward().user("alice");
    let rooms = rooms_of(&alice, 25);
    let list = json!({ "ranges": [[0, 9_007_199_254_740_991_u64]], "timeline_limit": 0 });
    let answer = Connection::new(&alice, json!({ "lists": { "a": list } })).next();
    let expected: Vec<&str> = rooms.iter().map(String::as_str).collect();
    assert_eq!(told(&answer), sorted(&expected));
    let beyond = json!({ "ranges": [[100, 200]], "timeline_limit": 1 });
    let answer = Connection::new(&alice, json!({ "lists": { "a": beyond } })).next();
    assert_eq!((told(&answer).len(), &answer["lists"]["a"]["count"]), (0, &json!(25)));
}

#[test]
fn subscriptions_name_rooms() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let rooms = rooms_of(&alice, 3);
    let strange = bob.create_public_room(&[]);
    let wanted = json!({ "timeline_limit": 2, "required_state": [["m.room.create", ""]] });
    let subscriptions = json!({ &rooms[0]: wanted, &strange: wanted, "!none:example.org": wanted });
    let body = json!({ "lists": { "a": all(0, 1) }, "room_subscriptions": subscriptions });
    let mut connection = Connection::new(&alice, body.clone());
    let first = connection.next();
    assert_eq!(told(&first), sorted(&[&rooms[0], &rooms[2]]), "{first}");
    let subscribed = room(&first, &rooms[0]);
    assert_eq!((events(&subscribed["timeline"]).len(), events(&subscribed["required_state"]).len()), (2, 1));
    assert!(subscribed["lists"].is_null());
    // No more subscriptions: the room is not told any more.
    connection.ask_for(json!({ "lists": { "a": all(0, 1) } }));
    alice.say(&rooms[0], "one");
    alice.say(&rooms[2], "two");
    assert_eq!(told(&connection.next()), sorted(&[&rooms[2]]));
    connection.ask_for(body);
    let again = connection.next();
    assert_eq!(bodies(events(&room(&again, &rooms[0])["timeline"])), ["one"], "{again}");
}
