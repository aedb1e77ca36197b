//! What the handlers of the client-server API work with.

use std::{sync::Arc, time::Duration};

use ruma::{
    OwnedServerName, api::client::discovery::discover_support::Contact,
    events::room::history_visibility::HistoryVisibility,
};
use tokio_util::sync::CancellationToken;
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_care::Care;
use wardroom_clock::SharedClock;
use wardroom_federation::Federation;
use wardroom_push::Push;
use wardroom_rooms::Rooms;
use wardroom_sso::Sso;
use wardroom_sync::Syncer;
use wardroom_web::{ApiState, RateLimits};

use crate::TurnServers;

/// The services, as every handler receives them. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct ClientState {
    /// Users, devices, tokens, profiles, account data.
    pub accounts: Accounts,
    /// Rooms, their events and members.
    pub rooms: Rooms,
    /// Who may be in which room, by role.
    pub care: Care,
    /// What clients have to hear.
    pub sync: Syncer,
    /// Push notifications.
    pub push: Push,
    /// Other servers, where this one speaks to any.
    pub federation: Option<Federation>,
    /// Single sign-on, where an identity provider is configured.
    pub sso: Option<Sso>,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// Settings of this API.
    pub settings: Arc<ClientSettings>,
    /// The time.
    pub clock: SharedClock,
    /// The audit trail.
    pub audit: AuditLog,
    /// Cancelled when the server stops: long polls answer at once then.
    pub stopping: CancellationToken,
}

/// What an operator decides about the client-server API.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Name of this server.
    pub server_name: OwnedServerName,
    /// Where clients reach this server, as `/.well-known/matrix/client` tells them; without a slash at the end.
    pub public_url: String,
    /// Whom people turn to for help, as `/.well-known/matrix/support` tells them.
    pub support: Support,
    /// Whether the user directory finds every user of this server, not only those whom the searching user could meet.
    pub search_all_users: bool,
    /// TURN servers, if there are any.
    pub turn: Option<TurnServers>,
    /// Authorization services of LiveKit, where group calls meet: the preferred one first.
    pub livekit_service_urls: Vec<String>,
    /// What may be sent later.
    pub delayed_events: DelayedEventLimits,
    /// Who reads the history of a new room that is not public, where whoever makes it does not say.
    pub private_history: HistoryVisibility,
}

/// Whom people turn to for help.
#[derive(Clone, Debug, Default)]
pub struct Support {
    /// URL of a page with help.
    pub page: Option<String>,
    /// Whom to write to.
    pub contacts: Vec<Contact>,
}

/// Limits of delayed events.
#[derive(Clone, Copy, Debug)]
pub struct DelayedEventLimits {
    /// The longest delay.
    pub max_delay: Duration,
    /// Events of one user that may wait at once; zero where there are none.
    pub max_per_user: usize,
}

impl Default for DelayedEventLimits {
    fn default() -> Self {
        Self { max_delay: Duration::from_hours(24), max_per_user: 100 }
    }
}

impl ClientSettings {
    /// Settings of a server without TURN servers and group calls.
    pub fn new(server_name: OwnedServerName, public_url: String) -> Self {
        Self {
            server_name,
            public_url,
            support: Support::default(),
            search_all_users: false,
            turn: None,
            livekit_service_urls: Vec::new(),
            delayed_events: DelayedEventLimits::default(),
            private_history: HistoryVisibility::Shared,
        }
    }
}

impl ApiState for ClientState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}
