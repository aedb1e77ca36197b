//! OpenID Connect Back-Channel Logout 1.0.

use wardroom_testkit::{Actor as _, Body, IdentityProvider, Reply, Server, User, encode, json, raw, v3};

use super::{TRUSTED, alice, clinic, login_token, redeem, sign_in, signed_in};

fn tell(server: &Server, provider: &str, token: &str) -> Reply {
    let path = format!("/_matrix/client/unstable/org.wardroom/oidc/{provider}/backchannel_logout");
    let form = format!("more=x&logout_token={}", encode(token)).into_bytes();
    server.anonymous().request("POST", &raw(&path), Body::Raw(form, "application/x-www-form-urlencoded"))
}

#[track_caller]
fn accepted(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.story());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[track_caller]
fn refused(reply: &Reply, status: u16, word: &str) {
    assert_eq!(reply.status, status, "{}", reply.story());
    let body = reply.json();
    assert!(body["error"].is_string() && body["error_description"].as_str().unwrap().contains(word), "{body}");
}

fn is_signed_in(user: &User) -> bool {
    user.get(v3(&["account", "whoami"])).status == 200
}

/// Alice in a session at the provider.
fn in_session(server: &Server, provider: &IdentityProvider, session: &str) -> User {
    let mut claims = alice();
    claims["sid"] = json!(session);
    signed_in(server, provider, &claims)
}

#[test]
fn the_end_of_a_session_ends_the_devices_that_came_from_it_and_no_others() {
    let (provider, mut server) = clinic("");
    let ward = in_session(&server, &provider, "ward");
    let home = in_session(&server, &provider, "home");
    let bob = signed_in(&server, &provider, &json!({ "sub": "1", "sid": "bobs", "preferred_username": "bob" }));
    // Also after a restart.
    server.restart();
    accepted(&tell(&server, "clinic", &provider.logout_token(&json!({ "sid": "ward" }))));
    assert_eq!([is_signed_in(&ward), is_signed_in(&home), is_signed_in(&bob)], [false, true, true]);
    ward.get(v3(&["sync"])).refused(401, "M_UNKNOWN_TOKEN");
    accepted(&tell(&server, "clinic", &provider.logout_token(&json!({ "sub": "4711" }))));
    assert_eq!([is_signed_in(&home), is_signed_in(&bob)], [false, true]);
    accepted(&tell(&server, "clinic", &provider.logout_token(&json!({ "sub": "4711", "sid": "nobody's" }))));
    assert!(is_signed_in(&in_session(&server, &provider, "ward")), "a new session is a new one");
}

#[test]
fn a_token_that_waits_ends_with_the_session() {
    let (provider, server) = clinic("");
    let token = login_token(&sign_in(&server, &provider, "clinic", TRUSTED, &alice()));
    accepted(&tell(&server, "clinic", &provider.logout_token(&json!({ "sub": "4711", "sid": "ward" }))));
    redeem(&server, &token).refused(403, "M_FORBIDDEN");
}

#[test]
fn only_the_provider_ends_sessions_and_each_token_counts_once() {
    let (provider, server) = clinic("");
    let stranger = IdentityProvider::start("stranger");
    let user = in_session(&server, &provider, "ward");
    let whose = json!({ "sub": "4711" });
    refused(&tell(&server, "clinic", &stranger.logout_token(&whose)), 400, "key");
    let mut posing = whose.clone();
    posing["iss"] = json!(provider.issuer());
    refused(&tell(&server, "clinic", &stranger.logout_token(&posing)), 400, "key");
    refused(&tell(&server, "nobody", &provider.logout_token(&whose)), 404, "no such identity provider");
    for (changes, word) in [
        (json!({ "sub": "4711", "nonce": "n" }), "nonce"),
        (json!({ "sub": "4711", "events": null }), "events"),
        (json!({ "sub": "4711", "jti": null }), "jti"),
        (json!({ "sub": "4711", "aud": "another" }), "aud"),
        (json!({ "sub": "4711", "iat": 1_700_000_000 }), "iat"),
        (json!({}), "sub"),
    ] {
        refused(&tell(&server, "clinic", &provider.logout_token(&changes)), 400, word);
    }
    for bad in ["", "x", "a.b.c"] {
        refused(&tell(&server, "clinic", bad), 400, "logout_token");
    }
    assert!(is_signed_in(&user));

    let token = provider.logout_token(&whose);
    accepted(&tell(&server, "clinic", &token));
    assert!(!is_signed_in(&user));
    let again = in_session(&server, &provider, "ward");
    refused(&tell(&server, "clinic", &token), 400, "used before");
    assert!(is_signed_in(&again));
}
