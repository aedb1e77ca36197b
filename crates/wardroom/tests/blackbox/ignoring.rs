//! Ignored users, and users who let nobody invite them.

use wardroom_testkit::{Actor, User, Value, bodies, events, find_event, has_event, joined, json, timeline, v3};

use crate::{SOON, ward};

/// Sets the list of ignored users.
#[track_caller]
fn ignore(who: &User, ignored: &[&User]) {
    let ignored: serde_json::Map<String, Value> = ignored.iter().map(|user| (user.id.clone(), json!({}))).collect();
    set(who, "m.ignored_user_list", json!({ "ignored_users": ignored }));
}

#[track_caller]
fn set(who: &User, event_type: &str, content: Value) {
    who.put(v3(&["user", &who.id, "account_data", event_type]), content).ok();
}

#[test]
fn messages_of_ignored_users_are_not_told() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let before = carol.say(&room, "before");
    ignore(&alice, &[&carol]);
    let mut sync = ward().follow(&alice);
    let hidden = carol.say(&room, "hidden");
    let shown = bob.say(&room, "shown");
    let answer = sync.until("bob's message", SOON, |sync| has_event(timeline(sync, &room), &shown));
    assert_eq!(bodies(timeline(&answer, &room)), ["shown"], "{answer}");
    assert_eq!(bodies(timeline(&alice.initial_sync(), &room)), ["shown"]);
    assert_eq!(bodies(&alice.history(&room)), ["shown"], "earlier messages are kept back too");
    for event in [&hidden, &before] {
        alice.try_event(&room, event).refused(404, "M_NOT_FOUND");
        alice.get(v3(&["rooms", &room, "context", event])).refused(404, "M_NOT_FOUND");
    }
    let context = alice.get(v3(&["rooms", &room, "context", &shown])).ok();
    assert_eq!(bodies(events(&context["events_before"])), [""; 0]);
    assert_eq!(bodies(&bob.history(&room)), ["before", "hidden", "shown"], "others hear everything");

    ignore(&alice, &[]);
    let heard = carol.say(&room, "heard again");
    let answer = sync.until("carol's message", SOON, |sync| has_event(timeline(sync, &room), &heard));
    assert!(!has_event(timeline(&answer, &room), &hidden), "what was missed stays missed: {answer}");
    assert_eq!(bodies(&alice.history(&room)), ["before", "hidden", "shown", "heard again"]);
}

#[test]
fn state_of_ignored_users_is_told() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = bob.create_public_room(&[&alice]);
    ignore(&alice, &[&bob]);
    let mut sync = ward().follow(&alice);
    bob.say(&room, "hidden");
    let named = bob.set_state(&room, "m.room.name", "", json!({ "name": "Ward 9" }));
    let answer = sync.until("the name", SOON, |sync| has_event(timeline(sync, &room), &named));
    assert!(bodies(timeline(&answer, &room)).is_empty(), "{answer}");
    assert!(has_event(&alice.history(&room), &named));
    alice.try_event(&room, &named).ok();
}

#[test]
fn typing_and_receipts_of_ignored_users_are_not_told() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let message = alice.say(&room, "read this");
    ignore(&alice, &[&carol]);
    let mut sync = ward().follow(&alice);
    for user in [&carol, &bob] {
        user.post(v3(&["rooms", &room, "receipt", "m.read", &message]), json!({})).ok();
        user.put(v3(&["rooms", &room, "typing", &user.id]), json!({ "typing": true, "timeout": 30_000 })).ok();
    }
    let (mut typing, mut receipts) = (Vec::new(), Vec::new());
    sync.until("bob's typing and receipt", SOON, |sync| {
        for event in events(&joined(sync, &room)["ephemeral"]["events"]) {
            if event["type"] == "m.typing" { &mut typing } else { &mut receipts }.push(event["content"].to_string());
        }
        typing.iter().any(|text| text.contains(&bob.id)) && receipts.iter().any(|text| text.contains(&bob.id))
    });
    assert!(typing.iter().chain(&receipts).all(|text| !text.contains(&carol.id)), "{typing:?} {receipts:?}");
}

#[test]
fn invitations_by_ignored_users_are_not_told() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    ignore(&alice, &[&carol]);
    let mut sync = ward().follow(&alice);
    let (unwanted, wanted) = (carol.create_room(json!({})), bob.create_room(json!({})));
    carol.invite(&unwanted, &alice);
    bob.invite(&wanted, &alice);
    let is_told = |sync: &Value, room: &str| !sync["rooms"]["invite"][room].is_null();
    let answer = sync.until("bob's invitation", SOON, |sync| is_told(sync, &wanted));
    assert!(!is_told(&answer, &unwanted) && !is_told(&alice.initial_sync(), &unwanted), "{answer}");
    ignore(&alice, &[]);
    assert!(is_told(&alice.initial_sync(), &unwanted), "a fresh start shows what was kept back");
    alice.join(&unwanted);
}

#[test]
fn a_list_that_makes_no_sense_ignores_nobody() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    for content in [json!({}), json!({ "ignored_users": [bob.id] }), json!({ "ignored_users": { "nobody": {} } })] {
        set(&alice, "m.ignored_user_list", content);
        let said = bob.say(&room, "hello");
        assert!(has_event(&alice.history(&room), &said));
    }
    let both = json!({ "ignored_users": { "nobody": 1, bob.id.as_str(): [], alice.id.as_str(): {} } });
    set(&alice, "m.ignored_user_list", both);
    let (said, own) = (bob.say(&room, "unheard"), alice.say(&room, "one's own words are heard"));
    assert!(!has_event(&alice.history(&room), &said) && has_event(&alice.history(&room), &own));
}

#[test]
fn who_blocks_invitations_gets_none() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (room, early) = (bob.create_room(json!({})), bob.create_room(json!({})));
    bob.invite(&early, &alice);
    // The stable type last: where there are both, it decides.
    for event_type in ["org.matrix.msc4380.invite_permission_config", "m.invite_permission_config"] {
        set(&alice, event_type, json!({ "default_action": "block" }));
        bob.on_member("invite", &room, &alice).refused(403, "M_INVITE_BLOCKED");
        bob.try_create_room(json!({ "invite": [alice.id] })).refused(403, "M_INVITE_BLOCKED");
        let invite = json!({ "membership": "invite" });
        bob.try_set_state(&room, "m.room.member", &alice.id, invite).refused(403, "M_INVITE_BLOCKED");
        assert_eq!(bob.members(&room, "invite"), [""; 0]);
        assert!(alice.initial_sync()["rooms"]["invite"][&early].is_null(), "earlier ones are not shown");
        let state = bob.get(v3(&["rooms", &early, "state"])).ok();
        assert!(find_event(events(&state), "m.room.member", Some(&alice.id)).is_some(), "elsewhere they are: {state}");
        set(&alice, event_type, json!({}));
        assert!(!alice.initial_sync()["rooms"]["invite"][&early].is_null(), "shown once blocking ends");
    }
    bob.invite(&room, &alice);
    alice.join(&room);
}
