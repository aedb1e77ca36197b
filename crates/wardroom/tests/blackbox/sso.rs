//! Signing in with identity providers: OpenID Connect with a scripted provider, and what browsers and clients see of it
//! (client-server API, sections "SSO client login/authentication" and "SSO during User-Interactive Authentication").

mod confirm;
mod demands;
mod hostile;
mod logout;
mod sign_in;

use wardroom_testkit::{Actor as _, Body, Config, IdentityProvider, Reply, Server, User, Value, encode, json, raw, v3};

use crate::server_with;

/// A client that the operator trusts.
pub(crate) const TRUSTED: &str = "https://chat.hospital-a.example/";

/// A server with one provider, called "clinic"; `more` is TOML for it.
pub(crate) fn clinic(more: &str) -> (IdentityProvider, Server) {
    let provider = IdentityProvider::start("clinic");
    let config = Config::default().set("oidc.client_allow", &format!("[{TRUSTED:?}]"));
    let server = server_with(IdentityProvider::configure(&[&provider], config, more));
    (provider, server)
}

/// A browser that was sent to a provider.
struct Sent {
    /// Where.
    location: String,
    /// The cookie that it got, as it sends it back.
    cookie: String,
}

/// Asks to be sent to a provider.
fn ask(server: &Server, provider: &str, redirect_url: &str) -> Reply {
    let target = raw(&format!("/_matrix/client/v3/login/sso/redirect/{provider}?redirectUrl={}", encode(redirect_url)));
    server.anonymous().get(target)
}

/// A browser that is sent off.
#[track_caller]
fn sent(reply: &Reply) -> Sent {
    assert_eq!(reply.status, 302, "{}", reply.story());
    let cookie = reply.header("set-cookie").expect("a cookie");
    let attributes = ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/_matrix/client/unstable/org.wardroom/oidc/"];
    assert!(attributes.iter().all(|attribute| cookie.contains(attribute)), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    Sent { location: reply.header("location").expect("a location").to_owned(), cookie }
}

/// Comes back from the provider.
fn come_back(server: &Server, path: &str, cookie: &str) -> Reply {
    server.http().request_with("GET", &raw(path), None, &[("cookie", cookie)], Body::Empty)
}

/// Signs a person in up to the answer that has the login token, or says why there is none.
fn sign_in(server: &Server, provider: &IdentityProvider, id: &str, redirect_url: &str, claims: &Value) -> Reply {
    let sent = sent(&ask(server, id, redirect_url));
    come_back(server, &provider.authorize(&sent.location, claims), &sent.cookie)
}

/// The login token of a redirection.
#[track_caller]
fn login_token(reply: &Reply) -> String {
    assert_eq!(reply.status, 302, "{}", reply.story());
    let location = reply.header("location").unwrap();
    let token = location.split_once("loginToken=").unwrap_or_else(|| panic!("no token in {location}")).1;
    token.split(['&', '#']).next().unwrap().to_owned()
}

fn redeem(server: &Server, token: &str) -> Reply {
    server.anonymous().post(v3(&["login"]), json!({ "type": "m.login.token", "token": token }))
}

/// A person on a new device.
#[track_caller]
pub(crate) fn signed_in(server: &Server, provider: &IdentityProvider, claims: &Value) -> User {
    let token = login_token(&sign_in(server, provider, "clinic", TRUSTED, claims));
    User::from_answer(server.http(), &redeem(server, &token).ok(), "")
}

/// A page that says that somebody was not signed in, with a word of it.
#[track_caller]
fn refused(reply: &Reply, status: u16, word: &str) {
    assert_eq!(reply.status, status, "{}", reply.story());
    assert!(reply.header("content-type").unwrap_or_default().starts_with("text/html"), "{}", reply.story());
    let page = String::from_utf8_lossy(&reply.bytes);
    assert!(page.contains(word), "{word} is not in {page}");
    is_harmless(reply);
}

/// A page that runs nothing, loads nothing and stands in no frame.
#[track_caller]
fn is_harmless(reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap_or_default();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

fn alice() -> Value {
    json!({ "sub": "4711", "sid": "ward", "preferred_username": "Alice", "name": "Dr. Alice", "email": "a@a.example" })
}
