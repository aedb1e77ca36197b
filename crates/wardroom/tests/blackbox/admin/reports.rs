//! What users reported.

use wardroom_testkit::{Actor, Value, json, raw, v3};

use super::{admin_of, synapse};
use crate::ward;

#[test]
fn reports_are_listed_read_and_deleted() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Ward 7" }));
    bob.join(&room);
    let said = alice.say(&room, "rude");
    bob.post(v3(&["rooms", &room, "report", &said]), json!({ "reason": "rude", "score": -100 })).ok();
    bob.post(v3(&["users", &alice.id, "report"]), json!({ "reason": "is rude" })).ok();
    let events = || raw("/_synapse/admin/v1/event_reports").query("user_id", &bob.id);
    let listed = admin.get(events()).ok();
    assert_eq!(listed["total"], 1);
    let report = listed["event_reports"][0].clone();
    for (key, value) in [
        ("event_id", json!(said)),
        ("room_id", json!(room)),
        ("user_id", json!(bob.id)),
        ("sender", json!(alice.id)),
        ("reason", json!("rude")),
        ("score", json!(-100)),
        ("name", json!("Ward 7")),
        ("canonical_alias", Value::Null),
    ] {
        assert_eq!(report[key], value, "{key}");
    }
    assert_eq!(admin.get(events().query("room_id", "!other")).ok()["total"], 0);
    let id = report["id"].to_string();
    let one = || synapse(&["v1", "event_reports", &id]);
    assert_eq!(admin.get(one()).ok()["event_json"]["content"]["body"], "rude");
    let users = || raw("/_synapse/admin/v1/user_reports").query("target_user_id", &alice.id);
    let of_user = admin.get(users()).ok();
    assert_eq!(of_user["user_reports"][0]["reason"], "is rude");
    let user_id = of_user["user_reports"][0]["id"].to_string();
    assert_eq!(admin.get(synapse(&["v1", "user_reports", &user_id])).ok()["user_id"], bob.id);
    admin.get(synapse(&["v1", "event_reports", &user_id])).refused(404, "M_NOT_FOUND");
    admin.delete(one()).ok();
    admin.delete(one()).refused(404, "M_NOT_FOUND");
    assert_eq!(admin.get(events()).ok()["total"], 0);
    admin.get(synapse(&["v1", "event_reports", "x"])).refused(400, "M_INVALID_PARAM");
}
