//! What each act is in the words of FHIR, DICOM and IHE: one row for each.

use wardroom_audit::{Act, Record};

use crate::codes::{self, Code};

/// What was done with the object (`AuditEvent.action`, `EventActionCode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Read,
    Update,
    Delete,
    Execute,
    /// As the method of the call says.
    OfCall,
}

impl Action {
    /// The code for a record.
    pub(crate) fn letter(self, record: &Record) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update => "U",
            Self::Delete => "D",
            Self::Execute => "E",
            Self::OfCall => match record.on.detail.as_deref().and_then(|detail| detail.split(' ').next()) {
                Some("GET" | "HEAD") => "R",
                Some("PUT" | "PATCH") => "U",
                Some("DELETE") => "D",
                _ => "E",
            },
        }
    }

    /// Whether records can have this code.
    pub(crate) fn can_be(self, letter: &str) -> bool {
        match self {
            Self::OfCall => matches!(letter, "R" | "U" | "D" | "E"),
            Self::Create => letter == "C",
            Self::Read => letter == "R",
            Self::Update => letter == "U",
            Self::Delete => letter == "D",
            Self::Execute => letter == "E",
        }
    }
}

/// The fixed pattern that a record follows (IHE Basic Audit Log Patterns): who takes part, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Read,
    Query,
    Create,
    Update,
    Delete,
    /// A decision about access.
    Decision,
    /// To other servers.
    Send,
    /// From another server.
    Receive,
    /// None: a client, this server and a user.
    Plain,
}

/// What an act is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    pub(crate) kind: Code,
    pub(crate) subtypes: &'static [Code],
    pub(crate) action: Action,
    pub(crate) pattern: Pattern,
    /// What the object is for: the thing itself, or what protects it.
    pub(crate) role: Code,
    pub(crate) lifecycle: Option<Code>,
}

const fn alert(subtype: &'static [Code], action: Action) -> Meaning {
    Meaning {
        kind: codes::SECURITY_ALERT,
        subtypes: subtype,
        action,
        pattern: Pattern::Plain,
        role: codes::SECURITY_RESOURCE,
        lifecycle: None,
    }
}

const fn of_kind(kind: Code, subtypes: &'static [Code], action: Action) -> Meaning {
    Meaning { kind, ..alert(subtypes, action) }
}

const fn rest(subtypes: &'static [Code], action: Action, pattern: Pattern, lifecycle: Code) -> Meaning {
    Meaning { kind: codes::REST, subtypes, action, pattern, role: codes::DOMAIN_RESOURCE, lifecycle: Some(lifecycle) }
}

const fn exchange(kind: Code, subtypes: &'static [Code], action: Action, pattern: Pattern, is: Code) -> Meaning {
    Meaning { kind, ..rest(subtypes, action, pattern, is) }
}

const fn decision(subtypes: &'static [Code], role: Code) -> Meaning {
    Meaning { pattern: Pattern::Decision, role, ..alert(subtypes, Action::Execute) }
}

const fn with_role(meaning: Meaning, role: Code) -> Meaning {
    Meaning { role, ..meaning }
}

/// What an act is. There is no "anything else": a new act has to say what it is.
pub(crate) const fn of(act: Act) -> Meaning {
    use Action::{Create, Delete, Execute, OfCall, Read, Update};
    match act {
        Act::ServerStart => of_kind(codes::APPLICATION, &[codes::START], Execute),
        Act::ServerStop => of_kind(codes::APPLICATION, &[codes::STOP], Execute),
        Act::AuditStart => alert(&[codes::RECORDING_STARTED], Execute),
        Act::AuditStop => alert(&[codes::RECORDING_STOPPED], Execute),
        Act::Login | Act::LoginFailed => of_kind(codes::USER_AUTHENTICATION, &[codes::LOGIN], Execute),
        Act::Logout => of_kind(codes::USER_AUTHENTICATION, &[codes::LOGOUT], Execute),
        Act::AccountCreate => alert(&[codes::USER_SECURITY], Create),
        Act::AccountChange | Act::KeysRestore | Act::DeviceVerify | Act::DeviceDelete => {
            alert(&[codes::USER_SECURITY], Update)
        }
        Act::AccountErase => alert(&[codes::USER_SECURITY, codes::DESTROY], Delete),
        Act::AccountExport => exchange(codes::EXPORT, &[codes::DISCLOSE], Read, Pattern::Plain, codes::EXPORTED),
        Act::RoomRead | Act::MediaRead | Act::HoldRead => rest(&[codes::READ], Read, Pattern::Read, codes::ACCESS),
        Act::Search | Act::Directory | Act::Hierarchy => rest(&[codes::SEARCH], Execute, Pattern::Query, codes::ACCESS),
        Act::MediaCreate | Act::EventSend => rest(&[codes::CREATE], Create, Pattern::Create, codes::ORIGINATION),
        Act::EventEdit => rest(&[codes::UPDATE], Update, Pattern::Update, codes::AMENDMENT),
        Act::EventRedact => rest(&[codes::DELETE], Delete, Pattern::Delete, codes::LOGICAL_DELETION),
        Act::MediaDelete | Act::RoomDelete => rest(&[codes::DELETE], Delete, Pattern::Delete, codes::PERMANENT_ERASURE),
        Act::MemberJoin
        | Act::MemberLeave
        | Act::MemberInvite
        | Act::MemberKick
        | Act::MemberBan
        | Act::MemberUnban
        | Act::MemberKnock
        | Act::RoomChange => alert(&[codes::OBJECT_SECURITY], Update),
        Act::RoleCheck => decision(&[codes::AUTHORIZED_BY_ROLE], codes::SECURITY_RESOURCE),
        Act::PolicySign => decision(&[codes::AUTHORIZED_BY_ROLE], codes::DOMAIN_RESOURCE),
        Act::ServerConfig => alert(&[codes::SECURITY_CONFIGURATION], Update),
        Act::RoleMap => with_role(alert(&[codes::ROLES_CHANGED], Update), codes::SECURITY_GROUP),
        Act::RoleChange => with_role(alert(&[codes::USER_SECURITY], Update), codes::SECURITY_USER),
        Act::AdminCall => alert(&[codes::RESTRICTED_FUNCTION], OfCall),
        Act::AdminImpersonate | Act::EmergencyReview => alert(&[codes::RESTRICTED_FUNCTION], Execute),
        Act::EmergencyBegin => alert(&[codes::EMERGENCY_STARTED], Execute),
        Act::EmergencyEnd => alert(&[codes::EMERGENCY_STOPPED], Execute),
        Act::AuditRead | Act::AuditExport => of_kind(codes::AUDIT_LOG_USED, &[codes::DISCLOSE], Read),
        Act::FederationSend => exchange(codes::EXPORT, &[codes::TRANSMIT], Read, Pattern::Send, codes::EXPORTED),
        Act::FederationReceive => exchange(codes::IMPORT, &[codes::RECEIVE], Create, Pattern::Receive, codes::IMPORTED),
        Act::RetentionPurge | Act::RetentionShred => {
            rest(&[codes::DELETE, codes::DESTROY], Delete, Pattern::Delete, codes::PERMANENT_ERASURE)
        }
        Act::RetentionRedact => {
            rest(&[codes::DELETE, codes::DESTROY], Delete, Pattern::Delete, codes::LOGICAL_DELETION)
        }
        Act::HoldSet => alert(&[codes::HOLD], Update),
        Act::HoldRelease => alert(&[codes::UNHOLD], Update),
    }
}
