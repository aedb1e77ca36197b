//! The audit trail for others: its records as FHIR R4 `AuditEvent` resources (IHE BALP, ITI-81), and as DICOM audit messages
//! over syslog (IHE ATNA, ITI-20).
//!
//! Each act has one row that says what it is in the codes of those standards (`meaning`); a record becomes an event of who took
//! part as what and on what it was done (`event`); FHIR and DICOM are two ways to write that down. Nothing is told that the
//! record does not hold.
//!
//! Searches and exports read the trail; feeds follow it.
//!
//! Absent on purpose: serving HTTP, and any way to change the trail.

mod codes;
mod dicom;
mod event;
mod exports;
mod feeds;
mod fhir;
mod matrix_uri;
mod meaning;
mod selection;
mod tables;
#[cfg(test)]
mod tests;

pub use self::{
    dicom::{audit_message, syslog_message},
    exports::{
        EXPORT_LIFE_MS, EXPORTS_MAX, EXPORTS_PER_USER_MAX, ExportError, ExportFile, ExportReader, ExportRequest,
        ExportStatus, Exports,
    },
    feeds::{Destination, FeedError, FeedSample, FeedSettings, Feeds, FhirFeed, SyslogFeed},
    fhir::AuditEvent,
    selection::{COUNT_DEFAULT, COUNT_MAX, Found, Misunderstood, SEARCH_PARAMETERS, Selection},
    tables::TABLES,
};
