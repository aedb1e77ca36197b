//! `[[directories.fhir]]`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use url::Url;
use wardroom_care::Role;
use wardroom_directories::FhirSettings;

const SECONDS_PER_HOUR: u64 = 3_600;
/// How long at most may pass between two readings of everything, in hours.
const FULL_EVERY_HOURS_MAX: u64 = 24;

/// One directory of practitioners and their roles.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fhir {
    /// Short name, by which its roles are known.
    pub(crate) name: String,
    /// Where it is.
    base_url: String,
    /// A file with a token that goes with every request; empty for none.
    #[serde(default)]
    token_file: PathBuf,
    /// The system of the identifier that the local parts of user ids are made from.
    identifier_system: String,
    /// Organisations by reference or identifier.
    #[serde(default)]
    organizations: BTreeMap<String, String>,
    /// The organisation of roles that name none of these; empty for none.
    #[serde(default)]
    default_organization: String,
    /// Systems whose codes are those of roles.
    #[serde(default)]
    code_systems: Vec<String>,
    /// Codes of roles by system and code.
    #[serde(default)]
    codes: BTreeMap<String, String>,
    /// Units by location or specialty.
    #[serde(default)]
    units: BTreeMap<String, String>,
    /// Whether the sessions of practitioners who are not active are ended.
    #[serde(default)]
    end_sessions: bool,
    /// Seconds between two questions for what changed.
    #[serde(default = "default_poll_seconds")]
    pub(crate) poll_seconds: u64,
    /// Hours between two readings of everything.
    #[serde(default = "default_full_every_hours")]
    full_every_hours: u64,
    /// Seconds for one request.
    #[serde(default = "default_timeout_seconds")]
    pub(crate) timeout_seconds: u64,
}

const fn default_poll_seconds() -> u64 {
    60
}

const fn default_full_every_hours() -> u64 {
    1
}

const fn default_timeout_seconds() -> u64 {
    30
}

impl Fhir {
    /// One with every option.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        toml::from_str("name = \"y\"\nbase_url = \"https://x\"\nidentifier_system = \"x\"").unwrap()
    }

    pub(super) fn check(&self, allow_plain: bool, wrong: &mut impl FnMut(&str, &str)) {
        match self.base_url() {
            None => wrong("base_url", "must be https:// with a host and a path"),
            Some(url) if url.scheme() == "http" && !allow_plain => {
                wrong("base_url", "must be https://, unless directories.allow_plain is on");
            }
            Some(_) => {}
        }
        if self.identifier_system.is_empty() {
            wrong("identifier_system", "must not be empty");
        }
        if !self.default_organization.is_empty() && !is_part(&self.default_organization) {
            wrong("default_organization", "cannot be an organisation of roles");
        }
        for (key, map) in [("organizations", &self.organizations), ("codes", &self.codes), ("units", &self.units)] {
            for (_, part) in map.iter().filter(|(_, part)| !is_part(part)) {
                wrong(key, &format!("\"{part}\" cannot be a part of a role"));
            }
        }
        for code in self.codes.keys().filter(|code| !code.contains('|')) {
            wrong("codes", &format!("\"{code}\" is not of the form system|code"));
        }
        if !(1..=FULL_EVERY_HOURS_MAX).contains(&self.full_every_hours) {
            wrong("full_every_hours", "must be from 1 to 24");
        }
    }

    /// With a slash at the end.
    fn base_url(&self) -> Option<Url> {
        let url = Url::parse(&format!("{}/", self.base_url.trim_end_matches('/'))).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.query().is_none() && url.fragment().is_none();
        (plain && bare && matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
    }

    /// The file with the token.
    pub(super) fn token_file(&self) -> Option<&PathBuf> {
        Some(&self.token_file).filter(|path| **path != Path::new(""))
    }

    /// As the service wants them; none where [`Self::check`] says so.
    pub(crate) fn settings(&self) -> Option<FhirSettings> {
        let map = |map: &BTreeMap<String, String>| map.clone().into_iter().collect();
        Some(FhirSettings {
            name: self.name.clone(),
            base_url: self.base_url()?,
            token_file: self.token_file().cloned(),
            identifier_system: self.identifier_system.clone(),
            organizations: map(&self.organizations),
            default_organization: Some(self.default_organization.clone()).filter(|name| !name.is_empty()),
            code_systems: self.code_systems.clone(),
            codes: map(&self.codes),
            units: map(&self.units),
            end_sessions: self.end_sessions,
            poll_every: Duration::from_secs(self.poll_seconds),
            full_every: Duration::from_secs(self.full_every_hours.saturating_mul(SECONDS_PER_HOUR)),
            timeout: Duration::from_secs(self.timeout_seconds),
        })
    }
}

/// Whether a text can be a part of a role.
fn is_part(text: &str) -> bool {
    Role::parse(&format!("{text}@x")).is_ok()
}
