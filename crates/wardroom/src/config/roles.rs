//! `[roles]`

use ruma::{OwnedServerName, ServerName, UserId};
use serde::{Deserialize, Serialize};
use wardroom_care::{AttestTo, ClaimRule, Requirement, Role, Settings};

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
    /// Which roles of this server's users are told to which other servers.
    pub(crate) attest_to: Vec<Attest>,
}

/// Which roles another server is told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attest {
    /// Name of the server.
    pub(crate) server: String,
    /// Roles that meet one of these requirements.
    pub(crate) roles: Vec<String>,
    /// Whether it is told before it invites somebody to a room, too.
    #[serde(default)]
    pub(crate) before_invitations: bool,
}

impl Attest {
    fn read(&self) -> Result<AttestTo, String> {
        let server = OwnedServerName::try_from(self.server.as_str());
        let server = server.map_err(|_| "server: is no server name".to_owned())?;
        if self.roles.is_empty() {
            return Err("roles: is empty".to_owned());
        }
        let requirement = |(index, role): (usize, &String)| {
            Requirement::parse(role).map_err(|error| format!("roles[{index}]: {error}"))
        };
        let roles = self.roles.iter().enumerate().map(requirement).collect::<Result<_, _>>()?;
        Ok(AttestTo { server, roles, before_invitations: self.before_invitations })
    }
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
            attest_to: Vec::new(),
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
        for (index, attest) in self.attest_to.iter().enumerate() {
            let twice = self.attest_to.iter().take(index).any(|other| other.server == attest.server);
            let problem = match attest.read() {
                Err(problem) => Some(problem),
                Ok(to) if to.server == server => Some("server: is this server".to_owned()),
                Ok(_) if twice => Some("server: is there twice".to_owned()),
                Ok(_) => None,
            };
            problems.extend(problem.map(|problem| format!("roles.attest_to[{index}].{problem}")));
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
            attest_to: self.attest_to.iter().filter_map(|attest| attest.read().ok()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::{Attest, Roles};

    #[test]
    fn what_is_wrong_with_whom_roles_are_told_is_named() {
        let told = |server: &str, roles: &[&str]| Attest {
            server: server.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            before_invitations: false,
        };
        let problems = |attest_to: Vec<Attest>| {
            let roles = Roles { attest_to, ..Roles::default() };
            (roles.problems(server_name!("h1.example")), roles.settings(server_name!("h1.example")).unwrap().attest_to)
        };
        let (good, read) = problems(vec![told("h2.example", &["physician@h1/*"])]);
        assert!(good.is_empty() && read.len() == 1);
        for (attest, problem) in [
            (told("no server", &["physician@h1"]), "roles.attest_to[0].server: is no server name"),
            (told("h1.example", &["physician@h1"]), "roles.attest_to[0].server: is this server"),
            (told("h2.example", &[]), "roles.attest_to[0].roles: is empty"),
            (told("h2.example", &["physician@h1", "x"]), "roles.attest_to[0].roles[1]: "),
        ] {
            let (found, _) = problems(vec![attest]);
            assert!(found.len() == 1 && found[0].starts_with(problem), "{found:?}");
        }
        let twice = vec![told("h2.example", &["physician@h1"]), told("h2.example", &["nurse@h1"])];
        assert_eq!(problems(twice).0, ["roles.attest_to[1].server: is there twice"]);
    }
}
