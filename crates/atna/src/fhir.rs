//! Audit events as FHIR R4 `AuditEvent` resources.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use wardroom_audit::Record;
use wardroom_clock::timestamp;

use crate::{
    codes::{self, Code},
    event::{Agent, Entity, Event, Identifier, Network},
};

/// A record as a FHIR R4 `AuditEvent`, to be written as JSON. The id of the resource is the record's.
#[derive(Clone)]
pub struct AuditEvent<'a>(Event<'a>);

impl fmt::Debug for AuditEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditEvent").finish_non_exhaustive()
    }
}

impl<'a> AuditEvent<'a> {
    /// A record of the server with this name.
    pub fn of(record: &'a Record, server_name: &'a str) -> Self {
        Self(Event::of(record, server_name))
    }

    /// The resource as JSON text.
    pub fn to_json(&self) -> String {
        // Maps with text as keys, and no numbers: writing them does not fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A `CodeableConcept` of one code.
struct Concept(Code);
/// A `Reference` by an identifier.
struct Reference<'a>(&'a Identifier<'a>);
/// `AuditEvent.source`: this server.
struct Source<'a>(&'a str);
/// `AuditEvent.entity.detail`.
struct Detail<'a>(&'a str, &'a str);
/// An object with one field.
struct Field<T>(&'static str, T);

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("system", self.system)?;
        map.serialize_entry("code", self.code)?;
        map.serialize_entry("display", self.display)?;
        map.end()
    }
}

impl Serialize for Concept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Field("coding", [self.0]).serialize(serializer)
    }
}

impl Serialize for Identifier<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(system) = self.system {
            map.serialize_entry("system", system)?;
        }
        map.serialize_entry("value", &self.value)?;
        map.end()
    }
}

impl Serialize for Reference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Field("identifier", self.0).serialize(serializer)
    }
}

impl Serialize for Network<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("address", self.address)?;
        map.serialize_entry("type", self.kind)?;
        map.end()
    }
}

impl Serialize for Agent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(role) = self.role {
            map.serialize_entry("type", &Concept(role))?;
        }
        map.serialize_entry("who", &Reference(&self.who))?;
        if let Some(alternative) = self.alternative {
            map.serialize_entry("altId", alternative)?;
        }
        map.serialize_entry("requestor", &self.requestor)?;
        if let Some(network) = &self.network {
            map.serialize_entry("network", network)?;
        }
        map.end()
    }
}

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("site", self.0)?;
        map.serialize_entry("observer", &Field("identifier", Field("value", self.0)))?;
        map.serialize_entry("type", &[codes::APPLICATION_SERVER])?;
        map.end()
    }
}

impl Serialize for Detail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", self.0)?;
        map.serialize_entry("valueString", self.1)?;
        map.end()
    }
}

impl Serialize for Entity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(what) = &self.what {
            map.serialize_entry("what", &Reference(what))?;
        }
        map.serialize_entry("type", &self.kind)?;
        if let Some(role) = &self.role {
            map.serialize_entry("role", role)?;
        }
        if let Some(lifecycle) = &self.lifecycle {
            map.serialize_entry("lifecycle", lifecycle)?;
        }
        if let Some(query) = self.query {
            map.serialize_entry("query", &STANDARD.encode(query))?;
        }
        if !self.details.is_empty() {
            let details: Vec<_> = self.details.iter().map(|(name, value)| Detail(name, value)).collect();
            map.serialize_entry("detail", &details)?;
        }
        map.end()
    }
}

impl Serialize for AuditEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = &self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("resourceType", "AuditEvent")?;
        map.serialize_entry("id", &event.record.id)?;
        if let Some(profile) = event.profile {
            map.serialize_entry("meta", &Field("profile", [profile]))?;
        }
        map.serialize_entry("type", &event.meaning.kind)?;
        map.serialize_entry("subtype", event.meaning.subtypes)?;
        map.serialize_entry("action", event.action())?;
        map.serialize_entry("recorded", &timestamp::format(event.record.at))?;
        map.serialize_entry("outcome", event.outcome())?;
        if let Some(why) = event.record.why.as_deref().filter(|why| !why.is_empty()) {
            map.serialize_entry("outcomeDesc", why)?;
        }
        if let Some(purpose) = event.purpose {
            map.serialize_entry("purposeOfEvent", &[Concept(purpose)])?;
        }
        map.serialize_entry("agent", &event.agents)?;
        map.serialize_entry("source", &Source(event.server))?;
        if !event.entities.is_empty() {
            map.serialize_entry("entity", &event.entities)?;
        }
        map.end()
    }
}
