//! Exports (FHIR Bulk Data Access).

use wardroom_testkit::{Body, Config, Reply, Server, User, Value, json, wait_until};

use super::{ask, refused};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    server_with, ward,
};

const ASYNC: &[(&str, &str)] = &[("Prefer", "respond-async"), ("Accept", "application/fhir+json")];

/// Begins an export; where its state is.
#[track_caller]
fn begun(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{}", reply.story());
    reply.header("content-location").unwrap().to_owned()
}

/// The manifest, as soon as the export is complete.
#[track_caller]
fn complete(admin: &User, place: &str) -> (Reply, Value) {
    let reply = wait_until("the export", SOON, || {
        let reply = ask(admin, "GET", place, &[], Body::Empty);
        if reply.status == 202 {
            assert!(reply.header("retry-after").is_some() && reply.header("x-progress").is_some(), "{}", reply.story());
        }
        (reply.status == 200).then_some(reply)
    });
    let manifest = reply.ok();
    (reply, manifest)
}

/// Every resource of an export.
#[track_caller]
fn resources(admin: &User, manifest: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for file in manifest["output"].as_array().unwrap() {
        assert_eq!(file["type"], "AuditEvent");
        let reply = ask(admin, "GET", file["url"].as_str().unwrap(), &[], Body::Empty);
        assert_eq!(reply.header("content-type"), Some("application/fhir+ndjson"), "{}", reply.story());
        let lines: Vec<Value> = reply
            .bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines.len() as u64, file["count"].as_u64().unwrap());
        all.extend(lines);
    }
    all
}

fn make_records(server: &Server, admin: &User, count: usize) {
    for _ in 0..count {
        let target = own(&["audit", "records"]).query("limit", "1");
        assert_eq!(
            server.http().request_with("GET", &target, wardroom_testkit::Actor::token(admin), &[], Body::Empty).status,
            200
        );
    }
}

#[test]
fn an_export_is_begun_waited_for_fetched_and_deleted() {
    let server = server_with(Config::default());
    let admin = admin_of(&server);
    make_records(&server, &admin, 20);
    let before = records(&admin, &[]).len();
    let place = begun(&ask(
        &admin,
        "GET",
        "$export?_type=AuditEvent&_outputFormat=application/fhir%2Bndjson",
        ASYNC,
        Body::Empty,
    ));
    let (reply, manifest) = complete(&admin, &place);
    assert!(reply.header("expires").unwrap().ends_with(" GMT"), "{}", reply.story());
    for field in ["transactionTime", "request", "requiresAccessToken", "output", "outcome", "error"] {
        assert!(!manifest[field].is_null(), "{manifest}");
    }
    assert!(manifest["request"].as_str().unwrap().contains("/_wardroom/fhir/$export?_type=AuditEvent"), "{manifest}");
    let found = resources(&admin, &manifest);
    // What was there, and the two records of the reading before: of the call, and of what was read.
    assert_eq!(found.len(), before + 2);
    assert!(found.iter().all(|resource| resource["resourceType"] == "AuditEvent"));
    // Compressed where that is asked for.
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let gzip = ask(&admin, "GET", url, &[("Accept-Encoding", "gzip")], Body::Empty);
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(gzip.bytes.get(..2), Some(&[0x1f, 0x8b][..]));
    // Another administrator has no such export.
    let other = admin_of(&server);
    refused(&ask(&other, "GET", &place, &[], Body::Empty), 404);
    refused(&ask(&other, "GET", url, &[], Body::Empty), 404);
    refused(&ask(&other, "DELETE", &place, &[], Body::Empty), 404);
    // Each part of it is a record.
    let exports = records(&admin, &[("act", "audit.export")]);
    assert_eq!(exports.len(), 3, "{exports:?}");
    assert_eq!(exports[1]["on"]["count"], found.len());
    assert_eq!(ask(&admin, "DELETE", &place, &[], Body::Empty).status, 202);
    refused(&ask(&admin, "GET", &place, &[], Body::Empty), 404);
    refused(&ask(&admin, "GET", url, &[], Body::Empty), 404);
    refused(&ask(&admin, "DELETE", &place, &[], Body::Empty), 404);
}

#[test]
fn an_export_has_what_its_parameters_say() {
    let server = server_with(Config::default());
    let admin = admin_of(&server);
    make_records(&server, &admin, 5);
    let parameters = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "_type", "valueString": "AuditEvent" },
        { "name": "_since", "valueInstant": "2020-01-01T00:00:00Z" },
        { "name": "_typeFilter", "valueString": "AuditEvent?subtype=110120&outcome=0" },
        { "name": "_typeFilter", "valueString": "AuditEvent?subtype=disclose&action=R" },
    ]});
    let body = Body::Raw(parameters.to_string().into_bytes(), "application/fhir+json");
    let (_, manifest) = complete(&admin, &begun(&ask(&admin, "POST", "$export", ASYNC, body)));
    let found = resources(&admin, &manifest);
    let subtypes: Vec<&str> = found.iter().map(|one| one["subtype"][0]["code"].as_str().unwrap()).collect();
    assert!(subtypes.contains(&"110120") && subtypes.contains(&"disclose"), "{subtypes:?}");
    assert!(subtypes.iter().all(|code| ["110120", "disclose"].contains(code)), "{subtypes:?}");
    let (_, none) = complete(&admin, &begun(&ask(&admin, "GET", "$export?_since=2100-01-01", ASYNC, Body::Empty)));
    assert_eq!(none["output"], json!([]));
}

#[test]
fn an_export_goes_on_after_a_crash() {
    let mut server = server_with(Config::default());
    let admin = admin_of(&server);
    make_records(&server, &admin, 50);
    let place = begun(&ask(&admin, "GET", "$export?_typeFilter=AuditEvent%3Fsubtype%3Ddisclose", ASYNC, Body::Empty));
    server.kill9();
    server.start_again();
    let (_, manifest) = complete(&admin, &place);
    let found = resources(&admin, &manifest);
    assert_eq!(found.len(), 50);
    server.kill9();
    server.start_again();
    assert_eq!(complete(&admin, &place).1, manifest);
    assert_eq!(resources(&admin, &manifest), found);
}

#[test]
fn what_cannot_be_exported_is_refused_and_there_are_so_many() {
    let server = ward();
    let admin = admin_of(server);
    for (path, headers) in [
        ("$export", &[][..]),
        ("$export?_type=Patient", ASYNC),
        ("$export?_since=soon", ASYNC),
        ("$export?_outputFormat=text/csv", ASYNC),
        ("$export?_typeFilter=AuditEvent%3Fcolor%3Dred", ASYNC),
        ("$export?color=red", ASYNC),
    ] {
        refused(&ask(&admin, "GET", path, headers, Body::Empty), 400);
    }
    for body in
        ["[]", "{", "{}", r#"{"resourceType":"Patient"}"#, r#"{"resourceType":"Parameters","parameter":[{"name":1}]}"#]
    {
        let body = Body::Raw(body.as_bytes().to_vec(), "application/fhir+json");
        refused(&ask(&admin, "POST", "$export", ASYNC, body), 400);
    }
    for place in ["exports/x", "exports/00000000000000000000000000000000", "exports/x/y", "exports/%00/0.ndjson"] {
        refused(&ask(&admin, "GET", place, &[], Body::Empty), 404);
    }
    let places: Vec<String> =
        (0..5).map(|_| begun(&ask(&admin, "GET", "$export?_since=2100-01-01", ASYNC, Body::Empty))).collect();
    let full = ask(&admin, "GET", "$export", ASYNC, Body::Empty);
    assert_eq!(refused(&full, 429).0, "throttled");
    assert!(full.header("retry-after").is_some());
    for place in places {
        assert_eq!(ask(&admin, "DELETE", &place, &[], Body::Empty).status, 202);
    }
}
