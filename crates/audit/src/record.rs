//! A record, as it is kept and hashed.

use serde::{Deserialize, Serialize};

use crate::{
    Act,
    origin::{self, Origin, Who},
};

/// How it went (DICOM PS3.15, A.5.2; FHIR `AuditEvent.outcome`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Outcome {
    /// It was done.
    #[default]
    Success,
    /// It was refused, by a rule or because something was wrong with what was asked.
    Minor,
    /// It was refused to somebody who may not.
    Serious,
    /// Something broke.
    Major,
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => 0,
            Outcome::Minor => 4,
            Outcome::Serious => 8,
            Outcome::Major => 12,
        }
    }
}

impl TryFrom<u8> for Outcome {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::Success),
            4 => Ok(Self::Minor),
            8 => Ok(Self::Serious),
            12 => Ok(Self::Major),
            _ => Err("no outcome"),
        }
    }
}

/// What it was done to. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Object {
    /// How many events or entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// More words of the product's own, never of a user: the endpoint, the reason code, the kind of hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// A device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The event, or the first of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The last of several events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// A file, as `mxc` URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// What is none of the others: a hold, an emergency, a role, an export, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hash of the content after a change, as hexadecimal digits of SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Hash of the content before a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What was asked for, as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Partner servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// When the first of several was, in milliseconds since 1970; the record was written when they were over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Type of the event.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When the last of several was, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The user it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Something that happened, by whom and to what.
///
/// Its JSON is canonical (RFC 8785): fields stand in the order of their names, and that text is what the trail hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was done.
    pub act: Act,
    /// When it was recorded, in milliseconds since 1970.
    pub at: u64,
    /// The record's own id, a ULID.
    pub id: String,
    /// What it was done to.
    pub on: Object,
    /// How it went.
    pub outcome: Outcome,
    /// The id of the request by which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Who did it.
    pub who: Who,
    /// Why, where somebody said it or a rule did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {$(
        $(#[doc = $doc])+
        #[must_use]
        pub fn $name(mut self, value: impl Into<String>) -> Self {
            self.on.$name = Some(value.into());
            self
        }
    )*};
}

impl Record {
    /// A record of what the current request does; time and id come when it is written.
    pub fn of(act: Act) -> Self {
        Self::by(act, origin::current())
    }

    /// A record of what somebody else does.
    pub fn by(act: Act, origin: Origin) -> Self {
        let Origin { who, request } = origin;
        Self {
            act,
            at: 0,
            id: String::new(),
            on: Object::default(),
            outcome: Outcome::Success,
            request,
            who,
            why: None,
        }
    }

    setters! {
        /// In this room.
        room,
        /// On this event, or on this and others after it.
        event,
        /// Up to this event.
        last,
        /// On events of this type.
        kind,
        /// To this user.
        user,
        /// To this device.
        device,
        /// To this file.
        media,
        /// To what has this id.
        name,
        /// More words of the product's own.
        detail,
        /// What was asked for.
        query,
        /// Hash of the content before.
        old,
        /// Hash of the content after.
        new,
    }

    /// So many of them.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.on.count = Some(count);
        self
    }

    /// From this time to that, in milliseconds since 1970.
    #[must_use]
    pub fn between(mut self, since: u64, until: u64) -> Self {
        (self.on.since, self.on.until) = (Some(since), Some(until));
        self
    }

    /// To or from these servers.
    #[must_use]
    pub fn servers(mut self, servers: Vec<String>) -> Self {
        self.on.servers = servers;
        self
    }

    /// How it went.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Why.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// The canonical JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // A type without maps that are keyed by other than text, and without numbers that are none: it always works.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Outcome, Record};
    use crate::{
        Act,
        origin::{Origin, Who},
    };

    fn full() -> Record {
        let text = || Some("a \"b\" \u{1} \u{e9} \u{1f3e5}".to_owned());
        let who = Who {
            on_behalf_of: text(),
            device: text(),
            ip: text(),
            server: text(),
            service: text(),
            subject: text(),
            user: text(),
        };
        let origin = Origin { who, request: text() };
        let record = Record::by(Act::EventSend, origin).room("r").event("e").last("l").kind("k").user("u").device("d");
        let record = record.media("m").name("n").detail("d").query("q").old("o").new("n").count(3).between(4, 5);
        record.servers(vec!["a".to_owned()]).outcome(Outcome::Serious).why("because")
    }

    #[test]
    fn the_fields_of_the_json_are_in_the_order_of_their_names() {
        fn check(value: &Value, written: &str) {
            let Some(object) = value.as_object() else { return };
            // `serde_json::Value` keeps its keys sorted.
            let places: Vec<_> = object.keys().map(|key| written.find(&format!("\"{key}\":")).unwrap()).collect();
            assert!(places.is_sorted(), "{written}");
            object.values().filter(|value| value.is_object()).for_each(|inner| check(inner, &inner.to_string()));
        }
        let written = String::from_utf8(full().to_json()).unwrap();
        let value: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value.to_string(), written);
        check(&value, &written);
    }

    #[test]
    fn a_record_survives_the_json_and_every_act_its_word() {
        let record = full();
        assert_eq!(serde_json::from_slice::<Record>(&record.to_json()).unwrap(), record);
        for act in Act::ALL {
            assert_eq!(Act::of_word(act.word()), Some(*act));
            assert_eq!(serde_json::to_string(act).unwrap(), format!("\"{act}\""));
        }
        assert_eq!(Act::of_word("none"), None);
    }
}
