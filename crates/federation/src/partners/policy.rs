//! Which servers may take part.

use std::sync::Arc;

use parking_lot::RwLock;
use ruma::ServerName;
use serde::{Deserialize, Serialize};
use wardroom_audit::{Act, AuditLog, Record, hash};
use wardroom_store::{Batch, Packed, Profile, Seal, Store, Table};

use super::PartnerError;

/// The policy that an administrator set while the server ran; it stands instead of the configured one.
pub(crate) const POLICY: Table<(), Packed<Policy>> =
    Table::new(0x0501, "federation_policy", Profile::Point, Seal::System);

/// Patterns in one list.
pub const POLICY_PATTERNS_MAX: usize = 10_000;
/// Longest pattern: a server name has 255 characters at most.
pub const POLICY_PATTERN_BYTES_MAX: usize = 255;

/// Which servers may take part: names and patterns with `*` (any characters) and `?` (one), in any case.
///
/// `allow` is compared with the whole name, its port included; `deny` with the whole name and with the name without
/// its port, and wins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Policy {
    /// Who may.
    pub allow: Vec<String>,
    /// Who may not, whatever `allow` says.
    pub deny: Vec<String>,
}

impl Policy {
    /// What is wrong with it: sentences that name the list.
    pub fn problems(&self) -> Vec<String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]*?".contains(&byte);
        let mut problems = Vec::new();
        for (name, patterns) in [("allow", &self.allow), ("deny", &self.deny)] {
            if patterns.len() > POLICY_PATTERNS_MAX {
                problems.push(format!("{name}: more than {POLICY_PATTERNS_MAX} patterns"));
            }
            let bad = patterns.iter().find(|pattern| {
                pattern.is_empty() || pattern.len() > POLICY_PATTERN_BYTES_MAX || !pattern.bytes().all(allowed)
            });
            if let Some(bad) = bad {
                let shown: String = bad.chars().take(POLICY_PATTERN_BYTES_MAX).collect();
                problems.push(format!("{name}: {shown:?} is no server name or pattern of one"));
            }
        }
        problems
    }

    /// Whether a server may take part.
    pub fn admits(&self, server: &ServerName) -> bool {
        let (name, host) = (server.as_str(), server.host());
        let denied = self.deny.iter().any(|pattern| matches(pattern, name) || matches(pattern, host));
        !denied && self.allow.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a name is of a pattern, in any case. Takes no longer than the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at_pattern, mut at_name) = (0, 0);
    // Where the last star stood, and up to where it has swallowed the name.
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[at_name]) => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => {
                let Some((star_at, swallowed)) = star else { return false };
                star = Some((star_at, swallowed + 1));
                at_pattern = star_at + 1;
                at_name = swallowed + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

/// The policy in force.
#[derive(Debug)]
pub(crate) struct Policies {
    configured: Arc<Policy>,
    /// The one in force, and whether an administrator set it.
    current: RwLock<(Arc<Policy>, bool)>,
    /// Changes are made one after the other, so that what is in force is what is stored.
    changing: tokio::sync::Mutex<()>,
}

impl Policies {
    pub(crate) fn new(configured: Policy) -> Self {
        let configured = Arc::new(configured);
        Self { current: RwLock::new((Arc::clone(&configured), false)), configured, changing: Default::default() }
    }

    /// Reads the policy that an administrator set.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), PartnerError> {
        let stored = store.latest().get(&POLICY, &()).await;
        if let Some(Packed(policy)) = stored.map_err(|error| PartnerError::Store(error.to_string()))? {
            *self.current.write() = (Arc::new(policy), true);
        }
        Ok(())
    }

    pub(crate) fn current(&self) -> (Arc<Policy>, bool) {
        self.current.read().clone()
    }

    /// Stores a policy and puts it in force; `None` goes back to the configured one.
    pub(crate) async fn set(
        &self,
        store: &Store,
        audit: &AuditLog,
        policy: Option<Policy>,
    ) -> Result<(), PartnerError> {
        let _changing = self.changing.lock().await;
        let mut batch = Batch::default();
        let hash_of = |policy: &Policy| hash(serde_json::json!([policy.allow, policy.deny]).to_string());
        let (old, new) = (hash_of(&self.current().0), hash_of(policy.as_ref().unwrap_or(&self.configured)));
        audit.add(&mut batch, Record::of(Act::ServerConfig).detail("federation policy").old(old).new(new));
        match &policy {
            Some(policy) => batch.put(&POLICY, &(), &Packed(policy.clone())),
            None => batch.delete(&POLICY, &()),
        }
        store.commit(batch).await.map_err(|error| PartnerError::Store(error.to_string()))?;
        let set = policy.is_some();
        let policy = policy.map_or_else(|| Arc::clone(&self.configured), Arc::new);
        *self.current.write() = (policy, set);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wardroom_store::Catalogue;

    use super::*;

    fn policy(allow: &[&str], deny: &[&str]) -> Policy {
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Policy { allow: owned(allow), deny: owned(deny) }
    }

    fn admits(policy: &Policy, name: &str) -> bool {
        policy.admits(name.try_into().unwrap())
    }

    #[test]
    fn deny_wins_and_hosts_are_denied_with_all_their_ports() {
        let policy =
            policy(&["*.care.example", "h?.example", "port.example:8448"], &["bad.care.example", "*.b.care.example:1"]);
        for (name, admitted) in [
            ("a.care.example", true),
            ("A.Care.EXAMPLE", true),
            ("a.care.example:8448", false),
            ("care.example", false),
            ("h1.example", true),
            ("h12.example", false),
            ("port.example:8448", true),
            ("port.example", false),
            ("bad.care.example", false),
            ("BAD.care.example", false),
            ("x.b.care.example", true),
        ] {
            assert_eq!(admits(&policy, name), admitted, "{name}");
        }
        let all = self::policy(&["*"], &["evil.example", "10.*"]);
        for (name, admitted) in
            [("evil.example:99", false), ("10.0.0.1:8448", false), ("evil.example.org", true), ("[::1]:8", true)]
        {
            assert_eq!(admits(&all, name), admitted, "{name}");
        }
        assert!(!admits(&self::policy(&[], &[]), "a.example"));
    }

    #[test]
    fn patterns_are_checked() {
        assert!(policy(&["*", "a.example:*", "[2001:db8::?]"], &[]).problems().is_empty());
        for bad in ["", "a b", "ä.example", "a/b"] {
            assert_eq!(policy(&[bad], &[]).problems().len(), 1, "{bad}");
            assert!(policy(&[], &[bad]).problems()[0].starts_with("deny: "), "{bad}");
        }
        assert!(!policy(&[&"a".repeat(256)], &[]).problems().is_empty());
    }

    proptest! {
        #[test]
        fn patterns_match_as_a_simple_search_does(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            fn slow(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.first(), name.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => slow(&pattern[1..], name) || (!name.is_empty() && slow(pattern, &name[1..])),
                    (Some(b'?'), Some(_)) => slow(&pattern[1..], &name[1..]),
                    (Some(a), Some(b)) => a == b && slow(&pattern[1..], &name[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }

    #[tokio::test]
    async fn what_an_administrator_sets_outlives_a_restart_until_it_is_taken_back() {
        let store = Store::in_memory(Catalogue::new(&[crate::TABLES]).unwrap());
        let configured = policy(&["*"], &[]);
        let policies = Policies::new(configured.clone());
        policies.set(&store, &AuditLog::silent(), Some(policy(&["a.example"], &[]))).await.unwrap();
        let again = Policies::new(configured.clone());
        again.load(&store).await.unwrap();
        assert_eq!(again.current(), (Arc::new(policy(&["a.example"], &[])), true));
        again.set(&store, &AuditLog::silent(), None).await.unwrap();
        assert_eq!(again.current(), (Arc::new(configured.clone()), false));
        let last = Policies::new(configured);
        last.load(&store).await.unwrap();
        assert!(!last.current().1);
    }
}
