//! Files go with the last message that names them, or with time, and nothing shows them any more.

use std::{thread, time::Duration};

use wardroom_testkit::{Actor, Server, User, Value, json, unique, v3, wait_until};

use super::config;
use crate::{
    SOON,
    admin::admin_of,
    audit::records,
    federation::sites::{Site, join_via, public_room, sees},
    media::{download, download_path, path, png, upload},
    server_with,
};

/// Messages of such a room go after a second.
fn short_lived(user: &User, others: &[&User]) -> String {
    let room = user.create_public_room(others);
    user.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 1_000 }));
    room
}

#[track_caller]
fn send(user: &User, room: &str, event_type: &str, content: Value) -> String {
    let answer = user.try_send(room, event_type, &unique("txn"), content).ok();
    answer["event_id"].as_str().unwrap().to_owned()
}

#[track_caller]
pub(super) fn send_file(user: &User, room: &str, uri: &str) -> String {
    send(user, room, "m.room.message", json!({ "msgtype": "m.file", "body": "scan", "url": uri }))
}

fn is_there(user: &User, uri: &str) -> bool {
    let answer = download(user, uri);
    assert!(matches!(answer.status, 200 | 404), "{}", answer.story());
    answer.status == 200
}

#[track_caller]
pub(super) fn wait_gone(user: &User, uri: &str) {
    wait_until("the end of a file", SOON, || (!is_there(user, uri)).then_some(()));
}

fn thumbnail(user: &User, uri: &str) -> u16 {
    let target = path("/_matrix/client/v1/media/thumbnail", uri, "");
    user.get(target.query("width", "32").query("height", "32").query("method", "scale")).status
}

#[test]
fn a_file_goes_with_the_last_message_that_names_it() {
    let server = server_with(config().set("retention.redaction_hold_seconds", "0"));
    let (alice, admin) = (server.user("alice"), admin_of(&server));
    let (short, long) = (short_lived(&alice, &[]), alice.create_public_room(&[]));
    let file = |what: &str| upload(&alice, &[&png(64, 64), what.as_bytes()].concat(), "image/png", None);
    let (alone, shared, member, profile, room_avatar, sticker, inline) =
        (file("1"), file("2"), file("3"), file("4"), file("5"), file("6"), file("7"));
    for uri in [&alone, &shared, &member, &profile, &room_avatar, &sticker] {
        send_file(&alice, &short, uri);
        assert_eq!(thumbnail(&alice, uri), 200);
    }
    let html = json!({ "msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html",
        "formatted_body": format!("<img src=\"{inline}\">") });
    send(&alice, &short, "m.room.message", html);
    let kept_event = send_file(&alice, &long, &shared);
    let me = json!({ "membership": "join", "avatar_url": member });
    alice.set_state(&long, "m.room.member", &alice.id, me);
    alice.set_state(&long, "m.room.avatar", "", json!({ "url": room_avatar }));
    alice.put(v3(&["profile", &alice.id, "avatar_url"]), json!({ "avatar_url": profile })).ok();
    let pack = json!({ "images": { "ok": { "url": sticker } } });
    alice.put(v3(&["user", &alice.id, "account_data", "im.ponies.user_emotes"]), pack).ok();
    for uri in [&alone, &inline] {
        wait_gone(&alice, uri);
        assert_eq!(thumbnail(&alice, uri), 404);
    }
    let deleted = records(&admin, &[("act", "media.delete")]);
    assert!(deleted.iter().any(|record| record.to_string().contains("\"retention\"")), "{deleted:?}");
    // Another round of the purge, so that those others had their turn.
    let last = file("8");
    send_file(&alice, &short, &last);
    wait_gone(&alice, &last);
    for uri in [&shared, &member, &profile, &room_avatar, &sticker] {
        assert!(is_there(&alice, uri));
    }
    alice.redact(&long, &kept_event);
    wait_gone(&alice, &shared);
}

#[test]
fn uploads_that_nothing_names_go_with_time() {
    let server = server_with(config().set("retention.media_max_age_seconds", "3"));
    let alice = server.user("alice");
    let room = alice.create_public_room(&[]);
    let (attached, avatar, unattached) = (
        upload(&alice, b"1", "text/plain", None),
        upload(&alice, b"2", "text/plain", None),
        upload(&alice, b"3", "text/plain", None),
    );
    send_file(&alice, &room, &attached);
    alice.set_state(&room, "m.room.avatar", "", json!({ "url": avatar }));
    assert!(is_there(&alice, &unattached));
    wait_gone(&alice, &unattached);
    wait_gone(&alice, &attached);
    assert!(is_there(&alice, &avatar));
}

/// A version of a user's backup, with keys.
fn back_up(user: &User, keys: &[(&str, &str)]) -> String {
    let body = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "abc" } });
    let version = user.post(v3(&["room_keys", "version"]), body).ok()["version"].as_str().unwrap().to_owned();
    for (room, session) in keys {
        let key = json!({ "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
            "session_data": { "ephemeral": "a", "ciphertext": "b", "mac": "c" } });
        user.put(v3(&["room_keys", "keys", room, session]).query("version", &version), key).ok();
    }
    version
}

fn backup_state(user: &User, version: &str) -> (u64, String) {
    let answer = user.get(v3(&["room_keys", "version", version])).ok();
    (answer["count"].as_u64().unwrap(), answer["etag"].as_str().unwrap().to_owned())
}

fn encrypted(session: &str) -> Value {
    json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "abc", "session_id": session,
        "device_id": "D", "sender_key": "k" })
}

#[test]
fn keys_of_a_session_go_from_all_backups_with_its_last_message() {
    let server = server_with(config());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = short_lived(&alice, &[&bob]);
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 100 });
    alice.set_state(&room, "m.room.encryption", "", encryption);
    let keys = [(&*room, "over"), (&*room, "elsewhere"), ("!other:x", "over")];
    let versions = [&alice, &bob].map(|user| back_up(user, &keys));
    let before = backup_state(&alice, &versions[0]);
    // Bob has left and forgotten the room, and has the keys still.
    bob.leave(&room);
    bob.try_forget(&room).ok();
    send(&alice, &room, "m.room.encrypted", encrypted("over"));
    send(&alice, &room, "m.room.encrypted", encrypted("over"));
    for (user, version) in [&alice, &bob].into_iter().zip(&versions) {
        let key = |room: &str, session: &str| {
            user.get(v3(&["room_keys", "keys", room, session]).query("version", version)).status
        };
        wait_until("the end of a key", SOON, || (key(&room, "over") == 404).then_some(()));
        assert_eq!((key(&room, "elsewhere"), key("!other:x", "over")), (200, 200));
        let after = backup_state(user, version);
        assert_eq!(after.0, 2);
        assert_ne!(after.1, before.1);
    }
}

/// Files on disk.
fn files_of(server: &Server) -> usize {
    let mut files = 0;
    for dir in std::fs::read_dir(server.data_dir().join("media")).unwrap() {
        files += std::fs::read_dir(dir.unwrap().path()).unwrap().count();
    }
    files
}

/// Bytes of the journal of what was destroyed.
fn journal(server: &Server) -> u64 {
    std::fs::metadata(server.data_dir().join("keys/shred.journal")).unwrap().len()
}

#[test]
fn deleting_files_goes_on_after_kills() {
    let mut server = server_with(config());
    let alice = server.user("alice");
    let before = journal(&server);
    let room = short_lived(&alice, &[]);
    let uris: Vec<String> =
        (0..60).map(|n| upload(&alice, format!("file {n}").as_bytes(), "text/plain", None)).collect();
    for uri in &uris {
        send_file(&alice, &room, uri);
    }
    for kill in 0..5 {
        // Any moment will do: before the purge, in its midst, while keys are destroyed.
        thread::sleep(Duration::from_millis(700 + 350 * kill));
        server.kill9();
        server.start_again();
    }
    for uri in &uris {
        wait_gone(&alice, uri);
    }
    wait_until("the end of the files", SOON, || (files_of(&server) == 0).then_some(()));
    wait_until("the end of the keys", SOON, || (journal(&server) > before).then_some(()));
    server.restart();
    let again = upload(&alice, b"and on", "text/plain", None);
    assert!(is_there(&alice, &again));
}

#[test]
fn a_key_is_kept_for_a_session_that_is_in_use() {
    let server = server_with(config().set("retention.purge_every_seconds", "1"));
    let alice = server.user("alice");
    let room = short_lived(&alice, &[]);
    let version = back_up(&alice, &[(&room, "used")]);
    send(&alice, &room, "m.room.encrypted", encrypted("used"));
    // The purge has been through with it once something later is gone.
    let file = upload(&alice, b"later", "text/plain", None);
    send_file(&alice, &room, &file);
    wait_gone(&alice, &file);
    // Clients use a session for a week where the room says nothing else.
    assert_eq!(backup_state(&alice, &version).0, 1);
}

#[test]
fn a_copy_of_another_servers_file_goes_with_the_message() {
    let here = Site::new(config().federating_as("127.0.0.1"), None);
    let there = Site::named();
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "11");
    join_via(&bob, &room, &here);
    let uri = upload(&bob, &png(64, 64), "image/png", None);
    let sent = send_file(&bob, &room, &uri);
    sees(&alice, &room, &sent);
    assert!(is_there(&alice, &uri));
    assert_eq!(thumbnail(&alice, &uri), 200);
    let copy = || alice.get(download_path(&uri).query("allow_remote", "false")).status;
    assert_eq!(copy(), 200);
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 1_000 }));
    wait_until("the end of the copy", SOON, || (copy() == 404).then_some(()));
    // Nobody has deleted it there.
    assert!(is_there(&bob, &uri));
}
