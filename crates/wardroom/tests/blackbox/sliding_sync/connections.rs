//! Places in connections: repeated, lost, foreign.

use wardroom_testkit::{Config, User, bodies, events, json};

use super::{Connection, all, room, sorted, told};
use crate::{server_with, ward};

#[test]
fn the_same_place_is_answered_again() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({ "name": "Ward 7" }));
    let mut connection = Connection::of_all(&alice);
    connection.next();
    let place = connection.clone();
    alice.say(&id, "one");
    let answer = connection.next();
    assert_eq!(bodies(events(&room(&answer, &id)["timeline"])), ["one"]);
    // The answer was lost on its way, or the client has given up waiting: it asks again, also for something else.
    let mut again = place;
    let repeated = again.next();
    assert_eq!(bodies(events(&room(&repeated, &id)["timeline"])), ["one"], "{repeated}");
    let mut third = connection.clone();
    third.pos.clone_from(&again.pos);
    assert_eq!(told(&third.next()), [] as [String; 0]);
    alice.say(&id, "two");
    let answer = third.next();
    assert_eq!(bodies(events(&room(&answer, &id)["timeline"])), ["two"], "{answer}");
}

#[test]
fn a_place_that_was_left_behind_is_unknown() {
    let alice = ward().user("alice");
    alice.create_room(json!({}));
    let mut connection = Connection::of_all(&alice);
    connection.next();
    let old = connection.clone();
    connection.next();
    connection.next();
    old.ask(std::time::Duration::ZERO).refused(400, "M_UNKNOWN_POS");
    connection.next();
}

#[test]
fn places_belong_to_one_device_and_connection() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let phone = alice.other_device();
    let id = alice.create_room(json!({}));
    let mut connection = Connection::of_all(&alice);
    connection.next();
    let elsewhere = |user: &User, conn_id: Option<&str>| {
        let mut other = Connection { user, ..connection.clone() };
        if let Some(conn_id) = conn_id {
            other.body["conn_id"] = json!(conn_id);
        }
        other.ask(std::time::Duration::ZERO).refused(400, "M_UNKNOWN_POS");
    };
    elsewhere(&bob, None);
    elsewhere(&phone, None);
    elsewhere(&alice, Some("other"));
    for junk in ["junk", "s1", "c1_1_1", "c0_0_0", "c18446744073709551615_1_1", "0"] {
        let junk = Connection { pos: Some(junk.to_owned()), ..connection.clone() };
        junk.ask(std::time::Duration::ZERO).refused(400, "M_UNKNOWN_POS");
    }
    // Connections of one device do not touch each other.
    let mut body = connection.body.clone();
    body["conn_id"] = json!("other");
    let mut other = Connection::new(&alice, body);
    assert_eq!(told(&other.next()), sorted(&[&id]));
    assert_eq!(told(&connection.next()), [] as [String; 0]);
    // A new connection of the same name takes the place of the old one.
    let anew = Connection { pos: None, ..connection.clone() }.next();
    assert_eq!(room(&anew, &id)["initial"], true);
    connection.ask(std::time::Duration::ZERO).refused(400, "M_UNKNOWN_POS");
}

#[test]
fn connections_are_bounded_and_a_restart_loses_them() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let id = alice.create_room(json!({}));
    let mut first = Connection::new(&alice, json!({ "conn_id": "first", "lists": { "a": all(9, 1) } }));
    first.next();
    let mut last = first.clone();
    for number in 0..20 {
        last = Connection::new(&alice, json!({ "conn_id": number.to_string(), "lists": { "a": all(9, 1) } }));
        last.next();
    }
    first.ask(std::time::Duration::ZERO).refused(400, "M_UNKNOWN_POS");
    last.next();
    let (conn, pos) = (last.body.clone(), last.pos.clone());
    server.restart();
    let lost = Connection { pos, ..Connection::new(&alice, conn.clone()) };
    lost.ask(std::time::Duration::ZERO).refused(400, "M_UNKNOWN_POS");
    let anew = Connection::new(&alice, conn).next();
    assert_eq!(room(&anew, &id)["initial"], true, "{anew}");
}

#[test]
fn pagination_takes_a_place() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({}));
    alice.say(&id, "before");
    let mut connection = Connection::of_all(&alice);
    connection.next();
    alice.say(&id, "after");
    let page = alice.try_messages(&id, "b", connection.pos.as_deref(), "1").ok();
    assert_eq!(bodies(events(&page["chunk"])), ["before"], "{page}");
}
