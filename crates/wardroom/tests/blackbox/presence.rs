//! Who is there, and who may know.

use std::time::Duration;

use wardroom_testkit::{Actor, Config, Target, User, Value, events, json, unique, v3};

use crate::{SOON, server_with, ward};

fn status(user: &User) -> Target {
    v3(&["presence", &user.id, "status"])
}

/// The newest presence of a user in an answer.
fn told<'a>(sync: &'a Value, user: &User) -> Option<&'a Value> {
    let events = events(&sync["presence"]["events"]);
    events.iter().rev().find(|event| event["sender"] == user.id.as_str()).map(|event| &event["content"])
}

fn says(sync: &Value, user: &User, presence: &str) -> bool {
    told(sync, user).is_some_and(|content| content["presence"] == presence)
}

#[test]
fn what_a_user_says_is_told_to_who_shares_a_room() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    let mut stranger = ward().follow(&eve);
    alice.put(status(&alice), json!({ "presence": "online", "status_msg": "In theatre" })).ok();
    let answer = sync.until("alice online", SOON, |sync| {
        told(sync, &alice).is_some_and(|content| content["status_msg"] == "In theatre")
    });
    let content = told(&answer, &alice).unwrap();
    assert_eq!((&content["presence"], &content["currently_active"]), (&json!("online"), &json!(true)), "{answer}");
    assert!(content["last_active_ago"].is_u64(), "{answer}");

    let seen = bob.get(status(&alice)).ok();
    assert_eq!((&seen["presence"], &seen["status_msg"]), (&json!("online"), &json!("In theatre")));
    assert!(seen["last_active_ago"].is_u64() && seen["currently_active"] == true, "{seen}");
    assert!(says(&bob.initial_sync(), &alice, "online"));

    alice.put(status(&alice), json!({ "presence": "unavailable" })).ok();
    let answer = sync.until("alice idle", SOON, |sync| says(sync, &alice, "unavailable"));
    assert!(told(&answer, &alice).unwrap()["status_msg"].is_null(), "{answer}");
    alice.put(status(&alice), json!({ "presence": "offline" })).ok();
    sync.until("alice offline", SOON, |sync| says(sync, &alice, "offline"));
    assert_eq!(bob.get(status(&alice)).ok()["presence"], "offline");

    assert!(told(&stranger.now(), &alice).is_none(), "strangers hear nothing");
    eve.get(status(&alice)).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_sync_makes_its_user_present_unless_it_says_otherwise() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    alice.create_public_room(&[&bob]);
    let sync_as =
        |user: &User, state: &str| user.get(v3(&["sync"]).query("timeout", "0").query("set_presence", state)).ok();
    assert!(told(&sync_as(&alice, "offline"), &alice).is_none());
    assert_eq!(alice.get(status(&alice)).ok()["presence"], "offline");
    let mut sync = ward().follow(&bob);
    assert!(says(&sync_as(&alice, "online"), &alice, "online"), "one's own presence is told too");
    sync.until("alice online", SOON, |sync| says(sync, &alice, "online"));
    sync_as(&alice, "unavailable");
    sync.until("alice idle", SOON, |sync| says(sync, &alice, "unavailable"));
    let room = alice.create_public_room(&[]);
    alice.say(&room, "who does something is not idle");
    sync.until("alice back", SOON, |sync| says(sync, &alice, "online"));
    alice.get(v3(&["sync"]).query("set_presence", "asleep")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn who_comes_into_a_room_sees_and_is_seen() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    for user in [&alice, &bob] {
        user.put(status(user), json!({ "presence": "online", "status_msg": user.localpart })).ok();
    }
    let (mut of_alice, mut of_bob) = (ward().follow(&alice), ward().follow(&bob));
    assert!(told(&of_bob.now(), &alice).is_none());
    bob.join(&room);
    of_alice.until("bob's presence", SOON, |sync| says(sync, &bob, "online"));
    of_bob.until("alice's presence", SOON, |sync| says(sync, &alice, "online"));
}

#[test]
fn filters_and_ignored_users_are_respected() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    alice.create_public_room(&[&bob]);
    alice.put(status(&alice), json!({ "presence": "online" })).ok();
    let sync_with = |filter: Value| bob.try_sync(None, Duration::ZERO, Some(&filter.to_string())).ok();
    assert!(says(&sync_with(json!({ "presence": { "types": ["m.presence"] } })), &alice, "online"));
    for filter in [
        json!({ "presence": { "types": [] } }),
        json!({ "presence": { "not_types": ["m.*"] } }),
        json!({ "presence": { "not_senders": [alice.id] } }),
        json!({ "presence": { "senders": [bob.id] } }),
        json!({ "presence": { "limit": 0 } }),
    ] {
        assert!(told(&sync_with(filter.clone()), &alice).is_none(), "{filter}");
    }
    let ignored = json!({ "ignored_users": { alice.id.as_str(): {} } });
    bob.put(v3(&["user", &bob.id, "account_data", "m.ignored_user_list"]), ignored).ok();
    assert!(told(&bob.initial_sync(), &alice).is_none());
}

#[test]
fn bad_requests_are_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    alice.create_public_room(&[&bob]);
    bob.put(status(&alice), json!({ "presence": "online" })).refused(403, "M_FORBIDDEN");
    alice.put(status(&alice), json!({ "presence": "asleep" })).refused(400, "M_INVALID_PARAM");
    alice.put(status(&alice), json!({})).refused(400, "M_BAD_JSON");
    alice.put(status(&alice), json!({ "presence": "online", "status_msg": 5 })).refused(400, "M_BAD_JSON");
    let long = json!({ "presence": "online", "status_msg": "x".repeat(2_000) });
    alice.put(status(&alice), long).refused(413, "M_TOO_LARGE");
    let unknown = format!("@{}:{}", unique("unknown"), ward().name());
    alice.get(v3(&["presence", &unknown, "status"])).refused(403, "M_FORBIDDEN");
    alice.get(v3(&["presence", "nobody", "status"])).refused(400, "M_INVALID_PARAM");
    alice.anonymous().get(status(&alice)).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn a_status_message_lasts_and_who_does_not_come_back_is_offline() {
    let mut server = server_with(Config::default());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.create_public_room(&[&bob]);
    alice.put(status(&alice), json!({ "presence": "online", "status_msg": "On call" })).ok();
    server.restart();
    let seen = bob.get(status(&alice)).ok();
    assert_eq!((&seen["presence"], &seen["status_msg"]), (&json!("online"), &json!("On call")), "time to come back");
}

#[test]
fn presence_can_be_turned_off() {
    let server = server_with(Config::default().set("presence.enabled", "false"));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.create_public_room(&[&bob]);
    alice.put(status(&alice), json!({ "presence": "online" })).refused(403, "M_FORBIDDEN");
    bob.get(status(&alice)).refused(404, "M_NOT_FOUND");
    alice.initial_sync();
    assert!(bob.initial_sync()["presence"].is_null());
}

#[test]
fn who_comes_to_share_a_room_is_told_even_if_they_are_not_there() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let sync = |user: &User, since: Option<&Value>| {
        let target = v3(&["sync"]).query("timeout", "0").query("set_presence", "offline");
        let target = match since.and_then(|sync| sync["next_batch"].as_str()) {
            Some(since) => target.query("since", since),
            None => target,
        };
        user.get(target).ok()
    };
    let (of_alice, of_bob) = (sync(&alice, None), sync(&bob, None));
    bob.join(&room);
    let (news_of_alice, news_of_bob) = (sync(&alice, Some(&of_alice)), sync(&bob, Some(&of_bob)));
    assert!(says(&news_of_alice, &bob, "offline"), "{news_of_alice}");
    assert!(says(&news_of_bob, &alice, "offline"), "{news_of_bob}");
    assert!(told(&sync(&alice, Some(&news_of_alice)), &bob).is_none());
    assert!(told(&sync(&bob, Some(&news_of_bob)), &alice).is_none());
}
