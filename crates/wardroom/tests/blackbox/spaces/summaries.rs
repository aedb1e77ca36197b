//! `GET /room_summary/{roomIdOrAlias}`.

use wardroom_testkit::{Actor, Target, Value, json, raw, unique, v1};

use super::restricted;
use crate::ward;

fn path(room: &str) -> Target {
    v1(&["room_summary", room])
}

#[test]
fn a_summary_says_what_a_room_is() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let name = unique("summary");
    let room = alice.create_room(json!({
        "preset": "public_chat", "name": "Ward 7", "topic": "Beds", "room_alias_name": name, "room_version": "11",
        "creation_content": { "type": "example.ward" },
        "initial_state": [
            { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
            { "type": "m.room.avatar", "content": { "url": "mxc://hospital-a.example/ward7" } },
            { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
        ],
    }));
    let alias = format!("#{name}:{}", ward().name());
    let summary = bob.get(path(&room)).ok();
    for (field, value) in [
        ("room_id", json!(room)),
        ("name", json!("Ward 7")),
        ("topic", json!("Beds")),
        ("avatar_url", json!("mxc://hospital-a.example/ward7")),
        ("canonical_alias", json!(alias)),
        ("room_type", json!("example.ward")),
        ("num_joined_members", json!(1)),
        ("world_readable", json!(false)),
        ("guest_can_join", json!(true)),
        ("join_rule", json!("public")),
        ("encryption", json!("m.megolm.v1.aes-sha2")),
        ("room_version", json!("11")),
        ("membership", json!("leave")),
        ("allowed_room_ids", Value::Null),
    ] {
        assert_eq!(summary[field], value, "{field}: {summary}");
    }
    assert_eq!(bob.get(path(&alias)).ok(), summary);
    for unstable in ["im.nheko.summary/summary", "im.nheko.summary/rooms"] {
        let suffix = if unstable.ends_with("rooms") { "/summary" } else { "" };
        let old = format!("/_matrix/client/unstable/{unstable}/{room}{suffix}");
        assert_eq!(bob.get(raw(&old)).ok(), summary);
    }
    bob.join(&room);
    let joined = bob.get(path(&room).query("via", "a.example").query("via", "b.example")).ok();
    assert_eq!((&joined["membership"], &joined["num_joined_members"]), (&json!("join"), &json!(2)));
}

#[test]
fn who_may_know_of_a_room_gets_its_summary() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let nobody = alice.anonymous();
    let rule =
        |rule: &str| json!({ "initial_state": [{ "type": "m.room.join_rules", "content": { "join_rule": rule } }] });
    let key = alice.create_room(json!({}));
    let private = alice.create_room(json!({}));
    let knock = alice.create_room(rule("knock"));
    let to_come = alice.create_room(rule("example.to_come"));
    let by_key = restricted(&alice, "11", "restricted", &[&key]);
    bob.get(path(&private)).refused(404, "M_NOT_FOUND");
    bob.get(path(&to_come)).refused(404, "M_NOT_FOUND");
    bob.get(path(&by_key)).refused(404, "M_NOT_FOUND");
    bob.get(path(&knock)).ok();
    assert_eq!(alice.get(path(&to_come)).ok()["join_rule"], "example.to_come");
    alice.invite(&private, &bob);
    assert_eq!(bob.get(path(&private)).ok()["membership"], "invite");
    alice.invite(&key, &bob);
    bob.join(&key);
    let summary = bob.get(path(&by_key)).ok();
    assert_eq!((&summary["join_rule"], &summary["allowed_room_ids"]), (&json!("restricted"), &json!([key])));

    for closed in [&private, &by_key, &to_come] {
        nobody.get(path(closed)).refused(404, "M_NOT_FOUND");
    }
    let summary = nobody.get(path(&knock)).ok();
    assert_eq!((&summary["join_rule"], &summary["membership"]), (&json!("knock"), &Value::Null));
    alice.on_member("ban", &knock, &bob).ok();
    bob.get(path(&knock)).refused(404, "M_NOT_FOUND");
}

#[test]
fn an_unknown_room_and_a_token_that_is_not_known_are_refused() {
    let alice = ward().user("alice");
    let name = ward().name();
    for unknown in [format!("!{}:{name}", unique("no")), format!("#{}:{name}", unique("no"))] {
        alice.get(path(&unknown)).refused(404, "M_NOT_FOUND");
        alice.anonymous().get(path(&unknown)).refused(404, "M_NOT_FOUND");
    }
    alice.get(path("#x:b.invalid")).refused(502, "M_UNKNOWN");
    alice.get(path("neither")).refused(400, "M_INVALID_PARAM");
    alice.with_token("junk").get(path("!a:b")).refused(401, "M_UNKNOWN_TOKEN");
}
