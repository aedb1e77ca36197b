//! Rooms of a server that does what the test wants: entering them, and not being taken in.

use wardroom_testkit::{Actor as _, Peer, Reply, Server, User, Value, json, v3, wait_until};

use wardroom_testkit::peer::Answer;

use super::sites::{Site, VERSIONS, asked_about, sees};
use crate::SOON;

fn try_join(user: &User, room: &str, via: &[&Peer]) -> Reply {
    let target = via.iter().fold(v3(&["join", room]), |target, peer| target.query("via", peer.name()));
    user.post(target, json!({}))
}

fn stands_outside(user: &User, room: &str) {
    assert!(!user.is_in(room), "{} is in {room}", user.id);
}

/// Changes the answers to `send_join` of an honest server: takes the answer as it would be.
fn spoil(peer: &Peer, room: &str, change: impl Fn(&mut Value) + Send + Sync + 'static) {
    let (honest, room) = (peer.clone(), room.to_owned());
    peer.on("/send_join/", move |_| {
        let mut answer = honest.room(&room, |room| {
            let ids: Vec<String> = room.state.values().cloned().collect();
            json!({ "state": room.list(&ids), "auth_chain": room.list(&room.auth_chain(&ids)) })
        });
        change(&mut answer);
        Answer::ok(&answer)
    });
}

fn without(list: &mut Value, kind: &str) {
    list.as_array_mut().unwrap().retain(|event| event["type"] != kind);
}

fn site_and_peer() -> (Site, Peer) {
    (Site::start(), Peer::start())
}

#[test]
fn a_room_is_entered_and_events_go_both_ways() {
    let (site, peer) = site_and_peer();
    for version in VERSIONS {
        let (alice, boss) = (site.user("alice"), peer.user("boss"));
        let room = peer.create_room(&boss, version, "public");
        try_join(&alice, &room, &[&peer]).ok();
        let said = alice.say(&room, "hello");
        peer.until_pdu("the message arrives", SOON, |pdu| pdu["content"]["body"] == "hello");
        let answered = peer.say(&site.server, &room, &boss, "welcome");
        sees(&alice, &room, &answered);
        let history = wardroom_testkit::event_ids(&alice.history(&room));
        assert!(history.contains(&said) && history.contains(&answered));
    }
}

#[test]
fn refusals_are_passed_on_as_they_are() {
    let (site, peer) = site_and_peer();
    let alice = site.user("alice");
    let room = peer.create_room(&peer.user("boss"), "11", "public");
    peer.on("/make_join/", |_| Answer::error(400, "M_TEST_ERROR_CODE"));
    try_join(&alice, &room, &[&peer]).refused(400, "M_TEST_ERROR_CODE");
    peer.on("/make_join/", |_| {
        let body = json!({ "errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "no", "room_version": "future" });
        Answer::json(400, &body)
    });
    let refused = try_join(&alice, &room, &[&peer]).refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    assert_eq!(refused["room_version"], "future");
    peer.on("/make_join/", |_| Answer::error(500, "M_UNKNOWN"));
    try_join(&alice, &room, &[&peer]).refused(502, "M_UNKNOWN");
    let nowhere = v3(&["join", "!nowhere:127.0.0.1:1"]);
    assert_eq!(alice.post(nowhere, json!({})).status, 502);
    stands_outside(&alice, &room);
}

#[test]
fn lies_in_the_template_are_not_signed() {
    let (site, peer) = site_and_peer();
    for version in VERSIONS {
        let alice = site.user("alice");
        let room = peer.create_room(&peer.user("boss"), version, "public");
        let good = peer.room(&room, |room| {
            room.draft(&alice.id, "m.room.member", Some(&alice.id), &json!({ "membership": "join" }))
        });
        let other = peer.user("other");
        let lies = [
            ("type", json!("m.room.power_levels")),
            ("room_id", json!("!other:127.0.0.1:1")),
            ("sender", json!(other)),
            ("state_key", json!(other)),
            ("content", json!({ "membership": "ban" })),
            ("prev_events", json!([])),
            ("auth_events", json!(vec!["$x"; 50])),
            ("depth", json!(-5)),
        ];
        for (field, lie) in lies {
            let mut template = good.clone();
            template[field] = lie;
            let answer = json!({ "room_version": version, "event": template });
            peer.on("/make_join/", move |_| Answer::ok(&answer));
            try_join(&alice, &room, &[&peer]).refused(502, "M_UNKNOWN");
        }
        let answer = json!({ "room_version": "5", "event": good });
        peer.on("/make_join/", move |_| Answer::ok(&answer));
        try_join(&alice, &room, &[&peer]).refused(400, "M_UNSUPPORTED_ROOM_VERSION");
        assert_eq!(asked_about(&peer, "/send_join/", &room), 0, "nothing was signed");
        stands_outside(&alice, &room);
    }
}

#[test]
fn lies_about_the_state_keep_everybody_out() {
    let (site, peer) = site_and_peer();
    for version in VERSIONS {
        let (alice, boss) = (site.user("alice"), peer.user("boss"));
        let room = peer.create_room(&boss, version, "public");
        let elsewhere = peer.create_room(&boss, version, "public");
        let refused = || {
            try_join(&alice, &room, &[&peer]).refused(502, "M_UNKNOWN");
            stands_outside(&alice, &room);
        };
        spoil(&peer, &room, |answer| without(&mut answer["state"], "m.room.create"));
        refused();
        spoil(&peer, &room, |answer| *answer = json!({ "state": [], "auth_chain": [] }));
        refused();
        spoil(&peer, &room, |answer| {
            // Without the events that let anybody in.
            without(&mut answer["state"], "m.room.join_rules");
            without(&mut answer["auth_chain"], "m.room.join_rules");
        });
        refused();
        let foreign = peer.room(&elsewhere, |room| {
            let ids: Vec<String> = room.state.values().cloned().collect();
            room.list(&ids)
        });
        spoil(&peer, &room, move |answer| answer["state"] = json!(foreign));
        refused();
        let create = peer.room(&room, |room| room.event(&room.order[0]).clone());
        spoil(&peer, &room, move |answer| {
            let mut forged = create.clone();
            forged["content"]["room_version"] = json!("9");
            without(&mut answer["state"], "m.room.create");
            answer["state"].as_array_mut().unwrap().push(forged);
        });
        refused();
        peer.on("/send_join/", |_| Answer::ok(&json!([])));
        refused();
        peer.on("/send_join/", |_| Answer::bytes(200, "application/json", b"{\"state\": [".to_vec()));
        refused();
        peer.honest();
        try_join(&alice, &room, &[&peer]).ok();
        assert!(alice.is_in(&room));
    }
}

#[test]
fn the_next_server_is_asked_where_the_first_lies() {
    let (site, liar, honest) = (Site::start(), Peer::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss) = (site.user("alice"), honest.user("boss"));
        let room = honest.create_room(&boss, version, "public");
        let known = honest.room(&room, |room| room.clone());
        liar.keep_room(known);
        spoil(&liar, &room, |answer| without(&mut answer["state"], "m.room.create"));
        try_join(&alice, &room, &[&liar, &honest]).ok();
        assert!(alice.is_in(&room));
        assert_eq!(asked_about(&honest, "/send_join/", &room), 1, "{version}");
    }
}

#[test]
fn what_is_wrongly_signed_is_left_out_and_the_rest_is_taken() {
    let (site, peer) = site_and_peer();
    for version in VERSIONS {
        let (alice, boss) = (site.user("alice"), peer.user("boss"));
        let room = peer.create_room(&boss, version, "public");
        peer.make(&room, &boss, "m.room.name", Some(""), &json!({ "name": "Ward 7" }));
        peer.make(&room, &boss, "org.example.note", Some("good"), &json!({ "note": 1 }));
        let bad = peer.make(&room, &boss, "org.example.note", Some("bad"), &json!({ "note": 2 }));
        spoil(&peer, &room, move |answer| {
            for event in answer["state"].as_array_mut().unwrap() {
                if *event == bad {
                    event["state_key"] = json!("worse");
                }
            }
        });
        try_join(&alice, &room, &[&peer]).ok();
        assert_eq!(alice.state(&room, "m.room.name", "")["name"], "Ward 7");
        assert_eq!(alice.state(&room, "org.example.note", "good")["note"], 1);
        for key in ["bad", "worse"] {
            assert_eq!(alice.try_state(&room, "org.example.note", key).status, 404);
        }
        peer.honest();
    }
}

/// Has a user of the server invited by a scripted one.
fn invite(site: &Site, peer: &Peer, room: &str, user: &User) {
    let boss = peer.user("boss");
    let event = peer.make(room, &boss, "m.room.member", Some(&user.id), &json!({ "membership": "invite" }));
    let id = peer.id_of(room, &event);
    let (version, state) = peer.room(room, |room| {
        let ids: Vec<String> = room.state.values().cloned().collect();
        (room.version.clone(), room.list(&ids))
    });
    let body = json!({ "room_version": version, "event": event, "invite_room_state": state });
    let target = wardroom_testkit::Target::federation_v2(&["invite", room, &id]);
    peer.ask(&site.server, "PUT", &target, Some(&body)).ok();
}

fn is_invited(user: &User, room: &str) -> bool {
    user.initial_sync()["rooms"]["invite"][room].is_object()
}

fn follow<'a>(server: &Server, user: &'a User) -> wardroom_testkit::Follower<'a> {
    server.follow(user)
}

#[test]
fn an_invitation_is_turned_down_whatever_its_server_says() {
    let site = Site::start();
    for status in [200, 403, 500] {
        let peer = Peer::start();
        let alice = site.user("alice");
        let room = peer.create_room(&peer.user("boss"), "11", "invite");
        invite(&site, &peer, &room, &alice);
        assert!(is_invited(&alice, &room));
        if status != 200 {
            peer.on("/make_leave/", move |_| Answer::error(status, "M_UNKNOWN"));
        }
        let mut follower = follow(&site.server, &alice);
        alice.leave(&room);
        let told = follower.until("the leave", SOON, |sync| sync["rooms"]["leave"][&room].is_object());
        let last = wardroom_testkit::events(&told["rooms"]["leave"][&room]["timeline"]["events"]).last().cloned();
        let last = last.unwrap_or_default();
        assert_eq!((&last["type"], &last["state_key"]), (&json!("m.room.member"), &json!(alice.id)), "{told}");
        assert_eq!(last["content"]["membership"], "leave");
        assert!(!is_invited(&alice, &room));
        assert_eq!(peer.asked("/send_leave/").len(), usize::from(status == 200));
    }
}

#[test]
fn an_invitation_is_taken_back_by_its_server_alone() {
    let (site, peer, stranger) = (Site::start(), Peer::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss) = (site.user("alice"), peer.user("boss"));
        let room = peer.create_room(&boss, version, "invite");
        invite(&site, &peer, &room, &alice);
        stranger.keep_room(peer.room(&room, |room| room.clone()));
        let content = json!({ "membership": "leave" });
        let forged = stranger.make(&room, &stranger.user("boss"), "m.room.member", Some(&alice.id), &content);
        stranger.send(&site.server, &[forged], &[]).ok();
        assert!(is_invited(&alice, &room));
        let end = peer.make(&room, &boss, "m.room.member", Some(&alice.id), &content);
        peer.send(&site.server, &[end], &[]).ok();
        wait_until("the invitation is gone", SOON, || (!is_invited(&alice, &room)).then_some(()));
    }
}

#[test]
fn users_of_other_servers_are_invited_when_their_servers_sign() {
    let (site, peer) = site_and_peer();
    for version in VERSIONS {
        let (alice, bob) = (site.user("alice"), peer.user("bob"));
        let body = json!({ "preset": "private_chat", "name": "Ward 7", "room_version": version });
        let room = alice.create_room(body);
        let invite = v3(&["rooms", &room, "invite"]);
        peer.on("/invite/", |_| Answer::error(403, "M_FORBIDDEN"));
        alice.post(invite.clone(), json!({ "user_id": bob })).refused(403, "M_FORBIDDEN");
        peer.on("/invite/", |asked| Answer::ok(&json!({ "event": asked.json()["event"] })));
        alice.post(invite.clone(), json!({ "user_id": bob })).refused(502, "M_UNKNOWN");
        let someone = peer.create_room(&bob, version, "public");
        let other = peer.make(&someone, &bob, "m.room.member", Some(&bob), &json!({ "membership": "invite" }));
        peer.on("/invite/", move |_| Answer::ok(&json!({ "event": other })));
        alice.post(invite.clone(), json!({ "user_id": bob })).refused(502, "M_UNKNOWN");
        assert!(alice.members(&room, "invite").is_empty());
        peer.honest();
        alice.post(invite.clone(), json!({ "user_id": bob, "reason": "on call" })).ok();
        assert_eq!(alice.members(&room, "invite"), std::slice::from_ref(&bob));
        let (_, told) = peer.invites().pop().unwrap();
        assert_eq!(told["room_version"], version);
        assert_eq!(told["event"]["content"]["reason"], "on call");
        let state = wardroom_testkit::events(&told["invite_room_state"]);
        assert!(state.iter().any(|event| event["type"] == "m.room.create" && event["signatures"].is_object()));
        assert!(state.iter().any(|event| event["content"]["name"] == "Ward 7"));

        let body =
            json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [bob], "room_version": version });
        let direct = alice.create_room(body);
        assert_eq!(alice.members(&direct, "invite"), std::slice::from_ref(&bob));
        let (_, told) = peer.invites().pop().unwrap();
        assert_eq!(told["event"]["content"]["is_direct"], true);
    }
}
