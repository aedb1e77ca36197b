//! `POST /user_directory/search`.

use wardroom_testkit::{Actor, Config, User, Value, events, json, unique, v3};

use crate::{server_with, ward};

fn search(user: &User, term: &str) -> Value {
    user.post(v3(&["user_directory", "search"]), json!({ "search_term": term })).ok()
}

#[track_caller]
fn ids(answer: &Value) -> Vec<&str> {
    events(&answer["results"]).iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

fn rename(user: &User, name: &str) {
    user.put(v3(&["profile", &user.id, "displayname"]), json!({ "displayname": name })).ok();
}

#[test]
fn who_shares_a_room_is_found_until_they_part() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    let word = unique("Wójcik");
    rename(&bob, &format!("Dr. Bob {word}"));
    assert_eq!(search(&alice, &word), json!({ "results": [], "limited": false }));
    let room = alice.create_room(json!({ "invite": [bob.id] }));
    assert!(ids(&search(&alice, &word)).is_empty(), "the invited share no room yet");
    bob.join(&room);
    let found = search(&alice, &word.to_uppercase());
    assert_eq!(found["results"], json!([{ "user_id": bob.id, "display_name": format!("Dr. Bob {word}") }]));
    assert_eq!(found["limited"], false);
    assert!(ids(&search(&eve, &word)).is_empty(), "a private room makes one known to its members only");
    for term in [&bob.localpart, &bob.id, &format!("@{}", bob.localpart), &format!("bob {word}"), &format!("{word} dr")]
    {
        assert_eq!(ids(&search(&alice, term)), [&bob.id], "{term}");
    }
    bob.leave(&room);
    assert!(ids(&search(&alice, &word)).is_empty());
}

#[test]
fn who_is_in_an_open_room_is_found_by_all() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    let word = unique("Open");
    rename(&bob, &word);
    let room = alice.create_room(json!({ "invite": [bob.id] }));
    bob.join(&room);
    let seen = || ids(&search(&eve, &word)) == [&bob.id];
    assert!(!seen());
    for (kind, open, closed) in [
        ("m.room.join_rules", json!({ "join_rule": "public" }), json!({ "join_rule": "invite" })),
        (
            "m.room.history_visibility",
            json!({ "history_visibility": "world_readable" }),
            json!({ "history_visibility": "shared" }),
        ),
    ] {
        alice.set_state(&room, kind, "", open);
        assert!(seen(), "{kind}");
        alice.set_state(&room, kind, "", closed);
        assert!(!seen(), "{kind}");
    }
    alice.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "public" }));
    assert!(seen());
    bob.leave(&room);
    assert!(!seen());
}

#[test]
fn a_new_name_is_found_and_the_old_one_is_not() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (before, after) = (unique("Before"), unique("After"));
    alice.create_public_room(&[&bob]);
    rename(&bob, &before);
    assert_eq!(ids(&search(&alice, &before)), [&bob.id]);
    rename(&bob, &after);
    assert!(ids(&search(&alice, &before)).is_empty());
    assert_eq!(ids(&search(&alice, &after)), [&bob.id]);
    bob.put(v3(&["profile", &bob.id, "avatar_url"]), json!({ "avatar_url": "mxc://hospital-a.example/bob" })).ok();
    assert_eq!(search(&alice, &after)["results"][0]["avatar_url"], "mxc://hospital-a.example/bob");
    bob.with_password_stage("POST", &v3(&["account", "deactivate"]), json!({})).ok();
    assert!(ids(&search(&alice, &after)).is_empty(), "who is gone is not found");
}

#[test]
fn answers_are_limited() {
    let alice = ward().user("alice");
    let word = unique("many");
    let others: Vec<User> = (0..12).map(|n| ward().user(&format!("{word}-{n}"))).collect();
    alice.create_public_room(&others.iter().collect::<Vec<_>>());
    let ask = |body: Value| alice.post(v3(&["user_directory", "search"]), body);
    let count = |answer: &Value| (ids(answer).len(), answer["limited"] == true);
    assert_eq!(count(&ask(json!({ "search_term": word })).ok()), (10, true), "the default");
    assert_eq!(count(&ask(json!({ "search_term": word, "limit": 3 })).ok()), (3, true));
    assert_eq!(count(&ask(json!({ "search_term": word, "limit": 12 })).ok()), (12, false));
    assert_eq!(count(&ask(json!({ "search_term": word, "limit": 1_000_000 })).ok()), (12, false));
    assert_eq!(count(&ask(json!({ "search_term": "" })).ok()), (0, false));
    ask(json!({})).refused(400, "M_BAD_JSON");
    ask(json!({ "search_term": 5 })).refused(400, "M_BAD_JSON");
    ask(json!({ "search_term": word, "limit": -1 })).refused(400, "M_BAD_JSON");
    ask(json!({ "search_term": word, "limit": "5" })).refused(400, "M_BAD_JSON");
    alice.anonymous().post(v3(&["user_directory", "search"]), json!({})).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn a_server_may_show_all_its_users_and_knows_them_after_a_restart() {
    let mut server = server_with(Config::default().set("user_directory.search_all_users", "true"));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    rename(&bob, "Bob of Radiology");
    assert_eq!(ids(&search(&alice, "radio")), [&bob.id]);
    server.restart();
    assert_eq!(ids(&search(&alice, "radio")), [&bob.id]);
    server.reconfigure(|config| config.set("user_directory.search_all_users", "false"));
    server.restart();
    assert!(ids(&search(&alice, "radio")).is_empty());
}
