//! Providers that are down, slow, huge or lying, and keys that change.

use std::time::Duration;

use wardroom_testkit::{Actor as _, Config, IdentityProvider, Value, json, peer::Answer, v3};

use super::{TRUSTED, alice, ask, clinic, come_back, refused, sent, sign_in, signed_in};
use crate::server_with;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// More than a provider's answer may have.
const PIECES: usize = 100;

/// How a provider answers.
type Answering = fn() -> Answer;

fn huge() -> Answer {
    Answer::repeated(vec![b' '; 64 * 1_024], PIECES)
}

#[test]
fn a_discovery_document_that_cannot_be_used_is_said_and_a_good_one_is_used_then() {
    let answers: [(&str, Answering); 6] = [
        ("down", || Answer::json(503, &json!({}))),
        ("huge", huge),
        ("elsewhere", || Answer::redirect("https://127.0.0.1:1/")),
        ("no json", || Answer::bytes(200, "text/html", b"<html>".to_vec())),
        ("another's", || {
            Answer::ok(&json!({ "issuer": "https://evil.example", "authorization_endpoint": "https://a/",
            "token_endpoint": "https://a/", "jwks_uri": "https://a/" }))
        }),
        ("slow", || Answer::drip(&json!({ "issuer": "https://slow.example" }), Duration::from_secs(2))),
    ];
    for (name, answer) in answers {
        let (provider, server) = clinic("");
        provider.peer().on(DISCOVERY, move |_| answer());
        refused(&ask(&server, "clinic", TRUSTED), 502, "cannot be reached");
        let asked = provider.peer().asked(DISCOVERY).len();
        refused(&ask(&server, "clinic", TRUSTED), 502, "cannot be reached");
        assert_eq!(provider.peer().asked(DISCOVERY).len(), asked, "{name}: it is left alone for a moment");
        // Everything else goes on.
        server.anonymous().register(&wardroom_testkit::unique("bob"));
    }
}

#[test]
fn a_provider_that_hangs_holds_up_nobody_else() {
    let (down, up) = (IdentityProvider::start("clinic"), IdentityProvider::start("up"));
    let config = Config::default().set("oidc.client_allow", &format!("[{TRUSTED:?}]"));
    let server = server_with(IdentityProvider::configure(&[&down, &up], config, ""));
    down.peer().on(DISCOVERY, |_| Answer::never());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&server, "clinic", TRUSTED));
        let reply = sign_in(&server, &up, "up", TRUSTED, &alice());
        assert_eq!(reply.status, 302, "{}", reply.story());
        refused(&waiting.join().unwrap(), 502, "cannot be reached");
    });
}

#[test]
fn a_token_endpoint_that_cannot_be_used_signs_nobody_in() {
    let (provider, server) = clinic("");
    let answers: [Answering; 5] = [
        || Answer::json(400, &json!({ "error": "invalid_grant" })),
        huge,
        || Answer::ok(&json!({ "access_token": "x" })),
        || Answer::redirect("https://127.0.0.1:1/"),
        || Answer::bytes(200, "application/json", vec![b'['; 100_000]),
    ];
    for answer in answers {
        provider.peer().on("/token", move |_| answer());
        refused(&sign_in(&server, &provider, "clinic", TRUSTED, &alice()), 502, "Signing in did not work");
    }
}

/// A token with any header and no good signature.
fn forged(header: &Value, claims: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode([7; 64]))
}

#[test]
fn forged_tokens_are_refused() {
    let (provider, server) = clinic("");
    for (header, word) in [
        (json!({ "alg": "none" }), "algorithm"),
        (json!({ "alg": "HS256" }), "algorithm"),
        (json!({ "alg": "EdDSA", "crit": ["x"] }), "must be understood"),
        (json!({ "alg": "EdDSA" }), "signature"),
        (json!({ "alg": "RS256" }), "key"),
        (json!({ "alg": "EdDSA", "kid": "another" }), "key"),
    ] {
        let begun = sent(&ask(&server, "clinic", TRUSTED));
        let path = provider.authorize(&begun.location, &alice());
        let nonce = begun.location.split_once("nonce=").unwrap().1.split('&').next().unwrap().to_owned();
        let token = forged(&header, &provider.claims(&json!({ "sub": "4711", "nonce": nonce })));
        provider.peer().on("/token", move |_| Answer::ok(&json!({ "id_token": token, "access_token": "x" })));
        refused(&come_back(&server, &path, &begun.cookie), 502, word);
    }
}

#[test]
fn keys_that_changed_are_read_anew() {
    let (provider, server) = clinic("");
    let user = signed_in(&server, &provider, &alice());
    let before = provider.peer().asked("/keys").len();
    signed_in(&server, &provider, &alice());
    assert_eq!(provider.peer().asked("/keys").len(), before, "known keys are not read again");
    provider.rotate_key();
    assert_eq!(signed_in(&server, &provider, &alice()).id, user.id);
    assert_eq!(provider.peer().asked("/keys").len(), before + 1);
    assert_eq!(user.get(v3(&["account", "whoami"])).status, 200);
}
