//! Profiles and OpenID tokens across servers.

use wardroom_testkit::{Actor, Peer, Target, encode, json, peer::Answer, raw, v3, wait_until};

use super::super::sites::Site;
use crate::SOON;

#[test]
fn a_profile_is_shown_to_users_of_other_servers() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let field = |key: &str| v3(&["profile", &bob.id, key]);
    bob.put(field("displayname"), json!({ "displayname": "Dr. Bob" })).ok();
    bob.put(field("m.tz"), json!({ "m.tz": "Europe/Berlin" })).ok();
    let profile = alice.get(v3(&["profile", &bob.id])).ok();
    assert_eq!(profile, json!({ "displayname": "Dr. Bob", "m.tz": "Europe/Berlin" }));
    assert_eq!(alice.get(field("displayname")).ok(), json!({ "displayname": "Dr. Bob" }));
    alice.get(field("avatar_url")).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["profile", &format!("@nobody:{}", there.name())])).refused(404, "M_NOT_FOUND");
    // A change is seen as soon as what was asked before is old.
    bob.put(field("displayname"), json!({ "displayname": "Prof. Bob" })).ok();
    wait_until("the new name", SOON, || {
        let profile = alice.get(v3(&["profile", &bob.id])).ok();
        (profile["displayname"] == "Prof. Bob").then_some(())
    });
}

#[test]
fn profiles_are_told_to_servers_that_sign() {
    let site = Site::start();
    let peer = Peer::start();
    let alice = site.user("alice");
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Alice" })).ok();
    alice.put(v3(&["profile", &alice.id, "org.example.ward"]), json!({ "org.example.ward": { "beds": 7 } })).ok();
    let query = |user: &str| Target::federation_v1(&["query", "profile"]).query("user_id", user);
    let ask = |target: &Target| peer.ask(&site.server, "GET", target, None);
    let whole = ask(&query(&alice.id)).ok();
    assert_eq!(whole, json!({ "displayname": "Alice", "org.example.ward": { "beds": 7 } }));
    assert_eq!(ask(&query(&alice.id).query("field", "displayname")).ok(), json!({ "displayname": "Alice" }));
    let ward = ask(&query(&alice.id).query("field", "org.example.ward")).ok();
    assert_eq!(ward, json!({ "org.example.ward": { "beds": 7 } }));
    assert_eq!(ask(&query(&alice.id).query("field", "avatar_url")).ok(), json!({}));
    ask(&query(&alice.id).query("field", "org.example.bed")).refused(404, "M_NOT_FOUND");
    ask(&query(&format!("@nobody:{}", site.name()))).refused(404, "M_NOT_FOUND");
    ask(&query(&peer.user("bob"))).refused(400, "M_INVALID_PARAM");
    ask(&query("nobody")).refused(400, "M_INVALID_PARAM");
    ask(&Target::federation_v1(&["query", "shoe_size"])).refused(404, "M_UNRECOGNIZED");
    let unsigned = peer.ask_with(&site.server, "GET", &query(&alice.id), None, "");
    unsigned.unwrap().refused(401, "M_UNAUTHORIZED");
}

#[test]
fn what_a_server_answers_of_its_users_is_not_believed_blindly() {
    let site = Site::start();
    let peer = Peer::start();
    let alice = site.user("alice");
    let asked = |user: &str| alice.get(v3(&["profile", &peer.user(user)]));
    peer.on("/query/profile", |asked| match asked.parameters("user_id").concat().as_str() {
        user if user.starts_with("@odd") => {
            Answer::ok(&json!({ "displayname": 7, "avatar_url": null, "m.tz": "Mars/Olympus", "a.b": [1] }))
        }
        user if user.starts_with("@shy") => Answer::error(403, "M_FORBIDDEN"),
        user if user.starts_with("@huge") => Answer::repeated(b" ".repeat(1_000), 10_000),
        user if user.starts_with("@junk") => Answer::bytes(200, "text/html", b"<html>".to_vec()),
        user if user.starts_with("@broken") => Answer::error(500, "M_UNKNOWN"),
        _ => Answer::error(404, "M_NOT_FOUND"),
    });
    assert_eq!(asked("odd").ok(), json!({ "m.tz": "Mars/Olympus", "a.b": [1] }));
    asked("shy").refused(403, "M_FORBIDDEN");
    asked("nobody").refused(404, "M_NOT_FOUND");
    for failing in ["huge", "junk", "broken"] {
        asked(failing).refused(502, "M_UNKNOWN");
    }
    alice.get(v3(&["profile", "@bob:127.0.0.1:1"])).refused(502, "M_UNKNOWN");
    // Those who ask again at once are answered from memory.
    let before = peer.asked("/query/profile").len();
    asked("odd").ok();
    alice.get(v3(&["profile", &peer.user("odd"), "m.tz"])).ok();
    assert_eq!(peer.asked("/query/profile").len(), before);
}

#[test]
fn an_openid_token_says_who_its_bearer_is() {
    let site = Site::start();
    let alice = site.user("alice");
    let userinfo = |token: &str| raw(&format!("/_matrix/federation/v1/openid/userinfo?access_token={}", encode(token)));
    let token = alice.post(v3(&["user", &alice.id, "openid", "request_token"]), json!({})).ok();
    let anonymous = site.server.anonymous();
    let told = anonymous.get(userinfo(token["access_token"].as_str().unwrap())).ok();
    assert_eq!(told, json!({ "sub": alice.id }));
    anonymous.get(userinfo("nonsense")).refused(401, "M_UNKNOWN_TOKEN");
    anonymous.get(userinfo("")).refused(401, "M_UNKNOWN_TOKEN");
    anonymous.get(raw("/_matrix/federation/v1/openid/userinfo")).refused(401, "M_UNKNOWN_TOKEN");
    anonymous.get(userinfo(&alice.token)).refused(401, "M_UNKNOWN_TOKEN");
}
