//! Required state: patterns, the user's own, lazily loaded members, changes.

use wardroom_testkit::{User, events, json};

use super::{Connection, members, room, sorted, state};
use crate::ward;

fn asking<'a>(user: &'a User, required: &[[&str; 2]], timeline_limit: u64) -> Connection<'a> {
    let list = json!({ "ranges": [[0, 9]], "timeline_limit": timeline_limit, "required_state": required });
    Connection::new(user, json!({ "lists": { "a": list } }))
}

#[test]
fn state_is_told_as_it_is_asked_for() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({ "name": "Ward 7", "topic": "rounds" }));
    alice.set_state(&id, "org.example.bed", "1", json!({ "free": true }));
    alice.set_state(&id, "org.example.bed", "2", json!({ "free": false }));
    let asked = |required: &[[&str; 2]]| state(&asking(&alice, required, 1).next(), &id);
    let pair = |kind: &str, key: &str| (kind.to_owned(), key.to_owned());
    assert_eq!(asked(&[]), []);
    assert_eq!(asked(&[["m.room.name", ""], ["m.room.avatar", ""]]), [pair("m.room.name", "")]);
    assert_eq!(asked(&[["org.example.bed", "*"]]), [pair("org.example.bed", "1"), pair("org.example.bed", "2")]);
    assert_eq!(asked(&[["*", "2"]]), [pair("org.example.bed", "2")]);
    assert_eq!(asked(&[["m.room.member", "$ME"]]), [pair("m.room.member", &alice.id)]);
    let everything = asked(&[["*", "*"]]);
    assert!(everything.len() > 8 && everything.contains(&pair("m.room.member", &alice.id)), "{everything:?}");
}

#[test]
fn changes_of_state_are_told_and_others_are_not() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({ "name": "Ward 7" }));
    let mut connection = asking(&alice, &[["m.room.topic", ""]], 0);
    let first = connection.next();
    assert_eq!((&room(&first, &id)["name"], state(&first, &id).len()), (&json!("Ward 7"), 0), "{first}");
    alice.set_state(&id, "m.room.topic", "", json!({ "topic": "one" }));
    alice.set_state(&id, "m.room.topic", "", json!({ "topic": "two" }));
    alice.set_state(&id, "m.room.name", "", json!({ "name": "Ward 8" }));
    let answer = connection.next();
    let topics = events(&room(&answer, &id)["required_state"]);
    assert_eq!((topics.len(), &topics[0]["content"]["topic"]), (1, &json!("two")), "{answer}");
    assert_eq!(room(&answer, &id)["name"], "Ward 8");
    alice.set_state(&id, "m.room.name", "", json!({}));
    alice.set_state(&id, "m.room.avatar", "", json!({ "url": "mxc://a.example/b" }));
    let answer = connection.next();
    let told = room(&answer, &id);
    assert!(told.get("name").is_some_and(|name| name.is_null()), "the name is gone: {answer}");
    assert_eq!((&told["avatar"], told["heroes"].as_array().map(Vec::len)), (&json!("mxc://a.example/b"), Some(0)));
    alice.say(&id, "nothing of it");
    let answer = connection.next();
    assert!(room(&answer, &id).get("name").is_none() && room(&answer, &id).get("avatar").is_none(), "{answer}");
}

#[test]
fn members_come_as_they_speak() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let id = alice.create_public_room(&[&bob, &carol]);
    alice.say(&id, "hello");
    let mut connection = asking(&alice, &[["m.room.member", "$LAZY"]], 1);
    assert_eq!(members(&connection.next(), &id), sorted(&[&alice.id]));
    bob.say(&id, "I am Bob");
    assert_eq!(members(&connection.next(), &id), sorted(&[&bob.id]));
    bob.say(&id, "still Bob");
    assert_eq!(members(&connection.next(), &id), [] as [String; 0], "the client has it");
    // A membership that changes is told, also of somebody who does not speak.
    carol.leave(&id);
    assert_eq!(members(&connection.next(), &id), sorted(&[&carol.id]));
    // All state with lazy members is without those of the silent ones.
    let mut connection = asking(&alice, &[["*", "*"], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]], 1);
    let first = connection.next();
    assert_eq!(members(&first, &id), sorted(&[&alice.id, &carol.id]), "{first}");
    assert!(state(&first, &id).len() > 5, "{first}");
}

#[test]
fn who_appears_only_in_a_lost_answer_is_told_again() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[&bob]);
    alice.say(&id, "hello");
    let mut connection = asking(&alice, &[["m.room.member", "$LAZY"]], 1);
    connection.next();
    bob.say(&id, "one");
    let mut lost = connection.clone();
    assert_eq!(members(&lost.next(), &id), sorted(&[&bob.id]));
    assert_eq!(members(&connection.next(), &id), sorted(&[&bob.id]));
}

#[test]
fn more_state_is_told_when_more_is_asked_for() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({ "name": "Ward 7", "topic": "rounds" }));
    let mut connection = asking(&alice, &[["m.room.name", ""]], 1);
    connection.next();
    connection.ask_for(asking(&alice, &[["m.room.name", ""], ["m.room.topic", ""]], 1).body);
    let answer = connection.next();
    assert_eq!(state(&answer, &id), [("m.room.topic".to_owned(), String::new())], "{answer}");
    assert!(room(&answer, &id)["initial"].is_null());
    connection.ask_for(asking(&alice, &[["m.room.topic", ""]], 1).body);
    alice.set_state(&id, "m.room.name", "", json!({ "name": "Ward 8" }));
    let answer = connection.next();
    assert_eq!(state(&answer, &id), [], "{answer}");
    connection.ask_for(asking(&alice, &[["m.room.name", ""], ["m.room.topic", ""]], 1).body);
    let answer = connection.next();
    assert_eq!(events(&room(&answer, &id)["required_state"])[0]["content"]["name"], "Ward 8", "{answer}");
}
