//! The gate: the specification's rules, and the room's policy besides.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use ruma::{UserId, events::StateEventType};
use serde_json::{
    Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_rooms::{
    Action, Asker, Gate, Membership, Policy, RoomBirth, RoomNid, RoomView, StandardGate, Stored, Terms, Verdict,
};
use wardroom_store::Hash16;

use crate::{
    attestations::Attestations,
    emergency::{BREAK_GLASS, Pass},
    judge::Judge,
    policy::{ACCESS_POLICY, AccessPolicy, InviteRule, LossAction, RoomPolicy},
    role::{Requirement, Role},
};

/// Decides by the roles of users in rooms with a policy.
#[derive(Debug)]
pub struct CareGate {
    judge: Judge,
    attestations: Attestations,
    policy_type: StateEventType,
}

/// What a policy is in a room's picture.
pub(crate) fn policy_of(room: &RoomView) -> Option<&RoomPolicy> {
    room.policy.as_ref().and_then(|policy| policy.downcast_ref())
}

impl CareGate {
    /// The gate by what is known of users.
    pub fn new(judge: Judge, attestations: Attestations) -> Self {
        Self { judge, attestations, policy_type: StateEventType::from(ACCESS_POLICY) }
    }

    /// Whether a user has a role that meets a requirement.
    fn roles_of(&self, user: &UserId) -> impl Fn(&Requirement) -> bool {
        let holder = self.judge.roles().of(user);
        let held = holder.as_ref().map(|holder| self.judge.counted(holder, user, None)).unwrap_or_default();
        let held: Vec<Role> = held.into_iter().cloned().collect();
        move |role| held.iter().any(|held| role.is_met_by(held))
    }

    fn by_policy(&self, asker: &Asker<'_>, action: Action<'_>, room: &RoomView, policy: &AccessPolicy) -> bool {
        let by_invitation = policy.invite == InviteRule::RoleOrInvite;
        let joined = asker.membership == Some(Membership::Join);
        if self.judge.is_judged_elsewhere(asker.user, policy) || self.judge.meets(asker.user, policy) {
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

/// Whether it is for another server to say what this user may do in a room.
fn is_elsewhere(room: &RoomView, user: &UserId, judge: &Judge) -> bool {
    match policy_of(room) {
        Some(RoomPolicy::Known(policy)) => judge.is_judged_elsewhere(user, policy),
        Some(RoomPolicy::Unknown { .. }) | None => false,
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
            && !is_elsewhere(room, asker.user, &self.judge)
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

    fn prepare<'a>(&'a self, user: &'a UserId, room: &'a RoomView) -> BoxFuture<'a, ()> {
        self.attestations.prepare(user, room).boxed()
    }

    fn policy_type(&self) -> Option<&StateEventType> {
        Some(&self.policy_type)
    }

    fn policy_for(&self, birth: &RoomBirth<'_>) -> Result<Option<Box<RawJsonValue>>, String> {
        if self.judge.is_service(birth.creator) {
            return Ok(None);
        }
        let has = self.roles_of(birth.creator);
        let Some((content, policy)) = self.judge.templates().policy_for(birth, has) else { return Ok(None) };
        if !self.judge.meets(birth.creator, &policy) {
            return Err("You do not have the role that the access policy of such rooms requires.".to_owned());
        }
        to_raw_value(&content).map(Some).map_err(|error| error.to_string())
    }

    fn template_for(&self, birth: &RoomBirth<'_>) -> Option<Hash16> {
        if self.judge.is_service(birth.creator) {
            return None;
        }
        self.judge.templates().hash_for(birth, self.roles_of(birth.creator))
    }

    fn terms_of_template(&self, template: Hash16) -> Option<Terms> {
        self.judge.templates().terms(template)
    }

    fn lets_in(&self, user: &UserId, room: &RoomView) -> bool {
        match policy_of(room) {
            Some(RoomPolicy::Known(policy)) => !policy.elsewhere || self.judge.meets(user, policy),
            Some(RoomPolicy::Unknown { .. }) | None => true,
        }
    }

    fn own_user(&self) -> Option<&UserId> {
        Some(self.judge.service())
    }

    fn read_policy(&self, event: &Stored) -> Option<Policy> {
        let policy = if event.redacted_because.is_some() {
            // Moderators may redact, but who may be in the room is not for them to say.
            Some(RoomPolicy::Unknown { reason: "the policy was redacted".to_owned() })
        } else {
            RoomPolicy::of(&event.pdu.content_as().unwrap_or(Value::Null))
        };
        let elsewhere = event.pdu.sender().server_name() != self.judge.service().server_name();
        policy.map(|mut policy| {
            if let RoomPolicy::Known(policy) = &mut policy {
                policy.elsewhere = elsewhere;
            }
            Arc::new(policy) as Policy
        })
    }

    fn admits_by_role(&self, user: &UserId, room: &RoomView) -> bool {
        match policy_of(room) {
            Some(RoomPolicy::Known(policy)) => self.judge.admits(room.nid, user, policy),
            Some(RoomPolicy::Unknown { .. }) => false,
            None => self.judge.spaces().of_room(room.nid).is_some_and(|space| self.judge.belongs_to(user, &space)),
        }
    }

    fn keeps_members(&self, room: RoomNid) -> bool {
        self.judge.spaces().of_room(room).is_some()
    }

    fn check_policy(&self, content: &RawJsonValue) -> Result<(), String> {
        let content: Value = serde_json::from_str(content.get()).map_err(|error| format!("content: {error}"))?;
        match RoomPolicy::of(&content) {
            Some(RoomPolicy::Unknown { reason }) => Err(reason),
            Some(RoomPolicy::Known(_)) | None => Ok(()),
        }
    }
}
