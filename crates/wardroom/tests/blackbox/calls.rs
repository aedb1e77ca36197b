//! What calls need: TURN credentials, where group calls meet, OpenID tokens.

use wardroom_testkit::{Actor, Config, json, raw, v3};

use crate::{server_with, ward};

const TRANSPORTS: &str = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";

#[test]
fn turn_passwords_are_made_for_each_user() {
    let config = Config::default()
        .set("turn.uris", r#"["turn:turn.example:3478?transport=udp", "turns:turn.example:5349"]"#)
        .set("turn.shared_secret", r#""north""#)
        .set("turn.lifetime_seconds", "3600");
    let server = server_with(config);
    let alice = server.user("alice");
    let turn = alice.get(v3(&["voip", "turnServer"])).ok();
    assert_eq!(turn["uris"], json!(["turn:turn.example:3478?transport=udp", "turns:turn.example:5349"]));
    assert_eq!(turn["ttl"], 3_600);
    let username = turn["username"].as_str().unwrap();
    let (expiry, user) = username.split_once(':').expect("expiry and user");
    assert_eq!(user, alice.id);
    assert!(expiry.parse::<u64>().unwrap() > 1_600_000_000);
    // HMAC-SHA1 is 20 bytes, 28 characters of base64. That coturn takes it is checked where coturn is at hand.
    assert_eq!(turn["password"].as_str().unwrap().len(), 28, "{turn}");
    alice.anonymous().get(v3(&["voip", "turnServer"])).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn one_password_for_all_is_told_as_it_is() {
    let config = Config::default()
        .set("turn.uris", r#"["turn:turn.example"]"#)
        .set("turn.username", r#""ward""#)
        .set("turn.password", r#""seven""#);
    let server = server_with(config);
    let turn = server.user("alice").get(v3(&["voip", "turnServer"])).ok();
    assert_eq!((&turn["username"], &turn["password"]), (&json!("ward"), &json!("seven")));
}

#[test]
fn without_turn_servers_there_is_nothing_to_tell() {
    let alice = ward().user("alice");
    assert_eq!(alice.get(v3(&["voip", "turnServer"])).ok(), json!({}));
    assert_eq!(alice.get(raw(TRANSPORTS)).ok(), json!({ "rtc_transports": [] }));
    assert!(alice.get(raw("/.well-known/matrix/client")).ok().get("org.matrix.msc4143.rtc_foci").is_none());
}

#[test]
fn group_calls_are_told_where_to_meet() {
    let transport = r#"[{ type = "livekit", livekit_service_url = "https://livekit.example" }]"#;
    let server = server_with(Config::default().set("rtc.transport", transport));
    let alice = server.user("alice");
    let expected = json!([{ "type": "livekit", "livekit_service_url": "https://livekit.example" }]);
    assert_eq!(alice.get(raw(TRANSPORTS)).ok()["rtc_transports"], expected);
    alice.anonymous().get(raw(TRANSPORTS)).refused(401, "M_MISSING_TOKEN");
    let found = alice.anonymous().get(raw("/.well-known/matrix/client")).ok();
    assert_eq!(found["org.matrix.msc4143.rtc_foci"], expected, "{found}");
}

#[test]
fn openid_tokens_are_given_to_their_user() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let target = || v3(&["user", &alice.id, "openid", "request_token"]);
    let (one, two) = (alice.post(target(), json!({})).ok(), alice.post(target(), json!({})).ok());
    assert_ne!(one["access_token"], two["access_token"]);
    assert_eq!((&one["token_type"], &one["expires_in"]), (&json!("Bearer"), &json!(3_600)));
    assert_eq!(one["matrix_server_name"], ward().name());
    bob.post(target(), json!({})).refused(403, "M_FORBIDDEN");
    let token = one["access_token"].as_str().unwrap();
    alice.with_token(token).get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
}
