//! Whom a user wants to hear nothing of, and who may invite them: modules "Ignoring Users" and "Invite permission".
//!
//! Both live in the user's account data. They are asked for at every sync, message and invitation, so their parsed form
//! is kept in memory and forgotten by the commit that changes them.

use std::{collections::HashSet, fmt, sync::Arc};

use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};
use wardroom_store::Batch;

use crate::{AccountError, Accounts, DataScope, UserNid, fresh_cache::FreshCache};

/// Users whose rules are kept in memory, a few hundred bytes each for most.
const RULES_CACHED_MAX: usize = 8_192;
/// A longer list of ignored users is read anew whenever it is needed, so that few users cannot fill the memory.
const IGNORED_CACHED_MAX: usize = 500;

const IGNORED_USERS: &str = "m.ignored_user_list";
/// The stable type and that of MSC4380 before it.
const INVITE_PERMISSION: [&str; 2] = ["m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"];

/// Users of whom one user hears nothing but state events. Cheap to clone.
///
/// Whoever tells a user of something that has a sender asks this first: timelines, typing, receipts, presence,
/// invitations, pushes, unread counts. State events are told all the same (specification, "Ignoring Users").
#[derive(Clone, Default)]
pub struct IgnoredUsers(Arc<HashSet<OwnedUserId>>);

impl IgnoredUsers {
    /// Whether nobody is ignored, as with most users.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this user is ignored.
    pub fn contains(&self, user: &UserId) -> bool {
        !self.0.is_empty() && self.0.contains(user)
    }

    /// Whether an event is kept from the user: one without a state key, from somebody ignored.
    pub fn hides(&self, sender: &UserId, is_state: bool) -> bool {
        !is_state && self.contains(sender)
    }

    /// Reads the content of `m.ignored_user_list`. What is no user id is passed over, and so is the user: nobody is
    /// kept from what they did themselves.
    fn parse(content: &str, owner: &UserId) -> Self {
        #[derive(Deserialize)]
        struct Content {
            ignored_users: Map<String, Value>,
        }
        let content = serde_json::from_str::<Content>(content).map(|content| content.ignored_users);
        let users = content.unwrap_or_default().into_iter().filter_map(|(user, _)| OwnedUserId::try_from(user).ok());
        Self(Arc::new(users.filter(|user| user != owner).collect()))
    }
}

impl fmt::Debug for IgnoredUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IgnoredUsers").field("count", &self.0.len()).finish()
    }
}

/// What is kept in memory of a user.
#[derive(Clone, Debug)]
struct ContactRules {
    ignored: IgnoredUsers,
    blocks_invites: bool,
}

/// Parsed rules by user.
pub(crate) struct ContactRulesCache(Arc<FreshCache<UserNid, ContactRules>>);

impl Default for ContactRulesCache {
    fn default() -> Self {
        Self(Arc::new(FreshCache::new(RULES_CACHED_MAX)))
    }
}

impl ContactRulesCache {
    /// To be called for every batch that writes or deletes the user's global account data of this type.
    pub(crate) fn forget_on_commit(&self, batch: &mut Batch, user: UserNid, event_type: &str) {
        if event_type == IGNORED_USERS || INVITE_PERMISSION.contains(&event_type) {
            self.forget_all_on_commit(batch, user);
        }
    }

    /// To be called for every batch that deletes all account data of the user.
    pub(crate) fn forget_all_on_commit(&self, batch: &mut Batch, user: UserNid) {
        let rules = Arc::clone(&self.0);
        batch.on_commit(move |_| rules.end(&user));
    }
}

/// Whether the content of an invite permission event blocks everybody.
fn blocks(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        default_action: Option<String>,
    }
    let content = serde_json::from_str::<Content>(content);
    content.is_ok_and(|content| content.default_action.as_deref() == Some("block"))
}

impl Accounts {
    /// Whom a user ignores. From memory, for users who sync; a change counts from the commit that makes it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ignored_users(&self, user: UserNid) -> Result<IgnoredUsers, AccountError> {
        Ok(self.contact_rules(user).await?.ignored)
    }

    /// Whether a user lets nobody invite them (`m.invite_permission_config` with a `default_action` of `block`).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn blocks_invites(&self, user: UserNid) -> Result<bool, AccountError> {
        Ok(self.contact_rules(user).await?.blocks_invites)
    }

    async fn contact_rules(&self, user: UserNid) -> Result<ContactRules, AccountError> {
        let cache = &self.0.contact_rules.0;
        if let Some(rules) = cache.get(&user) {
            return Ok(rules);
        }
        let before = cache.before_read();
        let ignored = match self.account_data(user, DataScope::Global, IGNORED_USERS).await? {
            Some(content) => IgnoredUsers::parse(content.get(), &self.user_id(user).await?),
            None => IgnoredUsers::default(),
        };
        let mut blocks_invites = false;
        for event_type in INVITE_PERMISSION {
            // The stable type decides where there are both.
            if let Some(content) = self.account_data(user, DataScope::Global, event_type).await? {
                blocks_invites = blocks(content.get());
                break;
            }
        }
        let rules = ContactRules { ignored, blocks_invites };
        if rules.ignored.0.len() <= IGNORED_CACHED_MAX {
            cache.insert(&user, rules.clone(), before);
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{IgnoredUsers, blocks};

    #[test]
    fn the_list_is_read_as_far_as_it_makes_sense() {
        let (alice, bob, eve) = (user_id!("@alice:a.b"), user_id!("@bob:a.b"), user_id!("@eve:x"));
        let ignored = IgnoredUsers::parse(r#"{"ignored_users":{"@bob:a.b":{},"nobody":1,"@alice:a.b":{}}}"#, alice);
        assert!(ignored.contains(bob) && !ignored.contains(eve) && !ignored.contains(alice) && !ignored.is_empty());
        assert!(ignored.hides(bob, false) && !ignored.hides(bob, true) && !ignored.hides(eve, false));
        for junk in ["{}", r#"{"ignored_users":[]}"#, "[]", r#"{"ignored_users":{}}"#] {
            assert!(IgnoredUsers::parse(junk, alice).is_empty(), "{junk}");
        }
    }

    #[test]
    fn only_block_blocks() {
        assert!(blocks(r#"{"default_action":"block","x":1}"#));
        for other in ["{}", r#"{"default_action":"allow"}"#, r#"{"default_action":1}"#, "[]"] {
            assert!(!blocks(other), "{other}");
        }
    }
}
