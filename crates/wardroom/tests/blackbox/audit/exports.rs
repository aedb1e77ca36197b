//! The audit trail for other systems: FHIR searches, exports, files for people.

mod bulk;
mod feed;
mod search;

use wardroom_testkit::{Actor, Body, Reply, Server, Target, User, Value, raw};

/// An endpoint of the FHIR API, or a URL that one of its answers names.
fn fhir(path: &str) -> Target {
    match path.split_once("/_wardroom/fhir/") {
        Some((_, rest)) => raw(&format!("/_wardroom/fhir/{rest}")),
        None => raw(&format!("/_wardroom/fhir/{path}")),
    }
}

/// Asks the FHIR API for something, with further headers.
#[track_caller]
fn ask(user: &User, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Reply {
    user.http().request_with(method, &fhir(path), user.token(), headers, body)
}

#[track_caller]
fn get(user: &User, path: &str) -> Value {
    let reply = ask(user, "GET", path, &[], Body::Empty);
    assert_eq!(reply.header("content-type"), Some("application/fhir+json"), "{}", reply.story());
    reply.ok()
}

/// A refusal as FHIR wants it: the code of its issue and what it says.
#[track_caller]
fn refused(reply: &Reply, status: u16) -> (String, String) {
    assert_eq!(reply.status, status, "{}", reply.story());
    assert_eq!(reply.header("content-type"), Some("application/fhir+json"), "{}", reply.story());
    let outcome = reply.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    let issue = &outcome["issue"][0];
    assert_eq!(issue["severity"], "error");
    (issue["code"].as_str().unwrap().to_owned(), issue["diagnostics"].as_str().unwrap().to_owned())
}

/// Gives an administrator some of the scopes only.
#[track_caller]
fn restrict(server: &Server, admin: &User, scopes: &[&str]) {
    let root = crate::admin::admin_of(server);
    let target = crate::admin::own(&["users", &admin.id, "scopes"]);
    root.put(target, wardroom_testkit::json!({ "scopes": scopes })).ok();
}

/// The ids of resources in a searchset, in their order.
fn ids(bundle: &Value) -> Vec<String> {
    let Some(entries) = bundle["entry"].as_array() else { return Vec::new() };
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
}
