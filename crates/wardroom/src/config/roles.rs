//! `[roles]`

use ruma::{ServerName, UserId};
use serde::{Deserialize, Serialize};
use wardroom_care::{ClaimRule, Role, Settings};

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
    /// Which claims of identity providers give which roles.
    pub(crate) claims: Vec<Claim>,
}

/// A rule: who has this value in a claim has this role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Claim {
    /// The provider's id; empty for every provider.
    pub(crate) provider: String,
    /// JSON pointer to the claim.
    pub(crate) claim: String,
    /// The value; empty, together with `gives`, where the values are roles themselves.
    pub(crate) value: String,
    /// The role.
    pub(crate) gives: String,
}

impl Claim {
    fn problem(&self) -> Option<String> {
        if !self.claim.starts_with('/') {
            return Some("claim: is no JSON pointer, such as /groups".to_owned());
        }
        if self.value.is_empty() != self.gives.is_empty() {
            return Some("gives: goes with value; without both, the values of the claim are the roles".to_owned());
        }
        let role = (!self.gives.is_empty()).then(|| Role::parse(&self.gives));
        role.and_then(Result::err).map(|error| format!("gives: {error}"))
    }

    fn rule(&self) -> ClaimRule {
        let named = |text: &String| (!text.is_empty()).then(|| text.clone());
        ClaimRule {
            provider: named(&self.provider),
            claim: self.claim.clone(),
            value: named(&self.value),
            gives: Role::parse(&self.gives).ok(),
        }
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self {
            service_user: "_access".to_owned(),
            service_display_name: "Access".to_owned(),
            recheck_minutes: 30,
            removal_percent_max: 20,
            claims: Vec::new(),
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
        for (index, claim) in self.claims.iter().enumerate() {
            problems.extend(claim.problem().map(|problem| format!("roles.claims[{index}].{problem}")));
        }
        problems
    }

    /// The rules for claims.
    pub(crate) fn claim_rules(&self) -> Vec<ClaimRule> {
        self.claims.iter().map(Claim::rule).collect()
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
