//! Notices of the server to its users.

use wardroom_testkit::{
    Actor, Config, Server, Target, User, Value, bodies, events, find_event, joined, json, raw, unique, v3,
};

use crate::{SOON, server_with, ward};

const SECRET: &str = "a shared secret of the tests";

fn server() -> Server {
    server_with(Config::default().set("server_notices.localpart", r#""notices""#))
}

fn admin(server: &Server) -> User {
    let answer = server.anonymous().register_with_secret(SECRET, &unique("admin"), true).ok();
    User::from_answer(server.http(), &answer, "correct horse battery staple")
}

fn send() -> Target {
    raw("/_synapse/admin/v1/send_server_notice")
}

fn notice(user: &User, text: &str) -> Value {
    json!({ "user_id": user.id, "content": { "msgtype": "m.text", "body": text } })
}

/// The room that a user is invited to.
fn invitation(sync: &Value) -> Option<String> {
    sync["rooms"]["invite"].as_object().and_then(|rooms| rooms.keys().next().cloned())
}

#[test]
fn a_user_gets_notices_in_one_room_with_the_server() {
    let server = server();
    let (admin, alice) = (admin(&server), server.user("alice"));
    let mut sync = server.follow(&alice);
    admin.post(send(), notice(&alice, "Maintenance at noon")).ok();
    let answer = sync.until("the invitation", SOON, |sync| invitation(sync).is_some());
    let room = invitation(&answer).unwrap();
    let state = events(&answer["rooms"]["invite"][&room]["invite_state"]["events"]);
    assert_eq!(find_event(state, "m.room.name", Some("")).unwrap()["content"]["name"], "Server notices");

    alice.post(v3(&["rooms", &room, "leave"]), json!({})).refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM");
    alice.join(&room);
    admin.post(send(), notice(&alice, "Maintenance is over")).ok();
    assert_eq!(bodies(&alice.history(&room)), ["Maintenance at noon", "Maintenance is over"]);
    let tags = alice.get(v3(&["user", &alice.id, "rooms", &room, "tags"])).ok();
    assert!(tags["tags"].get("m.server_notice").is_some(), "{tags}");
    let shown = alice.initial_sync();
    assert!(joined(&shown, &room)["account_data"].to_string().contains("m.server_notice"), "{shown}");
    alice
        .try_send(&room, "m.room.message", &unique("t"), json!({ "msgtype": "m.text", "body": "x" }))
        .refused(403, "M_FORBIDDEN");
    let sender = format!("@notices:{}", server.name());
    assert_eq!(alice.state(&room, "m.room.member", &sender)["displayname"], "Server notices");

    alice.leave(&room);
    admin.post(send(), notice(&alice, "Another")).ok();
    assert_eq!(invitation(&alice.initial_sync()).as_deref(), Some(room.as_str()), "invited again");
    server.anonymous().try_login("notices", "").refused_somehow();
}

#[test]
fn a_repeated_request_sends_once() {
    let server = server();
    let (admin, alice) = (admin(&server), server.user("alice"));
    let target = || raw("/_synapse/admin/v1/send_server_notice/txn1");
    let first = admin.put(target(), notice(&alice, "once")).ok();
    assert_eq!(admin.put(target(), notice(&alice, "once")).ok(), first);
    let room = invitation(&alice.initial_sync()).unwrap();
    alice.join(&room);
    assert_eq!(bodies(&alice.history(&room)), ["once"]);
}

#[test]
fn bad_requests_are_refused() {
    let server = server();
    let (admin, alice) = (admin(&server), server.user("alice"));
    alice.post(send(), notice(&alice, "x")).refused(403, "M_FORBIDDEN");
    server.anonymous().post(send(), notice(&alice, "x")).refused(401, "M_MISSING_TOKEN");
    let unknown = json!({ "user_id": format!("@{}:{}", unique("u"), server.name()), "content": {} });
    admin.post(send(), unknown).refused(404, "M_NOT_FOUND");
    admin.post(send(), json!({ "content": {} })).refused(400, "M_BAD_JSON");
    admin.post(send(), json!({ "user_id": alice.id })).refused(400, "M_BAD_JSON");
    admin.post(send(), json!({ "user_id": "alice", "content": {} })).refused(400, "M_BAD_JSON");
    admin.post(send(), json!({ "user_id": alice.id, "content": [] })).refused(400, "M_BAD_JSON");
    let admin = {
        let answer = ward().anonymous().register_with_secret(SECRET, &unique("admin"), true).ok();
        User::from_answer(ward().http(), &answer, "correct horse battery staple")
    };
    admin.post(send(), notice(&ward().user("bob"), "x")).refused(400, "M_UNKNOWN");
}
