//! The gate: the specification's rules, and the room's policy besides.

use std::sync::Arc;

use ruma::{UserId, events::StateEventType};
use serde_json::{Value, value::RawValue as RawJsonValue};
use wardroom_event::Pdu;
use wardroom_rooms::{Action, Asker, Gate, Membership, Policy, RoomView, StandardGate, Verdict};

use crate::{
    emergency::{BREAK_GLASS, Pass},
    judge::Judge,
    policy::{ACCESS_POLICY, AccessPolicy, InviteRule, LossAction, RoomPolicy},
};

/// Decides by the roles of users in rooms with a policy.
#[derive(Debug)]
pub struct CareGate {
    judge: Judge,
    policy_type: StateEventType,
}

/// What a policy is in a room's picture.
pub(crate) fn policy_of(room: &RoomView) -> Option<&RoomPolicy> {
    room.policy.as_ref().and_then(|policy| policy.downcast_ref())
}

impl CareGate {
    /// The gate by what is known of users.
    pub fn new(judge: Judge) -> Self {
        Self { judge, policy_type: StateEventType::from(ACCESS_POLICY) }
    }

    fn by_policy(&self, asker: &Asker<'_>, action: Action<'_>, room: &RoomView, policy: &AccessPolicy) -> bool {
        let by_invitation = policy.invite == InviteRule::RoleOrInvite;
        let joined = asker.membership == Some(Membership::Join);
        if self.judge.meets(asker.user, policy) {
            return match action {
                Action::Invite(target) => by_invitation || self.judge.admits(room.nid, target, policy),
                _ => true,
            };
        }
        if matches!(action, Action::Leave | Action::Create | Action::Report) {
            return true;
        }
        match self.judge.pass(room.nid, asker.user, policy) {
            Pass::Open => return in_emergency(asker.user, action),
            Pass::Over => return false,
            Pass::None => {}
        }
        if by_invitation && matches!(asker.membership, Some(Membership::Join | Membership::Invite)) {
            return !matches!(action, Action::Invite(_));
        }
        let reads = matches!(action, Action::Read | Action::Glimpse | Action::Signal);
        if !joined {
            return reads && action != Action::Glimpse && !policy.read_check;
        }
        // Somebody who lost the role.
        let keeps = match policy.on_loss.action {
            LossAction::Notify => true,
            LossAction::ReadOnly => reads,
            LossAction::Kick => reads && !policy.read_check || self.judge.is_in_grace(room.nid, asker.user, policy),
        };
        keeps && !matches!(action, Action::Invite(_))
    }
}

/// What somebody may do who is in a room in an emergency only: join, read and send, and no more than that, whatever power
/// they have. The states that they may set are those of their own calls.
fn in_emergency(user: &UserId, action: Action<'_>) -> bool {
    match action {
        Action::Join | Action::Read | Action::Glimpse | Action::Signal | Action::Redact => true,
        Action::Send { state_key: None, .. } => true,
        Action::Send { state_key: Some(key), .. } => {
            let own = key.strip_prefix('_').unwrap_or(key).strip_prefix(user.as_str());
            key == user.as_str() || own.is_some_and(|rest| rest.starts_with('_'))
        }
        _ => false,
    }
}

impl Gate for CareGate {
    fn may(&self, asker: &Asker<'_>, action: Action<'_>, room: &RoomView) -> Verdict {
        let standard = StandardGate.may(asker, action, room);
        if standard != Verdict::Allow {
            return standard;
        }
        if matches!(action, Action::Send { kind: BREAK_GLASS, state_key: Some(_) })
            && !self.judge.is_service(asker.user)
        {
            return Verdict::Deny("Only the server says who has emergency access.".to_owned());
        }
        let allowed = match policy_of(room) {
            None => true,
            Some(RoomPolicy::Known(policy)) => self.by_policy(asker, action, room, policy),
            // Nobody can say who may be there: nobody comes in, and those who are in it stay.
            Some(RoomPolicy::Unknown { .. }) => {
                let comes_in = matches!(action, Action::Join | Action::Knock | Action::Invite(_));
                !comes_in
                    || self.judge.is_service(asker.user)
                    || asker.membership == Some(Membership::Join) && action == Action::Join
            }
        };
        if allowed {
            return Verdict::Allow;
        }
        Verdict::Deny(match action {
            Action::Invite(user) if user != asker.user => {
                "The room's access policy does not let this user in.".to_owned()
            }
            _ => "You do not have the role that the room's access policy requires.".to_owned(),
        })
    }

    fn policy_type(&self) -> Option<&StateEventType> {
        Some(&self.policy_type)
    }

    fn read_policy(&self, event: &Pdu) -> Option<Policy> {
        let content: Value = event.content_as().unwrap_or(Value::Null);
        RoomPolicy::of(&content).map(|policy| Arc::new(policy) as Policy)
    }

    fn check_policy(&self, content: &RawJsonValue) -> Result<(), String> {
        let content: Value = serde_json::from_str(content.get()).map_err(|error| format!("content: {error}"))?;
        match RoomPolicy::of(&content) {
            Some(RoomPolicy::Unknown { reason }) => Err(reason),
            Some(RoomPolicy::Known(_)) | None => Ok(()),
        }
    }
}
