//! A record as an audit event: who took part as what, and on what it was done. FHIR and DICOM are two ways to write this down.

use std::borrow::Cow;

use wardroom_audit::{Act, Outcome, Record, Who};

use crate::{
    codes::{self, Code},
    matrix_uri,
    meaning::{self, Meaning, Pattern},
};

/// The system of identifiers that are URIs.
const URI: &str = "urn:ietf:rfc:3986";

/// What something is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identifier<'a> {
    /// None for a name of this server's own.
    pub(crate) system: Option<&'static str>,
    pub(crate) value: Cow<'a, str>,
}

impl<'a> Identifier<'a> {
    fn uri(value: String) -> Self {
        Self { system: Some(URI), value: Cow::Owned(value) }
    }

    fn own(value: &'a str) -> Self {
        Self { system: None, value: Cow::Borrowed(value) }
    }
}

/// Where somebody is in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network<'a> {
    pub(crate) address: &'a str,
    /// 1 for the name of a machine, 2 for an IP address.
    pub(crate) kind: &'static str,
}

/// Who took part.
#[derive(Clone, Debug)]
pub(crate) struct Agent<'a> {
    pub(crate) role: Option<Code>,
    pub(crate) who: Identifier<'a>,
    /// The subject at the identity provider.
    pub(crate) alternative: Option<&'a str>,
    pub(crate) requestor: bool,
    pub(crate) network: Option<Network<'a>>,
}

/// On what.
#[derive(Clone, Debug)]
pub(crate) struct Entity<'a> {
    pub(crate) what: Option<Identifier<'a>>,
    pub(crate) kind: Code,
    pub(crate) role: Option<Code>,
    pub(crate) lifecycle: Option<Code>,
    pub(crate) query: Option<&'a str>,
    pub(crate) details: Vec<(&'static str, Cow<'a, str>)>,
    /// A word for what it is.
    pub(crate) label: &'static str,
}

/// A record as an audit event.
#[derive(Clone, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) record: &'a Record,
    /// The name of this server.
    pub(crate) server: &'a str,
    pub(crate) meaning: Meaning,
    /// The pattern of IHE BALP that the event follows in every point.
    pub(crate) profile: Option<&'static str>,
    pub(crate) purpose: Option<Code>,
    pub(crate) agents: Vec<Agent<'a>>,
    pub(crate) entities: Vec<Entity<'a>>,
}

impl<'a> Event<'a> {
    /// A record of this server.
    pub(crate) fn of(record: &'a Record, server: &'a str) -> Self {
        let meaning = meaning::of(record.act);
        let (agents, entities) = (agents(record, server, meaning), entities(record, meaning));
        let profile = profile(record, meaning, &entities);
        Self { record, server, meaning, profile, purpose: purpose(record), agents, entities }
    }

    /// The action's code.
    pub(crate) fn action(&self) -> &'static str {
        self.meaning.action.letter(self.record)
    }

    /// The outcome's code.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.record.outcome {
            Outcome::Success => "0",
            Outcome::Minor => "4",
            Outcome::Serious => "8",
            Outcome::Major => "12",
        }
    }
}

/// Emergencies are for a treatment, or for whatever else broke the glass.
fn purpose(record: &Record) -> Option<Code> {
    match (record.act, record.on.kind.as_deref()) {
        (Act::EmergencyBegin | Act::EmergencyEnd | Act::EmergencyReview, Some("ETREAT")) => {
            Some(codes::EMERGENCY_TREATMENT)
        }
        (Act::EmergencyBegin | Act::EmergencyEnd | Act::EmergencyReview, _) => Some(codes::BREAK_THE_GLASS),
        _ => None,
    }
}

/// What client, server and user are in a pattern.
fn roles(pattern: Pattern) -> (Code, Code, Code) {
    match pattern {
        Pattern::Read => (codes::DESTINATION, codes::SOURCE, codes::RECIPIENT),
        Pattern::Query => (codes::SOURCE, codes::DESTINATION, codes::RECIPIENT),
        Pattern::Create | Pattern::Update | Pattern::Receive => (codes::SOURCE, codes::DESTINATION, codes::AUTHOR),
        Pattern::Delete => (codes::CLIENT_APPLICATION, codes::CUSTODIAN, codes::AUTHOR),
        Pattern::Decision => (codes::CLIENT_APPLICATION, codes::AUTHORIZER, codes::RECIPIENT),
        Pattern::Send => (codes::CLIENT_APPLICATION, codes::SOURCE, codes::HUMAN),
        Pattern::Plain => (codes::CLIENT_APPLICATION, codes::DESTINATION, codes::HUMAN),
    }
}

fn agents<'a>(record: &'a Record, server: &'a str, meaning: Meaning) -> Vec<Agent<'a>> {
    let who = &record.who;
    let (client_role, server_role, user_role) = roles(meaning.pattern);
    let this = Network { address: server, kind: "1" };
    let by_user = who.user.is_some();
    let client = [&who.service, &who.server, &who.device, &who.ip].into_iter().flatten().next();
    let mut agents = Vec::with_capacity(4);
    match client {
        Some(name) => {
            let address = who.ip.as_deref().map(|address| Network { address, kind: "2" });
            let partner = who.server.as_deref().map(|address| Network { address, kind: "1" });
            agents.push(Agent {
                role: Some(client_role),
                who: Identifier::own(name),
                alternative: None,
                requestor: !by_user,
                network: address.or(partner),
            });
        }
        // This server, by itself, as an application.
        None if !by_user => agents.push(Agent {
            role: Some(if meaning.pattern == Pattern::Plain { codes::CLIENT_APPLICATION } else { client_role }),
            who: Identifier::own(server),
            alternative: None,
            requestor: true,
            network: Some(this),
        }),
        None => {}
    }
    if let Some(user) = &who.user {
        agents.push(Agent {
            role: Some(user_role),
            who: Identifier::uri(matrix_uri::user(user)),
            alternative: who.subject.as_deref(),
            requestor: true,
            network: None,
        });
    }
    if let Some(user) = &who.on_behalf_of {
        agents.push(Agent {
            role: None,
            who: Identifier::uri(matrix_uri::user(user)),
            alternative: None,
            requestor: false,
            network: None,
        });
    }
    if client.is_some() || by_user || meaning.pattern != Pattern::Plain {
        agents.push(Agent {
            role: Some(server_role),
            who: Identifier::own(server),
            alternative: None,
            requestor: false,
            network: Some(this),
        });
    }
    let partners = if meaning.pattern == Pattern::Send { &*record.on.servers } else { &[] };
    for partner in partners {
        agents.push(Agent {
            role: Some(codes::DESTINATION),
            who: Identifier::own(partner),
            alternative: None,
            requestor: false,
            network: Some(Network { address: partner, kind: "1" }),
        });
    }
    if record.act == Act::AdminImpersonate
        && let Some(user) = &record.on.user
    {
        agents.push(Agent {
            role: None,
            who: Identifier::uri(matrix_uri::user(user)),
            alternative: None,
            requestor: false,
            network: None,
        });
    }
    agents
}

fn entities<'a>(record: &'a Record, meaning: Meaning) -> Vec<Entity<'a>> {
    let on = &record.on;
    let mut entities = Vec::with_capacity(4);
    // The pattern of a search has the query in the place of an object.
    let kind = if meaning.pattern == Pattern::Query { codes::OTHER } else { codes::SYSTEM_OBJECT };
    let details = details(record, meaning.pattern);
    if let Some((label, what)) = object(record) {
        let (role, lifecycle) = (Some(meaning.role), meaning.lifecycle);
        entities.push(Entity { what: Some(what), kind, role, lifecycle, query: None, details, label });
    } else if !details.is_empty() {
        entities.push(Entity {
            what: None,
            kind: codes::OTHER,
            role: None,
            lifecycle: None,
            query: None,
            details,
            label: "detail",
        });
    }
    let secondary = |what, kind, role, label| Entity {
        what: Some(what),
        kind,
        role,
        lifecycle: None,
        query: None,
        details: Vec::new(),
        label,
    };
    if let Some(query) = on.query.as_deref().filter(|query| !query.is_empty()) {
        entities.push(Entity {
            what: None,
            kind: codes::SYSTEM_OBJECT,
            role: Some(codes::QUERY),
            lifecycle: None,
            query: Some(query),
            details: Vec::new(),
            label: "query",
        });
    }
    if let Some(user) = &on.user {
        let what = Identifier::uri(matrix_uri::user(user));
        entities.push(secondary(what, codes::PERSON, Some(codes::SECURITY_USER), "user"));
    }
    if let Some(device) = &on.device {
        entities.push(secondary(Identifier::own(device), codes::OTHER, Some(codes::SECURITY_USER), "device"));
    }
    if let Some(request) = &record.request {
        entities.push(secondary(Identifier::own(request), codes::REQUEST_ID, None, "X-Request-Id"));
    }
    entities
}

/// What it was done to, the most particular name first.
fn object(record: &Record) -> Option<(&'static str, Identifier<'_>)> {
    let on = &record.on;
    if let Some(media) = &on.media {
        return Some(("file", Identifier { system: Some(URI), value: Cow::Borrowed(media) }));
    }
    match (&on.room, &on.event) {
        (Some(room), Some(event)) => Some(("event", Identifier::uri(matrix_uri::event(room, event)))),
        (Some(room), None) => Some(("room", Identifier::uri(matrix_uri::room(room)))),
        (None, Some(event)) => Some(("event", Identifier::own(event))),
        (None, None) => on.name.as_deref().map(|name| ("name", Identifier::own(name))),
    }
}

/// A word that is known.
fn known<'a>(name: &'static str, value: Option<&'a str>) -> Option<(&'static str, Cow<'a, str>)> {
    value.filter(|value| !value.is_empty()).map(|value| (name, Cow::Borrowed(value)))
}

/// What else is known of the object.
fn details(record: &Record, pattern: Pattern) -> Vec<(&'static str, Cow<'_, str>)> {
    let on = &record.on;
    let named = on.media.is_some() || on.room.is_some() || on.event.is_some();
    let room =
        on.room.as_deref().filter(|_| on.media.is_some()).map(|room| ("room", Cow::Owned(matrix_uri::room(room))));
    let event = on.event.as_deref().filter(|_| on.media.is_some());
    let count = on.count.map(|count| ("count", Cow::Owned(count.to_string())));
    let all = [
        known("name", on.name.as_deref().filter(|_| named)),
        room,
        known("event", event),
        known("type", on.kind.as_deref()),
        count,
        known("last", on.last.as_deref()),
        known("detail", on.detail.as_deref()),
        known("old", on.old.as_deref()),
        known("new", on.new.as_deref()),
    ];
    let servers = if pattern == Pattern::Send { &[] } else { &*on.servers };
    all.into_iter().flatten().chain(servers.iter().filter_map(|server| known("server", Some(server)))).collect()
}

macro_rules! balp {
    ($name:literal) => {
        Some(concat!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.", $name))
    };
}

/// The canonical address of the pattern that an event follows. Patterns are of what succeeded over the network, on one object.
fn profile(record: &Record, meaning: Meaning, entities: &[Entity<'_>]) -> Option<&'static str> {
    let mut objects = entities.iter().filter(|entity| entity.kind == codes::SYSTEM_OBJECT);
    let (first, second) = (objects.next()?, objects.next());
    let from_somewhere = record.who.ip.is_some() || record.who.server.is_some() || record.who == Who::default();
    if record.outcome != Outcome::Success || second.is_some() || !from_somewhere {
        return None;
    }
    let is = |role: Code| first.role == Some(role);
    match meaning.pattern {
        Pattern::Read if is(codes::DOMAIN_RESOURCE) => balp!("Read"),
        Pattern::Query if is(codes::QUERY) => balp!("Query"),
        Pattern::Create if is(codes::DOMAIN_RESOURCE) => balp!("Create"),
        Pattern::Update if is(codes::DOMAIN_RESOURCE) => balp!("Update"),
        Pattern::Delete if is(codes::DOMAIN_RESOURCE) => balp!("Delete"),
        _ => None,
    }
}
