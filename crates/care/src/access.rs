//! Why somebody may be in a room, or may not: for administrators, without changing anything.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, UserId, events::StateEventType};
use serde::Serialize;
use serde_json::{Value, value::to_raw_value};
use wardroom_rooms::{Actor, Membership, NS_USER, RoomError, RoomNid, RoomView, UserNid};

use crate::{
    Care, CareError,
    emergency::Pass,
    gate::policy_of,
    policy::{ACCESS_POLICY, AccessPolicy, InviteRule, RoomPolicy},
};

/// How somebody stands to a room's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Their roles are what it requires, or the room requires none.
    Compliant,
    /// They are not.
    NonCompliant,
    /// Nothing is known of their roles, or the policy cannot be read.
    Inconclusive,
}

/// How somebody stands to a room's policy, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// The verdict.
    pub verdict: Standing,
    /// In words.
    pub reason: String,
    /// Roles that they have now.
    pub roles: Vec<String>,
    /// What they lack for the alternative of which they lack least.
    pub missing: Vec<String>,
}

impl Care {
    /// How a user stands to a policy. Nothing changes.
    pub fn assess(&self, user: &UserId, policy: Option<&RoomPolicy>) -> Assessment {
        let holder = self.0.judge.roles().of(user);
        let known = match policy {
            Some(RoomPolicy::Known(policy)) => Some(&**policy),
            Some(RoomPolicy::Unknown { .. }) | None => None,
        };
        let held = holder.as_ref().map(|holder| self.0.judge.counted(holder, user, known)).unwrap_or_default();
        let roles = held.iter().map(ToString::to_string).collect();
        let say = |verdict, reason: &str, missing| Assessment { verdict, reason: reason.to_owned(), roles, missing };
        let policy: &AccessPolicy = match policy {
            None => return say(Standing::Compliant, "The room requires no role.", Vec::new()),
            Some(RoomPolicy::Unknown { reason }) => {
                return say(Standing::Inconclusive, &format!("The policy cannot be read: {reason}."), Vec::new());
            }
            Some(RoomPolicy::Known(policy)) => policy,
        };
        if self.0.judge.is_service(user) {
            return say(Standing::Compliant, "This is the server's own user.", Vec::new());
        }
        if self.0.judge.is_judged_elsewhere(user, policy) {
            let reason = "Another server set the policy, and says whether this user may be in the room.";
            return say(Standing::Inconclusive, reason, Vec::new());
        }
        let missing: Vec<String> = policy.require.missing(&held).iter().map(ToString::to_string).collect();
        let by_invitation = policy.invite == InviteRule::RoleOrInvite;
        match &holder {
            _ if missing.is_empty() => say(Standing::Compliant, "The user has the roles.", missing),
            None if by_invitation => {
                say(Standing::Inconclusive, "Nothing is known of the user's roles; an invitation is enough.", missing)
            }
            None => say(Standing::Inconclusive, "Nothing is known of the user's roles.", missing),
            Some(holder) if !holder.is_active() => {
                say(Standing::NonCompliant, "A directory says that the user is not there any more.", missing)
            }
            Some(_) if by_invitation => {
                say(Standing::NonCompliant, "The user lacks roles; an invitation is enough.", missing)
            }
            Some(_) => say(Standing::NonCompliant, "The user lacks roles.", missing),
        }
    }

    /// As [`Care::assess`], of somebody in a room: an emergency counts, too.
    pub fn assess_in(&self, room: &RoomView, user: &UserId, policy: Option<&RoomPolicy>) -> Assessment {
        let assessed = self.assess(user, policy);
        let Some(RoomPolicy::Known(policy)) = policy else { return assessed };
        if assessed.verdict == Standing::Compliant || self.0.judge.pass(room.nid, user, policy) != Pass::Open {
            return assessed;
        }
        Assessment { verdict: Standing::Compliant, reason: "The user has emergency access.".to_owned(), ..assessed }
    }

    /// The content of a room's policy event; none where it has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn policy_content(&self, room: &RoomView) -> Result<Option<Value>, CareError> {
        let event = self.0.rooms.state_event(room.nid, room.state, &ACCESS_POLICY.into(), "").await?;
        let content = event.and_then(|event| event.pdu.content_as::<Value>().ok());
        Ok(content.filter(|content| content.as_object().is_none_or(|content| !content.is_empty())))
    }

    /// Has a room require roles. The server's own user says so there; where it is not in the room, a local administrator
    /// of the room lets it in.
    ///
    /// # Errors
    /// [`CareError::Invalid`] with the field at fault, [`RoomError::Forbidden`] where nobody of this server has the power.
    pub async fn set_policy(&self, room: &RoomView, content: &Value) -> Result<OwnedEventId, CareError> {
        match RoomPolicy::of(content) {
            None => return Err(CareError::Invalid("version: is missing".to_owned())),
            Some(RoomPolicy::Unknown { reason }) => return Err(CareError::Invalid(reason)),
            Some(RoomPolicy::Known(_)) => {}
        }
        self.send_policy(room, content).await
    }

    /// Ends that a room requires roles.
    ///
    /// # Errors
    /// As [`Care::set_policy`].
    pub async fn remove_policy(&self, room: &RoomView) -> Result<OwnedEventId, CareError> {
        self.send_policy(room, &Value::Object(serde_json::Map::new())).await
    }

    pub(crate) async fn send_policy(&self, room: &RoomView, content: &Value) -> Result<OwnedEventId, CareError> {
        self.serve(room).await?;
        let content = to_raw_value(content).map_err(|error| RoomError::BadContent(error.to_string()))?;
        self.0.service.set_state(room, &StateEventType::from(ACCESS_POLICY), content).await
    }

    /// The rooms of a user, with the membership now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn memberships(&self, user: &UserId) -> Result<BTreeMap<RoomNid, Membership>, CareError> {
        let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) else {
            return Ok(BTreeMap::new());
        };
        let entries = self.0.rooms.memberships(nid).await?;
        Ok(entries.into_iter().map(|entry| (entry.room, entry.membership)).collect())
    }

    /// Whether the gate lets a user read a room now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn can_read(&self, user: &UserId, room: &RoomView) -> Result<bool, CareError> {
        let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) else {
            return Ok(false);
        };
        let actor = Actor { user, nid, device: None, guest: false };
        match self.0.rooms.reader(actor, room).await {
            Ok(_) => Ok(true),
            Err(RoomError::Forbidden(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What a room's policy says now; none where it has none.
    pub fn policy(&self, room: &RoomView) -> Option<RoomPolicy> {
        policy_of(room).cloned()
    }

    /// Those in a room, with how they stand to its policy, or to another one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn assess_members(
        &self,
        room: &RoomView,
        policy: Option<&RoomPolicy>,
        limit: usize,
    ) -> Result<Vec<(ruma::OwnedUserId, Assessment)>, CareError> {
        let mut found = Vec::new();
        for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
            let members = self.0.rooms.members(room.nid, membership, None, limit.saturating_sub(found.len())).await?;
            for user in self.0.rooms.user_ids(&members).await? {
                let assessment = self.assess_in(room, &user, policy);
                found.push((user, assessment));
            }
        }
        Ok(found)
    }
}
