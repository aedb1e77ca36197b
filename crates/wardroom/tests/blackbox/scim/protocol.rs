//! What every client of SCIM relies on: discovery, errors, tokens, hostile input.

use wardroom_testkit::{Actor as _, Body, Config, Value, encode, json, raw};

use super::{Hospital, TOKEN, config, refused};
use crate::{server_with, ward};

#[test]
fn the_server_says_what_it_can_do() {
    let hospital = Hospital::start();
    let provider = hospital.get("/ServiceProviderConfig");
    assert_eq!((&provider["patch"]["supported"], &provider["bulk"]["supported"]), (&json!(true), &json!(false)));
    assert_eq!(hospital.get("/ResourceTypes")["totalResults"], 2);
    assert_eq!(hospital.get("/ResourceTypes/User")["endpoint"], "/Users");
    assert_eq!(hospital.get("/Schemas")["totalResults"], 3);
    let schema = hospital.get("/Schemas/urn:ietf:params:scim:schemas:core:2.0:Group");
    assert_eq!(schema["name"], "Group");
    for path in ["/ResourceTypes/x", "/Schemas/x", "/Users/x", "/Groups/0000000000000000", "/nothing/at/all"] {
        refused(&hospital.ask("GET", path, Value::Null), 404, None);
    }
    refused(&hospital.ask("DELETE", "/Users", Value::Null), 405, None);
    refused(&hospital.ask("POST", "/Bulk", json!({})), 501, None);
}

#[test]
fn nobody_comes_in_without_a_token() {
    // Without a directory in the configuration there is nothing.
    assert_eq!(ward().http().request_with("GET", &raw("/scim/v2/Users"), Some(TOKEN), &[], Body::Empty).status, 404);
    let server = server_with(config().set("rate_limits.enabled", "true"));
    let ask = |token: Option<&str>| {
        server.http().request_with("POST", &raw("/scim/v2/Users"), token, &[], Body::Json(json!({ "userName": "x" })))
    };
    let user = server.anonymous().get(raw("/scim/v2/Users"));
    refused(&user, 401, None);
    assert_eq!(user.header("www-authenticate"), Some("Bearer"));
    let wrong = (0..100).map(|_| ask(Some("abd"))).find(|reply| reply.status != 401).unwrap();
    refused(&wrong, 429, None);
    assert!(wrong.header("retry-after").is_some());
    assert_eq!(ask(Some(TOKEN)).status, 201, "who has a token does not wait for those who guess");
}

#[test]
fn tokens_may_stand_in_a_file() {
    let dir = std::env::temp_dir().join(wardroom_testkit::unique("scim-tokens"));
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(&dir, format!("entra {token}\n")).unwrap();
    let server = server_with(Config::default().set("scim.tokens_file", &format!("{:?}", dir.to_str().unwrap())));
    let target = raw("/scim/v2/Users");
    assert_eq!(server.http().request_with("GET", &target, Some(token), &[], Body::Empty).ok()["totalResults"], 0);
    std::fs::remove_file(&dir).unwrap();
}

#[test]
fn hostile_requests_are_refused_in_words() {
    let hospital = Hospital::start();
    let (_, id) = hospital.employee("alice");
    let nested = format!("{}a pr{}", "(".repeat(1_000), ")".repeat(1_000));
    for filter in ["userName", "userName eq", "a b c", "userName eq \"x", &nested, &"a pr or ".repeat(400)] {
        refused(
            &hospital.ask("GET", &format!("/Users?filter={}", encode(filter)), Value::Null),
            400,
            Some("invalidFilter"),
        );
    }
    refused(&hospital.ask("GET", "/Users?count=many", Value::Null), 400, Some("invalidValue"));
    let text = |body: &str, kind| hospital.ask_with("POST", "/Users", &[], Body::Raw(body.as_bytes().to_vec(), kind));
    for body in ["", "{", "[]", "null", "\u{0}", &"[".repeat(100_000)] {
        refused(&text(body, "application/scim+json"), 400, Some("invalidSyntax"));
    }
    refused(&text("{}", "text/plain"), 415, None);
    refused(&text(&format!("{{\"x\":\"{}\"}}", "y".repeat(5 << 20)), "application/json"), 413, None);
    let path = format!("/Users/{id}");
    for (operation, kind) in [
        (json!({ "op": "remove" }), "noTarget"),
        (json!({ "op": "add", "path": "groups", "value": [] }), "mutability"),
        (json!({ "op": "replace", "path": "nothing", "value": 1 }), "invalidPath"),
        (json!({ "op": "replace", "path": "active", "value": "perhaps" }), "invalidValue"),
    ] {
        refused(&hospital.ask("PATCH", &path, json!({ "Operations": [operation] })), 400, Some(kind));
    }
    let search = json!({ "filter": "userName pr", "attributes": ["userName"], "count": 1, "startIndex": 1 });
    let found = hospital.ask("POST", "/.search", search).ok();
    assert_eq!((&found["totalResults"], &found["itemsPerPage"]), (&json!(1), &json!(1)));
}
