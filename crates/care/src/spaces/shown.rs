//! What administrators see of the space of a role, and how they bring somebody in again who has left it.

use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde::Serialize;
use wardroom_rooms::{KeptMember, NS_USER, UserNid};
use wardroom_store::{Batch, Scan};

use super::RoleSpace;
use crate::{Care, CareError, role::Requirement, tables::OPT_OUTS};

/// People shown who left the space.
pub const SHOWN_OPT_OUTS_MAX: usize = 1_000;

/// The space of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownSpace {
    /// Whether those who have the role are brought into it; else nobody is in it.
    pub space: bool,
    /// Its room.
    pub space_room_id: Option<OwnedRoomId>,
    /// How many are in it, the server's own user included.
    pub joined: u64,
    /// How many are invited.
    pub invited: u64,
    /// Who left it by their own will and still has the role, as far as that is known; at most [`SHOWN_OPT_OUTS_MAX`].
    pub opted_out: Vec<OwnedUserId>,
    /// Why it is not kept any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<&'static str>,
}

impl Care {
    /// The rooms of role spaces, in the order of their requirements, and whether they are in use.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn space_rooms(&self) -> Result<Vec<(Requirement, OwnedRoomId, bool)>, CareError> {
        let mut rooms = Vec::new();
        for space in self.0.judge.spaces().all() {
            if let Some(id) = self.0.rooms.room_id(space.room).await? {
                rooms.push((space.requirement.clone(), id, space.on));
            }
        }
        Ok(rooms)
    }

    /// The space of those who meet a requirement; none where there never was one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn space(&self, requirement: &Requirement) -> Result<Option<ShownSpace>, CareError> {
        let Some(space) = self.0.judge.spaces().of(requirement) else { return Ok(None) };
        let trouble = self.trouble_with(&space).await?;
        let view = self.0.rooms.view_of(space.room).await.ok();
        let scan = Scan::prefix(&space.room).limit(SHOWN_OPT_OUTS_MAX);
        let left = self.0.store.latest().scan_keys(&OPT_OUTS, scan).await?;
        let left: Vec<UserNid> = left.into_iter().map(|(_, user)| user).collect();
        let mut opted_out = self.0.rooms.user_ids(&left).await?;
        opted_out.retain(|user| self.0.judge.belongs_to(user, &space));
        Ok(Some(ShownSpace {
            space: space.on,
            space_room_id: self.0.rooms.room_id(space.room).await?,
            joined: view.as_ref().map_or(0, |view| view.joined),
            invited: view.as_ref().map_or(0, |view| view.invited),
            opted_out,
            trouble: trouble.filter(|_| space.on),
        }))
    }

    /// Brings somebody into the space of a role again who has left it: users of this server at once, others by an
    /// invitation.
    ///
    /// # Errors
    /// [`CareError::Invalid`] where the user does not have the role, or there is no such space; when rooms or the store
    /// fail.
    pub async fn readmit(&self, requirement: &Requirement, user: &UserId) -> Result<(), CareError> {
        let spaces = self.0.judge.spaces();
        let none = || CareError::Invalid("role: is no space.".to_owned());
        let space = spaces.of(requirement).filter(|space| space.on).ok_or_else(none)?;
        let _alone = space.keeping.lock().await;
        if !self.is_wanted(&space, user).await? {
            return Err(CareError::Invalid("user_id: this user does not have the role.".to_owned()));
        }
        if let Some(trouble) = self.trouble_with(&space).await? {
            return Err(CareError::Invalid(format!("role: {trouble}.")));
        }
        if user.server_name() == self.0.service.id().server_name() {
            self.bring_in_again(&space, user).await?;
        } else {
            spaces.invitations.forgive(space.room, &user.to_owned());
            spaces.invitations.ask_for(space.room, vec![user.to_owned()], self.now_ms());
        }
        Ok(())
    }

    async fn bring_in_again(&self, space: &RoleSpace, user: &UserId) -> Result<(), CareError> {
        let view = self.0.rooms.view_of(space.room).await?;
        let joins = KeptMember::Joins(user.to_owned(), self.0.service.profile_of(user).await?);
        let refused = self.0.rooms.keep_members(self.0.service.id(), &view.id, vec![joins]).await?;
        if let Some((_, error)) = refused.into_iter().next() {
            return Err(error.into());
        }
        if let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) {
            let mut batch = Batch::default();
            batch.delete(&OPT_OUTS, &(space.room, nid));
            self.0.store.commit(batch).await?;
        }
        Ok(())
    }
}
