//! `[[directories.ldap]]`

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use url::Url;
use wardroom_care::Role;
use wardroom_directories::{InactiveIf, InactiveRule, LdapFilter, LdapGroups, LdapRule, LdapSettings};

/// Entries in one page of an answer at most.
const PAGE_SIZE_MAX: i32 = 10_000;

/// One directory.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ldap {
    /// Short name, by which its roles are known.
    pub(crate) name: String,
    /// `ldap` or `ldaps`, a host, and a port if it is another than 389 or 636.
    url: String,
    /// Whether TLS begins within a connection of `ldap`.
    #[serde(default)]
    start_tls: bool,
    /// Who asks; empty for nobody in particular.
    #[serde(default)]
    bind_dn: String,
    /// The file with the password.
    #[serde(default)]
    bind_password_file: PathBuf,
    /// Below which entry people are.
    base: String,
    /// Which entries are people.
    #[serde(default = "default_filter")]
    filter: String,
    /// The attribute that the local parts of user ids are made from.
    #[serde(default = "default_localpart_attribute")]
    localpart_attribute: String,
    /// Whether only what stands before an `@` in it counts.
    #[serde(default)]
    localpart_before_at: bool,
    /// The attribute of people that names their groups.
    #[serde(default = "default_member_of_attribute")]
    member_of_attribute: String,
    /// Below which entry groups are, where people do not name theirs; empty where they do.
    #[serde(default)]
    groups_base: String,
    /// Which entries are groups.
    #[serde(default = "default_groups_filter")]
    groups_filter: String,
    /// The attribute of groups that names their members.
    #[serde(default = "default_group_member_attribute")]
    group_member_attribute: String,
    /// What gives roles.
    #[serde(default)]
    roles: Vec<Rule>,
    /// Who is not there any more.
    #[serde(default)]
    inactive: Vec<Inactive>,
    /// Whether the sessions of those are ended.
    #[serde(default)]
    end_sessions: bool,
    /// Seconds between two readings.
    #[serde(default = "default_poll_seconds")]
    pub(crate) poll_seconds: u64,
    /// Seconds for a connection, and for each piece of an answer.
    #[serde(default = "default_timeout_seconds")]
    pub(crate) timeout_seconds: u64,
    /// Entries in one page of an answer.
    #[serde(default = "default_page_size")]
    page_size: i32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attribute: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gives: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Inactive {
    attribute: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
}

fn default_filter() -> String {
    "(objectClass=person)".to_owned()
}

fn default_localpart_attribute() -> String {
    "uid".to_owned()
}

fn default_member_of_attribute() -> String {
    "memberOf".to_owned()
}

fn default_groups_filter() -> String {
    "(objectClass=groupOfNames)".to_owned()
}

fn default_group_member_attribute() -> String {
    "member".to_owned()
}

const fn default_poll_seconds() -> u64 {
    60
}

const fn default_timeout_seconds() -> u64 {
    10
}

const fn default_page_size() -> i32 {
    500
}

impl Rule {
    fn problem(&self) -> Option<String> {
        if self.group.is_none() && self.attribute.is_none() {
            return Some("must name a group or an attribute".to_owned());
        }
        if self.attribute.as_deref().is_some_and(|name| !is_attribute(name)) {
            return Some("attribute is no name of an attribute".to_owned());
        }
        if self.value.is_some() && self.attribute.is_none() {
            return Some("value goes with attribute".to_owned());
        }
        match &self.gives {
            None if self.attribute.is_none() || self.value.is_some() => Some("must say what it gives".to_owned()),
            None => None,
            Some(_) if self.attribute.is_some() && self.value.is_none() => {
                Some("gives goes with the value of an attribute; without both, its values are the roles".to_owned())
            }
            Some(role) => Role::parse(role).err().map(|error| format!("gives {error}")),
        }
    }
}

impl Ldap {
    /// One with every option.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        toml::from_str("name = \"x\"\nurl = \"ldaps://x\"\nbase = \"dc=x\"").unwrap()
    }

    pub(super) fn check(&self, allow_plain: bool, wrong: &mut impl FnMut(&str, &str)) {
        match self.url() {
            None => wrong("url", "must be ldap:// or ldaps:// with a host, and a port if need be"),
            Some(url) if url.scheme() == "ldaps" && self.start_tls => wrong("start_tls", "is for ldap:// alone"),
            Some(url) if url.scheme() == "ldap" && !self.start_tls && !allow_plain => {
                wrong("url", "must be ldaps://, or start_tls on, unless directories.allow_plain is on");
            }
            Some(_) => {}
        }
        if self.bind_dn.is_empty() != self.bind_password_file().is_none() {
            wrong("bind_password_file", "goes with bind_dn");
        }
        if self.base.is_empty() {
            wrong("base", "must not be empty");
        }
        for (key, filter) in [("filter", &self.filter), ("groups_filter", &self.groups_filter)] {
            if let Err(error) = LdapFilter::parse(filter) {
                wrong(key, &error.to_string());
            }
        }
        for (key, name) in [
            ("localpart_attribute", &self.localpart_attribute),
            ("member_of_attribute", &self.member_of_attribute),
            ("group_member_attribute", &self.group_member_attribute),
        ] {
            if !is_attribute(name) {
                wrong(key, "is no name of an attribute");
            }
        }
        for (index, rule) in self.roles.iter().enumerate() {
            if let Some(problem) = rule.problem() {
                wrong("roles", &format!("rule {}: {problem}", index + 1));
            }
        }
        for rule in &self.inactive {
            if !is_attribute(&rule.attribute) {
                wrong("inactive", "attribute is no name of an attribute");
            }
            if rule.value.is_some() && rule.bits.is_some() {
                wrong("inactive", "a rule has either value or bits");
            }
        }
        if !(1..=PAGE_SIZE_MAX).contains(&self.page_size) {
            wrong("page_size", "must be from 1 to 10000");
        }
    }

    fn url(&self) -> Option<Url> {
        let url = Url::parse(&self.url).ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let of_ldap = matches!(url.scheme(), "ldap" | "ldaps") && matches!(url.path(), "" | "/");
        let host = url.host_str().is_some_and(|host| !host.is_empty());
        (plain && of_ldap && host).then_some(url)
    }

    /// The file with the password.
    pub(super) fn bind_password_file(&self) -> Option<&PathBuf> {
        Some(&self.bind_password_file).filter(|path| **path != Path::new(""))
    }

    /// As the service wants them; none where [`Self::check`] says so.
    pub(crate) fn settings(&self) -> Option<LdapSettings> {
        let rule = |rule: &Rule| LdapRule {
            group: rule.group.clone(),
            attribute: rule.attribute.clone(),
            value: rule.value.clone(),
            gives: rule.gives.as_deref().and_then(|role| Role::parse(role).ok()),
        };
        let inactive = |rule: &Inactive| InactiveRule {
            attribute: rule.attribute.clone(),
            is: match (&rule.value, rule.bits) {
                (Some(value), _) => InactiveIf::Value(value.clone()),
                (None, Some(bits)) => InactiveIf::Bits(bits),
                (None, None) => InactiveIf::Present,
            },
        };
        let groups = if self.groups_base.is_empty() {
            LdapGroups::Attribute(self.member_of_attribute.clone())
        } else {
            LdapGroups::Search {
                base: self.groups_base.clone(),
                filter: LdapFilter::parse(&self.groups_filter).ok()?,
                member_attribute: self.group_member_attribute.clone(),
            }
        };
        Some(LdapSettings {
            name: self.name.clone(),
            url: self.url()?,
            start_tls: self.start_tls,
            bind_dn: self.bind_dn.clone(),
            bind_password_file: self.bind_password_file().cloned(),
            base: self.base.clone(),
            filter: LdapFilter::parse(&self.filter).ok()?,
            localpart_attribute: self.localpart_attribute.clone(),
            localpart_before_at: self.localpart_before_at,
            groups,
            rules: self.roles.iter().map(rule).collect(),
            inactive: self.inactive.iter().map(inactive).collect(),
            end_sessions: self.end_sessions,
            poll_every: Duration::from_secs(self.poll_seconds),
            timeout: Duration::from_secs(self.timeout_seconds),
            page_size: self.page_size,
        })
    }
}

fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';'))
}
