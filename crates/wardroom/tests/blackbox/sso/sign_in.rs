//! From the client's button to the client's token.

use wardroom_testkit::{Actor as _, Config, IdentityProvider, encode, json, raw, v3};

use super::{
    TRUSTED, alice, ask, clinic, come_back, is_harmless, login_token, redeem, refused, sent, sign_in, signed_in,
};
use crate::server_with;

#[test]
fn somebody_new_gets_an_account_and_somebody_known_the_same_again() {
    let (provider, server) = clinic("");
    let flows = server.anonymous().get(v3(&["login"])).ok();
    let flow = flows["flows"].as_array().unwrap().iter().find(|flow| flow["type"] == "m.login.sso").unwrap();
    assert_eq!(flow["identity_providers"], json!([{ "id": "clinic", "name": "Provider clinic" }]));

    let first = signed_in(&server, &provider, &alice());
    assert_eq!(first.id, "@alice:hospital-a.example");
    assert_eq!(first.get(v3(&["profile", &first.id, "displayname"])).ok()["displayname"], "Dr. Alice");
    let mut renamed = alice();
    renamed["preferred_username"] = json!("alice.married");
    let again = signed_in(&server, &provider, &renamed);
    assert_eq!(again.id, first.id);
    assert_ne!(again.device, first.device);
    assert_eq!(first.get(v3(&["account", "whoami"])).ok()["user_id"], first.id);
}

#[test]
fn names_of_other_characters_are_mapped() {
    let (provider, server) = clinic(", localpart_claim = \"/staff/upn\"");
    let claims = json!({ "sub": "1", "staff": { "upn": "Jörg@hospital-a.example" } });
    assert_eq!(signed_in(&server, &provider, &claims).id, "@j=c3=b6rg=40hospital-a.example:hospital-a.example");
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &json!({ "sub": "2" })), 403, "user name");
}

#[test]
fn a_client_that_is_not_trusted_gets_its_token_when_the_user_agrees() {
    let (provider, server) = clinic("");
    let reply = sign_in(&server, &provider, "clinic", "https://other.example/?a=\"><script>", &alice());
    assert_eq!(reply.status, 200, "{}", reply.story());
    is_harmless(&reply);
    let page = String::from_utf8_lossy(&reply.bytes);
    assert!(page.contains("https://other.example") && page.contains("@alice:hospital-a.example"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    let token = page.split_once("loginToken=").unwrap().1.split(['"', '&']).next().unwrap();
    redeem(&server, token).ok();
    redeem(&server, token).refused(403, "M_FORBIDDEN");
}

#[test]
fn nobody_is_sent_to_what_is_no_client() {
    let (_provider, server) = clinic("");
    for url in ["", "nowhere", "javascript:alert(1)", "data:text/html,x", "https://a.example@evil.example/"] {
        refused(&ask(&server, "clinic", url), 400, "redirectUrl");
    }
    refused(&server.anonymous().get(v3(&["login", "sso", "redirect"])), 400, "redirectUrl");
    refused(&ask(&server, "nobody", TRUSTED), 404, "no such identity provider");
}

#[test]
fn an_attempt_is_finished_once_and_in_the_browser_that_began_it() {
    let (provider, server) = clinic("");
    let first = sent(&ask(&server, "clinic", TRUSTED));
    let second = sent(&ask(&server, "clinic", TRUSTED));
    let path = provider.authorize(&first.location, &alice());
    refused(&come_back(&server, &path, &second.cookie), 400, "not begun in this browser");
    let stolen = format!("{}=another", first.cookie.split('=').next().unwrap());
    refused(&come_back(&server, &path, &stolen), 400, "not begun in this browser");
    refused(&come_back(&server, &path, &first.cookie), 400, "not begun in this browser");

    let path = provider.authorize(&second.location, &alice());
    let reply = come_back(&server, &path, &second.cookie);
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"), "{}", reply.story());
    redeem(&server, &login_token(&reply)).ok();
    refused(&come_back(&server, &path, &second.cookie), 400, "not begun in this browser");
    refused(&come_back(&server, "/_matrix/client/unstable/org.wardroom/oidc/clinic/callback", ""), 400, "start again");
}

#[test]
fn what_the_provider_declines_is_said() {
    let (provider, server) = clinic("");
    let decline = |error: &str| {
        let sent = sent(&ask(&server, "clinic", TRUSTED));
        let path = provider.authorize(&sent.location, &alice());
        come_back(&server, &path.replace("code=", &format!("error={}&x=", encode(error))), &sent.cookie)
    };
    refused(&decline("access_denied"), 403, "access_denied");
    let strange = decline("<script>alert(1)</script>");
    refused(&strange, 403, "unknown reason");
    assert!(!String::from_utf8_lossy(&strange.bytes).contains("alert"));
}

#[test]
fn a_name_that_somebody_has_is_given_to_nobody_else() {
    let (provider, server) = clinic("");
    server.anonymous().register("alice");
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &alice()), 403, "another account");
    let bob = signed_in(&server, &provider, &json!({ "sub": "1", "preferred_username": "bob" }));
    let other = json!({ "sub": "2", "preferred_username": "BOB" });
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &other), 403, "another account");
    assert_eq!(bob.get(v3(&["account", "whoami"])).ok()["user_id"], "@bob:hospital-a.example");
}

#[test]
fn an_account_of_the_name_is_given_where_the_operator_says_so() {
    let (provider, server) = clinic(", allow_existing_users = true");
    let old = server.anonymous().register("alice");
    assert_eq!(signed_in(&server, &provider, &alice()).id, old.id);
    let other = json!({ "sub": "2", "preferred_username": "alice" });
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &other), 403, "another account");
}

#[test]
fn nobody_becomes_a_user_of_the_server_itself() {
    let provider = IdentityProvider::start("clinic");
    let config = Config::default().set("server_notices.localpart", "\"notices\"");
    let server = server_with(IdentityProvider::configure(&[&provider], config, ", allow_existing_users = true"));
    let notices = json!({ "sub": "1", "preferred_username": "Notices" });
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &notices), 403, "another account");
}

#[test]
fn several_providers_are_offered_and_are_not_taken_for_each_other() {
    let (one, two) = (IdentityProvider::start("one"), IdentityProvider::start("two"));
    let config = Config::default().set("oidc.client_allow", &format!("[{TRUSTED:?}]"));
    let server = server_with(IdentityProvider::configure(&[&one, &two], config, ""));
    let page = server.anonymous().get(v3(&["login", "sso", "redirect"]).query("redirectUrl", TRUSTED));
    assert_eq!(page.status, 200, "{}", page.story());
    is_harmless(&page);
    let html = String::from_utf8_lossy(&page.bytes);
    assert!(html.contains("redirect/one?") && html.contains("redirect/two?"), "{html}");

    let with = |provider: &IdentityProvider, id: &str, name: &str| {
        let claims = json!({ "sub": "same", "preferred_username": name });
        redeem(&server, &login_token(&sign_in(&server, provider, id, TRUSTED, &claims))).ok()["user_id"].clone()
    };
    assert_eq!(with(&one, "one", "alice"), "@alice:hospital-a.example");
    assert_eq!(with(&two, "two", "bob"), "@bob:hospital-a.example");

    // The answer of one at the address of the other, and in the other's name.
    let begun = sent(&ask(&server, "one", TRUSTED));
    let path = one.authorize(&begun.location, &json!({ "sub": "same" })).replace("/one/", "/two/");
    refused(&come_back(&server, &path, &begun.cookie), 400, "start again");
    let begun = sent(&ask(&server, "one", TRUSTED));
    let path = one.authorize(&begun.location, &json!({ "sub": "same" }));
    let path = format!("{}&iss={}", path.split_once("&iss=").unwrap().0, encode(&two.issuer()));
    refused(&come_back(&server, &path, &begun.cookie), 502, "cannot be trusted");
}

#[test]
fn links_survive_a_restart_and_a_closed_account_is_never_given_out_again() {
    let (provider, mut server) = clinic("");
    let alice_first = signed_in(&server, &provider, &alice());
    server.restart();
    assert_eq!(signed_in(&server, &provider, &alice()).id, alice_first.id);
    let challenge = alice_first.post(v3(&["account", "deactivate"]), json!({})).json();
    let session = challenge["session"].as_str().unwrap();
    super::confirm::confirm(&server, &provider, session, &alice());
    alice_first.post(v3(&["account", "deactivate"]), json!({ "auth": { "session": session } })).ok();
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &alice()), 403, "deactivated");
    let other = json!({ "sub": "2", "preferred_username": "alice" });
    refused(&sign_in(&server, &provider, "clinic", TRUSTED, &other), 403, "another account");
}

#[test]
fn the_e_mail_address_is_that_of_the_provider() {
    let (provider, server) = clinic("");
    let user = signed_in(&server, &provider, &alice());
    let known = user.get(v3(&["account", "3pid"])).ok();
    assert_eq!(known["threepids"][0]["medium"], "email", "{known}");
    assert_eq!(known["threepids"][0]["address"], "a@a.example", "{known}");
}

#[test]
fn further_claims_are_fetched_where_the_operator_says_so() {
    let (provider, server) = clinic(", userinfo = true");
    let answer = |sub: &'static str| {
        provider.peer().on("/userinfo", move |asked| {
            assert!(asked.authorization.starts_with("Bearer access"), "{asked:?}");
            wardroom_testkit::peer::Answer::ok(&json!({ "sub": sub, "preferred_username": "carol" }))
        });
    };
    answer("somebody else");
    refused(
        &sign_in(&server, &provider, "clinic", TRUSTED, &json!({ "sub": "9" })),
        502,
        "does not answer as it should",
    );
    answer("9");
    assert_eq!(signed_in(&server, &provider, &json!({ "sub": "9" })).id, "@carol:hospital-a.example");
}

#[test]
fn without_a_provider_there_is_no_single_sign_on() {
    let server = crate::ward();
    let flows = server.anonymous().get(v3(&["login"])).ok();
    assert!(!flows.to_string().contains("m.login.sso"), "{flows}");
    for path in ["auth/m.login.sso/fallback/web?session=x", "login/sso/redirect/x?redirectUrl=https://a.example"] {
        server.anonymous().get(raw(&format!("/_matrix/client/v3/{path}"))).refused(404, "M_UNRECOGNIZED");
    }
}
