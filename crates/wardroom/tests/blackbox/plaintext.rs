//! No plaintext at rest: every byte of the data directory is searched for what users wrote.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use wardroom_testkit::{Actor, Body, Config, Server, User, json, raw, text, unique, v3};

use crate::server_with;

/// Something that must not be found, in one of its forms.
struct Needle {
    what: String,
    bytes: Vec<u8>,
}

/// The forms in which a text could leak.
fn forms(text: &str) -> Vec<Needle> {
    let mut forms = Vec::new();
    let mut add = |form: &str, bytes: Vec<u8>| forms.push(Needle { what: format!("{text:?} as {form}"), bytes });
    add("UTF-8", text.as_bytes().to_vec());
    add("upper case", text.to_uppercase().into_bytes());
    add("UTF-16 LE", text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    add("UTF-16 BE", text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    add("hex", text.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    add("reversed", text.bytes().rev().collect());
    for shift in 0..3_usize {
        // Base64 of the text at each of the three offsets it can have in a longer value, without the characters at
        // the edges that its neighbours decide.
        let padded = [&b"xx"[..shift], text.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&padded);
        let inner = encoded.as_bytes()[if shift == 0 { 0 } else { 4 }..encoded.len() - encoded.len() % 4].to_vec();
        add(&format!("base64 at offset {shift}"), inner.clone());
        let url_safe = inner
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        add(&format!("base64url at offset {shift}"), url_safe);
    }
    forms
}

/// Every regular file below a directory. Files may come and go while the server runs.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect()
}

/// Searches files for needles: where each was found, and how many bytes were looked at.
fn search(dir: &Path, needles: &[Needle]) -> (Vec<String>, usize) {
    // Which needles start with two given bytes: one look per position keeps an unoptimised build fast.
    let mut starts: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
    for (n, needle) in needles.iter().enumerate() {
        starts[usize::from(u16::from_be_bytes([needle.bytes[0], needle.bytes[1]]))].push(n);
    }
    let (mut found, mut searched) = (Vec::new(), 0);
    for path in files(dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for needle in
            needles.iter().filter(|needle| name.as_bytes().windows(needle.bytes.len()).any(|part| part == needle.bytes))
        {
            found.push(format!("{} in the name of {}", needle.what, path.display()));
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        searched += bytes.len();
        let mut before = 0_u8;
        for (at, &byte) in bytes.iter().enumerate() {
            for &n in &starts[usize::from(u16::from_be_bytes([before, byte]))] {
                if at > 0 && bytes[at - 1..].starts_with(&needles[n].bytes) {
                    found.push(format!("{} in {} at byte {}", needles[n].what, path.display(), at - 1));
                }
            }
            before = byte;
        }
    }
    (found, searched)
}

/// Where a text is found below a directory, in any of its forms.
pub(crate) fn found_in(dir: &Path, text: &str) -> Vec<String> {
    search(dir, &forms(text)).0
}

/// Uses the server in every way that stores something, and gives what must not be found.
fn leave_traces(server: &Server) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut secret = |what: &str| {
        let text = format!("zq{what}{}", unique("x").replace('-', ""));
        secrets.push(text.clone());
        text
    };
    let (nobody, password) = (server.anonymous(), secret("password"));
    let body = json!({ "username": secret("localpart"), "password": password, "initial_device_display_name": secret("device") });
    let alice = User::from_answer(server.http(), &nobody.try_register(body).ok(), &password);
    let bob = nobody.register(&secret("bob"));
    let room = alice.create_room(json!({
        "preset": "public_chat", "visibility": "public", "name": secret("roomname"), "topic": secret("topic"),
        "room_alias_name": secret("alias"), "invite": [bob.id],
    }));
    bob.join(&room);
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": secret("displayname") })).ok();
    let message = alice.say(&room, &secret("message"));
    let long = format!("{} {}", secret("long"), "a message that compresses well ".repeat(500));
    bob.say(&room, &long);
    let (kind, txn) = (format!("example.{}", secret("eventtype")), secret("txn"));
    bob.try_send(&room, &kind, &txn, text(&secret("custom"))).ok();
    alice.set_state(
        &room,
        &format!("example.{}", secret("statetype")),
        &secret("statekey"),
        json!({ "x": secret("statevalue") }),
    );
    bob.post(v3(&["rooms", &room, "receipt", "m.read", &message]), json!({})).ok();
    bob.put(v3(&["rooms", &room, "typing", &bob.id]), json!({ "typing": true, "timeout": 5_000 })).ok();
    let data = format!("example.{}", secret("datatype"));
    alice.put(v3(&["user", &alice.id, "account_data", &data]), json!({ "x": secret("datavalue") })).ok();
    alice.put(v3(&["user", &alice.id, "rooms", &room, "account_data", &data]), json!({ "x": secret("roomdata") })).ok();
    alice.put(v3(&["user", &alice.id, "rooms", &room, "tags", &format!("u.{}", secret("tag"))]), json!({})).ok();
    alice
        .post(v3(&["user", &alice.id, "filter"]), json!({ "room": { "rooms": [format!("!{}:x", secret("filter"))] } }))
        .ok();
    alice
        .put(
            v3(&["pushrules", "global", "content", &secret("rule")]),
            json!({ "pattern": secret("pattern"), "actions": [] }),
        )
        .ok();
    alice.on_member("kick", &room, &bob).ok();
    alice.post(v3(&["rooms", &room, "ban"]), json!({ "user_id": bob.id, "reason": secret("reason") })).ok();
    leave_media(&alice, &mut secret);
    secrets.extend([alice.token, bob.token, alice.id, room, message, alice.device]);
    secrets
}

/// Leaves a file with its name and type, an image with a thumbnail, and an id without content.
fn leave_media(alice: &User, secret: &mut impl FnMut(&str) -> String) {
    let upload = raw("/_matrix/media/v3/upload").query("filename", &secret("filename"));
    // Long enough for several chunks, and for compression if there were any.
    let content = format!("{} ", secret("filecontent")).repeat(10_000);
    alice.request("POST", &upload, Body::Raw(content.into_bytes(), "text/plain")).ok();
    // An uncompressed kind of image would show its text: a GIF with the secret as its comment.
    let comment = secret("imagecomment");
    let mut gif = b"GIF89a\x40\x00\x40\x00\x80\x00\x00\xff\x00\x00\x00\x00\xff\x21\xfe".to_vec();
    gif.push(u8::try_from(comment.len()).unwrap());
    gif.extend_from_slice(comment.as_bytes());
    gif.extend_from_slice(b"\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b");
    let uri = alice.request("POST", &upload, Body::Raw(gif, "image/gif")).ok()["content_uri"].clone();
    let place = uri.as_str().unwrap().trim_start_matches("mxc://").to_owned();
    alice.get(raw(&format!("/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32&method=crop")));
    alice.request("POST", &raw("/_matrix/media/v1/create"), Body::Empty).ok();
}

#[test]
fn nothing_that_users_wrote_is_found_at_rest() {
    let mut server = server_with(Config::default());
    let secrets = leave_traces(&server);
    let needles: Vec<Needle> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let look = |server: &Server, when: &str| {
        let (found, searched) = search(&server.data_dir(), &needles);
        assert!(searched > 300_000, "{when}: only {searched} bytes were there to search");
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
    };
    look(&server, "while it runs");
    assert!(server.stop().success());
    look(&server, "after it stopped");
    // A start flushes the log into tables, whose names and blocks are another place to leak.
    server.start_again();
    look(&server, "after it started again");
    server.kill9();
    look(&server, "after it was killed");
    let logged: Vec<_> = {
        let log = server.log();
        secrets.iter().filter(|secret| log.contains(secret.as_str())).cloned().collect()
    };
    assert!(logged.is_empty(), "the log has {logged:?}");
}

#[test]
fn nothing_that_users_wrote_is_found_in_a_backup() {
    let config = Config::default().set("backup.dir", "\"online\"").set("backup.keys_dir", "\"backup-keys\"");
    let server = server_with(config);
    let secrets = leave_traces(&server);
    let needles: Vec<Needle> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let admin = crate::admin::admin_of(&server);
    let made = admin.post(raw("/_wardroom/admin/v1/backup"), json!({})).ok();
    assert!(made["directory"].is_string(), "{made}");
    for part in ["online", "backup-keys"] {
        let (found, searched) = search(&server.dir().join(part), &needles);
        assert!(searched > 0, "{part}: nothing was there to search");
        assert!(found.is_empty(), "{part}:\n{}", found.join("\n"));
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let dir = tempfile_dir();
    let secret = "zqsecretoftheward";
    let needles = forms(secret);
    let (found, _) = search(&dir, &needles);
    assert!(found.is_empty(), "{found:?}");
    fs::create_dir(dir.join("deep")).unwrap();
    for (n, needle) in needles.iter().enumerate() {
        fs::write(dir.join("deep").join(n.to_string()), [&b"\x00before"[..], &needle.bytes, b"after"].concat())
            .unwrap();
    }
    for shift in 0..3 {
        let longer = format!("{}{secret} and more", "y".repeat(shift));
        fs::write(dir.join(format!("b{shift}")), STANDARD_NO_PAD.encode(longer)).unwrap();
    }
    fs::write(dir.join(format!("{secret}.sst")), "").unwrap();
    let (found, searched) = search(&dir, &needles);
    fs::remove_dir_all(&dir).unwrap();
    for needle in &needles {
        assert!(found.iter().any(|found| found.starts_with(&needle.what)), "{} was not found: {found:#?}", needle.what);
    }
    for name in ["b0", "b1", "b2", "in the name"] {
        assert!(found.iter().any(|found| found.contains(name)), "nothing found in {name}: {found:#?}");
    }
    assert!(searched > 100);
}

fn tempfile_dir() -> PathBuf {
    let dir = std::env::temp_dir().join(unique("wardroom-search"));
    fs::create_dir(&dir).unwrap();
    dir
}
