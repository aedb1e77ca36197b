//! Key backups (client-server API, section "Server-side key backups").

mod keys;
mod limits;
mod versions;

use wardroom_testkit::{Actor, Target, User, Value, json, v3};

/// A new version; its name.
#[track_caller]
fn create(user: &User) -> String {
    let body = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "abc" } });
    let answer = user.post(v3(&["room_keys", "version"]), body).ok();
    answer["version"].as_str().expect("a version").to_owned()
}

fn version(version: &str) -> Target {
    v3(&["room_keys", "version", version])
}

/// `/room_keys/keys`, a room's, or a session's.
fn keys(version: &str, place: &[&str]) -> Target {
    v3(&[&["room_keys", "keys"], place].concat()).query("version", version)
}

/// A key of which the rank can be chosen: verified, index of the first message, forwarded.
fn key(is_verified: bool, first: u64, forwarded: u64) -> Value {
    json!({
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": is_verified,
        "session_data": { "ephemeral": "abc", "ciphertext": format!("{is_verified}{first}{forwarded}"), "mac": "x" },
    })
}

/// Count and etag of an answer.
#[track_caller]
fn state(answer: &Value) -> (u64, String) {
    let etag = answer["etag"].as_str().unwrap_or_else(|| panic!("an etag is missing: {answer}"));
    (answer["count"].as_u64().unwrap_or_else(|| panic!("a count is missing: {answer}")), etag.to_owned())
}
