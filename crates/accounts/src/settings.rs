//! What an operator decides about accounts.

use std::fmt;

use ruma::{OwnedServerName, OwnedUserId};
use wardroom_holds::Holds;

/// An hour: how long an access token lives that comes with a refresh token.
pub const REFRESHABLE_ACCESS_MS_DEFAULT: u64 = 60 * 60 * 1_000;

/// Settings of [`Accounts`](crate::Accounts).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this server, the part after the colon in the ids of its users.
    pub server_name: OwnedServerName,
    /// Cost of a password hash.
    pub password: PasswordCost,
    /// Who may register.
    pub registration: Registration,
    /// How long tokens live.
    pub tokens: TokenLifetimes,
    /// Users see who is there.
    pub presence: bool,
    /// What is for users of other servers is sent to them.
    pub federation: bool,
    /// Users that act for the server itself. Nobody gets such a name, and nobody signs in as one.
    pub own_users: Vec<OwnedUserId>,
    /// What must not be deleted.
    pub holds: Holds,
}

impl Settings {
    /// Settings with defaults: nobody may register, passwords cost what OWASP recommends.
    pub fn new(server_name: OwnedServerName) -> Self {
        Self {
            server_name,
            password: PasswordCost::default(),
            registration: Registration::default(),
            tokens: TokenLifetimes::default(),
            presence: true,
            federation: false,
            own_users: Vec::new(),
            holds: Holds::default(),
        }
    }
}

/// Parameters of argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordCost {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

/// Ways to get an account without an administrator's hand.
#[derive(Clone, Default)]
pub struct Registration {
    /// Anybody may register.
    pub open: bool,
    /// Whoever knows one of these may register (`m.login.registration_token`).
    pub tokens: Vec<String>,
    /// Whoever knows this may register users and administrators over the admin API.
    pub shared_secret: Option<String>,
    /// Guest accounts may be made.
    pub guests: bool,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("open", &self.open).field("guests", &self.guests).finish_non_exhaustive()
    }
}

/// How long tokens live, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct TokenLifetimes {
    /// Access tokens of clients that do not refresh; `None` is for ever.
    pub access_ms: Option<u64>,
    /// Access tokens that come with a refresh token.
    pub refreshable_access_ms: u64,
    /// Refresh tokens since they were given out; `None` is for ever.
    pub refresh_ms: Option<u64>,
    /// Sessions that nobody uses; `None` is for ever. What clients ask for by themselves, again and again, is no use.
    pub idle_ms: Option<u64>,
    /// Sessions since somebody signed in, however often their tokens were refreshed; `None` is for ever.
    pub session_ms: Option<u64>,
}

impl Default for TokenLifetimes {
    fn default() -> Self {
        Self {
            access_ms: None,
            refreshable_access_ms: REFRESHABLE_ACCESS_MS_DEFAULT,
            refresh_ms: None,
            idle_ms: None,
            session_ms: None,
        }
    }
}
