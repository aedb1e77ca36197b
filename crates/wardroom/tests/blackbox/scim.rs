//! The hospital's directory pushes users, groups and roles.

mod groups;
mod protocol;
mod rfc;
mod users;

use wardroom_testkit::{Body, Config, Reply, Server, Target, User, Value, json, raw};

use crate::server_with;

/// The token of the directory that the tests play, and its hash as FIPS 180-4 gives it.
const TOKEN: &str = "abc";
const TOKEN_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A server with a directory.
pub(crate) struct Hospital {
    pub(crate) server: Server,
}

fn config() -> Config {
    Config::default()
        .set("scim.token", &format!("[{{ name = \"tests\", sha256 = \"{TOKEN_SHA256}\" }}]"))
        .set("scim.accept_canonical_roles", "true")
        .set("scim.roles", r#"[{ group = "ICU Physicians", gives = "physician@h1/icu" }]"#)
}

impl Hospital {
    pub(crate) fn start() -> Self {
        Self { server: server_with(config()) }
    }

    fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Reply {
        let target: Target = raw(&format!("/scim/v2{path}"));
        self.server.http().request_with(method, &target, Some(TOKEN), headers, body)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { Body::Empty } else { Body::Json(body) };
        self.ask_with(method, path, &[], body)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.ask("GET", path, Value::Null).ok()
    }

    #[track_caller]
    pub(crate) fn make(&self, kind: &str, body: Value) -> Value {
        let reply = self.ask("POST", &format!("/{kind}"), body);
        assert_eq!(reply.status, 201, "{}", reply.story());
        reply.json()
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, operations: Value) -> Reply {
        let mut body = json!({ "schemas": [PATCH_OP] });
        body["Operations"] = operations;
        let reply = self.ask("PATCH", path, body);
        assert!(matches!(reply.status, 200 | 204), "{}", reply.story());
        reply
    }

    /// Somebody who is signed in, and the directory's resource of theirs.
    fn employee(&self, name: &str) -> (User, String) {
        let user = self.server.user(name);
        let made = self.make("Users", json!({ "userName": user.localpart }));
        (user, made["id"].as_str().unwrap().to_owned())
    }
}

/// An error in the form of RFC 7644, section 3.12.
#[track_caller]
fn refused(reply: &Reply, status: u16, kind: Option<&str>) {
    assert_eq!(reply.status, status, "{}", reply.story());
    assert_eq!(reply.header("content-type"), Some("application/scim+json"), "{}", reply.story());
    let body = reply.json();
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert_eq!(body["status"], status.to_string());
    assert_eq!(body["scimType"].as_str(), kind, "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
}
