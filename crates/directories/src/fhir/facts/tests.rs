use std::{collections::HashMap, time::Duration};

use ruma::{UserId, server_name};
use serde_json::{Value, json};

use super::{Facts, FhirSettings};
use crate::{Fault, list::Listed};

const STAFF: &str = "urn:staff";
const CODES: &str = "urn:codes";

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn settings() -> FhirSettings {
    FhirSettings {
        name: "ehr".to_owned(),
        base_url: "https://ehr.h1/fhir/".parse().unwrap(),
        token_file: None,
        identifier_system: STAFF.to_owned(),
        organizations: map(&[("Organization/1", "h1"), ("urn:org|2", "h2")]),
        default_organization: None,
        code_systems: vec![CODES.to_owned()],
        codes: map(&[("urn:sct|158965000", "physician")]),
        units: map(&[("Location/icu", "icu"), ("urn:sct|394579002", "cardiology")]),
        end_sessions: false,
        poll_every: Duration::from_secs(60),
        full_every: Duration::from_secs(3_600),
        timeout: Duration::from_secs(10),
    }
}

fn practitioner(id: &str, name: &str) -> Value {
    json!({ "resourceType": "Practitioner", "id": id, "identifier": [{ "system": STAFF, "value": name }] })
}

/// A role of alice with something changed; `null` takes away.
fn role(id: &str, change: &Value) -> Value {
    let mut role = json!({
        "resourceType": "PractitionerRole", "id": id,
        "practitioner": { "reference": "Practitioner/a" },
        "organization": { "reference": "Organization/1" },
        "code": [{ "coding": [{ "system": CODES, "code": "nurse" }, { "system": "urn:other", "code": "chief" }] }],
    });
    for (key, value) in change.as_object().unwrap() {
        role[key] = value.clone();
    }
    role
}

fn facts(resources: &[Value]) -> Facts {
    let mut facts = Facts::default();
    for resource in resources {
        facts.learn(resource.clone(), &settings()).unwrap();
    }
    facts
}

fn roles_of(facts: &Facts, name: &str) -> Option<(Option<bool>, Vec<String>)> {
    let list = facts.list(&settings(), server_name!("h1.example"));
    let Listed { active, roles } = list.people.get(&UserId::parse(format!("@{name}:h1.example")).unwrap())?.clone();
    Some((active, roles.into_iter().map(|given| given.role.to_string()).collect()))
}

/// Alice's roles by one role.
fn roles(change: &Value) -> Vec<String> {
    roles_of(&facts(&[practitioner("a", "Alice"), role("1", change)]), "alice").unwrap().1
}

#[test]
fn roles_have_a_code_an_organization_and_units() {
    assert_eq!(roles(&json!({})), ["nurse@h1"]);
    let two = json!([{ "reference": "Location/icu" }, { "reference": "Location/other" }]);
    assert_eq!(roles(&json!({ "location": two })), ["nurse@h1/icu"]);
    let specialty = json!([{ "coding": [{ "system": "urn:sct", "code": "394579002" }] }]);
    assert_eq!(roles(&json!({ "location": two, "specialty": specialty })), ["nurse@h1/cardiology", "nurse@h1/icu"]);
    let code = json!([{ "coding": [{ "system": "urn:sct", "code": "158965000" }] }]);
    assert_eq!(roles(&json!({ "code": code })), ["physician@h1"]);
    let organization = json!({ "identifier": { "system": "urn:org", "value": "2" } });
    assert_eq!(roles(&json!({ "organization": organization })), ["nurse@h2"]);
    let absolute = json!({ "reference": "https://ehr.h1/fhir/Organization/1/_history/3" });
    assert_eq!(roles(&json!({ "organization": absolute })), ["nurse@h1"]);
    for nothing in [
        json!({ "organization": null }),
        json!({ "organization": { "reference": "https://other/fhir/Organization/1" } }),
        json!({ "code": null }),
        json!({ "code": [{ "coding": [{ "system": CODES, "code": "a nurse" }] }] }),
        json!({ "active": false }),
        json!({ "period": { "start": "2027", "end": "2026" } }),
        json!({ "period": { "end": "some day" } }),
        json!({ "period": { "end": "1969" } }),
    ] {
        // `null` is as if it was not there.
        let mut role = role("1", &nothing);
        role.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let found = roles_of(&facts(&[practitioner("a", "alice"), role]), "alice").unwrap().1;
        assert_eq!(found, [""; 0], "{nothing}");
    }
}

#[test]
fn periods_are_kept() {
    let period = json!({ "period": { "start": "2026-11-23", "end": "2026-11-23" } });
    let facts = facts(&[practitioner("a", "alice"), role("1", &period)]);
    let list = facts.list(&settings(), server_name!("h1.example"));
    let given = &list.people.values().next().unwrap().roles[0];
    let day_ms = 1_795_392_000_000;
    assert_eq!((given.from_ms, given.until_ms), (Some(day_ms), Some(day_ms + 86_400_000)));
}

#[test]
fn what_changes_takes_the_place_of_what_was() {
    let mut facts = facts(&[practitioner("a", "alice"), role("1", &json!({})), role("2", &json!({ "id": "2" }))]);
    for id in ["1", "2"] {
        assert_eq!(roles_of(&facts, "alice").unwrap().1, ["nurse@h1"]);
        facts.learn(role(id, &json!({ "active": false })), &settings()).unwrap();
    }
    assert_eq!(roles_of(&facts, "alice").unwrap(), (None, vec![]));
    let mut gone = practitioner("a", "alice");
    gone["active"] = json!(false);
    gone["meta"] = json!({ "lastUpdated": "1970-01-01T00:00:07Z" });
    facts.learn(role("1", &json!({})), &settings()).unwrap();
    facts.learn(gone, &settings()).unwrap();
    assert_eq!(roles_of(&facts, "alice").unwrap(), (Some(false), vec![]));
    assert_eq!(facts.newest_ms(), Some(7_000));
}

#[test]
fn people_are_known_by_one_identifier() {
    let by_name = json!({ "practitioner": { "identifier": { "system": STAFF, "value": "bob" } } });
    let other = json!({ "practitioner": { "reference": "Practitioner/nobody" } });
    let facts = facts(&[
        practitioner("a", "alice"),
        practitioner("b", "twice"),
        practitioner("c", "TWICE"),
        role("1", &json!({})),
        role("2", &by_name),
        role("3", &other),
        role("4", &json!({ "practitioner": { "reference": "Practitioner/b" } })),
        role("5", &json!({ "practitioner": { "reference": "Practitioner/c" } })),
        practitioner("d", "idle"),
    ]);
    assert_eq!(roles_of(&facts, "bob").unwrap().1, ["nurse@h1"]);
    assert!(roles_of(&facts, "alice").is_some() && roles_of(&facts, "twice").is_none());
    assert!(roles_of(&facts, "idle").is_none(), "nothing is said of who has no role");
    assert_eq!(facts.list(&settings(), server_name!("h1.example")).skipped, 3);
    assert!(!facts.has_roles_of_nobody() && self::facts(&[role("1", &json!({}))]).has_roles_of_nobody());
}

#[test]
fn what_is_no_resource_is_told() {
    for resource in [
        json!({}),
        json!(7),
        json!({ "resourceType": "Practitioner" }),
        json!({ "resourceType": "Practitioner", "id": "a", "active": "yes" }),
        json!({ "resourceType": "PractitionerRole", "id": "a", "code": "nurse" }),
    ] {
        assert!(
            matches!(Facts::default().learn(resource.clone(), &settings()), Err(Fault::Malformed(_))),
            "{resource}"
        );
    }
}
