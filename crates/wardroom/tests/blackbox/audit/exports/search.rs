//! Searches (IHE ITI-81), and the files for people.

use wardroom_testkit::{Actor, Body, Config, encode};

use super::{ask, get, ids, refused, restrict};
use crate::{
    admin::{admin_of, own},
    audit::records,
    server_with, ward,
};

#[test]
fn a_search_gives_the_records_that_are_meant_page_by_page() {
    let server = server_with(Config::default());
    let admin = admin_of(&server);
    for _ in 0..7 {
        admin.get(own(&["audit", "records"]).query("limit", "1")).ok();
    }
    let agent = format!("urn:ietf:rfc:3986|matrix:u/{}", &admin.id[1..]);
    let mut path = format!("AuditEvent?type=110101&agent={}&_count=3&_sort=date", encode(&agent));
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let bundle = get(&admin, &path);
        assert_eq!((&bundle["resourceType"], &bundle["type"]), (&"Bundle".into(), &"searchset".into()));
        found.extend(ids(&bundle));
        pages += 1;
        let link = |relation: &str| {
            let links = bundle["link"].as_array().unwrap();
            links.iter().find(|link| link["relation"] == relation).map(|link| link["url"].as_str().unwrap().to_owned())
        };
        assert!(link("self").is_some(), "{bundle}");
        match link("next") {
            // Each page is a record as well, so there is always another.
            Some(next) if pages < 3 => path = next,
            _ => break,
        }
    }
    let trail = records(&admin, &[("act", "audit.read"), ("user_id", &admin.id)]);
    let expected: Vec<&str> = trail.iter().take(found.len()).map(|record| record["id"].as_str().unwrap()).collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 9);
    let newest = get(&admin, "AuditEvent?type=110101&_count=1");
    assert_ne!(ids(&newest)[0], found[0], "the newest come first unless asked otherwise");
    // One by its id, read and found.
    let one = get(&admin, &format!("AuditEvent/{}", found[4]));
    assert_eq!((one["id"].as_str(), &one["resourceType"]), (Some(&*found[4]), &"AuditEvent".into()));
    assert_eq!(ids(&get(&admin, &format!("AuditEvent?_id={}", found[4]))), [found[4].clone()]);
    let form = Body::Raw(format!("_id={}", found[4]).into_bytes(), "application/x-www-form-urlencoded");
    assert_eq!(ids(&ask(&admin, "POST", "AuditEvent/_search", &[], form).ok()), [found[4].clone()]);
    // Who searched what is known, before the answer came.
    let last = records(&admin, &[("act", "audit.read")]);
    let last = last.iter().rev().find(|record| record["on"]["detail"] == "AuditEvent").unwrap();
    assert_eq!(last["on"]["query"], format!("_id={}", found[4]));
    assert_eq!(last["on"]["count"], 1);
}

#[test]
fn a_search_that_cannot_be_understood_is_refused_with_the_parameters_name() {
    let admin = admin_of(ward());
    for (query, code, name) in [
        ("color=red", "not-supported", "color"),
        ("date=soon", "invalid", "date"),
        ("date=ne2020", "invalid", "date"),
        ("outcome=1", "invalid", "outcome"),
        ("agent=", "invalid", "agent"),
        ("_count=-1", "invalid", "_count"),
        ("_count=99999999999999999999999", "invalid", "_count"),
        ("_sort=outcome", "invalid", "_sort"),
        ("_after=x", "invalid", "_after"),
        ("date=%00%ff", "invalid", "date"),
    ] {
        let reply = ask(&admin, "GET", &format!("AuditEvent?{query}"), &[], Body::Empty);
        let (found, sentence) = refused(&reply, 400);
        assert_eq!(found, code, "{query}");
        assert!(sentence.starts_with(name), "{query}: {sentence}");
    }
    let lenient = [("Prefer", "handling=lenient")];
    assert_eq!(ask(&admin, "GET", "AuditEvent?color=red&_count=1", &lenient, Body::Empty).status, 200);
    assert_eq!(refused(&ask(&admin, "GET", "AuditEvent?date=soon", &lenient, Body::Empty), 400).0, "invalid");
    let many = format!("AuditEvent?agent={}", "a,".repeat(1_000));
    assert_eq!(refused(&ask(&admin, "GET", &many, &[], Body::Empty), 400).0, "invalid");
    // Records name no patients, and an unknown code is nobody's.
    for nothing in ["patient=Patient/1", "type=no-such-code", "_id=,x", "agent=@nobody:nowhere.example"] {
        assert!(ids(&get(&admin, &format!("AuditEvent?{nothing}"))).is_empty(), "{nothing}");
    }
    refused(&ask(&admin, "GET", "AuditEvent/no-such-record", &[], Body::Empty), 404);
    refused(&ask(&admin, "GET", "Patient/1", &[], Body::Empty), 404);
    refused(&ask(&admin, "DELETE", "AuditEvent", &[], Body::Empty), 405);
    let xml = [("Accept", "application/fhir+xml")];
    refused(&ask(&admin, "GET", "AuditEvent", &xml, Body::Empty), 406);
    refused(&ask(&admin, "GET", "AuditEvent?_format=xml", &[], Body::Empty), 406);
}

#[test]
fn reading_and_exporting_take_a_scope_each() {
    let server = ward();
    let (reader, exporter, user) = (admin_of(server), admin_of(server), server.user("curious"));
    restrict(server, &reader, &["audit"]);
    restrict(server, &exporter, &["audit_export"]);
    let status = |who: &wardroom_testkit::User, path: &str| {
        let prefer = [("Prefer", "respond-async")];
        let reply = ask(who, "GET", path, &prefer, Body::Empty);
        if reply.status >= 400 {
            refused(&reply, reply.status);
        }
        reply.status
    };
    assert_eq!((status(&reader, "AuditEvent?_count=1"), status(&reader, "$export")), (200, 403));
    assert_eq!((status(&exporter, "AuditEvent?_count=1"), status(&exporter, "$export")), (403, 202));
    assert_eq!((status(&user, "AuditEvent?_count=1"), status(&user, "$export")), (403, 403));
    let file = || own(&["audit", "export"]).query("format", "csv").query("to_ts", "1");
    assert_eq!(exporter.get(file()).status, 200);
    reader.get(file()).refused(403, "M_FORBIDDEN");
    let stranger = user.with_token("no such token");
    assert_eq!(refused(&ask(&stranger, "GET", "AuditEvent", &[], Body::Empty), 401).0, "login");
    let statement = get(&user, "metadata");
    assert_eq!(
        (&statement["resourceType"], &statement["fhirVersion"]),
        (&"CapabilityStatement".into(), &"4.0.1".into())
    );
}

#[test]
fn a_file_for_people_has_the_records_that_are_meant_and_no_formulas() {
    let server = server_with(Config::default());
    let admin = admin_of(&server);
    for _ in 0..3 {
        admin.get(own(&["audit", "records"]).query("limit", "1").query("user_id", "=cmd")).ok();
    }
    let file = |format: &str| {
        let target = own(&["audit", "export"]).query("format", format).query("act", "audit.read");
        let reply = admin.get(target);
        assert_eq!(reply.status, 200, "{}", reply.story());
        String::from_utf8(reply.bytes).unwrap()
    };
    let table = file("csv");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("number,id,time,act,"));
    assert!(lines[1].contains(&format!(",\"'{}\",", admin.id)), "{table}");
    let bad = ["=", "+", "-", "@", "\t"];
    assert!(
        !bad.iter().any(|bad| table.contains(&format!(",\"{bad}")) || table.contains(&format!("\n{bad}"))),
        "{table}"
    );
    assert_eq!(file("ndjson").lines().count(), 3);
    for (format, code) in [("xml", "M_INVALID_PARAM"), ("", "M_INVALID_PARAM")] {
        admin.get(own(&["audit", "export"]).query("format", format)).refused(400, code);
    }
    admin.get(own(&["audit", "export"])).refused(400, "M_MISSING_PARAM");
    assert_eq!(records(&admin, &[("act", "audit.export")]).len(), 2, "each left a record");
}
