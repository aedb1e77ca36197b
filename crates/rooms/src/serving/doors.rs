//! Whether a user of another server may come into a restricted room, as far as this server can tell (specification,
//! server-server API, section "Restricted rooms").

use ruma::{UserId, events::StateEventType};

use crate::{Action, Actor, Rooms, error::RoomError, join_rules::JoinRules, room::RoomView, tables::Membership};

/// What the conditions of a restricted room say of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The room has none, or the user is in it or invited: the authorization rules decide alone.
    Unconditional,
    /// The user meets one.
    Granted,
    /// The user meets none.
    Refused,
    /// The user meets none of those that this server can check, and there are others.
    Unknown,
}

impl Rooms {
    /// What the room's conditions say of a user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admission(&self, room: &RoomView, user: &UserId) -> Result<Admission, RoomError> {
        self.engine.gate.prepare(user, room).await;
        let rules = self.engine.state_event(room.nid, room.state, &StateEventType::RoomJoinRules, "").await?;
        let rules = JoinRules::of(rules.as_ref().map(|stored| &*stored.pdu));
        if !rules.is_restricted(room.version) {
            return Ok(Admission::Unconditional);
        }
        let (id, user) = (user, self.engine.user_nid(user).await?);
        if let Some(user) = user {
            let entry = self.engine.membership(user, room.nid).await?;
            if entry.is_some_and(|entry| matches!(entry.membership, Membership::Join | Membership::Invite)) {
                return Ok(Admission::Unconditional);
            }
        }
        if rules.by_role && self.engine.gate.admits_by_role(id, room) {
            return Ok(Admission::Granted);
        }
        let mut all_known = true;
        for allowed in &rules.allow {
            let view = self.view(allowed).await?;
            // Of a room that this server has left it knows who was in it, not who is.
            let there = match view {
                Some(view) if self.is_resident(view.nid).await? => view.nid,
                _ => {
                    all_known = false;
                    continue;
                }
            };
            if let Some(user) = user
                && self.engine.is_joined(user, there).await?
            {
                return Ok(Admission::Granted);
            }
        }
        Ok(if all_known { Admission::Refused } else { Admission::Unknown })
    }

    /// Refuses an invitation to a room that this server is in, where the gate refuses it.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`]; when the store fails.
    pub async fn permit_invitation(&self, room: &RoomView, by: &UserId, user: &UserId) -> Result<(), RoomError> {
        let Some(nid) = self.engine.user_nid(by).await? else {
            return Err(RoomError::Forbidden("The inviting user is not in the room.".to_owned()));
        };
        let actor = Actor { user: by, nid, device: None, guest: false };
        self.engine.permit(actor, room, Action::Invite(user)).await.map(drop)
    }
}
