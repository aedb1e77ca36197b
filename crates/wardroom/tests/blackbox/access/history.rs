//! What a room required before, and for how long it kept messages (45 CFR 164.316(b)(2)).

use wardroom_testkit::{Actor, Value, json, wait_until};

use super::{Gated, policy};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    ward,
};

fn is_of<'a>(history: &'a Value, kind: &str) -> Vec<&'a Value> {
    history["versions"].as_array().unwrap().iter().filter(|version| version["type"] == kind).collect()
}

#[test]
fn every_version_of_a_policy_is_told_with_the_time_for_which_it_was_in_force() {
    const DAY: u64 = 24 * 60 * 60 * 1_000;
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    let target = || own(&["rooms", room, "policy", "history"]);
    alice.get(target()).refused(403, "M_FORBIDDEN");
    admin.put(own(&["rooms", room, "policy"]), policy(&[role, "porter@h1"])).ok();
    let days: Vec<String> = (2..5)
        .map(|days| alice.set_state(room, "m.room.retention", "", json!({ "max_lifetime": days * DAY })))
        .collect();
    alice.redact(room, &days[2]);
    admin.put(own(&["rooms", room, "retention"]), json!({ "max_lifetime": 3 * DAY })).ok();
    admin.put(own(&["rooms", room, "retention"]), json!({ "max_lifetime": 9 * DAY })).ok();
    admin.delete(own(&["rooms", room, "retention"])).ok();
    admin.delete(own(&["rooms", room, "policy"])).ok();

    let history = admin.get(target()).ok();
    let policies = is_of(&history, "org.wardroom.access_policy");
    let contents: Vec<&Value> = policies.iter().map(|version| &version["content"]).collect();
    assert_eq!(contents, [&json!({}), &policy(&[role, "porter@h1"]), &policy(&[role])]);
    let kept = is_of(&history, "m.room.retention");
    let contents: Vec<&Value> = kept.iter().map(|version| &version["content"]["max_lifetime"]).collect();
    assert_eq!(contents, [&Value::Null, &json!(3 * DAY), &json!(2 * DAY)], "of a redacted one its empty form");
    assert_eq!(kept[0]["redacted"]["sender"], *alice.id);
    assert!(kept[1].get("redacted").is_none());
    for versions in [&policies, &kept] {
        assert!(versions[0].get("until_ts").is_none(), "in force");
        for pair in versions.windows(2) {
            assert_eq!(pair[1]["until_ts"], pair[0]["from_ts"], "one after the other");
        }
        // Each is told by a record, too, which says who asked for it.
        for version in versions {
            let trail = records(admin, &[("act", "room.change"), ("room_id", room)]);
            assert!(trail.iter().any(|record| record["on"]["event"] == version["event_id"]), "{version}");
        }
    }
    assert_eq!((kept[1]["event_id"].as_str(), kept[1]["sender"].as_str()), (Some(&*days[1]), Some(&*alice.id)));
    let set = history["overrides"].as_array().unwrap();
    let contents: Vec<&Value> = set.iter().map(|version| &version["content"]["max_lifetime"]).collect();
    assert_eq!(contents, [&json!(9 * DAY), &json!(3 * DAY)]);
    assert_eq!(set[1]["until_ts"], set[0]["from_ts"]);
    assert!(set[0]["until_ts"].is_u64() && set[0]["set_by"] == *admin.id, "{history}");
    assert_eq!(history["overrides_complete"], true);

    let rules = admin.get(target().query("type", "m.room.join_rules")).ok();
    assert_eq!(is_of(&rules, "m.room.join_rules")[0]["content"]["join_rule"], "public");
    admin.get(own(&["rooms", "!nothing:here", "policy", "history"])).refused(404, "M_NOT_FOUND");
}

#[test]
fn the_history_of_a_policy_outlives_its_messages() {
    let (admin, alice) = (admin_of(ward()), ward().user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 7 }));
    alice.say(&room, "over at once, as far as the server lets it be");
    let purge = json!({ "purge_up_to_ts": 9_000_000_000_000_u64, "delete_local_events": true });
    let answer = admin.post(crate::admin::synapse(&["v1", "purge_history", &room]), purge).ok();
    let id = answer["purge_id"].as_str().unwrap().to_owned();
    wait_until("the purge", SOON, || {
        let status = admin.get(crate::admin::synapse(&["v1", "purge_history_status", &id])).ok();
        (status["status"] == "complete").then_some(())
    });
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 8 }));
    let history = admin.get(own(&["rooms", &room, "policy", "history"])).ok();
    let versions: Vec<&Value> = is_of(&history, "m.room.retention").iter().map(|version| &version["content"]).collect();
    assert_eq!(versions[0], &json!({ "max_lifetime": 8 }));
    assert_eq!(versions.last(), Some(&&json!({ "max_lifetime": 7 })), "{history}");
}
