//! What a token must say.

use wardroom_testkit::{Value, json};

use super::{TRUSTED, alice, clinic, refused, sent, sign_in, signed_in};

fn with(changes: &Value) -> Value {
    let mut claims = alice();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn multi_factor_can_be_demanded() {
    let (provider, server) = clinic(", acr_values = [\"gold\", \"silver\"], amr_values = [\"mfa\", \"hwk\"]");
    let try_with = |changes: &Value| sign_in(&server, &provider, "clinic", TRUSTED, &with(changes));
    for weak in [
        json!({}),
        json!({ "acr": "gold" }),
        json!({ "amr": ["mfa"] }),
        json!({ "acr": "bronze", "amr": ["mfa"] }),
        json!({ "acr": "gold", "amr": ["pwd"] }),
        json!({ "acr": "gold", "amr": "mfa" }),
        json!({ "acr": ["gold"], "amr": ["mfa"] }),
    ] {
        refused(&try_with(&weak), 403, "second factor");
    }
    let location = sent(&super::ask(&server, "clinic", TRUSTED)).location;
    assert!(location.contains("acr_values=gold+silver"), "{location}");
    signed_in(&server, &provider, &with(&json!({ "acr": "silver", "amr": ["pwd", "hwk"] })));
}

#[test]
fn a_recent_proof_can_be_demanded() {
    let (provider, server) = clinic(", max_age_seconds = 600");
    let location = sent(&super::ask(&server, "clinic", TRUSTED)).location;
    assert!(location.contains("max_age=600"), "{location}");
    let long_ago = with(&json!({ "auth_time": 1_700_000_000 }));
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &long_ago), 403, "too long ago");
    let unknown = with(&json!({ "auth_time": null }));
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &unknown), 502, "auth_time");
    signed_in(&server, &provider, &alice());
}

#[test]
fn a_token_for_anything_else_is_refused() {
    let (provider, server) = clinic("");
    for (changes, word) in [
        (json!({ "nonce": "another" }), "nonce"),
        (json!({ "nonce": null }), "nonce"),
        (json!({ "iss": "https://evil.example" }), "iss"),
        (json!({ "aud": "another" }), "aud"),
        (json!({ "aud": ["wardroom", "another"] }), "azp"),
        (json!({ "azp": "another" }), "azp"),
        (json!({ "exp": 1_700_000_000 }), "expired"),
        (json!({ "iat": 1_700_000_000 }), "iat"),
        (json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }), "at_hash"),
        (json!({ "sub": null }), "sub"),
    ] {
        refused(&sign_in(&server, &provider, "clinic", TRUSTED, &with(&changes)), 502, word);
    }
    signed_in(&server, &provider, &alice());
}
