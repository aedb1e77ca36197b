//! `[roles]`

use ruma::{ServerName, UserId};
use serde::{Deserialize, Serialize};
use wardroom_care::Settings;

const MS_PER_MINUTE: u64 = 60_000;

/// Who may be in which room, by role.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Roles {
    /// Local part of the user who acts for the server in rooms with an access policy.
    pub(crate) service_user: String,
    /// How that user is shown.
    pub(crate) service_display_name: String,
    /// Minutes after which everybody in such rooms is looked at although nothing changed.
    pub(crate) recheck_minutes: u64,
    /// Percent of the users of a directory from whom one reading of it may take roles away.
    pub(crate) removal_percent_max: u8,
}

impl Default for Roles {
    fn default() -> Self {
        Self {
            service_user: "_access".to_owned(),
            service_display_name: "Access".to_owned(),
            recheck_minutes: 30,
            removal_percent_max: 20,
        }
    }
}

impl Roles {
    pub(super) fn problems(&self, server: &ServerName) -> Vec<String> {
        let mut problems = Vec::new();
        if UserId::parse_with_server_name(self.service_user.as_str(), server).is_err() {
            problems.push("roles.service_user: is no local part of a user id".to_owned());
        }
        if !(1..=60).contains(&self.recheck_minutes) {
            problems.push("roles.recheck_minutes: must be from 1 to 60".to_owned());
        }
        if self.removal_percent_max > 100 {
            problems.push("roles.removal_percent_max: must be from 0 to 100".to_owned());
        }
        problems
    }

    /// As the service wants them; none where the name of the user cannot be one.
    pub(crate) fn settings(&self, server: &ServerName) -> Option<Settings> {
        let service_user = UserId::parse_with_server_name(self.service_user.as_str(), server).ok()?;
        Some(Settings {
            service_user,
            display_name: self.service_display_name.clone(),
            recheck_ms: self.recheck_minutes.saturating_mul(MS_PER_MINUTE),
            removal_percent_max: self.removal_percent_max,
        })
    }
}
