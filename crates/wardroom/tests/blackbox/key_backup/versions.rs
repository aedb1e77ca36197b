//! Versions come, change and go.

use wardroom_testkit::{Actor, Config, json, raw, v3};

use super::{create, key, keys, state, version};
use crate::{server_with, ward};

#[test]
fn a_version_is_made_shown_and_changed() {
    let alice = ward().user("alice");
    alice.get(v3(&["room_keys", "version"])).refused(404, "M_NOT_FOUND");
    alice.get(version("1")).refused(404, "M_NOT_FOUND");
    let auth = json!({ "public_key": "abc", "signatures": { "@a:b": { "ed25519:X": "s" } }, "unknown": [1, null] });
    let body = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": auth });
    let made = alice.post(v3(&["room_keys", "version"]), body).ok();
    let name = made["version"].as_str().expect("a string");
    let shown = alice.get(v3(&["room_keys", "version"])).ok();
    assert_eq!(shown["algorithm"], "m.megolm_backup.v1.curve25519-aes-sha2");
    assert_eq!(shown["auth_data"], auth, "as the client wrote it, also what is unknown");
    assert_eq!((&shown["count"], shown["version"].as_str()), (&json!(0), Some(name)));
    assert_eq!(alice.get(version(name)).ok(), shown);

    let other = |algorithm: &str| json!({ "algorithm": algorithm, "auth_data": { "public_key": "def" } });
    alice.put(version(name), other("m.other")).refused(400, "M_INVALID_PARAM");
    let mut body = other("m.megolm_backup.v1.curve25519-aes-sha2");
    body["version"] = json!("77");
    alice.put(version(name), body.clone()).refused(400, "M_INVALID_PARAM");
    alice.put(version("77"), body.clone()).refused(404, "M_NOT_FOUND");
    body["version"] = json!(name);
    assert_eq!(alice.put(version(name), body.clone()).ok(), json!({}));
    body.as_object_mut().expect("an object").remove("version");
    alice.put(version(name), body).ok();
    assert_eq!(alice.get(version(name)).ok()["auth_data"], json!({ "public_key": "def" }));
}

#[test]
fn only_the_newest_version_is_written_to() {
    let alice = ward().user("alice");
    let put = |name: &str| alice.put(keys(name, &["!r:x", "s"]), key(true, 0, 0));
    put("1").refused(404, "M_NOT_FOUND");
    let (old, new) = (create(&alice), create(&alice));
    let refused = put(&old).refused(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(refused["current_version"].as_str(), Some(new.as_str()), "{refused}");
    put("no-number").refused(403, "M_WRONG_ROOM_KEYS_VERSION");
    put(&new).ok();
    alice.delete(version(&new)).ok();
    assert_eq!(alice.get(v3(&["room_keys", "version"])).ok()["version"].as_str(), Some(old.as_str()));
    put(&old).ok();
}

#[test]
fn a_deleted_version_is_gone_with_its_keys_and_its_name() {
    let alice = ward().user("alice");
    let name = create(&alice);
    alice.put(keys(&name, &["!r:x", "s"]), key(true, 0, 0)).ok();
    assert_eq!(alice.delete(version(&name)).ok(), json!({}));
    alice.get(version(&name)).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["room_keys", "version"])).refused(404, "M_NOT_FOUND");
    alice.get(keys(&name, &[])).refused(404, "M_NOT_FOUND");
    alice.get(keys(&name, &["!r:x", "s"])).refused(404, "M_NOT_FOUND");
    assert_eq!(alice.delete(version(&name)).ok(), json!({}), "deleted before is deleted");
    alice.delete(version("1000")).refused(404, "M_NOT_FOUND");
    alice.delete(version("x")).refused(404, "M_NOT_FOUND");
    let next = create(&alice);
    assert_ne!(next, name, "a version's name is never given again");
    assert_eq!(alice.get(keys(&next, &[])).ok(), json!({ "rooms": {} }));
}

#[test]
fn backups_are_private() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let name = create(&alice);
    alice.put(keys(&name, &["!r:x", "s"]), key(true, 0, 0)).ok();
    bob.get(version(&name)).refused(404, "M_NOT_FOUND");
    bob.get(keys(&name, &[])).refused(404, "M_NOT_FOUND");
    bob.get(keys(&name, &["!r:x", "s"])).refused(404, "M_NOT_FOUND");
    bob.delete(keys(&name, &[])).refused(404, "M_NOT_FOUND");
    bob.delete(version(&name)).refused(404, "M_NOT_FOUND");
    alice.anonymous().get(keys(&name, &[])).refused(401, "M_MISSING_TOKEN");
    assert_eq!(state(&alice.get(version(&name)).ok()).0, 1);
    assert_eq!(state(&alice.other_device().get(version(&name)).ok()).0, 1, "the user's other devices see it");
}

#[test]
fn backups_are_kept_over_a_restart_and_end_with_the_account() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let name = create(&alice);
    alice.put(keys(&name, &["!r:x", "s"]), key(true, 7, 0)).ok();
    let before = alice.get(version(&name)).ok();
    server.restart();
    assert_eq!(alice.get(version(&name)).ok(), before);
    assert_eq!(alice.get(keys(&name, &["!r:x", "s"])).ok(), key(true, 7, 0));
    alice.with_password_stage("POST", &v3(&["account", "deactivate"]), json!({})).ok();
}

#[test]
fn unstable_and_old_paths_lead_to_the_same_place() {
    let alice = ward().user("alice");
    let name = create(&alice);
    let shown = alice.get(version(&name)).ok();
    for prefix in ["unstable", "r0"] {
        assert_eq!(alice.get(raw(&format!("/_matrix/client/{prefix}/room_keys/version"))).ok(), shown);
    }
}
