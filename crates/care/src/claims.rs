//! Roles from what identity providers say about users when they sign in.
//!
//! Operators say by rules which claim gives which role. What a provider says is its last word until the user signs in
//! again: whoever is to lose a role at once needs a directory that tells of it. Providers speak with one voice, and the
//! last that a user signed in with counts. Aliases ([`RoleMappings`](crate::RoleMappings)) are asked for the values of the
//! claims that rules name.

use std::pin::Pin;

use ruma::UserId;
use serde_json::{Map, Value, json};
use wardroom_accounts::ClaimsListener;
use wardroom_clock::SharedClock;

use crate::{
    role::Role,
    roles::{Binding, ROLES_PER_SOURCE_MAX, Roles, Said, Source},
};

/// A rule: who has this value in a claim has this role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// The provider's id in the configuration; none for every provider.
    pub provider: Option<String>,
    /// JSON pointer to the claim, such as `/groups`: a string, or an array of strings.
    pub claim: String,
    /// The value; none where the values of the claim are roles themselves, in their canonical form.
    pub value: Option<String>,
    /// The role; none where the values are.
    pub gives: Option<Role>,
}

impl ClaimRule {
    /// As administrators see it.
    fn shown(&self) -> Value {
        let gives = self.gives.as_ref().map(ToString::to_string);
        json!({ "provider": self.provider, "claim": self.claim, "value": self.value, "gives": gives })
    }
}

/// Gives roles by rules.
#[derive(Clone, Debug)]
pub struct ClaimRoles {
    roles: Roles,
    clock: SharedClock,
    rules: Vec<ClaimRule>,
}

impl ClaimRoles {
    /// By these rules.
    pub fn new(roles: Roles, clock: SharedClock, rules: Vec<ClaimRule>) -> Self {
        roles.mappings().show_rules(Source::Oidc, rules.iter().map(ClaimRule::shown).collect());
        Self { roles, clock, rules }
    }

    /// The roles that claims of a provider give.
    fn given(&self, provider: &str, claims: &Map<String, Value>) -> Vec<Role> {
        let claims = Value::Object(claims.clone());
        let mut given: Vec<Role> = Vec::new();
        let ours = |rule: &&ClaimRule| rule.provider.as_ref().is_none_or(|wanted| wanted == provider);
        for rule in self.rules.iter().filter(ours) {
            let values: Vec<&str> = match claims.pointer(&rule.claim) {
                Some(Value::String(value)) => vec![value],
                Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
                _ => continue,
            };
            given.extend(values.iter().flat_map(|value| self.roles.mappings().roles_of(Source::Oidc, value)));
            match (&rule.value, &rule.gives) {
                (Some(wanted), Some(role)) if values.contains(&wanted.as_str()) => given.push(role.clone()),
                (None, None) => given.extend(values.iter().filter_map(|value| Role::parse(value).ok())),
                _ => {}
            }
        }
        given.sort_unstable();
        given.dedup();
        given.truncate(ROLES_PER_SOURCE_MAX);
        given
    }

    async fn take(&self, user: &UserId, provider: &str, claims: &Map<String, Value>) {
        let given = self.given(provider, claims);
        let (set_by, set_ms) = (provider.to_owned(), self.clock.now_ms());
        let said = self.roles.change(user, Source::Oidc, |before| {
            let binding = |role: Role| {
                let known = before.bindings.iter().find(|known| known.role == role && known.set_by == set_by);
                known.cloned().unwrap_or_else(|| Binding {
                    role,
                    from_ms: None,
                    until_ms: None,
                    reason: String::new(),
                    set_by: set_by.clone(),
                    set_ms,
                })
            };
            Ok(Said { active: None, bindings: given.into_iter().map(binding).collect() })
        });
        if let Err(error) = said.await {
            tracing::warn!(%error, provider, "the roles that an identity provider tells of could not be noted");
        }
    }
}

impl ClaimsListener for ClaimRoles {
    fn claims<'a>(
        &'a self,
        user: &'a UserId,
        provider: &'a str,
        claims: &'a Map<String, Value>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.take(user, provider, claims))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::user_id;
    use serde_json::{Value, json};
    use wardroom_accounts::ClaimsListener as _;
    use wardroom_audit::AuditLog;
    use wardroom_clock::ManualClock;
    use wardroom_store::{Catalogue, Store};

    use super::{ClaimRoles, ClaimRule};
    use crate::{
        mappings::Alias,
        role::Role,
        roles::{Roles, Source},
        tables::TABLES,
    };

    fn rule(provider: Option<&str>, claim: &str, mapped: Option<(&str, &str)>) -> ClaimRule {
        ClaimRule {
            provider: provider.map(str::to_owned),
            claim: claim.to_owned(),
            value: mapped.map(|(value, _)| value.to_owned()),
            gives: mapped.map(|(_, role)| Role::parse(role).unwrap()),
        }
    }

    #[tokio::test]
    async fn claims_give_roles_by_the_rules_and_take_them_back() {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let roles = Roles::load(store, clock.clone(), AuditLog::silent()).await.unwrap();
        let rules = vec![
            rule(None, "/groups", Some(("ICU Physicians", "physician@h1/icu"))),
            rule(Some("hr"), "/org/job", Some(("nurse", "nurse@h1"))),
            rule(Some("hr"), "/wardroom_roles", None),
        ];
        let claims = ClaimRoles::new(roles.clone(), clock.clone(), rules);
        let alice = user_id!("@alice:a.example");
        let told = |provider: &'static str, said: Value| {
            let (claims, roles) = (claims.clone(), roles.clone());
            async move {
                claims.claims(alice, provider, said.as_object().unwrap()).await;
                let holder = roles.of(alice);
                let held = holder.iter().flat_map(|holder| holder.roles_at(0));
                held.map(ToString::to_string).collect::<Vec<_>>()
            }
        };
        let all = json!({
            "groups": ["Staff", "ICU Physicians"], "org": { "job": "nurse" },
            "wardroom_roles": ["chief@h1", "no role", 7],
        });
        assert_eq!(told("hr", all.clone()).await, ["chief@h1", "nurse@h1", "physician@h1/icu"]);
        assert_eq!(told("other", all).await, ["physician@h1/icu"]);
        assert!(told("other", json!({ "groups": "Staff" })).await.is_empty());
        assert!(told("other", json!({ "groups": { "ICU Physicians": true } })).await.is_empty());
        assert!(roles.of(alice).is_none());
        let mapped = vec![Role::parse("staff@h1").unwrap()];
        let alias = Alias { source: Some(Source::Oidc), value: "staff".to_owned(), roles: mapped };
        roles.mappings().set_aliases(vec![alias]).await.unwrap();
        assert_eq!(told("other", json!({ "groups": "Staff", "other": "staff" })).await, ["staff@h1"]);
        assert!(told("other", json!({ "other": "staff" })).await.is_empty());
    }
}
