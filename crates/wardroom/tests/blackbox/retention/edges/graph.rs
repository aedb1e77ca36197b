//! The room's graph: it stays whole, goes on, and what was purged from it is not fetched again.

use std::slice::from_ref;

use wardroom_testkit::{
    Actor, Config, Peer, Target, bodies, event_ids, events, has_event, json, text, unique, v3, wait_until,
};

use super::{
    super::{HOUR, now_ms},
    MINUTE, Ward, at_last, at_once, config, counted, dropped, ends, fetches, purged, thorough,
};
use crate::{
    SOON,
    admin::{admin_of, own},
    federation::sites::{Site, agree, join_via, public_room, sees},
    server_with,
};

#[test]
fn the_last_message_of_a_room_ends_like_every_other() {
    let ward = Ward::new(thorough());
    let admin = admin_of(&ward.site.server);
    ward.alice.say(&ward.room, "not the last one");
    let last = ward.alice.say(&ward.room, "the last one");
    assert_eq!(ends(&admin, &ward.room), from_ref(&last));
    at_once(&admin, &ward.room);
    assert!(ward.messages().is_empty(), "synapse#17925 and others: it is hidden");
    purged(&admin, &ward.room, 2);
    assert_eq!(ends(&admin, &ward.room), from_ref(&last), "and purged, and the room still ends with it");
    at_last(&admin, &ward.room);
    ward.alice.get(v3(&["rooms", &ward.room, "event", &last])).refused(404, "M_NOT_FOUND");
    ward.alice.say(&ward.room, "and on");
    let next = ward.peer.until_pdu("what comes next", SOON, |pdu| pdu["content"]["body"] == "and on");
    assert_eq!(next["prev_events"], json!([last]), "others know what it follows");
    ward.peer.say(&ward.site.server, &ward.room, &ward.bob, "here too");
    assert_eq!(bodies(&ward.messages()), ["and on", "here too"]);
}

#[test]
fn a_room_of_one_message_is_emptied_and_goes_on() {
    let server = server_with(thorough());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    let only = alice.say(&room, "the only one");
    at_once(&admin, &room);
    purged(&admin, &room, 1);
    at_last(&admin, &room);
    assert!(!has_event(&alice.history(&room), &only));
    bob.join(&room);
    assert!(bodies(&bob.history(&room)).is_empty(), "who comes later sees nothing either");
    bob.say(&room, "is anybody here?");
    dropped(&admin, &room, 1);
    assert_eq!(bodies(&alice.history(&room)), ["is anybody here?"]);
}

#[test]
fn a_room_in_which_everything_is_over_keeps_its_state_and_takes_people_in() {
    let ward = Ward::new(config());
    for number in 0..20 {
        ward.sent_before(HOUR, &text(&number.to_string()));
    }
    ward.alice.set_state(&ward.room, "m.room.topic", "", json!({ "topic": "cardiology" }));
    ward.end_early();
    ward.purged(20);
    assert!(ward.messages().is_empty());
    let (carol, partner) = (ward.site.user("carol"), Peer::start());
    carol.join(&ward.room);
    assert_eq!(carol.state(&ward.room, "m.room.topic", ""), json!({ "topic": "cardiology" }));
    partner.join(&ward.site.server, &ward.room, &partner.user("dora"));
    let backfill = Target::federation_v1(&["backfill", &ward.room])
        .query("v", partner.room(&ward.room, |room| room.extremities[0].clone()).as_str())
        .query("limit", "100");
    let pdus = partner.ask(&ward.site.server, "GET", &backfill, None).ok();
    assert!(events(&pdus["pdus"]).iter().all(|pdu| pdu.get("state_key").is_some()), "{pdus}");
    partner.say(&ward.site.server, &ward.room, &partner.user("dora"), "hello");
    assert_eq!(bodies(&carol.history(&ward.room)), ["hello"]);
}

#[test]
fn a_fork_of_which_both_ends_are_over_is_joined_by_what_comes_next() {
    let ward = Ward::new(config());
    let server = &ward.site.server;
    let fork: Vec<_> = ["left", "right"]
        .map(|body| {
            ward.peer.room(&ward.room, |room| {
                let mut event = room.draft(&ward.bob, "m.room.message", None, &text(body));
                event["origin_server_ts"] = json!(now_ms() - HOUR);
                ward.peer.key().sign_event(ward.peer.name(), &mut event, &room.version);
                event
            })
        })
        .into();
    let mut sides: Vec<String> = fork.iter().map(|event| ward.peer.id_of(&ward.room, event)).collect();
    ward.peer.send(server, &fork, &[]).ok();
    let admin = admin_of(server);
    sides.sort();
    let sorted = || {
        let mut ends = ends(&admin, &ward.room);
        ends.sort();
        ends
    };
    assert_eq!(sorted(), sides);
    // By an administrator: a policy of the room would join the two by itself.
    admin.put(own(&["rooms", &ward.room, "retention"]), json!({ "max_lifetime": 30 * MINUTE })).ok();
    purged(&admin, &ward.room, 2);
    assert_eq!(sorted(), sides, "what is left of them");
    ward.alice.say(&ward.room, "joined");
    let next = ward.peer.until_pdu("what comes next", SOON, |pdu| pdu["content"]["body"] == "joined");
    let mut followed: Vec<&str> =
        next["prev_events"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    followed.sort_unstable();
    assert_eq!(followed, sides);
    assert_eq!(bodies(&ward.messages()), ["joined"]);
}

#[test]
fn what_was_purged_is_not_fetched_again_from_a_server_that_keeps_all() {
    let ward = Ward::new(thorough());
    let admin = admin_of(&ward.site.server);
    let old: Vec<String> = (0..30).map(|number| ward.sent_before(HOUR, &text(&format!("old {number}")))).collect();
    ward.end_early();
    ward.alice.say(&ward.room, "young");
    purged(&admin, &ward.room, 30);
    dropped(&admin, &ward.room, 30);
    let before = fetches(&ward.peer, &ward.room);
    for _ in 0..3 {
        assert_eq!(bodies(&ward.alice.history(&ward.room)), ["young"]);
        assert_eq!(bodies(&ward.messages()), ["young"], "forwards, too");
        for event in [&old[0], &old[15], &old[29]] {
            ward.alice.get(v3(&["rooms", &ward.room, "event", event])).refused(404, "M_NOT_FOUND");
            ward.alice.get(v3(&["rooms", &ward.room, "context", event])).refused(404, "M_NOT_FOUND");
        }
    }
    assert_eq!(fetches(&ward.peer, &ward.room), before, "nobody was asked for what was purged");
    // The partner sends it all again, and something that follows it.
    let again = ward.peer.room(&ward.room, |room| room.list(&old));
    ward.peer.send(&ward.site.server, &again, &[]).ok();
    let late = ward.peer.room(&ward.room, |room| {
        let mut event = room.draft(&ward.bob, "m.room.message", None, &text("late"));
        event["prev_events"] = json!([old[29]]);
        ward.peer.key().sign_event(ward.peer.name(), &mut event, &room.version);
        event
    });
    ward.peer.send(&ward.site.server, &[late], &[]).ok();
    ward.peer.say(&ward.site.server, &ward.room, &ward.bob, "after it");
    let said = bodies(&ward.alice.history(&ward.room));
    assert!(!said.iter().any(|body| body.starts_with("old")), "{said:?}");
    assert!(said.contains(&"after it".to_owned()), "{said:?}");
    assert!(fetches(&ward.peer, &ward.room) <= before + 5, "{}", fetches(&ward.peer, &ward.room) - before);
}

#[test]
fn old_history_of_a_room_of_others_is_asked_for_once_and_not_kept() {
    let site = Site::new(config().federating_as("127.0.0.1"), None);
    let (alice, peer, admin) = (site.user("alice"), Peer::start(), admin_of(&site.server));
    let boss = peer.user("boss");
    let room = peer.create_room(&boss, "11", "public");
    peer.make(&room, &boss, "m.room.retention", Some(""), &json!({ "max_lifetime": 30 * MINUTE }));
    for number in 0..60 {
        peer.room(&room, |room| {
            let mut event = room.draft(&boss, "m.room.message", None, &text(&format!("old {number}")));
            event["origin_server_ts"] = json!(now_ms() - HOUR);
            peer.key().sign_event(peer.name(), &mut event, &room.version);
            room.append(&event);
        });
    }
    alice.post(v3(&["join", &room]).query("via", peer.name()).query("server_name", peer.name()), json!({})).ok();
    let walk = || alice.walk(&room, "b", |_| false);
    // The first walks ask for what is not here yet; then everything was looked at.
    wait_until("nothing more is asked for", SOON, || {
        let before = fetches(&peer, &room);
        assert!(bodies(&walk()).is_empty());
        (fetches(&peer, &room) == before).then_some(())
    });
    let asked = fetches(&peer, &room);
    assert!(asked < 20, "{asked} requests for 60 events");
    for _ in 0..3 {
        assert!(bodies(&walk()).is_empty());
    }
    assert_eq!(fetches(&peer, &room), asked, "and that is it");
    assert_eq!(counted(&admin, "retention.redact", &room), 0, "what came when it was over was never whole here");
    assert!(crate::plaintext::found_in(&site.server.data_dir(), "old 17").is_empty());
}

#[test]
fn a_partner_that_keeps_longer_keeps_its_copy_and_this_server_does_not_get_it_back() {
    let here = Site::new(thorough().federating_as("127.0.0.1"), None);
    let there = Site::new(Config::default().federating_as("localhost"), None);
    let (alice, bob, admin) = (here.user("alice"), there.user("bob"), admin_of(&here.server));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    let said: Vec<String> = (0..20)
        .map(|number| {
            let (speaker, hearer) = if number % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
            let event = speaker.say(&room, &format!("number {number}"));
            sees(hearer, &room, &event);
            event
        })
        .collect();
    at_once(&admin, &room);
    purged(&admin, &room, 20);
    at_last(&admin, &room);
    for number in 0..5 {
        sees(&bob, &room, &alice.say(&room, &format!("new {number} of alice")));
        sees(&alice, &room, &bob.say(&room, &format!("new {number} of bob")));
    }
    dropped(&admin, &room, 20);
    let carol = here.user("carol");
    carol.join(&room);
    for _ in 0..2 {
        for reader in [&alice, &carol] {
            let history = event_ids(&reader.history(&room));
            assert!(!said.iter().any(|event| history.contains(event)), "{history:?}");
            assert_eq!(bodies(&reader.history(&room)).len(), 10);
        }
        reader_of_all(&bob, &room, &said);
    }
    agree(&room, &[&here, &there]);
    sees(&alice, &room, &bob.say(&room, &unique("and on")));
}

#[track_caller]
fn reader_of_all(bob: &wardroom_testkit::User, room: &str, said: &[String]) {
    let history = event_ids(&bob.history(room));
    assert!(said.iter().all(|event| history.contains(event)), "the partner has its copy");
}
