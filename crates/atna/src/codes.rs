//! The codes that records are told in.

/// A code of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) system: &'static str,
    pub(crate) code: &'static str,
    pub(crate) display: &'static str,
}

/// DICOM PS3.16, annex D.
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const REST_INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const OBJECT_LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const SECURITY_ROLE: &str = "http://terminology.hl7.org/CodeSystem/extra-security-role-type";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

const fn code(system: &'static str, code: &'static str, display: &'static str) -> Code {
    Code { system, code, display }
}

impl Code {
    /// The name of the system in DICOM messages, which name their own differently.
    pub(crate) fn dicom_system(self) -> &'static str {
        if self.system == DCM { "DCM" } else { self.system }
    }
}

// What happened.
pub(crate) const APPLICATION: Code = code(DCM, "110100", "Application Activity");
pub(crate) const AUDIT_LOG_USED: Code = code(DCM, "110101", "Audit Log Used");
pub(crate) const EXPORT: Code = code(DCM, "110106", "Export");
pub(crate) const IMPORT: Code = code(DCM, "110107", "Import");
pub(crate) const SECURITY_ALERT: Code = code(DCM, "110113", "Security Alert");
pub(crate) const USER_AUTHENTICATION: Code = code(DCM, "110114", "User Authentication");
pub(crate) const REST: Code =
    code("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "RESTful Operation");

// What exactly.
pub(crate) const START: Code = code(DCM, "110120", "Application Start");
pub(crate) const STOP: Code = code(DCM, "110121", "Application Stop");
pub(crate) const LOGIN: Code = code(DCM, "110122", "Login");
pub(crate) const LOGOUT: Code = code(DCM, "110123", "Logout");
pub(crate) const EMERGENCY_STARTED: Code = code(DCM, "110127", "Emergency Override Started");
pub(crate) const SECURITY_CONFIGURATION: Code = code(DCM, "110129", "Security Configuration");
pub(crate) const RESTRICTED_FUNCTION: Code = code(DCM, "110132", "Use of Restricted Function");
pub(crate) const RECORDING_STOPPED: Code = code(DCM, "110133", "Audit Recording Stopped");
pub(crate) const RECORDING_STARTED: Code = code(DCM, "110134", "Audit Recording Started");
pub(crate) const OBJECT_SECURITY: Code = code(DCM, "110135", "Object Security Attributes Changed");
pub(crate) const ROLES_CHANGED: Code = code(DCM, "110136", "Security Roles Changed");
pub(crate) const USER_SECURITY: Code = code(DCM, "110137", "User security Attributes Changed");
pub(crate) const EMERGENCY_STOPPED: Code = code(DCM, "110138", "Emergency Override Stopped");
pub(crate) const READ: Code = code(REST_INTERACTION, "read", "read");
pub(crate) const SEARCH: Code = code(REST_INTERACTION, "search", "search");
pub(crate) const CREATE: Code = code(REST_INTERACTION, "create", "create");
pub(crate) const UPDATE: Code = code(REST_INTERACTION, "update", "update");
pub(crate) const DELETE: Code = code(REST_INTERACTION, "delete", "delete");
pub(crate) const AUTHORIZED_BY_ROLE: Code = code(
    "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType",
    "AuthZ-Role",
    "Authorization Decision using only Roles",
);
pub(crate) const DISCLOSE: Code = code(LIFECYCLE, "disclose", "Disclose Record Lifecycle Event");
pub(crate) const TRANSMIT: Code = code(LIFECYCLE, "transmit", "Transmit Record Lifecycle Event");
pub(crate) const RECEIVE: Code = code(LIFECYCLE, "receive", "Receive/Retain Record Lifecycle Event");
pub(crate) const DESTROY: Code = code(LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event");
pub(crate) const HOLD: Code = code(LIFECYCLE, "hold", "Add Legal Hold Record Lifecycle Event");
pub(crate) const UNHOLD: Code = code(LIFECYCLE, "unhold", "Remove Legal Hold Record Lifecycle Event");

// Who.
pub(crate) const RECIPIENT: Code = code(PARTICIPATION, "IRCP", "information recipient");
pub(crate) const AUTHOR: Code = code(PARTICIPATION, "AUT", "author (originator)");
pub(crate) const HUMAN: Code = code(SECURITY_ROLE, "humanuser", "human user");
pub(crate) const AUTHORIZER: Code = code(SECURITY_ROLE, "authserver", "authorization server");
pub(crate) const CLIENT_APPLICATION: Code = code(DCM, "110150", "Application");
pub(crate) const DESTINATION: Code = code(DCM, "110152", "Destination Role ID");
pub(crate) const SOURCE: Code = code(DCM, "110153", "Source Role ID");
pub(crate) const CUSTODIAN: Code =
    code("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian", "Custodian");

/// Type of the source of every record.
pub(crate) const APPLICATION_SERVER: Code =
    code("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server");

// On what.
pub(crate) const PERSON: Code = code(ENTITY_TYPE, "1", "Person");
pub(crate) const SYSTEM_OBJECT: Code = code(ENTITY_TYPE, "2", "System Object");
pub(crate) const OTHER: Code = code(ENTITY_TYPE, "4", "Other");
/// The entity that holds the id of a request (IHE BALP).
pub(crate) const REQUEST_ID: Code = code(
    "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    "XrequestId",
    "transport specific unique identifier where http X-Request-Id is used",
);
pub(crate) const DOMAIN_RESOURCE: Code = code(OBJECT_ROLE, "4", "Domain Resource");
pub(crate) const SECURITY_USER: Code = code(OBJECT_ROLE, "11", "Security User Entity");
pub(crate) const SECURITY_GROUP: Code = code(OBJECT_ROLE, "12", "Security User Group");
pub(crate) const SECURITY_RESOURCE: Code = code(OBJECT_ROLE, "13", "Security Resource");
pub(crate) const QUERY: Code = code(OBJECT_ROLE, "24", "Query");
pub(crate) const ORIGINATION: Code = code(OBJECT_LIFECYCLE, "1", "Origination / Creation");
pub(crate) const IMPORTED: Code = code(OBJECT_LIFECYCLE, "2", "Import / Copy");
pub(crate) const AMENDMENT: Code = code(OBJECT_LIFECYCLE, "3", "Amendment");
pub(crate) const ACCESS: Code = code(OBJECT_LIFECYCLE, "6", "Access / Use");
pub(crate) const EXPORTED: Code = code(OBJECT_LIFECYCLE, "10", "Export");
pub(crate) const LOGICAL_DELETION: Code = code(OBJECT_LIFECYCLE, "14", "Logical deletion");
pub(crate) const PERMANENT_ERASURE: Code = code(OBJECT_LIFECYCLE, "15", "Permanent erasure / Physical destruction");

// Why.
pub(crate) const EMERGENCY_TREATMENT: Code = code(ACT_REASON, "ETREAT", "Emergency Treatment");
pub(crate) const BREAK_THE_GLASS: Code = code(ACT_REASON, "BTG", "break the glass");
