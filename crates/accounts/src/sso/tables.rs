//! What is kept of identity providers, table ids 0x0180 to 0x018F.

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Packed, Profile, Seal, Table, TableSpec};

use crate::tables::{DeviceKey, UserKey};

/// hash of issuer and subject -> number of the user. Stays when the user is deactivated, so that the person is not given
/// another account.
pub(super) const SSO_SUBJECTS: Table<Hash16, u64> = Table::new(0x0180, "sso_subjects", Profile::Point, Seal::System);
/// (user, hash of issuer and subject) -> [`LinkRow`].
pub(crate) const SSO_USERS: Table<(UserKey, Hash16), Packed<LinkRow>> =
    Table::new(0x0181, "sso_users", Profile::Scan, Seal::Scoped);
/// (user, device) -> [`OriginRow`], of devices that were signed in with a provider.
pub(crate) const SSO_DEVICES: Table<DeviceKey, Packed<OriginRow>> =
    Table::new(0x0182, "sso_devices", Profile::Scan, Seal::System);
/// (hash of issuer and session, user, device): which devices were signed in in a session.
pub(super) const SSO_SESSIONS: Table<(Hash16, UserKey, Hash16), ()> =
    Table::new(0x0183, "sso_sessions", Profile::Scan, Seal::System);

pub(super) const TABLES: &[TableSpec] =
    &[*SSO_SUBJECTS.spec(), *SSO_USERS.spec(), *SSO_DEVICES.spec(), *SSO_SESSIONS.spec()];

/// A person of a provider whose account this is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkRow {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// As of the last sign-in.
    pub(crate) email: Option<String>,
    pub(crate) linked_ms: u64,
}

/// Where a device was signed in from.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OriginRow {
    pub(crate) subject: Hash16,
    /// The session at the provider, where it told.
    pub(crate) session: Option<Hash16>,
}
