//! What a source's own words mean here: aliases, which administrators set while the server runs, of the rules that the
//! configuration has.
//!
//! Sources (claims, directories) ask [`RoleMappings::roles_of`] for each value that they find, and give the roles of their
//! rules besides.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::watch;
use wardroom_audit::{Act, AuditLog, Record, hash};
use wardroom_store::{Batch, Packed, Store};

use crate::{
    CareError,
    role::Role,
    roles::Source,
    tables::{AliasRow, MAPPINGS},
};

/// Aliases in all.
pub const ALIASES_MAX: usize = 2_000;
/// Roles of one alias.
pub const ROLES_PER_ALIAS_MAX: usize = 20;
/// Longest value of a source, in bytes.
const VALUE_BYTES_MAX: usize = 500;
/// The key of the one row that holds all aliases.
const ALL: u8 = 0;

/// Whoever has a value in a source has these roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The source; none for each of them.
    pub source: Option<Source>,
    /// The value, such as the name of a group, in any case.
    pub value: String,
    /// The roles.
    pub roles: Vec<Role>,
}

/// What values of sources mean. Clones share everything.
#[derive(Clone, Debug)]
pub struct RoleMappings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    audit: AuditLog,
    known: RwLock<Known>,
    /// What the configuration says, for administrators to see.
    configured: Mutex<BTreeMap<Source, Vec<Value>>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    aliases: Vec<Alias>,
    /// By value, as it is compared.
    by_value: HashMap<String, Vec<Alias>>,
}

impl Known {
    fn of(aliases: Vec<Alias>) -> Self {
        let mut by_value: HashMap<String, Vec<Alias>> = HashMap::new();
        for alias in &aliases {
            by_value.entry(compared(&alias.value)).or_default().push(alias.clone());
        }
        Self { aliases, by_value }
    }
}

/// A value as it is compared.
fn compared(value: &str) -> String {
    value.to_lowercase()
}

impl RoleMappings {
    /// Reads them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(store: Store, audit: AuditLog) -> Result<Self, CareError> {
        let rows = store.latest().get(&MAPPINGS, &ALL).await?.map(|Packed(rows)| rows).unwrap_or_default();
        let alias = |row: AliasRow| Alias {
            source: row.source.and_then(Source::of_code),
            value: row.value,
            roles: row.roles.iter().filter_map(|role| Role::parse(role).ok()).collect(),
        };
        let known = RwLock::new(Known::of(rows.into_iter().map(alias).collect()));
        let (configured, changes) = (Mutex::default(), watch::Sender::new(0));
        Ok(Self(Arc::new(Inner { store, audit, known, configured, changes })))
    }

    /// The roles of whoever has a value in a source, by the aliases: what the source's own rules give comes besides.
    pub fn roles_of(&self, source: Source, raw_value: &str) -> Vec<Role> {
        let known = self.0.known.read();
        if known.by_value.is_empty() {
            return Vec::new();
        }
        let aliases = known.by_value.get(&compared(raw_value)).into_iter().flatten();
        let of_source = aliases.filter(|alias| alias.source.is_none_or(|of| of == source));
        of_source.flat_map(|alias| alias.roles.iter().cloned()).collect()
    }

    /// Every alias.
    pub fn aliases(&self) -> Vec<Alias> {
        self.0.known.read().aliases.clone()
    }

    /// Sets the aliases, all of them. Sources that know their users' values look at these again.
    ///
    /// # Errors
    /// [`CareError::Invalid`] with the field at fault; when the store fails.
    pub async fn set_aliases(&self, aliases: Vec<Alias>) -> Result<(), CareError> {
        check(&aliases)?;
        let row = |alias: &Alias| AliasRow {
            source: alias.source.map(Source::code),
            value: alias.value.clone(),
            roles: alias.roles.iter().map(ToString::to_string).collect(),
        };
        let mut batch = Batch::default();
        let rows: Vec<AliasRow> = aliases.iter().map(row).collect();
        let record = Record::of(Act::RoleMap).detail("aliases").count(rows.len() as u64);
        self.0.audit.add(&mut batch, record.old(hash_of(&self.aliases())).new(hash_of(&aliases)));
        batch.put(&MAPPINGS, &ALL, &Packed(rows));
        let inner = Arc::clone(&self.0);
        batch.on_commit(move |_| {
            *inner.known.write() = Known::of(aliases);
            inner.changes.send_modify(|count| *count += 1);
        });
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// Tells of changes of the aliases from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Notes the rules that the configuration has for a source, to be shown.
    pub fn show_rules(&self, source: Source, rules: Vec<Value>) {
        self.0.configured.lock().insert(source, rules);
    }

    /// The rules that the configuration has, by source.
    pub fn shown_rules(&self) -> BTreeMap<Source, Vec<Value>> {
        self.0.configured.lock().clone()
    }
}

/// Stands for what aliases say.
fn hash_of(aliases: &[Alias]) -> String {
    let all: Vec<_> = aliases
        .iter()
        .map(|Alias { source, value, roles }| {
            let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
            serde_json::json!([source.map(Source::name), value, roles])
        })
        .collect();
    hash(Value::from(all).to_string())
}

fn check(aliases: &[Alias]) -> Result<(), CareError> {
    if aliases.len() > ALIASES_MAX {
        return Err(CareError::Invalid(format!("aliases: must have at most {ALIASES_MAX} entries.")));
    }
    let mut seen = BTreeSet::new();
    for (index, Alias { source, value, roles }) in aliases.iter().enumerate() {
        let wrong =
            |field: &str, sentence: &str| Err(CareError::Invalid(format!("aliases[{index}].{field}: {sentence}.")));
        if source.is_some_and(|source| matches!(source, Source::Manual | Source::Attestation)) {
            return wrong("source", "this one gives roles by their own names");
        }
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            return wrong("value", "is empty or longer than 500 bytes");
        }
        if roles.is_empty() || roles.len() > ROLES_PER_ALIAS_MAX {
            return wrong("roles", "must have from 1 to 20 entries");
        }
        if !seen.insert((*source, compared(value))) {
            return wrong("value", "stands there twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wardroom_audit::AuditLog;
    use wardroom_store::{Catalogue, Store};

    use super::{ALIASES_MAX, Alias, RoleMappings};
    use crate::{role::Role, roles::Source, tables::TABLES};

    fn alias(source: Option<Source>, value: &str, roles: &[&str]) -> Alias {
        let roles = roles.iter().map(|role| Role::parse(role).unwrap()).collect();
        Alias { source, value: value.to_owned(), roles }
    }

    #[tokio::test]
    async fn aliases_give_roles_and_survive_a_restart() {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let mappings = RoleMappings::load(store.clone(), AuditLog::silent()).await.unwrap();
        let mut changes = mappings.changes();
        assert!(mappings.roles_of(Source::Scim, "x").is_empty());
        let aliases = vec![
            alias(None, "Cardiology-Physicians", &["physician@h1/cardiology"]),
            alias(Some(Source::Ldap), "cardiology-physicians", &["doctor@h1"]),
        ];
        mappings.set_aliases(aliases.clone()).await.unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let again = RoleMappings::load(store, AuditLog::silent()).await.unwrap();
        assert_eq!(again.aliases(), aliases);
        for mappings in [&mappings, &again] {
            let given = |source, value| {
                let roles = mappings.roles_of(source, value);
                roles.iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            assert_eq!(given(Source::Scim, "CARDIOLOGY-physicians"), ["physician@h1/cardiology"]);
            assert_eq!(given(Source::Ldap, "Cardiology-Physicians"), ["physician@h1/cardiology", "doctor@h1"]);
            assert!(given(Source::Scim, "Cardiology").is_empty());
        }
        mappings.set_aliases(Vec::new()).await.unwrap();
        assert!(mappings.roles_of(Source::Scim, "Cardiology-Physicians").is_empty());
    }

    #[tokio::test]
    async fn what_is_no_alias_is_told_with_its_field() {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let mappings = RoleMappings::load(store, AuditLog::silent()).await.unwrap();
        let good = || alias(None, "a", &["a@b"]);
        for (aliases, field) in [
            (vec![good(), alias(Some(Source::Manual), "b", &["a@b"])], "aliases[1].source"),
            (vec![alias(None, "", &["a@b"])], "aliases[0].value"),
            (vec![alias(None, &"x".repeat(501), &["a@b"])], "aliases[0].value"),
            (vec![alias(None, "a", &[])], "aliases[0].roles"),
            (vec![alias(None, "a", &["a@b"; 21])], "aliases[0].roles"),
            (vec![good(), alias(None, "A", &["c@d"])], "aliases[1].value"),
            (vec![good(); ALIASES_MAX + 1], "aliases:"),
        ] {
            let error = mappings.set_aliases(aliases).await.unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        assert!(mappings.aliases().is_empty());
    }
}
