//! Events that other servers send without what they need, and what a server may be made to do by that.

use wardroom_testkit::{Actor as _, Peer, User, Value, json, text, v3, wait_until};

use wardroom_testkit::peer::Answer;

use super::sites::{Site, VERSIONS, asked_about, sees};
use crate::SOON;

/// A room of a scripted server with a user of this one in it.
fn shared(site: &Site, peer: &Peer, version: &str) -> (User, String, String) {
    let (alice, boss) = (site.user("alice"), peer.user("boss"));
    let room = peer.create_room(&boss, version, "public");
    alice.post(v3(&["join", &room]).query("via", peer.name()), json!({})).ok();
    (alice, boss, room)
}

fn message(peer: &Peer, room: &str, sender: &str, body: &str) -> (String, Value) {
    let event = peer.make(room, sender, "m.room.message", None, &text(body));
    (peer.id_of(room, &event), event)
}

/// The bodies of the messages of a room, oldest first.
fn said(user: &User, room: &str) -> Vec<String> {
    wardroom_testkit::bodies(&user.history(room))
}

#[test]
fn what_came_between_is_asked_for() {
    let (site, peer) = (Site::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss, room) = shared(&site, &peer, version);
        let missed: Vec<String> =
            (0..5).map(|number| message(&peer, &room, &boss, &format!("missed {number}")).0).collect();
        let last = peer.say(&site.server, &room, &boss, "last");
        sees(&alice, &room, &last);
        for id in missed {
            sees(&alice, &room, &id);
        }
        let bodies = said(&alice, &room);
        let wanted = ["missed 0", "missed 1", "missed 2", "missed 3", "missed 4", "last"];
        assert_eq!(bodies.iter().filter(|body| wanted.contains(&body.as_str())).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn a_long_gap_is_bridged_by_the_state_behind_it_and_filled_on_reading() {
    let (site, peer) = (Site::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss, room) = shared(&site, &peer, version);
        peer.make(&room, &boss, "m.room.name", Some(""), &json!({ "name": "told in the gap" }));
        let old: Vec<String> = (0..60).map(|number| message(&peer, &room, &boss, &format!("old {number}")).0).collect();
        let last = peer.say(&site.server, &room, &boss, "last");
        sees(&alice, &room, &last);
        assert_eq!(alice.state(&room, "m.room.name", "")["name"], "told in the gap");
        let history = wardroom_testkit::event_ids(&alice.history(&room));
        let missing: Vec<_> = old.iter().filter(|id| !history.contains(id)).collect();
        assert!(missing.is_empty(), "{version}: {} of {} are missing", missing.len(), old.len());
        let unique: std::collections::BTreeSet<_> = history.iter().collect();
        assert_eq!(unique.len(), history.len(), "nothing is told twice");
    }
}

#[test]
fn an_event_whose_past_is_withheld_is_dropped_and_holds_up_nothing() {
    let (site, peer) = (Site::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss, room) = shared(&site, &peer, version);
        let (hidden, _) = message(&peer, &room, &boss, "hidden");
        peer.on("/get_missing_events/", |_| Answer::ok(&json!({ "events": [] })));
        let (dangling, event) = message(&peer, &room, &boss, "dangling");
        let answer = peer.send(&site.server, &[event], &[]).ok();
        assert_eq!(answer["pdus"][&dangling], json!({}));
        let is_asked = || (asked_about(&peer, "/get_missing_events/", &room) > 0).then_some(());
        wait_until("it was asked for", SOON, is_asked);
        let states = asked_about(&peer, "/state_ids/", &room);
        assert_eq!(states, 0, "the past of what nobody shows is not asked for");
        assert_eq!(alice.try_event(&room, &dangling).status, 404);
        assert_eq!(alice.try_event(&room, &hidden).status, 404);
        let mine = alice.say(&room, "still here");
        peer.until_pdu("the room goes on", SOON, |pdu| pdu["content"]["body"] == "still here");
        peer.honest();
        let next = peer.say(&site.server, &room, &boss, "next");
        sees(&alice, &room, &next);
        sees(&alice, &room, &dangling);
        assert_eq!(alice.try_event(&room, &mine).status, 200);
    }
}

#[test]
fn a_server_that_never_answers_holds_up_no_other_room() {
    let (site, slow, quick) = (Site::start(), Peer::start(), Peer::start());
    let rooms: Vec<_> = (0..6).map(|_| shared(&site, &slow, "11")).collect();
    slow.on("/get_missing_events/", |_| Answer::never());
    for (_, boss, room) in &rooms {
        message(&slow, room, boss, "hidden");
        let answer = slow.send(&site.server, &[message(&slow, room, boss, "waits").1], &[]);
        assert_eq!(answer.status, 200, "the transaction is answered all the same");
    }
    let (alice, boss, room) = shared(&site, &quick, "11");
    message(&quick, &room, &boss, "between");
    let last = quick.say(&site.server, &room, &boss, "last");
    sees(&alice, &room, &last);
}

#[test]
fn what_waits_survives_a_crash() {
    let (mut site, peer) = (Site::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss, room) = shared(&site, &peer, version);
        peer.on("/get_missing_events/", |_| Answer::never());
        let (between, _) = message(&peer, &room, &boss, "between");
        let waits = peer.say(&site.server, &room, &boss, "waits");
        site.server.kill9();
        peer.honest();
        site.start_again();
        sees(&alice, &room, &waits);
        sees(&alice, &room, &between);
    }
}

#[test]
fn gaps_without_end_and_circles_come_to_an_end() {
    let (site, peer) = (Site::start(), Peer::start());
    let (alice, boss, room) = shared(&site, &peer, "11");
    // Whatever is asked for follows ten more that nobody has.
    let endless = peer.clone();
    let (name, boss_again) = (room.clone(), boss.clone());
    peer.script(move |asked| {
        let path = &asked.path;
        if !["/get_missing_events/", "/event/", "/state_ids/", "/backfill/"].iter().any(|part| path.contains(part)) {
            return None;
        }
        let event = endless.room(&name, |room| {
            let mut event = room.draft(&boss_again, "m.room.message", None, &text(&wardroom_testkit::unique("more")));
            let more: Vec<String> = (0..10).map(|_| format!("${}", wardroom_testkit::unique("never"))).collect();
            event["prev_events"] = json!(more);
            endless.key().sign_event(endless.name(), &mut event, "11");
            event
        });
        let ids: Vec<String> = (0..10).map(|_| format!("${}", wardroom_testkit::unique("state"))).collect();
        Some(Answer::ok(&json!({
            "events": [event], "pdus": [event], "origin": endless.name(), "origin_server_ts": 1,
            "pdu_ids": ids, "auth_chain_ids": ids,
        })))
    });
    message(&peer, &room, &boss, "hidden");
    let (dangling, event) = message(&peer, &room, &boss, "dangling");
    peer.send(&site.server, &[event], &[]).ok();
    wait_until("it was asked for", SOON, || (!peer.asked("/get_missing_events/").is_empty()).then_some(()));
    let other = alice.create_room(json!({}));
    alice.say(&other, "the server goes on");
    alice.say(&room, "so does the room");
    let reading = alice.try_messages(&room, "b", None, "50");
    assert_eq!(reading.status, 200);
    assert!(peer.asked("").len() < 2_000, "{} requests", peer.asked("").len());
    assert_eq!(alice.try_event(&room, &dangling).status, 404);
}

#[test]
fn what_events_of_another_room_authorise_is_refused_and_holds_up_nothing() {
    let (site, peer) = (Site::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss, room) = shared(&site, &peer, version);
        let stranger = peer.user("stranger");
        let elsewhere = peer.create_room(&stranger, version, "public");
        alice.post(v3(&["join", &elsewhere]).query("via", peer.name()), json!({})).ok();
        // The stranger of the other room comes in by the membership there, and speaks. Only what the boss says then is
        // sent; the rest is asked for.
        let foreign = peer.room(&elsewhere, |room| room.state_id("m.room.member", &stranger).unwrap().to_owned());
        let signed = |mut event: Value| {
            peer.key().sign_event(peer.name(), &mut event, version);
            peer.room(&room, |room| room.append(&event));
            event
        };
        let content = json!({ "membership": "join" });
        let mut coming = peer.room(&room, |room| room.draft(&stranger, "m.room.member", Some(&stranger), &content));
        coming["auth_events"].as_array_mut().unwrap().push(json!(foreign));
        let coming = signed(coming);
        let spoken = signed(peer.room(&room, |room| room.draft(&stranger, "m.room.message", None, &text("hidden"))));
        let (spoken, coming) = (peer.id_of(&room, &spoken), peer.id_of(&room, &coming));
        let last = peer.say(&site.server, &room, &boss, "last");
        sees(&alice, &room, &last);
        for hidden in [spoken, coming] {
            assert_eq!(alice.try_event(&room, &hidden).status, 404);
        }
        assert!(!alice.members(&room, "join").contains(&stranger));
    }
}

#[test]
fn a_redaction_is_shown_when_it_redacts() {
    let (site, peer) = (Site::start(), Peer::start());
    for version in VERSIONS {
        let (alice, boss, room) = shared(&site, &peer, version);
        let other = peer.create_room(&boss, version, "public");
        alice.post(v3(&["join", &other]).query("via", peer.name()), json!({})).ok();
        let said = peer.say(&site.server, &other, &boss, "in another room");
        sees(&alice, &other, &said);
        let redact = |room: &str, sender: &str, target: &str| {
            let mut event = peer.room(room, |room| room.draft(sender, "m.room.redaction", None, &json!({})));
            if version == "10" {
                event["redacts"] = json!(target);
            } else {
                event["content"]["redacts"] = json!(target);
            }
            peer.key().sign_event(peer.name(), &mut event, version);
            let id = peer.room(room, |room| room.append(&event));
            let answer = peer.send(&site.server, &[event], &[]).ok();
            assert_eq!(answer["pdus"][&id], json!({}), "{answer}");
            id
        };
        // Of another room's event, and of somebody else's by somebody without power.
        let across = redact(&room, &boss, &said);
        let mine = alice.say(&room, "mine");
        let carl = peer.user("carl");
        let come = peer.make(&room, &carl, "m.room.member", Some(&carl), &json!({ "membership": "join" }));
        peer.send(&site.server, &[come], &[]).ok();
        let powerless = redact(&room, &carl, &mine);
        let own = peer.say(&site.server, &room, &carl, "carl's");
        let proper = redact(&room, &carl, &own);
        sees(&alice, &room, &proper);
        let history = wardroom_testkit::event_ids(&alice.history(&room));
        for hidden in [&across, &powerless] {
            assert!(!history.contains(hidden), "{version}: {hidden} is shown");
            assert_eq!(alice.try_event(&room, hidden).status, 404);
        }
        assert_eq!(alice.try_event(&other, &said).ok()["content"]["body"], "in another room");
        assert_eq!(alice.try_event(&room, &mine).ok()["content"]["body"], "mine");
        // By somebody with the power, it is shown, and later ones of the same event are too.
        let first = redact(&room, &boss, &mine);
        let second = redact(&room, &boss, &mine);
        for shown in [&first, &second] {
            sees(&alice, &room, shown);
        }
        assert_eq!(alice.try_event(&room, &mine).ok()["unsigned"]["redacted_by"], first.as_str());
    }
}
