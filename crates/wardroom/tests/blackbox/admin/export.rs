//! What is kept of a user, for that user (`GET /_wardroom/admin/v1/users/{user}/export`).

use wardroom_testkit::{Actor, User, Value, json, v3};

use super::{admin_of, own, synapse};
use crate::{audit::records, media::upload, ward};

/// The lines of an export.
#[track_caller]
fn export(admin: &User, user: &User) -> Vec<Value> {
    let reply = admin.get(own(&["users", &user.id, "export"]));
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(reply.bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_marker_in_each_store_is_in_the_export() {
    let server = ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "marker-profile" })).ok();
    alice.put(v3(&["devices", &alice.device]), json!({ "display_name": "marker-device" })).ok();
    alice.put(v3(&["user", &alice.id, "account_data", "org.example"]), json!({ "is": "marker-account-data" })).ok();
    let rule = json!({ "actions": [], "pattern": "marker-push-rule" });
    alice.put(v3(&["pushrules", "global", "content", "marker"]), rule).ok();
    let pusher = json!({
        "kind": "http", "app_id": "org.example", "app_display_name": "marker-pusher", "device_display_name": "phone",
        "lang": "en", "pushkey": "secret-push-key", "data": { "url": "https://push.example.org/_matrix/push/v1/notify" },
    });
    alice.post(v3(&["pushers", "set"]), pusher).ok();
    let room = alice.create_room(json!({ "name": "marker-room-name", "invite": [bob.id] }));
    bob.join(&room);
    let of_room = v3(&["user", &alice.id, "rooms", &room, "account_data", "org.example"]);
    alice.put(of_room, json!({ "is": "marker-room-account-data" })).ok();
    alice.say(&room, "marker-message");
    bob.say(&room, "of somebody else");
    let mxc = upload(&alice, b"content", "text/plain", Some("marker-file.txt"));
    let role = json!({ "roles": [{ "role": "physician@h1", "reason": "marker-role" }] });
    admin.put(own(&["role_bindings", &alice.id]), role).ok();
    let identities = json!({ "external_ids": [{ "auth_provider": "clinic", "external_id": "marker-external-id" }] });
    admin.put(synapse(&["v2", "users", &alice.id]), identities).ok();

    let lines = export(&admin, &alice);
    let all = lines.iter().map(Value::to_string).collect::<String>();
    for marker in [
        "profile",
        "device",
        "account-data",
        "push-rule",
        "pusher",
        "room-name",
        "room-account-data",
        "message",
        "file.txt",
        "role",
        "external-id",
    ] {
        assert!(all.contains(&format!("marker-{marker}")), "{marker}: {all}");
    }
    assert!(all.contains(&mxc) && !all.contains("of somebody else") && !all.contains("secret-push-key"), "{all}");
    assert!(!all.contains(&alice.token), "no token leaves the server");
    assert_eq!(
        (lines[0]["kind"].as_str(), lines[0]["content"]["user_id"].as_str()),
        (Some("export"), Some(&*alice.id))
    );
    let last = lines.last().unwrap();
    assert_eq!((last["kind"].as_str(), last["content"]["lines"].as_u64()), (Some("end"), Some(lines.len() as u64 - 1)));
    // The export itself is a record, and the records are part of it.
    let exports = records(&admin, &[("act", "account.export"), ("user_id", &alice.id)]);
    assert_eq!((exports.len(), exports[0]["who"]["user"].as_str()), (1, Some(&*admin.id)));
    assert!(
        lines.iter().any(|line| line["kind"] == "audit_record" && line["content"]["record"]["act"] == "account.export")
    );
}

#[test]
fn an_export_is_for_those_who_may_read_what_users_wrote() {
    let server = ward();
    let (admin, other, alice) = (admin_of(server), admin_of(server), server.user("alice"));
    alice.get(own(&["users", &alice.id, "export"])).refused(403, "M_FORBIDDEN");
    admin.put(own(&["users", &other.id, "scopes"]), json!({ "scopes": ["users", "rooms", "operation"] })).ok();
    other.get(own(&["users", &alice.id, "export"])).refused(403, "M_FORBIDDEN");
    admin.put(own(&["users", &other.id, "scopes"]), json!({ "scopes": ["privacy"] })).ok();
    let kinds: Vec<Value> = export(&other, &alice).into_iter().map(|line| line["kind"].clone()).collect();
    assert!(kinds.contains(&json!("account")) && !kinds.contains(&json!("audit_record")), "{kinds:?}");
    // Administrators who may do more are none of theirs.
    other.get(own(&["users", &admin.id, "export"])).refused(403, "M_FORBIDDEN");
    admin.get(own(&["users", "@nobody:elsewhere.example", "export"])).refused(400, "M_INVALID_PARAM");
}
