//! What other servers ask of rooms of ours: joining, leaving, knocking and inviting, and transactions.

use std::sync::LazyLock;

use wardroom_testkit::{
    Actor, Follower, Peer, Reply, Target, User, Value, json,
    peer::{now_ms, signing},
    unique, v3,
};

use super::sites::{Site, VERSIONS, public_room, sees};
use crate::SOON;

/// A server that the tests of this file share.
fn ward() -> &'static Site {
    static WARD: LazyLock<Site> = LazyLock::new(Site::start);
    &WARD
}

fn get(peer: &Peer, target: &Target) -> Reply {
    peer.ask(&ward().server, "GET", target, None)
}

fn put(peer: &Peer, target: &Target, body: &Value) -> Reply {
    peer.ask(&ward().server, "PUT", target, Some(body))
}

/// The template that the server makes, with a time.
#[track_caller]
fn template(peer: &Peer, action: &str, room: &str, user: &str) -> (Value, String) {
    let mut target = Target::federation_v1(&[action, room, user]);
    for version in VERSIONS {
        target = target.query("ver", version);
    }
    let answer = get(peer, &target).ok();
    let mut event = answer["event"].clone();
    event["origin_server_ts"] = json!(now_ms());
    (event, answer["room_version"].as_str().unwrap().to_owned())
}

fn signed(peer: &Peer, event: &Value, version: &str) -> Value {
    let mut event = event.clone();
    peer.key().sign_event(peer.name(), &mut event, version);
    event
}

fn kinds(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn joins_are_checked_and_answered_with_the_state() {
    for version in VERSIONS {
        let (alice, peer) = (ward().user("alice"), Peer::start());
        let room = public_room(&alice, version);
        let bob = peer.user("bob");

        let (mallory, nowhere) = (format!("@mallory:{}", ward().name()), "!nowhere:example.org");
        let refused = |reply: Reply, status, errcode| reply.refused(status, errcode);
        refused(get(&peer, &Target::federation_v1(&["make_join", &room, &mallory])), 403, "M_FORBIDDEN");
        refused(get(&peer, &Target::federation_v1(&["make_join", nowhere, &bob])), 404, "M_NOT_FOUND");
        let old = Target::federation_v1(&["make_join", &room, &bob]).query("ver", "6").query("ver", "org.example.x");
        let told = refused(get(&peer, &old), 400, "M_INCOMPATIBLE_ROOM_VERSION");
        assert_eq!(told["room_version"], version);

        let (event, named) = template(&peer, "make_join", &room, &bob);
        assert_eq!(named, version);
        let send = |event: &Value| {
            let id = signing::event_id(event, version);
            put(&peer, &Target::federation_v2(&["send_join", &room, &id]), event)
        };
        refused(send(&event), 403, "M_FORBIDDEN");
        let mut forged = signed(&peer, &event, version);
        forged["signatures"][peer.name()][&peer.key().id] = json!("a".repeat(86));
        refused(send(&forged), 403, "M_FORBIDDEN");
        let mut changed = signed(&peer, &event, version);
        changed["content"]["displayname"] = json!("Bob");
        refused(send(&changed), 400, "M_INVALID_PARAM");
        let mut float = event.clone();
        float["content"]["bad_val"] = json!(1.1);
        refused(send(&signed(&peer, &float, version)), 400, "M_BAD_JSON");
        let mut knock = event.clone();
        knock["content"]["membership"] = json!("knock");
        refused(send(&signed(&peer, &knock, version)), 400, "M_INVALID_PARAM");
        let mut other = event.clone();
        other["sender"] = json!(alice.id);
        refused(send(&signed(&peer, &other, version)), 403, "M_FORBIDDEN");
        let join = signed(&peer, &event, version);
        let wrong = Target::federation_v2(&["send_join", &room, "$0000000000000000000000000000000000000000000"]);
        refused(put(&peer, &wrong, &join), 400, "M_INVALID_PARAM");

        let id = signing::event_id(&join, version);
        let old = put(&peer, &Target::federation_v1(&["send_join", &room, &id]), &join).ok();
        assert_eq!(old[0], 200);
        let answer = &old[1];
        assert_eq!(answer["origin"], ward().name());
        assert_eq!(answer["event"], join);
        assert_eq!(answer["servers_in_room"], json!([ward().name()]));
        assert_eq!(answer["members_omitted"], false);
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.member"] {
            assert!(kinds(&answer["state"]).contains(&kind), "{kind}: {answer}");
        }
        assert!(kinds(&answer["auth_chain"]).contains(&"m.room.power_levels"), "{answer}");
        sees(&alice, &room, &id);
        let again = send(&join).ok();
        assert_eq!(again["state"], answer["state"], "whoever asks again is answered again");

        alice.set_state(&room, "m.room.name", "", json!({ "name": "Ward 7" }));
        let carol = peer.user("carol");
        let (event, _) = template(&peer, "make_join", &room, &carol);
        let join = signed(&peer, &event, version);
        let id = signing::event_id(&join, version);
        let target = Target::federation_v2(&["send_join", &room, &id]).query("omit_members", "true");
        let answer = put(&peer, &target, &join).ok();
        assert_eq!(answer["members_omitted"], true);
        assert!(!kinds(&answer["state"]).contains(&"m.room.member"));
        assert!(kinds(&answer["state"]).contains(&"m.room.name"));
        let state = answer["state"].as_array().unwrap();
        assert!(answer["auth_chain"].as_array().unwrap().iter().all(|event| !state.contains(event)));
        assert!(kinds(&answer["auth_chain"]).contains(&"m.room.member"), "of who made the room");
    }
}

#[test]
fn a_room_that_everybody_has_left_is_not_here() {
    let (alice, peer) = (ward().user("alice"), Peer::start());
    let room = public_room(&alice, "11");
    let target = Target::federation_v1(&["make_join", &room, &peer.user("bob")]).query("ver", "11");
    get(&peer, &target).ok();
    alice.leave(&room);
    get(&peer, &target).refused(404, "M_NOT_FOUND");
}

#[test]
fn restricted_rooms_are_entered_through_the_rooms_that_they_name() {
    for version in VERSIONS {
        let (alice, peer) = (ward().user("alice"), Peer::start());
        let staff = public_room(&alice, version);
        let restricted = |room: &str| {
            let rule = json!({
                "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": room }],
            });
            let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }]);
            alice.create_room(json!({ "room_version": version, "initial_state": state }))
        };
        let room = restricted(&staff);
        let bob = peer.user("bob");
        peer.join(&ward().server, &staff, &bob);
        peer.join(&ward().server, &room, &bob);
        let join = peer.room(&room, |room| room.event(room.state_id("m.room.member", &bob).unwrap()).clone());
        assert_eq!(join["content"]["join_authorised_via_users_server"], alice.id);
        assert!(join["signatures"][ward().name()].is_object(), "{join}");

        let carol = peer.user("carol");
        let ask = |room: &str, user: &str| {
            get(&peer, &Target::federation_v1(&["make_join", room, user]).query("ver", version))
        };
        ask(&room, &carol).refused(403, "M_FORBIDDEN");
        let elsewhere = restricted("!elsewhere:example.org");
        ask(&elsewhere, &bob).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN");

        // Who makes the event without asking is not signed for.
        let content = json!({ "membership": "join", "join_authorised_via_users_server": alice.id });
        let event = peer.room(&room, |room| room.draft(&carol, "m.room.member", Some(&carol), &content));
        let event = signed(&peer, &event, version);
        let id = signing::event_id(&event, version);
        put(&peer, &Target::federation_v2(&["send_join", &room, &id]), &event).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn users_of_other_servers_leave() {
    for version in VERSIONS {
        let (alice, peer) = (ward().user("alice"), Peer::start());
        let room = public_room(&alice, version);
        let (bob, carol) = (peer.user("bob"), peer.user("carol"));
        for user in [&bob, &carol] {
            peer.join(&ward().server, &room, user);
        }
        get(&peer, &Target::federation_v1(&["make_leave", &room, &alice.id])).refused(403, "M_FORBIDDEN");
        let (event, named) = template(&peer, "make_leave", &room, &bob);
        assert_eq!((named.as_str(), &event["content"]["membership"]), (version, &json!("leave")));
        let mut float = event.clone();
        float["contents"] = json!({ "bad_val": 1.1 });
        let wrong = Target::federation_v2(&["send_leave", &room, "xxx"]);
        put(&peer, &wrong, &signed(&peer, &float, version)).refused(400, "M_BAD_JSON");
        put(&peer, &wrong, &signed(&peer, &event, version)).refused(400, "M_INVALID_PARAM");

        let leave = signed(&peer, &event, version);
        let id = signing::event_id(&leave, version);
        let answer = put(&peer, &Target::federation_v2(&["send_leave", &room, &id]), &leave).ok();
        assert_eq!(answer, json!({}));
        sees(&alice, &room, &id);
        let leave = signed(&peer, &template(&peer, "make_leave", &room, &carol).0, version);
        let id = signing::event_id(&leave, version);
        let answer = put(&peer, &Target::federation_v1(&["send_leave", &room, &id]), &leave).ok();
        assert_eq!(answer, json!([200, {}]));
        sees(&alice, &room, &id);
    }
}

#[test]
fn users_of_other_servers_knock() {
    for version in VERSIONS {
        let (alice, peer) = (ward().user("alice"), Peer::start());
        let rule = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
        let room = alice.create_room(json!({ "room_version": version, "initial_state": rule, "name": "Ward 7" }));
        let bob = peer.user("bob");
        let (event, _) = template(&peer, "make_knock", &room, &bob);
        let knock = signed(&peer, &event, version);
        let id = signing::event_id(&knock, version);
        let answer = put(&peer, &Target::federation_v1(&["send_knock", &room, &id]), &knock).ok();
        let told = answer["knock_room_state"].as_array().unwrap();
        for kind in ["m.room.create", "m.room.name", "m.room.join_rules"] {
            let event = told.iter().find(|event| event["type"] == kind).unwrap();
            assert!(event["hashes"].is_object() && event["signatures"].is_object(), "a whole event: {event}");
        }
        sees(&alice, &room, &id);
        assert_eq!(alice.members(&room, "knock"), [bob]);

        let open = public_room(&alice, version);
        let target = Target::federation_v1(&["make_knock", &open, &peer.user("carol")]).query("ver", version);
        get(&peer, &target).refused(403, "M_FORBIDDEN");
    }
}

/// An invite that a server made in a room of its own, with what it tells of the room.
fn invite(peer: &Peer, room: &str, user: &str) -> (String, Value) {
    let host = peer.user("host");
    let event = peer.make(room, &host, "m.room.member", Some(user), &json!({ "membership": "invite" }));
    let version = peer.room(room, |room| room.version.clone());
    let told = peer.room(room, |room| room.list(room.state.values()));
    let body = json!({ "room_version": version, "event": event, "invite_room_state": told });
    (peer.id_of(room, &event), body)
}

fn send_invite(peer: &Peer, room: &str, id: &str, body: &Value) -> Reply {
    put(peer, &Target::federation_v2(&["invite", room, id]), body)
}

#[test]
fn invites_are_signed_and_told_to_the_user() {
    for version in VERSIONS {
        let (alice, peer) = (ward().user("alice"), Peer::start());
        let host = peer.user("host");
        let room = peer.create_room(&host, version, "invite");
        peer.make(&room, &host, "m.room.name", Some(""), &json!({ "name": "Ward 7" }));
        let mut syncs = Follower::start(&alice);
        let (id, mut body) = invite(&peer, &room, &alice.id);
        body["event"]["unsigned"] = json!({ "age": 5 });
        let answer = send_invite(&peer, &room, &id, &body).ok();
        let event = &answer["event"];
        assert!(event["signatures"][ward().name()].is_object(), "{event}");
        let mut without = event.clone();
        without["signatures"].as_object_mut().unwrap().remove(ward().name());
        assert_eq!(&without, &body["event"], "all else stays as it came");
        let synced = syncs.until("the invite", SOON, |sync| sync["rooms"]["invite"][&room].is_object());
        let told = synced["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap();
        let find = |kind: &str, key: &str| told.iter().find(|event| event["type"] == kind && event["state_key"] == key);
        assert_eq!(find("m.room.name", "").unwrap()["content"]["name"], "Ward 7");
        assert_eq!(find("m.room.member", &alice.id).unwrap()["sender"], host);
        assert!(told.iter().all(|event| event.get("hashes").is_none()), "stripped: {told:?}");
        send_invite(&peer, &room, &id, &body).ok();
    }
}

#[test]
fn what_is_no_proper_invite_is_not_signed() {
    for version in VERSIONS {
        let (alice, peer) = (ward().user("alice"), Peer::start());
        let host = peer.user("host");
        let room = peer.create_room(&host, version, "invite");
        let nobody = format!("@{}:{}", unique("nobody"), ward().name());
        let (id, body) = invite(&peer, &room, &nobody);
        send_invite(&peer, &room, &id, &body).refused(403, "M_FORBIDDEN");
        let (id, body) = invite(&peer, &room, "@somebody:example.org");
        send_invite(&peer, &room, &id, &body).refused(400, "M_INVALID_PARAM");

        let (id, good) = invite(&peer, &room, &alice.id);
        let mut unsigned = good.clone();
        unsigned["event"]["signatures"] = json!({});
        send_invite(&peer, &room, &id, &unsigned).refused(403, "M_FORBIDDEN");
        let mut float = good.clone();
        float["event"]["content"]["bad_val"] = json!(1.1);
        send_invite(&peer, &room, &id, &float).refused(400, "M_BAD_JSON");
        let mut unknown = good.clone();
        unknown["room_version"] = json!("org.example.9");
        let told = send_invite(&peer, &room, &id, &unknown).refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
        assert_eq!(told["room_version"], "org.example.9");
        send_invite(&peer, &room, "$other", &good).refused(400, "M_INVALID_PARAM");
        let old = put(&peer, &Target::federation_v1(&["invite", &room, &id]), &good["event"]);
        old.refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
        let intruder = Peer::start();
        send_invite(&intruder, &room, &id, &good).refused(403, "M_FORBIDDEN");
        let message = peer.make(&room, &host, "m.room.message", None, &json!({ "body": "no invite" }));
        let mut message_body = good.clone();
        message_body["event"] = message.clone();
        let message_id = peer.id_of(&room, &message);
        send_invite(&peer, &room, &message_id, &message_body).refused(400, "M_INVALID_PARAM");
        if version == "12" {
            let with_state = |state: Value| {
                let mut body = good.clone();
                body["invite_room_state"] = state;
                body
            };
            send_invite(&peer, &room, &id, &with_state(json!([]))).refused(400, "M_INVALID_PARAM");
            let stripped = json!([{ "type": "m.room.create", "state_key": "", "sender": host, "content": {} }]);
            send_invite(&peer, &room, &id, &with_state(stripped)).refused(400, "M_INVALID_PARAM");
            let other = peer.create_room(&host, version, "invite");
            let others = peer.room(&other, |room| room.list(room.state.values()));
            send_invite(&peer, &room, &id, &with_state(json!(others))).refused(400, "M_INVALID_PARAM");
            let mut forged = good["invite_room_state"].clone();
            forged[0]["signatures"] = json!({});
            send_invite(&peer, &room, &id, &with_state(forged)).refused(400, "M_INVALID_PARAM");
        }

        let target = v3(&["user", &alice.id, "account_data", "m.invite_permission_config"]);
        alice.put(target, json!({ "default_action": "block" })).ok();
        send_invite(&peer, &room, &id, &good).refused(403, "M_INVITE_BLOCKED");
        assert!(alice.initial_sync()["rooms"]["invite"].get(&room).is_none());
    }
}

#[test]
fn transactions_have_limits_and_are_answered_once() {
    let (alice, peer) = (ward().user("alice"), Peer::start());
    let room = public_room(&alice, "12");
    let bob = peer.user("bob");
    peer.join(&ward().server, &room, &bob);
    let event = peer.make(&room, &bob, "m.room.message", None, &wardroom_testkit::text("hello"));
    let id = peer.id_of(&room, &event);
    let edu = json!({ "edu_type": "org.example.x", "content": {} });
    peer.send(&ward().server, &vec![event.clone(); 51], &[]).refused(400, "M_INVALID_PARAM");
    peer.send(&ward().server, &[], &vec![edu.clone(); 101]).refused(400, "M_INVALID_PARAM");
    assert_eq!(alice.try_event(&room, &id).status, 404);

    let mut deep = json!(1);
    for _ in 0..500 {
        deep = json!({ "a": deep });
    }
    let mut unreadable = event.clone();
    unreadable["content"]["deep"] = deep.clone();
    let mut float = event.clone();
    float["content"]["bad_val"] = json!(1.1);
    let junk = [
        unreadable,
        float,
        json!({ "a": 1.0, "b": 1e40 }),
        json!(1),
        json!("x"),
        json!({}),
        json!([]),
        json!({ "room_id": "!x:y" }),
        event,
    ];
    let txn = unique("txn");
    let answer = peer.send_as(&ward().server, &txn, &junk, &[json!(1), json!({}), edu, deep]).ok();
    assert_eq!(answer["pdus"][&id], json!({}), "{answer}");
    sees(&alice, &room, &id);
    assert_eq!(peer.send_as(&ward().server, &txn, &junk, &[]).ok(), answer);
}

/// A user of ours and one of another server, in a room with an invitation for an address.
fn third_party(version: &str) -> (User, Peer, String, Value) {
    let (alice, peer) = (ward().user("alice"), Peer::start());
    let room = alice.create_room(json!({ "room_version": version }));
    let token = unique("token");
    let key = wardroom_testkit::peer::Key::generate("1");
    let content = json!({
        "display_name": "b...@e...", "key_validity_url": "https://id.example.org/valid", "public_key": key.public(),
        "public_keys": [{ "public_key": key.public(), "key_validity_url": "https://id.example.org/valid" }],
    });
    alice.set_state(&room, "m.room.third_party_invite", &token, content);
    let mut binding = json!({ "mxid": peer.user("bob"), "token": token });
    key.sign_json("id.example.org", &mut binding);
    (alice, peer, room, binding)
}

#[test]
fn an_invitation_to_an_address_is_exchanged_for_one_to_its_owner() {
    for version in VERSIONS {
        let (alice, peer, room, binding) = third_party(version);
        let bob = peer.user("bob");
        let body = |binding: &Value| {
            let invite = json!({ "display_name": "whatever", "signed": binding });
            json!({
                "type": "m.room.member", "room_id": room, "sender": alice.id, "state_key": bob,
                "content": { "membership": "invite", "third_party_invite": invite },
            })
        };
        let target = Target::federation_v1(&["exchange_third_party_invite", &room]);
        let mut other = binding.clone();
        other["token"] = json!("another");
        put(&peer, &target, &body(&other)).refused(403, "M_FORBIDDEN");
        let mut forged = binding.clone();
        forged["signatures"]["id.example.org"]["ed25519:1"] = json!("a".repeat(86));
        put(&peer, &target, &body(&forged)).refused(403, "M_FORBIDDEN");
        put(&Peer::start(), &target, &body(&binding)).refused(403, "M_FORBIDDEN");
        assert!(peer.invites().is_empty());

        assert_eq!(put(&peer, &target, &body(&binding)).ok(), json!({}));
        let (invited_to, invite) = peer.invites().pop().unwrap();
        assert_eq!(invited_to, room);
        assert_eq!(invite["event"]["content"]["third_party_invite"]["display_name"], "b...@e...");
        assert_eq!(alice.members(&room, "invite"), [bob]);
    }
}

#[test]
fn an_identity_server_tells_of_an_address_that_was_bound() {
    let (alice, carol) = (ward().user("alice"), ward().user("carol"));
    let room = alice.create_room(json!({}));
    let (token, key) = (unique("token"), wardroom_testkit::peer::Key::generate("1"));
    let content = json!({
        "display_name": "c...@e...", "key_validity_url": "https://id.example.org/valid", "public_key": key.public(),
    });
    alice.set_state(&room, "m.room.third_party_invite", &token, content);
    let mut binding = json!({ "mxid": carol.id, "token": token });
    key.sign_json("id.example.org", &mut binding);
    let target = Target::federation_v1(&["3pid", "onbind"]);
    let bound = |binding: &Value| {
        let invite = json!({
            "medium": "email", "address": "c@example.org", "mxid": carol.id, "room_id": room, "sender": alice.id,
            "signed": binding,
        });
        json!({ "medium": "email", "address": "c@example.org", "mxid": carol.id, "invites": [invite] })
    };
    let anonymous = ward().server.anonymous();
    let mut forged = binding.clone();
    forged["signatures"]["id.example.org"]["ed25519:1"] = json!("a".repeat(86));
    assert_eq!(anonymous.put(target.clone(), bound(&forged)).ok(), json!({}));
    assert!(alice.members(&room, "invite").is_empty());
    assert_eq!(anonymous.put(target, bound(&binding)).ok(), json!({}));
    assert_eq!(alice.members(&room, "invite"), std::slice::from_ref(&carol.id));
    carol.join(&room);
}
