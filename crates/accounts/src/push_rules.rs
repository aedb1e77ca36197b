//! Push rules: section "Push Rules". They live in the user's account data as `m.push_rules`, with the server's default
//! rules from the first moment.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use ruma::{
    UserId,
    push::{
        Action, AnyPushRule, ConditionalPushRule, InsertPushRuleError, NewPushRule, PushCondition, RemovePushRuleError,
        RuleKind, Ruleset, ScalarJsonValue,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use wardroom_store::{Batch, DataKey};

use crate::{AccountError, Accounts, DataScope, User, UserNid, fresh_cache::FreshCache};

/// Rulesets kept in memory, about 10 KB each.
const RULESETS_CACHED_MAX: usize = 1_024;
/// Longest id of a rule, in bytes.
const RULE_ID_BYTES_MAX: usize = 255;

const PUSH_RULES_TYPE: &str = "m.push_rules";

/// Stands for the user's own id in rules from [`Accounts::shared_push_rules`]. No user id begins so.
pub const OWN_USER_ID: &str = "\u{0}own user id";
/// The server's own rules in which the user's id stands, each once: invitations and mentions.
const OWN_RULES_WITH_OWNER: usize = 2;
/// Users whose rules, as they are shared, are kept in memory: about 50 bytes for each who has the rules of others.
const SHARED_RULES_USERS_MAX: usize = 50_000;
/// Bytes of different rules, as JSON, that these users may have; about ten times that in memory.
const SHARED_RULES_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Content of `m.push_rules`.
#[derive(Serialize, Deserialize)]
struct PushRulesContent {
    global: Ruleset,
}

impl PushRulesContent {
    fn into_json(self) -> Result<String, AccountError> {
        serde_json::to_string(&self).map_err(|_| AccountError::Damaged("push rules"))
    }
}

/// Parsed rulesets by user.
pub(crate) struct RulesetCache {
    /// As their users see them.
    own: Arc<FreshCache<UserNid, Arc<Ruleset>>>,
    /// As they are evaluated.
    shared: Arc<FreshCache<UserNid, Arc<Ruleset>>>,
    /// What is in `shared`, each ruleset once, by the hash of its JSON.
    different: Mutex<Different>,
}

/// Different rulesets that somebody still has.
#[derive(Default)]
struct Different {
    rulesets: HashMap<[u8; 32], (Weak<Ruleset>, usize)>,
    bytes: usize,
}

impl Default for RulesetCache {
    fn default() -> Self {
        Self {
            own: Arc::new(FreshCache::new(RULESETS_CACHED_MAX)),
            shared: Arc::new(FreshCache::new(SHARED_RULES_USERS_MAX)),
            different: Mutex::default(),
        }
    }
}

impl RulesetCache {
    pub(crate) fn forget_on_commit(&self, batch: &mut Batch, user: UserNid) {
        let (own, shared) = (Arc::clone(&self.own), Arc::clone(&self.shared));
        batch.on_commit(move |_| {
            own.end(&user);
            shared.end(&user);
        });
    }

    /// The one copy of rules that stand in the store with these words, made by `make` if nobody has it yet.
    fn share(
        &self,
        words: &str,
        make: impl FnOnce() -> Result<Ruleset, AccountError>,
    ) -> Result<Arc<Ruleset>, AccountError> {
        let hash: [u8; 32] = Sha256::digest(words).into();
        if let Some(known) = self.different.lock().known(&hash) {
            return Ok(known);
        }
        let made = Arc::new(make()?);
        let mut different = self.different.lock();
        if let Some(known) = different.known(&hash) {
            return Ok(known);
        }
        if different.bytes.saturating_add(words.len()) > SHARED_RULES_BYTES_MAX {
            // Most users have rules of their own: those that nobody uses go, and if that is not enough, all do.
            different.rulesets.retain(|_, (known, _)| known.strong_count() > 0);
            different.bytes = different.rulesets.values().map(|(_, bytes)| bytes).sum();
            if different.bytes > SHARED_RULES_BYTES_MAX / 2 {
                self.shared.end_all(|_| true);
                *different = Different::default();
            }
        }
        different.bytes += words.len();
        different.rulesets.insert(hash, (Arc::downgrade(&made), words.len()));
        Ok(made)
    }
}

impl Different {
    fn known(&self, hash: &[u8; 32]) -> Option<Arc<Ruleset>> {
        self.rulesets.get(hash).and_then(|(known, _)| known.upgrade())
    }
}

/// Puts [`OWN_USER_ID`] in the place of the user's id in the server's own rules.
fn without_owner(mut rules: Ruleset, owner: &UserId) -> Ruleset {
    let anybody = |mut rule: ConditionalPushRule| {
        for condition in rule.conditions.iter_mut().filter(|_| rule.default) {
            match condition {
                PushCondition::EventMatch(wanted) if wanted.pattern == owner.as_str() => {
                    wanted.pattern = OWN_USER_ID.to_owned();
                }
                PushCondition::EventPropertyContains(wanted) if matches!(&wanted.value, ScalarJsonValue::String(value) if value == owner.as_str()) =>
                {
                    wanted.value = ScalarJsonValue::String(OWN_USER_ID.to_owned());
                }
                _ => {}
            }
        }
        rule
    };
    rules.override_ = rules.override_.into_iter().map(anybody).collect();
    rules
}

impl Accounts {
    /// The push rules of a user. From memory, for users whose events are evaluated often.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn push_rules(&self, user: UserNid) -> Result<Arc<Ruleset>, AccountError> {
        let cache = &self.0.rulesets.own;
        if let Some(rules) = cache.get(&user) {
            return Ok(rules);
        }
        let before = cache.before_read();
        let owner = self.user_id(user).await?;
        let content = self.account_data(user, DataScope::Global, PUSH_RULES_TYPE).await?;
        let rules = Arc::new(with_defaults(content.as_deref(), &owner)?);
        cache.insert(&user, Arc::clone(&rules), before);
        Ok(rules)
    }

    /// The push rules of a user as they are evaluated: users who have the same get the same value, in which
    /// [`OWN_USER_ID`] stands for the id of each. From memory.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shared_push_rules(&self, user: UserNid) -> Result<Arc<Ruleset>, AccountError> {
        let cache = &self.0.rulesets.shared;
        if let Some(rules) = cache.get(&user) {
            return Ok(rules);
        }
        let before = cache.before_read();
        let owner = self.user_id(user).await?;
        let content = self.account_data(user, DataScope::Global, PUSH_RULES_TYPE).await?;
        let words = shared_words(content.as_ref().map(|content| content.get()).unwrap_or_default(), &owner);
        let make = || Ok(without_owner(with_defaults(content.as_deref(), &owner)?, &owner));
        let rules = self.0.rulesets.share(&words, make)?;
        cache.insert(&user, Arc::clone(&rules), before);
        Ok(rules)
    }

    /// One rule.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn push_rule(
        &self,
        user: UserNid,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<Option<AnyPushRule>, AccountError> {
        Ok(self.push_rules(user).await?.get(kind, rule_id).map(|rule| rule.to_owned()))
    }

    /// Adds a rule of the user's own, or replaces one; `after` and `before` name the neighbours it gets.
    ///
    /// # Errors
    /// [`AccountError::InvalidPushRule`], [`AccountError::Limit`], or the store's.
    pub async fn set_push_rule(
        &self,
        user: &UserId,
        rule: NewPushRule,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<(), AccountError> {
        let rule_id = rule.rule_id();
        if rule_id.len() > RULE_ID_BYTES_MAX {
            return Err(AccountError::Limit { what: "The length of the rule id, in bytes,", limit: RULE_ID_BYTES_MAX });
        }
        if [after, before].contains(&Some(rule_id)) {
            return Err(AccountError::InvalidPushRule("A rule cannot be placed before or after itself."));
        }
        self.change_push_rules(user, |rules| place(rules, rule.clone(), after, before)).await
    }

    /// Removes a rule of the user's own.
    ///
    /// # Errors
    /// [`AccountError::UnknownPushRule`], [`AccountError::InvalidPushRule`] for the server's rules, or the store's.
    pub async fn delete_push_rule(&self, user: &UserId, kind: RuleKind, rule_id: &str) -> Result<(), AccountError> {
        self.change_push_rules(user, |rules| {
            rules.remove(kind.clone(), rule_id).map_err(|error| match error {
                RemovePushRuleError::ServerDefault => {
                    AccountError::InvalidPushRule("The server's own rules cannot be removed.")
                }
                _ => AccountError::UnknownPushRule,
            })
        })
        .await
    }

    /// Turns a rule on or off.
    ///
    /// # Errors
    /// [`AccountError::UnknownPushRule`], or the store's.
    pub async fn set_push_rule_enabled(
        &self,
        user: &UserId,
        kind: RuleKind,
        rule_id: &str,
        enabled: bool,
    ) -> Result<(), AccountError> {
        self.change_push_rules(user, |rules| {
            rules.set_enabled(kind.clone(), rule_id, enabled).map_err(|_| AccountError::UnknownPushRule)
        })
        .await
    }

    /// Changes what a rule does.
    ///
    /// # Errors
    /// [`AccountError::UnknownPushRule`], [`AccountError::Limit`], or the store's.
    pub async fn set_push_rule_actions(
        &self,
        user: &UserId,
        kind: RuleKind,
        rule_id: &str,
        actions: Vec<Action>,
    ) -> Result<(), AccountError> {
        self.change_push_rules(user, |rules| {
            rules.set_actions(kind.clone(), rule_id, actions.clone()).map_err(|_| AccountError::UnknownPushRule)
        })
        .await
    }

    async fn change_push_rules(
        &self,
        user: &UserId,
        change: impl Fn(&mut Ruleset) -> Result<(), AccountError>,
    ) -> Result<(), AccountError> {
        let (nid, ..) = self.active_row(user).await?;
        self.change_account_data(nid, DataScope::Global, PUSH_RULES_TYPE, |old| {
            let mut rules = old.map(parse).transpose()?.unwrap_or_default();
            // New versions of the specification change the default rules.
            rules.update_with_server_default(default_rules(user));
            change(&mut rules)?;
            PushRulesContent { global: rules }.into_json().map(Some)
        })
        .await?;
        Ok(())
    }

    /// Adds the default rules of a new user to the batch that makes the user.
    pub(crate) fn put_default_push_rules(
        &self,
        batch: &mut Batch,
        user: &User,
        person: &DataKey,
    ) -> Result<(), AccountError> {
        let key = self.account_data_key(user.nid, DataScope::Global, PUSH_RULES_TYPE);
        let content = PushRulesContent { global: default_rules(&user.id) }.into_json()?;
        self.put_account_data(batch, key, PUSH_RULES_TYPE, content, person)
    }
}

/// The words of stored rules without their owner's id, where it stands in the server's own rules only; those who have
/// the same words have the same rules. Rules that name their owner elsewhere are shared with nobody.
fn shared_words<'a>(content: &'a str, owner: &UserId) -> Cow<'a, str> {
    let quoted = format!("\"{owner}\"");
    if content.matches(&quoted).count() == OWN_RULES_WITH_OWNER {
        Cow::Owned(content.replace(&quoted, "\"\""))
    } else {
        Cow::Borrowed(content)
    }
}

/// A user's rules. Those that the server did not have when the user last changed theirs are among them.
fn with_defaults(content: Option<&RawValue>, owner: &UserId) -> Result<Ruleset, AccountError> {
    let default = default_rules(owner);
    let Some(content) = content else { return Ok(default) };
    let mut rules = parse(content.get())?;
    rules.update_with_server_default(default);
    Ok(rules)
}

fn parse(content: &str) -> Result<Ruleset, AccountError> {
    let content: PushRulesContent = serde_json::from_str(content).map_err(|_| AccountError::Damaged("push rules"))?;
    Ok(content.global)
}

/// Inserts a rule. ruma 0.17 panics when it moves a rule that exists to behind the last one, so such a rule is taken out
/// before it is placed again.
fn place(
    rules: &mut Ruleset,
    rule: NewPushRule,
    after: Option<&str>,
    before: Option<&str>,
) -> Result<(), AccountError> {
    let (kind, rule_id) = (rule.kind(), rule.rule_id().to_owned());
    let existing = rules.get(kind.clone(), &rule_id);
    let was_enabled = existing.is_none_or(|rule| rule.enabled());
    let moves = after.is_some() || before.is_some();
    if moves && existing.is_some_and(|rule| !rule.is_server_default()) {
        rules.remove(kind.clone(), &rule_id).map_err(|_| AccountError::UnknownPushRule)?;
    }
    rules.insert(rule, after, before).map_err(|error| match error {
        InsertPushRuleError::ServerDefaultRuleId => {
            AccountError::InvalidPushRule("Ids of rules that start with a dot are reserved for the server.")
        }
        InsertPushRuleError::InvalidRuleId => {
            AccountError::InvalidPushRule("The id of a rule cannot contain '/' or '\\'.")
        }
        InsertPushRuleError::RelativeToServerDefaultRule => {
            AccountError::InvalidPushRule("A rule cannot be placed relative to one of the server's own.")
        }
        InsertPushRuleError::BeforeHigherThanAfter => {
            AccountError::InvalidPushRule("The rule in 'before' comes above the rule in 'after'.")
        }
        _ => AccountError::InvalidPushRule("The rule in 'before' or 'after' does not exist."),
    })?;
    rules.set_enabled(kind, &rule_id, was_enabled).map_err(|_| AccountError::UnknownPushRule)
}

/// The rules that everybody has. Without those of MSC4306, which come with ruma's types for subscriptions to threads:
/// they would silence threads for clients that do not subscribe.
fn default_rules(user: &UserId) -> Ruleset {
    let mut rules = Ruleset::server_default(user);
    rules.postcontent.clear();
    rules
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{
        push::{Action, NewConditionalPushRule, NewPatternedPushRule, NewPushRule, RuleKind, Ruleset},
        user_id,
    };

    use super::place;

    fn content_rule(id: &str) -> NewPushRule {
        NewPushRule::Content(NewPatternedPushRule::new(id.to_owned(), "cake".to_owned(), vec![Action::Notify]))
    }

    fn order(rules: &Ruleset) -> Vec<&str> {
        rules.content.iter().map(|rule| rule.rule_id.as_str()).collect()
    }

    #[test]
    fn rules_are_placed_by_their_neighbours() {
        let mut rules = Ruleset::server_default(user_id!("@alice:localhost"));
        for id in ["a", "b", "c"] {
            place(&mut rules, content_rule(id), None, None).unwrap();
        }
        assert_eq!(order(&rules), ["c", "b", "a"]);
        place(&mut rules, content_rule("c"), Some("a"), None).unwrap();
        assert_eq!(order(&rules), ["b", "a", "c"]);
        place(&mut rules, content_rule("c"), None, Some("b")).unwrap();
        assert_eq!(order(&rules), ["c", "b", "a"]);
        place(&mut rules, content_rule("b"), None, None).unwrap();
        assert_eq!(order(&rules), ["c", "b", "a"], "a changed rule stays in its place");
        assert!(place(&mut rules, content_rule("d"), Some("nowhere"), None).is_err());
    }

    #[test]
    fn a_moved_rule_stays_off() {
        let mut rules = Ruleset::server_default(user_id!("@alice:localhost"));
        place(&mut rules, content_rule("a"), None, None).unwrap();
        place(&mut rules, content_rule("b"), None, None).unwrap();
        rules.set_enabled(RuleKind::Content, "b", false).unwrap();
        place(&mut rules, content_rule("b"), Some("a"), None).unwrap();
        assert!(!rules.get(RuleKind::Content, "b").unwrap().enabled());
    }

    proptest! {
        #[test]
        fn no_placement_panics(steps in prop::collection::vec(
            (0..2_usize, 0..5_usize, prop::option::of(0..5_usize), prop::option::of(0..5_usize)), 0..30,
        )) {
            let ids = ["a", "b", "c", "d", "e"];
            let mut rules = Ruleset::server_default(user_id!("@alice:localhost"));
            for (kind, id, after, before) in steps {
                let id_text = ids[id].to_owned();
                let rule = if kind == 0 {
                    content_rule(&id_text)
                } else {
                    NewPushRule::Override(NewConditionalPushRule::new(id_text, vec![], vec![Action::Notify]))
                };
                // `set_push_rule` refuses a rule as its own neighbour.
                if after == Some(id) || before == Some(id) {
                    continue;
                }
                let mut changed = rules.clone();
                if place(&mut changed, rule, after.map(|i| ids[i]), before.map(|i| ids[i])).is_ok() {
                    rules = changed;
                }
                prop_assert_eq!(rules.override_.first().map(|rule| rule.rule_id.as_str()), Some(".m.rule.master"));
            }
        }
    }
}
