//! `POST /search`.

use wardroom_testkit::{Actor, Body, Reply, User, Value, bodies, events, json, same_set, unique, v3};

use crate::ward;

fn ask(user: &User, next_batch: Option<&str>, room_events: &Value) -> Reply {
    let mut target = v3(&["search"]);
    if let Some(token) = next_batch {
        target = target.query("next_batch", token);
    }
    user.post(target, json!({ "search_categories": { "room_events": room_events } }))
}

#[track_caller]
fn search(user: &User, room_events: &Value) -> Value {
    ask(user, None, room_events).ok()["search_categories"]["room_events"].clone()
}

#[track_caller]
fn found(answer: &Value) -> Vec<String> {
    let results: Vec<Value> = events(&answer["results"]).iter().map(|found| found["result"].clone()).collect();
    bodies(&results)
}

/// A word that no other test says.
fn word() -> String {
    unique("word").replace(|letter: char| !letter.is_alphanumeric(), "x")
}

#[test]
fn words_are_found_in_ones_own_rooms_alone() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (room, private) = (alice.create_public_room(&[&bob]), alice.create_room(json!({})));
    let needle = word();
    alice.say(&room, &format!("a {needle} in the hay"));
    alice.say(&room, "nothing of the kind");
    bob.say(&room, &format!("Another {}!", needle.to_uppercase()));
    alice.say(&private, &format!("private {needle}"));
    let recent = json!({ "search_term": needle, "order_by": "recent" });
    let answer = search(&alice, &recent);
    let all =
        [format!("private {needle}"), format!("Another {}!", needle.to_uppercase()), format!("a {needle} in the hay")];
    assert_eq!(found(&answer), all);
    assert_eq!((&answer["count"], &answer["highlights"]), (&json!(3), &json!([needle.to_lowercase()])));
    assert!(answer["results"][0]["rank"].as_f64().is_some_and(|rank| rank > 0.0), "{answer}");
    assert_eq!(answer["results"][0]["result"]["room_id"], private);
    assert!(answer["results"][0].get("context").is_none(), "not asked for: {answer}");
    assert_eq!(found(&search(&bob, &recent)), all[1..]);
    assert!(found(&search(&ward().user("stranger"), &recent)).is_empty());
    let both = json!({ "search_term": format!("hay {needle}") });
    assert_eq!(found(&search(&bob, &both)), all[2..]);
    let message = events(&answer["results"])[2]["result"]["event_id"].as_str().unwrap().to_owned();
    alice.redact(&room, &message);
    assert_eq!(found(&search(&alice, &recent)), all[..2], "what was redacted is not found");
}

#[test]
fn nothing_that_one_may_not_see_is_found() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let needle = word();
    let query = json!({ "search_term": needle, "order_by": "recent" });
    alice.say(&room, &format!("{needle} before"));
    bob.leave(&room);
    alice.say(&room, &format!("{needle} after"));
    let answer = search(&bob, &query);
    assert_eq!(found(&answer), [format!("{needle} before")]);
    assert_eq!(answer["count"], 1, "not even counted");
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" }));
    alice.say(&room, &format!("{needle} hidden"));
    bob.join(&room);
    assert!(!found(&search(&bob, &query)).contains(&format!("{needle} hidden")));
    let context = json!({ "search_term": format!("{needle} before"), "event_context": { "after_limit": 20 } });
    assert!(!search(&bob, &context).to_string().contains("hidden"));
    assert_eq!(found(&search(&alice, &query)).len(), 3);
    alice.set_state(&room, "m.room.encryption", "", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    assert!(found(&search(&alice, &query)).is_empty(), "encrypted rooms are not searched");
}

#[test]
fn results_are_narrowed_grouped_and_paged() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (one, two) = (alice.create_public_room(&[&bob]), alice.create_public_room(&[&bob]));
    let needle = word();
    for n in 0..3 {
        alice.say(&one, &format!("{needle} a{n}"));
        bob.say(&two, &format!("{needle} b{n}"));
    }
    alice.set_state(&one, "m.room.name", "", json!({ "name": format!("Room {needle}") }));
    alice.set_state(&one, "m.room.topic", "", json!({ "topic": format!("Topic {needle}") }));
    let count = |criteria: Value| {
        let mut all = json!({ "search_term": needle });
        all.as_object_mut().unwrap().extend(criteria.as_object().unwrap().clone());
        events(&search(&alice, &all)["results"]).len()
    };
    assert_eq!(count(json!({})), 8);
    assert_eq!(count(json!({ "keys": ["content.body"] })), 6);
    assert_eq!(count(json!({ "keys": ["content.name", "content.topic"] })), 2);
    assert_eq!(count(json!({ "filter": { "rooms": [two] } })), 3);
    assert_eq!(count(json!({ "filter": { "not_rooms": [two], "types": ["m.room.message"] } })), 3);
    assert_eq!(count(json!({ "filter": { "senders": [bob.id] } })), 3);
    assert_eq!(count(json!({ "filter": { "limit": 2 } })), 2);

    let by = json!({ "group_by": [{ "key": "room_id" }, { "key": "sender" }] });
    let grouped = search(
        &alice,
        &json!({ "search_term": needle, "keys": ["content.body"], "groupings": by, "order_by": "recent" }),
    );
    let groups = &grouped["groups"];
    assert_eq!(events(&groups["room_id"][&one]["results"]).len(), 3, "{grouped}");
    assert_eq!(events(&groups["sender"][&bob.id]["results"]).len(), 3, "{grouped}");
    assert!(groups["room_id"][&two]["order"].as_u64() < groups["room_id"][&one]["order"].as_u64(), "{grouped}");

    for order in ["recent", "rank"] {
        let query =
            json!({ "search_term": needle, "keys": ["content.body"], "order_by": order, "filter": { "limit": 2 } });
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = ask(&alice, token.as_deref(), &query).ok()["search_categories"]["room_events"].clone();
            all.extend(found(&page));
            // What comes meanwhile does not push the results about.
            alice.say(&one, &format!("{needle} later"));
            match page["next_batch"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        all.retain(|body| !body.ends_with("later"));
        all.sort();
        let expected: Vec<String> =
            ["a0", "a1", "a2", "b0", "b1", "b2"].iter().map(|name| format!("{needle} {name}")).collect();
        assert_eq!(all, expected, "{order}");
    }
}

#[test]
fn context_and_state_come_where_asked() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let needle = word();
    for n in 0..4 {
        alice.say(&room, &format!("before {n}"));
    }
    alice.say(&room, &needle);
    for n in 0..4 {
        alice.say(&room, &format!("after {n}"));
    }
    let context = json!({ "before_limit": 2, "after_limit": 1, "include_profile": true });
    let answer = search(&alice, &json!({ "search_term": needle, "event_context": context, "include_state": true }));
    let around = &answer["results"][0]["context"];
    assert_eq!(bodies(events(&around["events_before"])), ["before 3", "before 2"]);
    assert_eq!(bodies(events(&around["events_after"])), ["after 0"]);
    assert_eq!(
        around["profile_info"][&alice.id]["displayname"],
        alice.state(&room, "m.room.member", &alice.id)["displayname"]
    );
    let older = alice.try_messages(&room, "b", around["start"].as_str(), "1").ok();
    assert_eq!(bodies(events(&older["chunk"])), ["before 1"]);
    let newer = alice.try_messages(&room, "f", around["end"].as_str(), "1").ok();
    assert_eq!(bodies(events(&newer["chunk"])), ["after 1"]);
    assert!(events(&answer["state"][&room]).iter().any(|event| event["type"] == "m.room.create"), "{answer}");
    let default = search(&alice, &json!({ "search_term": needle, "event_context": {} }));
    assert_eq!(events(&default["results"][0]["context"]["events_after"]).len(), 4);
    let none = json!({ "before_limit": 0, "after_limit": 0 });
    let none = search(&alice, &json!({ "search_term": needle, "event_context": none }));
    assert!(events(&none["results"][0]["context"]["events_before"]).is_empty());
}

#[test]
fn what_is_wrong_is_named() {
    let alice = ward().user("alice");
    for (criteria, errcode, named) in [
        (json!({}), "M_BAD_JSON", "search_term"),
        (json!({ "search_term": 7 }), "M_BAD_JSON", "search_term"),
        (json!({ "search_term": "x", "keys": ["content.secret"] }), "M_INVALID_PARAM", "keys"),
        (json!({ "search_term": "x", "order_by": "luck" }), "M_INVALID_PARAM", "order_by"),
        (json!({ "search_term": "x", "groupings": { "group_by": [{ "key": "age" }] } }), "M_INVALID_PARAM", "key"),
        (json!({ "search_term": "x", "filter": { "rooms": 7 } }), "M_BAD_JSON", "rooms"),
    ] {
        let answer = ask(&alice, None, &criteria).refused(400, errcode);
        assert!(answer["error"].as_str().unwrap().contains(named), "{answer}");
    }
    ask(&alice, Some("junk"), &json!({ "search_term": "x" })).refused(400, "M_INVALID_PARAM");
    ask(&alice, Some("q0_99999999999"), &json!({ "search_term": "x" })).ok();
    let raw =
        |body: &str| alice.request("POST", &v3(&["search"]), Body::Raw(body.as_bytes().to_vec(), "application/json"));
    raw("{}").refused(400, "M_BAD_JSON");
    raw("[").refused(400, "M_NOT_JSON");
    assert_eq!(raw(r#"{"search_categories":{}}"#).ok(), json!({ "search_categories": {} }));
    alice.anonymous().post(v3(&["search"]), json!({})).refused(401, "M_MISSING_TOKEN");
    let empty = search(&alice, &json!({ "search_term": " … " }));
    assert_eq!((&empty["count"], &empty["results"]), (&json!(0), &json!([])));
    let long = "word ".repeat(10_000);
    assert!(same_set(&search(&alice, &json!({ "search_term": long }))["highlights"], &["word"]));
}
