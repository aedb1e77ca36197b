//! A directory that is read over LDAP (RFC 4511): one reading gives the whole list, or nothing.

mod ber;
mod connection;
mod filter;
mod message;
mod names;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ruma::OwnedServerName;
use rustls::ClientConfig;
use url::Url;
use wardroom_care::Role;

pub use self::filter::{FilterError, LDAP_FILTER_BYTES_MAX, LdapFilter};
pub(crate) use self::names::{EntryName, folded};
use self::{
    connection::{Address, Connection},
    message::{Entry, Scope, Search},
};
use crate::{
    Fault, InactiveRule, LdapRule,
    list::{Given, List, ListMaker, Listed},
    rules::GroupName,
    secret,
};

/// One directory.
#[derive(Clone, Debug)]
pub struct LdapSettings {
    /// Short name, by which its roles are known.
    pub name: String,
    /// Where it is: `ldap` or `ldaps`, a host, and a port if it is another than 389 or 636.
    pub url: Url,
    /// Whether TLS begins within a connection of `ldap` (RFC 4511, section 4.14).
    pub start_tls: bool,
    /// Who asks; empty for nobody in particular.
    pub bind_dn: String,
    /// The file with the password, read each time.
    pub bind_password_file: Option<PathBuf>,
    /// Below which entry people are.
    pub base: String,
    /// Which entries are people.
    pub filter: LdapFilter,
    /// The attribute that the local parts of user ids are made from.
    pub localpart_attribute: String,
    /// Whether only what stands before an `@` in it counts.
    pub localpart_before_at: bool,
    /// How groups are known.
    pub groups: LdapGroups,
    /// What gives roles.
    pub rules: Vec<LdapRule>,
    /// Who is not there any more: whoever fits one of these.
    pub inactive: Vec<InactiveRule>,
    /// Whether the sessions of those are ended.
    pub end_sessions: bool,
    /// How often it is read.
    pub poll_every: Duration,
    /// Time for a connection, and for each piece of an answer.
    pub timeout: Duration,
    /// Entries in one page of an answer.
    pub page_size: i32,
}

/// How the groups of people are known.
#[derive(Clone, Debug)]
pub enum LdapGroups {
    /// This attribute of people names them, as `memberOf` does.
    Attribute(String),
    /// They are entries of their own.
    Search {
        /// Below which entry they are.
        base: String,
        /// Which entries are groups.
        filter: LdapFilter,
        /// Which attribute names their members: whole names, or the attribute that the local parts are made from.
        member_attribute: String,
    },
}

/// A rule, ready to be applied.
#[derive(Debug)]
struct Rule {
    rule: LdapRule,
    group: Option<GroupName>,
    reason: String,
}

/// A directory, ready to be read.
#[derive(Debug)]
pub(crate) struct Directory {
    settings: LdapSettings,
    server_name: OwnedServerName,
    tls: Arc<ClientConfig>,
    rules: Vec<Rule>,
}

/// Indexes of the rules of whose groups somebody is a member.
type RulesMet = BTreeSet<usize>;

/// The members of groups, as groups name them.
#[derive(Debug, Default)]
struct Members {
    whole: HashMap<EntryName, RulesMet>,
    short: HashMap<String, RulesMet>,
}

impl Directory {
    pub(crate) fn new(settings: LdapSettings, server_name: OwnedServerName, tls: Arc<ClientConfig>) -> Self {
        let rule = |rule: &LdapRule| {
            let (group, attribute) = (rule.group.as_deref(), rule.attribute.as_deref());
            let mut why = Vec::new();
            why.extend(group.map(|group| format!("group \"{group}\"")));
            why.extend(attribute.map(|name| match &rule.value {
                Some(value) => format!("{name} \"{value}\""),
                None => format!("its {name}"),
            }));
            let reason = format!("of the directory: {}", why.join(", "));
            Rule { rule: rule.clone(), group: group.map(GroupName::of), reason }
        };
        let rules = settings.rules.iter().map(rule).collect();
        Self { settings, server_name, tls, rules }
    }

    pub(crate) fn settings(&self) -> &LdapSettings {
        &self.settings
    }

    /// Reads it from beginning to end.
    ///
    /// # Errors
    /// Whenever it is not certain that this was everything.
    pub(crate) async fn read(&self) -> Result<List, Fault> {
        let settings = &self.settings;
        let address =
            Address { url: &settings.url, start_tls: settings.start_tls, tls: &self.tls, timeout: settings.timeout };
        let password = match &settings.bind_password_file {
            Some(path) => secret::read("bind_password_file", path).await?,
            None => Vec::new(),
        };
        let mut connection = Connection::open(&address).await?;
        if !settings.bind_dn.is_empty() {
            connection.bind(&settings.bind_dn, &password).await?;
        }
        let members = self.members(&mut connection).await?;
        let people = Search {
            base: settings.base.clone(),
            scope: Scope::Subtree,
            filter: settings.filter.clone(),
            attributes: self.attributes(),
        };
        let mut maker = ListMaker::new(self.server_name.clone(), settings.localpart_before_at);
        let each = |entry: Entry| {
            let mut names = entry.values(&settings.localpart_attribute);
            // Of several names none is the right one.
            let name = names.next().filter(|_| names.next().is_none());
            maker.add(name, self.listed(&entry, name, &members));
        };
        connection.search(&people, settings.page_size, each).await?;
        connection.close().await;
        Ok(maker.finish())
    }

    /// Who is in groups that rules name, where groups are entries of their own.
    async fn members(&self, connection: &mut Connection) -> Result<Members, Fault> {
        let mut members = Members::default();
        let LdapGroups::Search { base, filter, member_attribute } = &self.settings.groups else { return Ok(members) };
        let groups = Search {
            base: base.clone(),
            scope: Scope::Subtree,
            filter: filter.clone(),
            attributes: vec![member_attribute.clone()],
        };
        let mut groups_found = 0_usize;
        let each = |entry: Entry| {
            groups_found += 1;
            members.add(&entry, member_attribute, &self.rules_of(&entry.name));
        };
        connection.search(&groups, self.settings.page_size, each).await?;
        // Otherwise a group that may not be read any more would take its role from everybody.
        if groups_found == 0 { Err(Fault::NoGroups) } else { Ok(members) }
    }

    /// The rules that name a group.
    fn rules_of(&self, group: &str) -> RulesMet {
        let Some(group) = EntryName::parse(group) else { return RulesMet::new() };
        let names = |rule: &Rule| rule.group.as_ref().is_some_and(|wanted| wanted.is(&group));
        self.rules.iter().enumerate().filter(|(_, rule)| names(rule)).map(|(index, _)| index).collect()
    }

    /// Every attribute of people that is needed.
    fn attributes(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut names = vec![settings.localpart_attribute.clone()];
        if let LdapGroups::Attribute(name) = &settings.groups {
            names.push(name.clone());
        }
        names.extend(settings.rules.iter().filter_map(|rule| rule.attribute.clone()));
        names.extend(settings.inactive.iter().map(|rule| rule.attribute.clone()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What is said of somebody.
    fn listed(&self, entry: &Entry, name: Option<&str>, members: &Members) -> Listed {
        let inactive = &self.settings.inactive;
        if inactive.iter().any(|rule| rule.is.is_met_by(entry.values(&rule.attribute))) {
            return Listed { active: Some(false), roles: Vec::new() };
        }
        let mut met = members.rules_of(entry, name);
        if let LdapGroups::Attribute(attribute) = &self.settings.groups {
            met.extend(entry.values(attribute).flat_map(|group| self.rules_of(group)));
        }
        let mut roles: Vec<Given> = Vec::new();
        for (index, Rule { rule, group, reason }) in self.rules.iter().enumerate() {
            if group.is_some() && !met.contains(&index) {
                continue;
            }
            let given = |role: Role| Given { role, from_ms: None, until_ms: None, reason: reason.clone() };
            roles.extend(roles_by(rule, entry).into_iter().map(given));
        }
        roles.sort_by(|a, b| a.role.cmp(&b.role));
        roles.dedup_by(|a, b| a.role == b.role);
        Listed { active: (!inactive.is_empty()).then_some(true), roles }
    }
}

/// The roles that a rule gives to an entry whose groups fit.
fn roles_by(rule: &LdapRule, entry: &Entry) -> Vec<Role> {
    let Some(attribute) = &rule.attribute else { return rule.gives.iter().cloned().collect() };
    let mut values = entry.values(attribute);
    match (&rule.value, &rule.gives) {
        (Some(wanted), Some(role)) if values.any(|value| folded(value) == folded(wanted)) => vec![role.clone()],
        (None, None) => values.filter_map(|value| Role::parse(value).ok()).collect(),
        _ => Vec::new(),
    }
}

impl Members {
    fn add(&mut self, group: &Entry, member_attribute: &str, rules: &RulesMet) {
        if rules.is_empty() {
            return;
        }
        for member in group.values(member_attribute) {
            let met = match EntryName::parse(member) {
                Some(name) => self.whole.entry(name).or_default(),
                None => self.short.entry(folded(member)).or_default(),
            };
            met.extend(rules);
        }
    }

    fn rules_of(&self, entry: &Entry, name: Option<&str>) -> RulesMet {
        let whole = EntryName::parse(&entry.name).and_then(|name| self.whole.get(&name));
        let short = name.and_then(|name| self.short.get(&folded(name)));
        whole.into_iter().chain(short).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests;
