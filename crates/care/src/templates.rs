//! Policies that new rooms get by themselves: by what they are, by who makes them, or by their alias.
//!
//! A template is for the rooms that this server's users make. The first one counts, by the order of their names, and it
//! counts more than what the request brings along.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wardroom_audit::{Act, AuditLog, Record, hash};
use wardroom_rooms::{RoomBirth, Terms};
use wardroom_store::{Batch, Hash16, Packed, Scan, Store};
use wildmatch::WildMatch;

use crate::{
    CareError,
    policy::{AccessPolicy, RoomPolicy},
    role::Requirement,
    tables::{TEMPLATES, TemplateRow},
};

/// Domain of the hashes that templates are found by.
const TEMPLATE_DOMAIN: u8 = 0x61;
/// Templates.
const TEMPLATES_MAX: usize = 100;
/// Longest name of a template, and longest type and pattern in one, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// A policy for new rooms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Template {
    /// Content of the policy event.
    pub policy: Value,
    /// For rooms of this type (`m.space`); an empty one is for rooms that have none. Without it the type does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
    /// For rooms that somebody makes who has a role that meets this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator_role: Option<String>,
    /// For rooms with an alias whose local part is of this pattern (`*` any characters, `?` any one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// How long messages of these rooms are kept where the rooms themselves say nothing; it counts as it is now, also for
    /// rooms that are there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Terms>,
}

/// A template that was read.
#[derive(Debug)]
struct Rule {
    template: Template,
    policy: Box<AccessPolicy>,
    creator_role: Option<Requirement>,
    alias: Option<WildMatch>,
}

impl Rule {
    fn read(template: Template) -> Result<Self, CareError> {
        let wrong = |sentence: String| CareError::Invalid(sentence);
        let policy = match RoomPolicy::of(&template.policy) {
            None => return Err(wrong("policy.version: is missing".to_owned())),
            Some(RoomPolicy::Unknown { reason }) => return Err(wrong(format!("policy.{reason}"))),
            Some(RoomPolicy::Known(policy)) => policy,
        };
        for (name, text) in [("room_type", &template.room_type), ("alias", &template.alias)] {
            if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                return Err(wrong(format!("{name}: must have at most {TEXT_BYTES_MAX} bytes")));
            }
        }
        if template.room_type.is_none() && template.creator_role.is_none() && template.alias.is_none() {
            return Err(wrong("room_type, creator_role, alias: one of them must say for which rooms it is".to_owned()));
        }
        let creator_role = template.creator_role.as_deref().map(Requirement::parse).transpose();
        let creator_role = creator_role.map_err(|error| wrong(format!("creator_role: {error}")))?;
        if let Some(Err(sentence)) = template.retention.map(Terms::check) {
            return Err(wrong(format!("retention.{sentence}")));
        }
        let alias = template.alias.as_deref().map(WildMatch::new);
        Ok(Self { template, policy, creator_role, alias })
    }

    /// Whether it is for this room. `has` tells whether who makes it has a role.
    fn is_for(&self, birth: &RoomBirth<'_>, has: impl Fn(&Requirement) -> bool) -> bool {
        let of_type = |wanted: &String| birth.room_type.unwrap_or_default() == wanted;
        let of_alias = |wanted: &WildMatch| birth.alias.is_some_and(|alias| wanted.matches(alias.alias()));
        self.template.room_type.as_ref().is_none_or(of_type)
            && self.creator_role.as_ref().is_none_or(has)
            && self.alias.as_ref().is_none_or(of_alias)
    }
}

/// The templates, in memory. Clones share everything.
#[derive(Clone, Debug)]
pub struct Templates {
    store: Store,
    audit: AuditLog,
    rules: Arc<RwLock<BTreeMap<String, Rule>>>,
}

impl Templates {
    pub(crate) async fn load(store: &Store, audit: AuditLog) -> Result<Self, CareError> {
        let mut rules = BTreeMap::new();
        for (_, Packed(row)) in store.latest().scan(&TEMPLATES, Scan::all().limit(TEMPLATES_MAX)).await? {
            let TemplateRow { name, template } = row;
            let template: Option<Template> = serde_json::from_str(&template).ok();
            match template.map(Rule::read) {
                Some(Ok(rule)) => drop(rules.insert(name, rule)),
                Some(Err(_)) | None => tracing::error!("a policy template cannot be read: new rooms do not get it"),
            }
        }
        Ok(Self { store: store.clone(), audit, rules: Arc::new(RwLock::new(rules)) })
    }

    /// All of them, by name.
    pub fn all(&self) -> BTreeMap<String, Template> {
        self.rules.read().iter().map(|(name, rule)| (name.clone(), rule.template.clone())).collect()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<Template> {
        self.rules.read().get(name).map(|rule| rule.template.clone())
    }

    /// Sets the one of this name. Rooms that are there already stay as they are.
    ///
    /// # Errors
    /// [`CareError::Invalid`] with the field at fault; when the store fails.
    pub async fn set(&self, name: &str, template: Template) -> Result<(), CareError> {
        if name.is_empty() || name.len() > TEXT_BYTES_MAX {
            return Err(CareError::Invalid(format!("name: must have from 1 to {TEXT_BYTES_MAX} bytes")));
        }
        let text = serde_json::to_string(&template).map_err(|error| CareError::Invalid(error.to_string()))?;
        let rule = Rule::read(template)?;
        {
            let rules = self.rules.read();
            if rules.len() >= TEMPLATES_MAX && !rules.contains_key(name) {
                return Err(CareError::Invalid(format!("name: there are {TEMPLATES_MAX} templates already")));
            }
        }
        let mut batch = Batch::default();
        batch.put(&TEMPLATES, &self.key(name), &Packed(TemplateRow { name: name.to_owned(), template: text }));
        self.record(&mut batch, "template.set", name, Some(&rule.template));
        let (rules, name) = (Arc::clone(&self.rules), name.to_owned());
        batch.on_commit(move |_| drop(rules.write().insert(name, rule)));
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Takes the one of this name away. Says whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, name: &str) -> Result<bool, CareError> {
        if !self.rules.read().contains_key(name) {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.delete(&TEMPLATES, &self.key(name));
        self.record(&mut batch, "template.remove", name, None);
        let (rules, name) = (Arc::clone(&self.rules), name.to_owned());
        batch.on_commit(move |_| drop(rules.write().remove(&name)));
        self.store.commit(batch).await?;
        Ok(true)
    }

    /// The policy for a new room: its content, and as it is read.
    pub(crate) fn policy_for(
        &self,
        birth: &RoomBirth<'_>,
        has: impl Fn(&Requirement) -> bool,
    ) -> Option<(Value, Box<AccessPolicy>)> {
        let rules = self.rules.read();
        let rule = rules.values().find(|rule| rule.is_for(birth, &has))?;
        Some((rule.template.policy.clone(), rule.policy.clone()))
    }

    /// By which hash the template for a new room is found again.
    pub(crate) fn hash_for(&self, birth: &RoomBirth<'_>, has: impl Fn(&Requirement) -> bool) -> Option<Hash16> {
        let rules = self.rules.read();
        let (name, _) = rules.iter().find(|(_, rule)| rule.is_for(birth, &has))?;
        Some(self.key(name))
    }

    /// What the template with this hash says of how long messages are kept.
    pub(crate) fn terms(&self, hash: Hash16) -> Option<Terms> {
        let rules = self.rules.read();
        let (_, rule) = rules.iter().find(|(name, _)| self.key(name) == hash)?;
        rule.template.retention
    }

    /// Leaves the record of a change of a template.
    fn record(&self, batch: &mut Batch, what: &str, name: &str, after: Option<&Template>) {
        let hash_of = |template: &Template| serde_json::to_value(template).ok().map(|value| hash(value.to_string()));
        let record = Record::of(Act::RoleMap).detail(what).name(name);
        let record = match self.get(name).as_ref().and_then(hash_of) {
            Some(old) => record.old(old),
            None => record,
        };
        let record = match after.and_then(hash_of) {
            Some(new) => record.new(new),
            None => record,
        };
        self.audit.add(batch, record);
    }

    fn key(&self, name: &str) -> Hash16 {
        self.store.keyed_hash(TEMPLATE_DOMAIN, name.as_bytes())
    }
}
