//! Every act, in both forms.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use wardroom_audit::{Act, Origin, Outcome, Record, Who};

use crate::{AuditEvent, audit_message, syslog_message};

const SERVER: &str = "a.example";
const AT_MS: u64 = 1_700_000_000_123;

fn alice() -> Origin {
    let text = |text: &str| Some(text.to_owned());
    let who = Who {
        device: text("PHONE"),
        ip: text("192.0.2.1"),
        subject: text("sub-1"),
        user: text("@alice:a.example"),
        ..Who::default()
    };
    Origin { who, request: text("r-1") }
}

fn resource(record: &Record) -> Value {
    let id = if record.id.is_empty() { "01HF7YAT00AAAAAAAAAAAAAAAA" } else { &record.id };
    let record = Record { id: id.to_owned(), ..record.clone() };
    serde_json::from_str(&AuditEvent::of(&record, SERVER).to_json()).unwrap()
}

fn codes(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|coding| coding["code"].as_str().unwrap()).collect()
}

#[test]
fn a_read_follows_the_pattern_of_reads() {
    let record = Record::by(Act::RoomRead, alice()).room("!r:a.example").event("$e").last("$f").count(2).detail("sync");
    let record = Record { at: AT_MS, id: "01HF7YAT00AAAAAAAAAAAAAAAA".to_owned(), ..record };
    let coding =
        |system: &str, code: &str, display: &str| json!({ "system": system, "code": code, "display": display });
    let dcm = "http://dicom.nema.org/resources/ontology/DCM";
    let network = json!({ "address": "192.0.2.1", "type": "2" });
    let expected = json!({
        "resourceType": "AuditEvent",
        "id": "01HF7YAT00AAAAAAAAAAAAAAAA",
        "meta": { "profile": ["https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Read"] },
        "type": coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "RESTful Operation"),
        "subtype": [coding("http://hl7.org/fhir/restful-interaction", "read", "read")],
        "action": "R",
        "recorded": "2023-11-14T22:13:20.123Z",
        "outcome": "0",
        "agent": [
            { "type": { "coding": [coding(dcm, "110152", "Destination Role ID")] },
              "who": { "identifier": { "value": "PHONE" } }, "requestor": false, "network": network },
            { "type": { "coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP", "information recipient")] },
              "who": { "identifier": { "system": "urn:ietf:rfc:3986", "value": "matrix:u/alice:a.example" } },
              "altId": "sub-1", "requestor": true },
            { "type": { "coding": [coding(dcm, "110153", "Source Role ID")] },
              "who": { "identifier": { "value": "a.example" } }, "requestor": false,
              "network": { "address": "a.example", "type": "1" } },
        ],
        "source": {
            "site": "a.example", "observer": { "identifier": { "value": "a.example" } },
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
        },
        "entity": [
            { "what": { "identifier": { "system": "urn:ietf:rfc:3986", "value": "matrix:roomid/r:a.example/e/e" } },
              "type": coding("http://terminology.hl7.org/CodeSystem/audit-entity-type", "2", "System Object"),
              "role": coding("http://terminology.hl7.org/CodeSystem/object-role", "4", "Domain Resource"),
              "lifecycle": coding("http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle", "6", "Access / Use"),
              "detail": [{ "type": "count", "valueString": "2" }, { "type": "last", "valueString": "$f" },
                         { "type": "detail", "valueString": "sync" }] },
            { "what": { "identifier": { "value": "r-1" } },
              "type": coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId",
                             "transport specific unique identifier where http X-Request-Id is used") },
        ],
    });
    assert_eq!(resource(&record), expected);
}

#[test]
fn each_act_is_a_whole_event_with_and_without_everything() {
    for act in Act::ALL {
        let bare = Record::by(*act, Origin::default());
        let usual = Record::by(*act, alice()).room("!r").event("$e").user("@bob:a.example").query("q");
        for record in [bare, usual.clone(), usual.outcome(Outcome::Serious).why("no role")] {
            let resource = resource(&record);
            for field in ["type", "action", "recorded", "outcome", "source"] {
                assert!(!resource[field].is_null(), "{act}: {field}");
            }
            assert!(!codes(&resource["subtype"]).is_empty(), "{act}");
            let agents = resource["agent"].as_array().unwrap();
            let requestors = agents.iter().filter(|agent| agent["requestor"] == true).count();
            assert_eq!(requestors, 1, "{act}: {resource:#}");
            // A null or an empty object is no FHIR.
            let text = resource.to_string();
            assert!(
                !text.contains("null") && !text.contains("{}") && !text.contains("[]") && !text.contains("\"\""),
                "{text}"
            );
            let xml = audit_message(&record, SERVER);
            assert!(xml.contains("<EventID csd-code=") && xml.contains("<ActiveParticipant "), "{xml}");
        }
    }
}

#[test]
fn only_what_follows_a_pattern_says_so() {
    let profile = |record: &Record| {
        resource(record)["meta"]["profile"][0].as_str().map(|url| url.rsplit('.').next().unwrap().to_owned())
    };
    let of = |act| Record::by(act, alice()).room("!r").event("$e");
    for (act, name) in [
        (Act::RoomRead, "Read"),
        (Act::EventSend, "Create"),
        (Act::EventEdit, "Update"),
        (Act::EventRedact, "Delete"),
        (Act::RetentionPurge, "Delete"),
    ] {
        assert_eq!(profile(&of(act)).as_deref(), Some(name), "{act}");
        assert_eq!(profile(&of(act).outcome(Outcome::Serious)), None, "{act}");
    }
    assert_eq!(profile(&of(Act::Search).query("q")).as_deref(), Some("Query"));
    assert_eq!(profile(&of(Act::Search)), None);
    assert_eq!(profile(&of(Act::MemberJoin)), None);
    let mut nowhere = alice();
    nowhere.who.ip = None;
    assert_eq!(profile(&Record::by(Act::RoomRead, nowhere).room("!r")), None);
    let server = Record::by(Act::RetentionPurge, Origin::default()).room("!r");
    assert_eq!(profile(&server).as_deref(), Some("Delete"));
}

#[test]
fn emergencies_say_for_what_and_why() {
    let begin = Record::by(Act::EmergencyBegin, alice()).room("!r").name("7").why("cardiac arrest");
    for (kind, purpose) in [("ETREAT", "ETREAT"), ("BTG", "BTG"), ("other", "BTG")] {
        let resource = resource(&begin.clone().kind(kind));
        assert_eq!(codes(&resource["subtype"]), ["110127"]);
        assert_eq!(codes(&resource["purposeOfEvent"][0]["coding"]), [purpose]);
        assert_eq!(resource["outcomeDesc"], "cardiac arrest");
    }
    assert!(resource(&Record::by(Act::EventSend, alice()).kind("BTG"))["purposeOfEvent"].is_null());
}

#[test]
fn what_administrators_do_is_what_their_method_says() {
    for (detail, action) in [("GET /a", "R"), ("PUT /a", "U"), ("DELETE /a", "D"), ("POST /a", "E"), ("", "E")] {
        assert_eq!(resource(&Record::by(Act::AdminCall, alice()).detail(detail))["action"], action);
    }
    let as_other = Record::by(Act::AdminImpersonate, alice()).user("@bob:a.example");
    let agents = resource(&as_other)["agent"].to_string();
    assert!(agents.contains("matrix:u/alice:a.example") && agents.contains("matrix:u/bob:a.example"), "{agents}");
}

#[test]
fn other_servers_take_part() {
    let sent = Record::by(Act::FederationSend, Origin::default()).room("!r").servers(vec!["b.example".to_owned()]);
    let resource_of = resource(&sent);
    let agents: BTreeSet<_> = resource_of["agent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| {
            (codes(&agent["type"]["coding"])[0].to_owned(), agent["network"]["address"].as_str().unwrap().to_owned())
        })
        .collect();
    assert!(agents.contains(&("110152".to_owned(), "b.example".to_owned())), "{agents:?}");
    assert!(agents.contains(&("110153".to_owned(), "a.example".to_owned())), "{agents:?}");
    let mut partner = Origin::default();
    partner.who.server = Some("b.example".to_owned());
    let received = resource(&Record::by(Act::FederationReceive, partner).room("!r"));
    assert_eq!(codes(&received["agent"][0]["type"]["coding"]), ["110153"]);
    assert_eq!(received["agent"][0]["network"], json!({ "address": "b.example", "type": "1" }));
}

#[test]
fn a_syslog_message_is_as_ihe_wants_it() {
    let record = Record { at: AT_MS, ..Record::by(Act::Login, alice()) };
    let message = syslog_message(&record, SERVER);
    let start = "<85>1 2023-11-14T22:13:20.123Z a.example wardroom - IHE+RFC-3881 - \u{feff}<?xml ";
    assert!(message.starts_with(start), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

proptest! {
    #[test]
    fn no_text_breaks_out_of_xml(text in any::<String>()) {
        let record = Record::by(Act::RoleCheck, alice()).room(&text).detail(&text).why(&text).name(&text);
        let xml = audit_message(&record, SERVER);
        let inside = xml.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").replace("&quot;", "");
        prop_assert!(!inside.contains('&') || inside.contains("&#"));
        prop_assert_eq!(xml.matches('<').count(), xml.matches('>').count());
        let control = xml.chars().any(|char| char < ' ');
        prop_assert!(!control);
    }
}
