//! `POST /refresh` (client-server API, "Refreshing access tokens").

use wardroom_testkit::{Actor, Reply, User, json, unique, v3};

use crate::ward;

/// A user whose registration asked for a refresh token.
fn refreshing_user() -> User {
    let body = json!({ "username": unique("refresh"), "password": "secret", "refresh_token": true });
    let answer = ward().anonymous().try_register(body).ok();
    assert!(answer["expires_in_ms"].as_u64().is_some_and(|ms| ms > 0), "the token expires: {answer}");
    User::from_answer(ward().http(), &answer, "secret")
}

fn refresh(user: &User, token: &str) -> Reply {
    user.anonymous().post(v3(&["refresh"]), json!({ "refresh_token": token }))
}

#[test]
fn a_refresh_token_gives_a_new_pair_for_the_same_device() {
    let alice = refreshing_user();
    let answer = refresh(&alice, alice.refresh_token.as_deref().unwrap()).ok();
    let (token, next) = (answer["access_token"].as_str().unwrap(), answer["refresh_token"].as_str().unwrap());
    assert_ne!(token, alice.token);
    let me = alice.with_token(token).get(v3(&["account", "whoami"])).ok();
    assert_eq!((&me["user_id"], &me["device_id"]), (&json!(alice.id), &json!(alice.device)));

    // The new pair was used: the old one is worth nothing any more.
    refresh(&alice, alice.refresh_token.as_deref().unwrap()).refused(401, "M_UNKNOWN_TOKEN");
    alice.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    refresh(&alice, next).ok();
}

#[test]
fn a_refresh_whose_answer_was_lost_can_be_repeated() {
    let alice = refreshing_user();
    let old = alice.refresh_token.as_deref().unwrap();
    let lost = refresh(&alice, old).ok();
    let kept = refresh(&alice, old).ok();
    let token = kept["access_token"].as_str().unwrap();
    alice.with_token(token).get(v3(&["account", "whoami"])).ok();
    refresh(&alice, old).refused(401, "M_UNKNOWN_TOKEN");
    let lost = lost["access_token"].as_str().unwrap();
    assert_ne!(lost, token);
}

#[test]
fn logging_out_ends_the_refresh_token() {
    let alice = refreshing_user();
    alice.post(v3(&["logout"]), json!({})).ok();
    refresh(&alice, alice.refresh_token.as_deref().unwrap()).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn what_is_no_refresh_token_is_refused() {
    let alice = refreshing_user();
    refresh(&alice, "made up").refused(401, "M_UNKNOWN_TOKEN");
    refresh(&alice, &alice.token).refused(401, "M_UNKNOWN_TOKEN");
    let refresh_token = alice.refresh_token.as_deref().unwrap();
    alice.with_token(refresh_token).get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn a_login_gives_refresh_tokens_when_asked() {
    let alice = ward().user("alice");
    let body = |refresh: bool| {
        json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.id },
            "password": alice.password, "refresh_token": refresh,
        })
    };
    let with = alice.anonymous().post(v3(&["login"]), body(true)).ok();
    assert!(with["refresh_token"].is_string() && with["expires_in_ms"].is_u64(), "{with}");
    let without = alice.anonymous().post(v3(&["login"]), body(false)).ok();
    assert!(without.get("refresh_token").is_none(), "{without}");
}
