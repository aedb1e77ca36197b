//! Audit events as DICOM audit messages (PS3.15, A.5), and those as syslog messages (RFC 5424) for IHE ITI-20.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wardroom_audit::Record;
use wardroom_clock::timestamp;

use crate::{
    codes::{self, Code},
    event::{Agent, Entity, Event},
};

/// Facility 10 (security), severity 5 (notice): what IHE wants of every audit message.
const PRIORITY: &str = "<85>1";
/// By which receivers know audit messages.
const MESSAGE_ID: &str = "IHE+RFC-3881";
/// Longest `HOSTNAME` of RFC 5424.
const HOSTNAME_CHARS_MAX: usize = 255;

/// A record as a DICOM `AuditMessage`, an XML document in UTF-8.
pub fn audit_message(record: &Record, server_name: &str) -> String {
    let event = Event::of(record, server_name);
    let mut xml = String::with_capacity(2_048);
    xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?><AuditMessage>");
    identification(&mut xml, &event);
    for agent in &event.agents {
        participant(&mut xml, agent);
    }
    xml.push_str("<AuditSourceIdentification");
    attribute(&mut xml, "AuditEnterpriseSiteID", server_name);
    attribute(&mut xml, "AuditSourceID", server_name);
    xml.push('>');
    coded(&mut xml, "AuditSourceTypeCode", codes::APPLICATION_SERVER);
    xml.push_str("</AuditSourceIdentification>");
    for entity in &event.entities {
        object(&mut xml, entity);
    }
    the_record(&mut xml, &record.id);
    xml.push_str("</AuditMessage>");
    xml
}

/// A record as a syslog message: RFC 5424 with the DICOM message behind a byte order mark, as its section 6.4 wants UTF-8.
pub fn syslog_message(record: &Record, server_name: &str) -> String {
    let host: String = server_name.chars().filter(char::is_ascii_graphic).take(HOSTNAME_CHARS_MAX).collect();
    let at = timestamp::format(record.at);
    let message = audit_message(record, server_name);
    format!("{PRIORITY} {at} {host} wardroom - {MESSAGE_ID} - \u{feff}{message}")
}

fn identification(xml: &mut String, event: &Event<'_>) {
    xml.push_str("<EventIdentification");
    attribute(xml, "EventActionCode", event.action());
    attribute(xml, "EventDateTime", &timestamp::format(event.record.at));
    attribute(xml, "EventOutcomeIndicator", event.outcome());
    xml.push('>');
    coded(xml, "EventID", event.meaning.kind);
    for subtype in event.meaning.subtypes {
        coded(xml, "EventTypeCode", *subtype);
    }
    if let Some(why) = &event.record.why {
        xml.push_str("<EventOutcomeDescription>");
        escape(xml, why);
        xml.push_str("</EventOutcomeDescription>");
    }
    if let Some(purpose) = event.purpose {
        coded(xml, "PurposeOfUse", purpose);
    }
    xml.push_str("</EventIdentification>");
}

fn participant(xml: &mut String, agent: &Agent<'_>) {
    xml.push_str("<ActiveParticipant");
    attribute(xml, "UserID", &agent.who.value);
    if let Some(alternative) = agent.alternative {
        attribute(xml, "AlternativeUserID", alternative);
    }
    attribute(xml, "UserIsRequestor", if agent.requestor { "true" } else { "false" });
    if let Some(network) = agent.network {
        attribute(xml, "NetworkAccessPointID", network.address);
        attribute(xml, "NetworkAccessPointTypeCode", network.kind);
    }
    match agent.role {
        Some(role) => {
            xml.push('>');
            coded(xml, "RoleIDCode", role);
            xml.push_str("</ActiveParticipant>");
        }
        None => xml.push_str("/>"),
    }
}

fn object(xml: &mut String, entity: &Entity<'_>) {
    xml.push_str("<ParticipantObjectIdentification");
    attribute(xml, "ParticipantObjectID", entity.what.as_ref().map_or(entity.label, |what| &what.value));
    // Codes of FHIR that DICOM does not have are system objects to it.
    let kind = if entity.kind.code.parse::<u8>().is_ok() { entity.kind } else { codes::SYSTEM_OBJECT };
    attribute(xml, "ParticipantObjectTypeCode", kind.code);
    if let Some(role) = entity.role {
        attribute(xml, "ParticipantObjectTypeCodeRole", role.code);
    }
    if let Some(lifecycle) = entity.lifecycle {
        attribute(xml, "ParticipantObjectDataLifeCycle", lifecycle.code);
    }
    xml.push('>');
    own_type(xml, entity.label);
    match entity.query {
        Some(query) => {
            xml.push_str("<ParticipantObjectQuery>");
            xml.push_str(&STANDARD.encode(query));
            xml.push_str("</ParticipantObjectQuery>");
        }
        None => name(xml, entity.label),
    }
    for (kind, value) in &entity.details {
        xml.push_str("<ParticipantObjectDetail");
        attribute(xml, "type", kind);
        attribute(xml, "value", &STANDARD.encode(value.as_bytes()));
        xml.push_str("/>");
    }
    xml.push_str("</ParticipantObjectIdentification>");
}

/// The id of the record, by which a receiver knows one that it got twice.
fn the_record(xml: &mut String, id: &str) {
    xml.push_str("<ParticipantObjectIdentification");
    attribute(xml, "ParticipantObjectID", id);
    attribute(xml, "ParticipantObjectTypeCode", codes::SYSTEM_OBJECT.code);
    attribute(xml, "ParticipantObjectTypeCodeRole", codes::SECURITY_RESOURCE.code);
    xml.push('>');
    own_type(xml, "audit record");
    name(xml, "audit record");
    xml.push_str("</ParticipantObjectIdentification>");
}

fn own_type(xml: &mut String, label: &'static str) {
    coded(xml, "ParticipantObjectIDTypeCode", Code { system: "org.wardroom", code: label, display: label });
}

fn name(xml: &mut String, label: &str) {
    xml.push_str("<ParticipantObjectName>");
    escape(xml, label);
    xml.push_str("</ParticipantObjectName>");
}

fn coded(xml: &mut String, element: &str, code: Code) {
    xml.push('<');
    xml.push_str(element);
    attribute(xml, "csd-code", code.code);
    attribute(xml, "codeSystemName", code.dicom_system());
    attribute(xml, "originalText", code.display);
    xml.push_str("/>");
}

fn attribute(xml: &mut String, name: &str, value: &str) {
    xml.push(' ');
    xml.push_str(name);
    xml.push_str("=\"");
    escape(xml, value);
    xml.push('"');
}

/// Writes text into an element or an attribute. What XML 1.0 cannot hold at all becomes U+FFFD.
fn escape(xml: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                // Writing to a String does not fail.
                let _ = write!(xml, "&#{};", u32::from(char));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            char => xml.push(char),
        }
    }
}
