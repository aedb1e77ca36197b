//! Partner servers: what they are sent, what they ask for, what they send.

use wardroom_testkit::{Actor, Peer, Target, Value, json, wait_until};

use super::bare;
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    federation::sites::Site,
};

#[test]
fn what_goes_to_a_partner_and_what_comes_from_one() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice, bob) = (admin_of(&site.server), site.user("alice"), peer.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    peer.join(&site.server, &room, &bob);
    let theirs = peer.say(&site.server, &room, &bob, "a secret of theirs");
    let ours = alice.say(&room, "a secret of ours");
    peer.until_pdu("the message", SOON, |pdu| pdu["content"]["body"] == "a secret of ours");
    let of = |act: &str| bare(records(&admin, &[("act", act), ("room_id", &room)]));

    let received = of("federation.receive");
    let join = received.iter().find(|record| record["on"]["type"] == "m.room.member").unwrap();
    assert_eq!((join["on"]["user"].as_str(), join["who"]["server"].as_str()), (Some(&*bob), Some(peer.name())));
    let who = json!({ "ip": "127.0.0.1", "server": peer.name() });
    let on = json!({ "count": 1, "event": theirs, "room": room, "type": "m.room.message" });
    let expected = json!({ "act": "federation.receive", "on": on, "outcome": 0, "who": who });
    assert_eq!(received.last(), Some(&expected));

    let sent = wait_until("the record of what was sent", SOON, || {
        of("federation.send").into_iter().find(|record| record["on"]["event"] == *ours)
    });
    let on = json!({
        "count": 1, "detail": "transaction", "event": ours, "last": ours, "room": room, "servers": [peer.name()],
    });
    assert_eq!(sent, json!({ "act": "federation.send", "on": on, "outcome": 0, "who": {} }));

    // What a server asks for is a disclosure as well.
    let target = Target::federation_v1(&["event", &ours]);
    peer.ask(&site.server, "GET", &target, None).ok();
    let target = Target::federation_v1(&["backfill", &room]).query("v", &ours).query("limit", "3");
    peer.ask(&site.server, "GET", &target, None).ok();
    let target = Target::federation_v1(&["state_ids", &room]).query("event_id", &ours);
    peer.ask(&site.server, "GET", &target, None).ok();
    let ways: Vec<Value> = of("federation.send").iter().map(|record| record["on"]["detail"].clone()).collect();
    for way in ["send_join", "transaction", "event", "backfill", "state_ids"] {
        assert!(ways.contains(&json!(way)), "{way}: {ways:?}");
    }
    assert!(!json!(of("federation.send")).to_string().contains("secret"));

    let report = admin.get(own(&["reports", "disclosures"]).query("room_id", &room)).ok();
    let all = report["disclosures"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{report}");
    assert_eq!((all[0]["server"].as_str(), all[0]["room_id"].as_str()), (Some(peer.name()), Some(&*room)));
    assert!(all[0]["events"].as_u64().unwrap() > 5 && all[0]["by"]["backfill"] == 1, "{report}");
    let of_user = admin.get(own(&["reports", "disclosures"]).query("user_id", &alice.id)).ok();
    assert_eq!(of_user["disclosures"], report["disclosures"]);
    let other = own(&["reports", "disclosures"]).query("room_id", &room).query("server", "other.example");
    assert_eq!(admin.get(other).ok()["disclosures"], json!([]));
}

#[test]
fn what_is_not_allowed_is_recorded_as_refused() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice, bob) = (admin_of(&site.server), site.user("alice"), peer.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    peer.join(&site.server, &room, &bob);
    let event = peer.make(&room, &bob, "m.room.topic", Some(""), &json!({ "topic": "a topic of mine" }));
    peer.send(&site.server, &[event], &[]).ok();
    let refused = wait_until("the record", SOON, || {
        let all = records(&admin, &[("act", "federation.receive"), ("room_id", &room)]);
        all.into_iter().find(|record| record["on"]["type"] == "m.room.topic")
    });
    assert_eq!(refused["outcome"], 8);
    assert!(refused["on"]["new"].is_string() && !refused.to_string().contains("of mine"));
    let policy = own(&["federation", "policy"]);
    let allow = json!({ "allow": ["*"], "deny": ["evil.example"] });
    let method = |name: &str, body: Value| admin.request(name, &policy, body.into());
    method("PUT", allow).ok();
    let changed = bare(records(&admin, &[("act", "server.config")]));
    let changed = changed.iter().find(|record| record["on"]["detail"] == "federation policy").unwrap();
    assert!(changed["on"]["old"] != changed["on"]["new"] && changed["who"]["user"] == *admin.id, "{changed}");
}

#[test]
fn an_event_that_is_ahead_of_the_clock_is_marked() {
    const MINUTE: u64 = 60 * 1_000;
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice, bob) = (admin_of(&site.server), site.user("alice"), peer.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    peer.join(&site.server, &room, &bob);
    for (ahead, expected) in [(0, Value::Null), (MINUTE, Value::Null), (30 * MINUTE, json!("ahead"))] {
        let event = peer.room(&room, |room| {
            let mut event = room.draft(&bob, "m.room.message", None, &wardroom_testkit::text("when?"));
            event["origin_server_ts"] = json!(wardroom_testkit::peer::now_ms() + ahead);
            peer.key().sign_event(peer.name(), &mut event, &room.version);
            room.append(&event);
            event
        });
        let id = peer.id_of(&room, &event);
        peer.send(&site.server, &[event], &[]).ok();
        let found = records(&admin, &[("act", "federation.receive"), ("room_id", &room)]);
        let record = found.iter().find(|record| record["on"]["event"] == *id).unwrap();
        assert_eq!(record["on"]["detail"], expected, "{ahead}");
    }
}
