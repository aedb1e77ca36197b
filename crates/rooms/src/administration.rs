//! What administrators of the server do in rooms that they need not be in. The authorization rules of the room version
//! bind them like everybody else: they act through users of this server.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{OwnedUserId, RoomId, UserId, events::StateEventType};
use serde_json::{Map, Value, value::to_raw_value};
use wardroom_event::{Action as PowerAction, PowerLevels, UserPower};

use crate::{
    Actor, Rooms,
    error::RoomError,
    events::Stored,
    ids::{RoomNid, UserNid},
    membership::MemberProfile,
    room::RoomView,
    tables::Membership,
    trie::StateWhich,
    writer::{NewEvent, Writer},
};

/// Local members of whom one with power is looked for.
const MEMBERS_LOOKED_AT_MAX: usize = 10_000;

impl Rooms {
    /// All of a room's state. Ungated: for administrators.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn whole_state(&self, view: &RoomView) -> Result<Vec<Arc<Stored>>, RoomError> {
        self.engine.state(view.nid, view.state, StateWhich::All).await
    }

    /// Whether every user of this server who was in a room has left and forgotten it. Looks at some members only.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_forgotten(&self, room: RoomNid) -> Result<bool, RoomError> {
        for membership in [Membership::Join, Membership::Invite, Membership::Knock, Membership::Leave, Membership::Ban]
        {
            let members = self.members(room, membership, None, MEMBERS_LOOKED_AT_MAX).await?;
            for (_, user) in self.local_among(&members).await? {
                if self.membership(user, room).await?.is_some_and(|entry| !entry.forgotten) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Takes a user out of a room: one of this server leaves, one of another is kicked by somebody here who may.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where the user is not in the room, [`RoomError::Forbidden`] where nobody here may kick.
    pub async fn remove_member(&self, room: &RoomId, user: &UserId, reason: Option<String>) -> Result<(), RoomError> {
        const NOT_THERE: RoomError = RoomError::NotFound("user_id: the user is not in this room.");
        let view = self.view(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        let nid = self.engine.user_nid(user).await?.ok_or(NOT_THERE)?;
        let entry = self.engine.membership(nid, view.nid).await?.ok_or(NOT_THERE)?;
        if matches!(entry.membership, Membership::Leave | Membership::Ban) {
            return Err(NOT_THERE);
        }
        if user.server_name() == self.engine.server_name {
            return self.leave(Actor { user, nid, device: None, guest: false }, room, reason).await;
        }
        let (by, by_nid) = self.somebody_who_may(&view, PowerAction::Kick).await?;
        self.kick(Actor { user: &by, nid: by_nid, device: None, guest: false }, room, user, reason).await
    }

    /// Whether a user is in a room, invited or knocking anywhere.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_in_a_room(&self, nid: UserNid) -> Result<bool, RoomError> {
        let there = |membership| matches!(membership, Membership::Join | Membership::Invite | Membership::Knock);
        Ok(self.memberships(nid).await?.iter().any(|entry| there(entry.membership)))
    }

    /// Takes a user of this server out of every room, and tells in how many that failed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn leave_everything(&self, user: &UserId, nid: UserNid) -> Result<usize, RoomError> {
        let actor = Actor { user, nid, device: None, guest: false };
        let mut failed = 0;
        for entry in self.memberships(nid).await? {
            if !matches!(entry.membership, Membership::Join | Membership::Invite | Membership::Knock) {
                continue;
            }
            let left = match self.view_of(entry.room).await {
                Ok(room) if self.engine.gate.keeps_members(room.nid) => self.send_away(user, &room.id).await,
                Ok(room) => self.leave(actor, &room.id, None).await,
                Err(error) => Err(error),
            };
            if let Err(error) = left {
                failed += 1;
                tracing::warn!(%error, room = entry.room.get(), "a deactivated user could not leave a room");
            }
        }
        Ok(failed)
    }

    /// Gives a user the power of the most powerful user of this server in the room, by that user's hand.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] where nobody of this server in the room may change power levels.
    pub async fn make_powerful(&self, room: &RoomId, user: &UserId) -> Result<OwnedUserId, RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        let kind = ruma::events::TimelineEventType::RoomPowerLevels;
        let (by, _) = self.somebody_who_may(&found.view(), PowerAction::SetState(&kind)).await?;
        let (sender, user) = (by.clone(), user.to_owned());
        self.engine.write(&found, move |writer| async move { writer.raise(sender, user).await }.boxed()).await?;
        Ok(by)
    }

    /// The most powerful user of this server in a room, if that is power enough.
    pub(crate) async fn somebody_who_may(
        &self,
        view: &RoomView,
        action: PowerAction<'_>,
    ) -> Result<(OwnedUserId, UserNid), RoomError> {
        let levels = self.engine.state_event(view.nid, view.state, &StateEventType::RoomPowerLevels, "").await?;
        let create = self.engine.event(view.nid, view.create).await?.ok_or(RoomError::NoSuchRoom)?;
        let levels = PowerLevels::new(levels.as_ref().map(|stored| &*stored.pdu), &create.pdu);
        let mut best: Option<(UserPower, OwnedUserId)> = None;
        for user in self.engine.local_members(view.nid, MEMBERS_LOOKED_AT_MAX).await? {
            let power = levels.of(&user);
            if best.as_ref().is_none_or(|(most, _)| power > *most) {
                best = Some((power, user));
            }
        }
        let sentence = "Nobody of this server in the room has the power to do that.";
        let best = best.filter(|(power, _)| power.reaches(levels.required(action)));
        let (_, user) = best.ok_or_else(|| RoomError::Forbidden(sentence.to_owned()))?;
        let nid = self.engine.user_nid(&user).await?.ok_or_else(|| RoomError::inconsistent("member without number"))?;
        Ok((user, nid))
    }

    /// Asks a user of this server in, by the hand of somebody here who may. Who is in the room already stays in it.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] where nobody here may invite.
    pub async fn invite_by_somebody(
        &self,
        room: &RoomId,
        user: &UserId,
        profile: MemberProfile,
    ) -> Result<(), RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        if let Some(nid) = self.engine.user_nid(user).await?
            && let Some(entry) = self.engine.membership(nid, view.nid).await?
            && matches!(entry.membership, Membership::Join | Membership::Invite)
        {
            return Ok(());
        }
        let (by, by_nid) = self.somebody_who_may(&view, PowerAction::Invite).await?;
        self.invite(Actor { user: &by, nid: by_nid, device: None, guest: false }, room, user, profile, None).await
    }
}

impl Writer {
    /// Gives a user the sender's power, or as much as can be given.
    async fn raise(&mut self, sender: OwnedUserId, user: OwnedUserId) -> Result<(), RoomError> {
        let levels = self.state_event(&StateEventType::RoomPowerLevels, "").await?;
        let create = self.event(self.view().create).await?.ok_or(RoomError::NoSuchRoom)?;
        let known = PowerLevels::new(levels.as_ref().map(|stored| &*stored.pdu), &create.pdu);
        // Creators stand above every level in some versions: as much as they give by themselves.
        let level = match known.of(&sender) {
            UserPower::Int(level) => level,
            UserPower::Infinite => OWNERS_LEVEL,
        };
        if known.of(&user) >= UserPower::Int(level) {
            return Ok(());
        }
        let content = levels.and_then(|stored| stored.pdu.content_as::<Map<String, Value>>().ok());
        let mut content = content.unwrap_or_default();
        let users = content.entry("users").or_insert_with(|| Map::new().into());
        if let Value::Object(users) = users {
            users.insert(user.to_string(), level.into());
        }
        let content = to_raw_value(&content).map_err(|error| RoomError::BadContent(error.to_string()))?;
        self.append(NewEvent::state(sender, "m.room.power_levels", "", content)).await.map(drop)
    }

    /// Takes no more writes to this room.
    pub(crate) fn close_room(&self) {
        self.room().close();
    }
}

/// What somebody gets from a creator whose own power is above every number.
const OWNERS_LEVEL: i64 = 100;
