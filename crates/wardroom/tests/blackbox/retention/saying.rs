//! Saying how long messages are kept: rooms, administrators, and what the server tells of it.

use wardroom_testkit::{Actor, bodies, json, raw, text, v3};

use super::{HOUR, MINUTE, Ward, config};
use crate::{
    admin::{admin_of, own},
    server_with, ward,
};

const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration";

#[test]
fn a_policy_that_makes_no_sense_is_refused_with_the_field_named() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    for kind in ["m.room.retention", "org.matrix.msc1763.retention"] {
        for (content, field) in [
            (json!({ "max_lifetime": -1 }), "max_lifetime"),
            (json!({ "max_lifetime": "86400000" }), "max_lifetime"),
            (json!({ "max_lifetime": 9_007_199_254_740_992_u64 }), "max_lifetime"),
            (json!({ "min_lifetime": true }), "min_lifetime"),
            (json!({ "min_lifetime": 2 * HOUR, "max_lifetime": HOUR }), "max_lifetime"),
        ] {
            let refused = alice.try_set_state(&room, kind, "", content).refused_somehow();
            assert!(refused["error"].as_str().is_some_and(|error| error.contains(field)), "{refused}");
        }
        alice.try_set_state(&room, kind, "", json!({ "max_lifetime": HOUR * 24 * 7, "min_lifetime": null })).ok();
    }
    let initial = json!([{ "type": "m.room.retention", "content": { "max_lifetime": -5 } }]);
    alice.try_create_room(json!({ "initial_state": initial })).refused_somehow();
}

#[test]
fn the_unstable_type_counts_where_the_stable_one_says_nothing() {
    let ward = Ward::new(config());
    ward.sent_before(HOUR, &text("old"));
    ward.alice.set_state(&ward.room, "org.matrix.msc1763.retention", "", json!({ "max_lifetime": 30 * MINUTE }));
    assert!(ward.messages().is_empty());
    let ward = Ward::new(config());
    ward.sent_before(HOUR, &text("old"));
    ward.set_policy(json!({ "max_lifetime": 24 * HOUR }));
    ward.alice.set_state(&ward.room, "org.matrix.msc1763.retention", "", json!({ "max_lifetime": 30 * MINUTE }));
    assert_eq!(bodies(&ward.messages()), ["old"]);
}

#[test]
fn limits_hold_when_messages_are_read() {
    let ward = Ward::new(
        config()
            .set("retention.max_lifetime_limits_seconds", "[7200, 86400]")
            .set("retention.min_lifetime_limits_seconds", "[3600, 0]"),
    );
    ward.sent_before(HOUR, &text("an hour ago"));
    ward.sent_before(3 * HOUR, &text("three hours ago, and here for a moment"));
    ward.set_policy(json!({ "max_lifetime": 0 }));
    assert_eq!(ward.messages().len(), 2, "nothing goes within an hour after it came, whatever the room says");
    let admin = admin_of(&ward.site.server);
    let target = own(&["rooms", &ward.room, "retention"]);
    let shown = admin.get(target.clone()).ok();
    let (room, least) = (json!({ "max_lifetime": 0 }), HOUR);
    let expected = json!({ "max_lifetime": 2 * HOUR, "min_lifetime": least, "source": "room", "room": room });
    assert_eq!(shown, expected);
    let set = admin.put(target.clone(), json!({ "max_lifetime": 48 * HOUR })).ok();
    assert_eq!(
        (&set["max_lifetime"], &set["source"]),
        (&json!(48 * HOUR), &json!("override")),
        "not bound by the limits"
    );
    assert_eq!(set["min_lifetime"], HOUR, "but by what must be kept");
    assert_eq!(admin.delete(target).ok()["max_lifetime"], 2 * HOUR);
}

#[test]
fn administrators_say_it_for_a_room() {
    let ward = Ward::new(config());
    ward.sent_before(HOUR, &text("old"));
    ward.set_policy(json!({ "max_lifetime": 2 * HOUR }));
    let admin = admin_of(&ward.site.server);
    let target = own(&["rooms", &ward.room, "retention"]);
    ward.alice.get(target.clone()).refused(403, "M_FORBIDDEN");
    assert_eq!(admin.get(target.clone()).ok()["override"], json!(null));
    admin.put(target.clone(), json!({ "max_lifetime": 1, "min_lifetime": 2 })).refused_somehow();
    assert_eq!(ward.messages().len(), 1);
    admin.put(target, json!({ "max_lifetime": 30 * MINUTE })).ok();
    assert!(ward.messages().is_empty());
    admin.put(own(&["rooms", "!nothing:here", "retention"]), json!({})).refused(404, "M_NOT_FOUND");
    let told = ward.alice.get(raw(UNSTABLE)).ok();
    assert_eq!(told["policies"][&ward.room], json!({ "max_lifetime": 30 * MINUTE }));
    let stranger = ward.site.user("stranger");
    assert!(stranger.get(raw(UNSTABLE)).ok()["policies"].get(&ward.room).is_none(), "rooms are not told to others");
}

#[test]
fn the_configuration_is_told_under_both_names() {
    let server = server_with(
        wardroom_testkit::Config::default().set("retention.max_lifetime_limits_seconds", "[86400, 172800]"),
    );
    let alice = server.user("alice");
    let told = alice.get(raw(UNSTABLE)).ok();
    assert_eq!(told["policies"], json!({ "*": { "max_lifetime": 365 * 24 * HOUR } }));
    assert_eq!(told["limits"]["max_lifetime"], json!({ "min": 24 * HOUR, "max": 48 * HOUR }));
    assert_eq!(told["limits"]["min_lifetime"], json!({}));
    assert_eq!(alice.get(v3(&["retention", "configuration"])).ok(), told);
    server.anonymous().get(raw(UNSTABLE)).refused(401, "M_MISSING_TOKEN");
    let versions = alice.get(raw("/_matrix/client/versions")).ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc1763"], true);
}

#[test]
fn an_upgrade_takes_the_policy_along() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "room_version": "11" }));
    let policy = json!({ "max_lifetime": 7 * 24 * HOUR });
    alice.set_state(&room, "m.room.retention", "", policy.clone());
    let answer = alice.post(v3(&["rooms", &room, "upgrade"]), json!({ "new_version": "12" })).ok();
    assert_eq!(alice.state(answer["replacement_room"].as_str().unwrap(), "m.room.retention", ""), policy);
}
