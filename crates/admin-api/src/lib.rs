//! The admin API: what operators and their scripts do with the server over HTTP.
//!
//! What Synapse has too is at the paths and in the shapes that existing tools know (`/_synapse/admin`); what is this
//! server's own is under `/_wardroom/admin`. Every endpoint names the scope that an administrator needs for it
//! ([`Described`]), and stands in the document that is served at `/_wardroom/admin/v1/openapi.json`.

mod access;
mod audit;
mod audit_export;
mod backup;
mod calls;
mod console;
mod csv;
mod delivery;
mod endpoint;
mod error;
mod federation_destinations;
mod federation_policy;
mod holds;
mod media;
mod notices;
mod openapi;
mod profile;
mod register;
mod registration_tokens;
mod reports;
mod reports_disclosures;
mod reports_logins;
mod reports_reads;
mod retention;
mod room_graph;
mod rooms;
mod scheduled_tasks;
mod send_server_notice;
mod server;
mod users;

use std::sync::Arc;

use axum::Router;
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_care::Care;
use wardroom_directories::Directories;
use wardroom_federation::Federation;
use wardroom_holds::Holds;
use wardroom_media::Media;
use wardroom_rooms::Rooms;
use wardroom_web::{ApiState, RateLimits, Routes};

use self::endpoint::Endpoints;
pub use self::{
    backup::{BackupFailed, BackupFuture, BackupMade, Backups},
    endpoint::Described,
    notices::{Notice, NoticeError, NoticeSettings, Notices},
};

/// The services, as every handler receives them. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Users, devices, tokens.
    pub accounts: Accounts,
    /// The rooms.
    pub rooms: Rooms,
    /// Who may be in which room, by role.
    pub care: Care,
    /// The directories that are read.
    pub directories: Directories,
    /// The content repository.
    pub media: Media,
    /// Other servers, where this one speaks to any.
    pub federation: Option<Federation>,
    /// The audit trail.
    pub audit: AuditLog,
    /// Legal holds.
    pub holds: Holds,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// Notices to users, where the operator wants any.
    pub notices: Option<Notices>,
    /// Who makes backups, where the operator wants any.
    pub backups: Option<Arc<dyn Backups>>,
    /// Administrators may sign in as other users.
    pub impersonation: bool,
}

impl ApiState for AdminState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}

/// The admin API over `state`. Unknown paths are left to the listener's fallback.
pub fn router(state: AdminState) -> Router {
    routes().into_router(state)
}

/// Every endpoint of the admin API.
pub fn routes() -> Routes<AdminState> {
    endpoints().into_parts().0
}

/// What is told of each of them.
pub fn described() -> Vec<Described> {
    endpoints().into_parts().1
}

fn endpoints() -> Endpoints {
    register::endpoints()
        .merge(server::endpoints())
        .merge(openapi::endpoints())
        .merge(users::endpoints())
        .merge(rooms::endpoints())
        .merge(media::endpoints())
        .merge(reports::endpoints())
        .merge(registration_tokens::endpoints())
        .merge(scheduled_tasks::endpoints())
        .merge(room_graph::endpoints())
        .merge(send_server_notice::endpoints())
        .merge(federation_policy::endpoints())
        .merge(federation_destinations::endpoints())
        .merge(access::endpoints())
        .merge(audit::endpoints())
        .merge(reports_logins::endpoints())
        .merge(reports_disclosures::endpoints())
        .merge(console::endpoints())
        .merge(audit_export::endpoints())
        .merge(retention::endpoints())
        .merge(holds::endpoints())
        .merge(delivery::endpoints())
        .merge(reports_reads::endpoints())
        .merge(backup::endpoints())
}
