//! Layers of what is said of how long messages are kept: templates, and lines of a room's graph.

use wardroom_testkit::{Actor, Body, bodies, json, text, unique};

use super::{HOUR, MINUTE, Ward, config};
use crate::{
    access::{give, policy},
    admin::{admin_of, own},
    server_with,
};

#[test]
fn a_template_says_it_for_its_rooms_where_they_say_nothing() {
    let mut server = server_with(config());
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let role = "physician@h1";
    give(&admin, &alice.id, &[role]);
    let template = |max_ms: u64| {
        let retention = json!({ "max_lifetime": max_ms });
        json!({ "policy": policy(&[role]), "alias": "ward-*", "retention": retention })
    };
    let target = || own(&["policy_templates", "wards"]);
    let wrong = json!({ "max_lifetime": 1, "min_lifetime": 2 });
    let mut refused = template(1);
    refused["retention"] = wrong;
    let refused = admin.put(target(), refused).refused_somehow();
    assert!(refused["error"].as_str().unwrap().contains("retention.max_lifetime"), "{refused}");
    admin.put(target(), template(24 * HOUR)).ok();
    assert_eq!(admin.get(target()).ok(), template(24 * HOUR));
    let room = alice.create_room(json!({ "room_alias_name": "ward-7" }));
    let other = alice.create_room(json!({ "room_alias_name": "canteen" }));
    alice.say(&room, "said on the ward");
    alice.say(&other, "said in the canteen");
    let shown = |room: &str| admin.get(own(&["rooms", room, "retention"])).ok();
    let day = json!({ "max_lifetime": 24 * HOUR });
    let expected = json!({ "max_lifetime": 24 * HOUR, "source": "template", "template": day });
    assert_eq!(shown(&room), expected);
    assert_eq!(shown(&other)["source"], "server");
    let seen = || bodies(&alice.history(&room)).len();
    assert_eq!(seen(), 1);
    // What it says now counts, for rooms that are there, too.
    admin.put(target(), template(1)).ok();
    assert_eq!((seen(), bodies(&alice.history(&other)).len()), (0, 1));
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 2 * HOUR }));
    assert_eq!((shown(&room)["source"].as_str(), &shown(&room)["max_lifetime"]), (Some("room"), &json!(2 * HOUR)));
    alice.set_state(&room, "m.room.retention", "", json!({}));
    assert_eq!(shown(&room)["source"], "template");
    server.restart();
    assert_eq!(shown(&room)["max_lifetime"], 1);
    let upgraded = alice.post(wardroom_testkit::v3(&["rooms", &room, "upgrade"]), json!({ "new_version": "12" })).ok();
    let upgraded = upgraded["replacement_room"].as_str().unwrap().to_owned();
    assert_eq!(shown(&upgraded)["source"], "template", "a room that replaces it follows it, too");
    admin.request("DELETE", &target(), Body::Empty).ok();
    assert_eq!((shown(&room)["source"].as_str(), shown(&room).get("template")), (Some("server"), None));
}

#[test]
fn of_two_policies_on_two_lines_the_one_of_the_resolved_state_counts() {
    let ward = Ward::new(config());
    ward.alice.change_power_levels(&ward.room, |levels| levels["users"][&ward.bob] = json!(50));
    ward.sent_before(HOUR, &text("old"));
    // Made before the other is known: two ends of the same room.
    let (short, long) = (json!({ "max_lifetime": 30 * MINUTE }), json!({ "max_lifetime": 2 * HOUR }));
    let theirs = ward.peer.make(&ward.room, &ward.bob, "m.room.retention", Some(""), &short);
    ward.set_policy(long.clone());
    assert_eq!(bodies(&ward.messages()), ["old"]);
    ward.peer.send(&ward.site.server, &[theirs], &[]).ok();
    let counts = ward.alice.state(&ward.room, "m.room.retention", "");
    assert!(counts == short || counts == long, "{counts}");
    assert_eq!(ward.messages().is_empty(), counts == short, "{counts}");
    ward.alice.set_state(&ward.room, "m.room.retention", "", json!({ "max_lifetime": 3 * HOUR }));
    let admin = admin_of(&ward.site.server);
    let shown = admin.get(own(&["rooms", &ward.room, "retention"])).ok();
    assert_eq!(shown["max_lifetime"], 3 * HOUR, "both lines have ended: {}", unique(""));
}
