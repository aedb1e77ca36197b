//! What the handlers of the server-server API work with.

use std::sync::Arc;

use ruma::OwnedServerName;
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_care::Care;
use wardroom_clock::SharedClock;
use wardroom_event::SigningKey;
use wardroom_federation::Federation;
use wardroom_media::Media;
use wardroom_rooms::Rooms;
use wardroom_sync::Syncer;
use wardroom_web::{ApiState, RateLimits};

use crate::Transactions;

/// The services, as every handler receives them. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct FederationState {
    /// Name of this server.
    pub server_name: OwnedServerName,
    /// Users of this server.
    pub accounts: Accounts,
    /// The rooms.
    pub rooms: Rooms,
    /// The content repository.
    pub media: Media,
    /// Presence and what clients have to hear.
    pub sync: Syncer,
    /// Who may be in which room, by role.
    pub care: Care,
    /// Other servers.
    pub federation: Federation,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// Key that signs events and key documents.
    pub signing_key: Arc<SigningKey>,
    /// What `/.well-known/matrix/server` tells, if anything.
    pub well_known_server: Option<OwnedServerName>,
    /// The time.
    pub clock: SharedClock,
    /// The audit trail.
    pub audit: AuditLog,
    /// Transactions that were answered lately.
    pub transactions: Transactions,
    /// Whether other servers are shown the directory of published rooms.
    pub public_rooms: bool,
}

impl ApiState for FederationState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}
