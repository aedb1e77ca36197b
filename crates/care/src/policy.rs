//! The state event by which a room says who may be in it: `org.wardroom.access_policy`.

mod read;

use std::collections::BTreeMap;

use ruma::{OwnedServerName, OwnedUserId, ServerName};
use serde_json::Value;

use crate::role::{Requirement, Role};

/// Type of the state event.
pub const ACCESS_POLICY: &str = "org.wardroom.access_policy";

/// What a room's policy event says.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomPolicy {
    /// A policy that this server can decide by.
    Known(Box<AccessPolicy>),
    /// One that it cannot: of a version that it does not know, or malformed. Nobody comes in, and nobody is put out.
    Unknown {
        /// What is wrong with it, for administrators.
        reason: String,
    },
}

/// Who may be in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessPolicy {
    /// Which roles are required.
    pub require: Required,
    /// Which roles other servers may vouch for, by server.
    pub authorities: BTreeMap<OwnedServerName, Vec<Requirement>>,
    /// What an invitation is worth.
    pub invite: InviteRule,
    /// What becomes of somebody who does not meet the requirement any more.
    pub on_loss: OnLoss,
    /// Who gets which power level. The first rule that is met counts.
    pub power: Vec<PowerRule>,
    /// Whether it is asked at every read, too, and not only when somebody wants to come in or to do something.
    pub read_check: bool,
    /// Read receipts are public: nobody says privately that they have read.
    pub public_receipts: bool,
    /// Set by a user of another server. Who of other servers may be in the room is for that server to say, which knows
    /// their roles; this one keeps its own users to it.
    pub elsewhere: bool,
    /// Whether somebody may come in without the role in an emergency.
    pub break_glass: Option<BreakGlass>,
}

/// Requirements as alternatives, of which each is met by roles that meet all that it lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required(Vec<Vec<Requirement>>);

/// What an invitation is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InviteRule {
    /// Only those can be invited who have the role.
    #[default]
    RoleRequired,
    /// Whoever is invited by somebody in the room may come in and stay.
    RoleOrInvite,
}

/// What becomes of somebody who does not meet the requirement any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnLoss {
    /// What is done.
    pub action: LossAction,
    /// How long after the loss, in milliseconds.
    pub grace_ms: u64,
}

/// What is done with somebody who lost the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossAction {
    /// They are put out.
    #[default]
    Kick,
    /// They cannot send any more.
    ReadOnly,
    /// Administrators are told.
    Notify,
}

/// Who gets which power level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerRule {
    /// Whoever meets this.
    pub holder_of: Requirement,
    /// Gets this level.
    pub level: i64,
}

/// Coming in without the role in an emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlass {
    /// Who may.
    pub who: Required,
    /// For how long, in milliseconds.
    pub ttl_ms: u64,
    /// Codes of the reasons that may be given.
    pub reasons: Vec<String>,
    /// Fewest characters of the reason in words.
    pub min_text: usize,
    /// Who is told.
    pub notify: Vec<OwnedUserId>,
}

impl RoomPolicy {
    /// Reads the content of a policy event; none where it is empty, as it is once the policy was taken away.
    pub fn of(content: &Value) -> Option<Self> {
        if content.as_object().is_some_and(serde_json::Map::is_empty) {
            return None;
        }
        Some(match AccessPolicy::read(content) {
            Ok(policy) => Self::Known(Box::new(policy)),
            Err(reason) => Self::Unknown { reason },
        })
    }
}

impl AccessPolicy {
    /// Whether a server may vouch for a role of its users.
    pub(crate) fn lets_vouch(&self, server: &ServerName, role: &Role) -> bool {
        let roles = self.authorities.get(server);
        roles.is_some_and(|roles| roles.iter().any(|requirement| requirement.is_met_by(role)))
    }

    /// Whether a server may vouch for anything.
    pub(crate) fn names(&self, server: &ServerName) -> bool {
        self.authorities.get(server).is_some_and(|roles| !roles.is_empty())
    }
}

impl Required {
    /// Whether these roles meet it.
    pub fn is_met_by(&self, roles: &[&Role]) -> bool {
        self.0.iter().any(|all| all.iter().all(|one| roles.iter().any(|role| one.is_met_by(role))))
    }

    /// What is missing, of the alternative of which the least is: empty where it is met.
    pub fn missing(&self, roles: &[&Role]) -> Vec<&Requirement> {
        let missing = |all: &'_ Vec<Requirement>| -> Vec<usize> {
            let unmet = |one: &Requirement| !roles.iter().any(|role| one.is_met_by(role));
            all.iter().enumerate().filter(|(_, one)| unmet(one)).map(|(index, _)| index).collect()
        };
        let nearest = self.0.iter().map(|all| (all, missing(all))).min_by_key(|(_, missing)| missing.len());
        nearest
            .map(|(all, missing)| missing.into_iter().filter_map(|index| all.get(index)).collect())
            .unwrap_or_default()
    }

    /// Every requirement in it.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AccessPolicy, InviteRule, LossAction, RoomPolicy};
    use crate::role::Role;

    fn roles(texts: &[&str]) -> Vec<Role> {
        texts.iter().map(|text| Role::parse(text).unwrap()).collect()
    }

    fn policy(require: &Value) -> AccessPolicy {
        AccessPolicy::read(&json!({ "version": 1, "require": require })).unwrap()
    }

    #[test]
    fn one_alternative_is_enough_and_all_of_it_is_needed() {
        let policy = policy(&json!({ "any_of": [
            { "all_of": ["physician@h1/cardiology"] },
            { "all_of": ["charge-nurse@h1", "unit:cardiology@h1"] },
        ] }));
        for (held, met) in [
            (&["physician@h1/cardiology"][..], true),
            (&["physician@h1/surgery"], false),
            (&["charge-nurse@h1"], false),
            (&["charge-nurse@h1", "nurse@h1/cardiology"], true),
            (&["charge-nurse@h1/cardiology"], true),
            (&[], false),
        ] {
            let held = roles(held);
            let held: Vec<&Role> = held.iter().collect();
            assert_eq!(policy.require.is_met_by(&held), met, "{held:?}");
            assert_eq!(policy.require.missing(&held).is_empty(), met, "{held:?}");
        }
        let held = roles(&["charge-nurse@h1"]);
        let missing = policy.require.missing(&held.iter().collect::<Vec<_>>());
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(missing, ["physician@h1/cardiology"]);
    }

    #[test]
    fn what_is_not_said_has_the_strict_meaning() {
        let policy = policy(&json!({ "any_of": [{ "all_of": ["physician@h1"] }] }));
        assert_eq!(policy.invite, InviteRule::RoleRequired);
        assert_eq!((policy.on_loss.action, policy.on_loss.grace_ms), (LossAction::Kick, 0));
        assert!(!policy.public_receipts);
        assert!(policy.read_check && policy.break_glass.is_none() && policy.power.is_empty());
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_still_a_policy() {
        assert_eq!(RoomPolicy::of(&json!({})), None);
        for unknown in [json!({ "version": 2 }), json!({ "version": 1 }), json!([]), json!({ "hello": true })] {
            assert!(matches!(RoomPolicy::of(&unknown), Some(RoomPolicy::Unknown { .. })), "{unknown}");
        }
    }
}
