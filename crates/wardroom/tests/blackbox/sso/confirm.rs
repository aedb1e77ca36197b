//! Single sign-on instead of the password, where an action asks again who it is.

use wardroom_testkit::{Actor as _, Body, IdentityProvider, Reply, Server, Value, json, raw, v3};

use super::{alice, clinic, come_back, is_harmless, refused, sent, signed_in};

/// Opens the page of a dialogue; returns the page, its link as path and query, and its cookie.
fn page(server: &Server, session: &str) -> (Reply, String, String) {
    let target = v3(&["auth", "m.login.sso", "fallback", "web"]).query("session", session);
    let reply = server.anonymous().get(target);
    assert_eq!(reply.status, 200, "{}", reply.story());
    is_harmless(&reply);
    let html = String::from_utf8_lossy(&reply.bytes).replace("&amp;", "&");
    let link = html.split_once("href=\"https://hospital-a.example").expect("a link").1;
    let link = link.split('"').next().unwrap().to_owned();
    let cookie = reply.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
    (reply, link, cookie)
}

fn follow(server: &Server, link: &str, cookie: &str) -> Reply {
    server.http().request_with("GET", &raw(link), None, &[("cookie", cookie)], Body::Empty)
}

/// Confirms as a person, and returns the last page.
pub(super) fn confirm(server: &Server, provider: &IdentityProvider, session: &str, claims: &Value) -> Reply {
    let (_, link, cookie) = page(server, session);
    let begun = sent(&follow(server, &link, &cookie));
    assert!(begun.location.contains("prompt=login"), "{}", begun.location);
    come_back(server, &provider.authorize(&begun.location, claims), &begun.cookie)
}

#[test]
fn an_action_is_confirmed_by_signing_in_again() {
    let (provider, server) = clinic("");
    let (user, other) = (signed_in(&server, &provider, &alice()), signed_in(&server, &provider, &alice()));
    let body = |auth: Value| json!({ "devices": [&other.device], "auth": auth });
    let challenge = user.post(v3(&["delete_devices"]), json!({ "devices": [&other.device] }));
    assert_eq!(challenge.status, 401, "{}", challenge.story());
    let challenge = challenge.json();
    assert_eq!(challenge["flows"], json!([{ "stages": ["m.login.sso"] }]));
    let session = challenge["session"].as_str().unwrap();

    let (shown, _, _) = page(&server, session);
    assert!(String::from_utf8_lossy(&shown.bytes).contains("sign out devices"), "{}", shown.story());
    let unproved = user.post(v3(&["delete_devices"]), body(json!({ "session": session })));
    assert_eq!(unproved.status, 401, "{}", unproved.story());

    let done = confirm(&server, &provider, session, &alice());
    assert_eq!(done.status, 200, "{}", done.story());
    let html = String::from_utf8_lossy(&done.bytes);
    assert!(html.contains("window.onAuthDone") && html.contains("authDone"), "{html}");
    is_harmless(&done);
    user.post(v3(&["delete_devices"]), body(json!({ "session": session }))).ok();
    other.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    let again = user.post(v3(&["delete_devices"]), body(json!({ "session": session })));
    assert_eq!(again.status, 401, "once: {}", again.story());
}

#[test]
fn nobody_confirms_for_somebody_else() {
    let (provider, server) = clinic("");
    let user = signed_in(&server, &provider, &alice());
    let bob = json!({ "sub": "1", "preferred_username": "bob" });
    signed_in(&server, &provider, &bob);
    let challenge = user.post(v3(&["delete_devices"]), json!({ "devices": [&user.device] })).json();
    let session = challenge["session"].as_str().unwrap();
    refused(&confirm(&server, &provider, session, &bob), 403, "somebody else");
    let stranger = json!({ "sub": "2", "preferred_username": "carol" });
    refused(&confirm(&server, &provider, session, &stranger), 403, "somebody else");
    let mut before = alice();
    before["auth_time"] = json!(1_700_000_000);
    refused(&confirm(&server, &provider, session, &before), 403, "too long ago");
    let retried = json!({ "devices": [&user.device], "auth": { "session": session } });
    assert_eq!(user.post(v3(&["delete_devices"]), retried).status, 401);
    // Another operation of the same user is not confirmed with it either.
    assert_eq!(confirm(&server, &provider, session, &alice()).status, 200);
    let other = json!({ "devices": ["OTHER"], "auth": { "session": session } });
    user.post(v3(&["delete_devices"]), other).refused(403, "M_FORBIDDEN");
}

#[test]
fn nobody_is_sent_to_the_provider_who_has_not_seen_the_page() {
    let (provider, server) = clinic("");
    let user = signed_in(&server, &provider, &alice());
    let challenge = user.post(v3(&["delete_devices"]), json!({ "devices": [&user.device] })).json();
    let (_, link, cookie) = page(&server, challenge["session"].as_str().unwrap());
    refused(&follow(&server, &link, ""), 400, "not begun in this browser");
    let without = link.split_once("&page=").unwrap().0;
    refused(&follow(&server, without, &cookie), 400, "not begun in this browser");
    refused(&follow(&server, &link, "wardroom_confirm=another"), 400, "not begun in this browser");
    let over = v3(&["auth", "m.login.sso", "fallback", "web"]).query("session", "unknown");
    refused(&server.anonymous().get(over), 400, "is over");
}

#[test]
fn who_has_a_password_chooses_and_who_has_none_gets_none() {
    let (provider, server) = clinic(", allow_existing_users = true");
    let with_password = server.anonymous().register("alice");
    let user = signed_in(&server, &provider, &alice());
    let challenge = user.post(v3(&["delete_devices"]), json!({ "devices": [&user.device] })).json();
    assert_eq!(challenge["flows"], json!([{ "stages": ["m.login.password"] }, { "stages": ["m.login.sso"] }]));
    assert_eq!(user.get(v3(&["capabilities"])).ok()["capabilities"]["m.change_password"]["enabled"], true);
    assert_eq!(with_password.id, user.id);

    let bob = signed_in(&server, &provider, &json!({ "sub": "1", "preferred_username": "bob" }));
    assert_eq!(bob.get(v3(&["capabilities"])).ok()["capabilities"]["m.change_password"]["enabled"], false);
    let change = json!({ "new_password": "correct horse battery staple" });
    bob.post(v3(&["account", "password"]), change).refused(403, "M_FORBIDDEN");
}
