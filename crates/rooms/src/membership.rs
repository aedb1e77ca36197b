//! Joining, leaving, and who lets whom in or out.

use std::sync::Arc;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, try_join_all},
};
use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId, events::StateEventType};
use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_store::{Batch, Packed};

use crate::{
    Action, Actor, Rooms,
    ends::FORGOTTEN,
    error::RoomError,
    ids::{NS_USER, RoomNid, UserNid},
    room::{Room, RoomView},
    tables::{MEMBERSHIPS, Membership, MembershipRecord},
    writer::{NewEvent, Writer},
};

/// Attempts to forget a room against writers who change the same membership.
const FORGET_ATTEMPTS_MAX: u32 = 5;

/// Field of a membership event that names who authorises a join to a restricted room.
const AUTHORISED_VIA: &str = "join_authorised_via_users_server";
/// Rooms that are told of a profile at the same time.
const PROFILE_ROOMS_AT_ONCE: usize = 8;

/// Says what a user's profile is now; none where that cannot be said.
pub type ProfileSource = Arc<dyn Fn() -> BoxFuture<'static, Option<MemberProfile>> + Send + Sync>;

/// What a membership event tells of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct MemberProfile {
    /// Display name.
    pub displayname: Option<String>,
    /// `mxc://` URI of the avatar.
    pub avatar_url: Option<String>,
}

/// Content of an `m.room.member` event of this server's making.
#[derive(Debug, Serialize)]
struct MemberContent<'a> {
    membership: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_direct: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_authorised_via_users_server: Option<OwnedUserId>,
}

/// A change of somebody's membership.
#[derive(Debug)]
pub(crate) struct MemberChange {
    pub(crate) sender: OwnedUserId,
    pub(crate) target: OwnedUserId,
    pub(crate) membership: &'static str,
    pub(crate) profile: MemberProfile,
    pub(crate) reason: Option<String>,
    pub(crate) is_direct: Option<bool>,
    pub(crate) authorised_via: Option<OwnedUserId>,
}

impl MemberChange {
    pub(crate) fn new(sender: &UserId, target: &UserId, membership: &'static str) -> Self {
        Self {
            sender: sender.to_owned(),
            target: target.to_owned(),
            membership,
            profile: MemberProfile::default(),
            reason: None,
            is_direct: None,
            authorised_via: None,
        }
    }

    pub(crate) fn event(self) -> Result<NewEvent, RoomError> {
        let content = MemberContent {
            membership: self.membership,
            displayname: self.profile.displayname,
            avatar_url: self.profile.avatar_url,
            reason: self.reason,
            is_direct: self.is_direct,
            join_authorised_via_users_server: self.authorised_via,
        };
        let content = to_raw_value(&content).map_err(|error| RoomError::BadContent(error.to_string()))?;
        Ok(NewEvent::state(self.sender, "m.room.member", self.target, content))
    }
}

impl Writer {
    /// A user's membership as this group leaves it so far, by id.
    pub(crate) async fn membership_of(&self, user: &UserId) -> Result<Option<MembershipRecord>, RoomError> {
        match self.engine.store.interner().known(NS_USER, user.as_str()).await? {
            Some(nid) => self.membership(UserNid::new(nid)).await,
            None => Ok(None),
        }
    }
}

/// Why a guest does not come in.
fn no_guests() -> RoomError {
    RoomError::Forbidden("This room does not let guests in.".to_owned())
}

impl Rooms {
    /// Joins a room. Somebody who is in it already stays in it.
    pub async fn join(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        profile: MemberProfile,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        self.engine.permit(actor, &found.view(), Action::Join).await?;
        self.engine.check_unblocked(found.nid).await?;
        let guest = actor.guest;
        let mut change = MemberChange { profile, reason, ..MemberChange::new(actor.user, actor.user, "join") };
        self.engine
            .write(&found, move |writer| {
                async move {
                    let before = writer.membership_of(&change.target).await?.map(|record| record.membership);
                    if before == Some(Membership::Join) {
                        return Ok(());
                    }
                    if guest && !writer.lets_guests_in().await? {
                        return Err(no_guests());
                    }
                    if before != Some(Membership::Invite) {
                        change.authorised_via = writer.authoriser_of_join(&change.target).await?;
                    }
                    writer.append(change.event()?).await.map(drop)
                }
                .boxed()
            })
            .await
    }

    /// Asks to be let in.
    pub async fn knock(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        profile: MemberProfile,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        self.engine.permit(actor, &found.view(), Action::Knock).await?;
        let change = MemberChange { profile, reason, ..MemberChange::new(actor.user, actor.user, "knock") };
        self.change_member(&found, change).await
    }

    /// Leaves a room, turns an invitation down, or takes a knock back.
    pub async fn leave(&self, actor: Actor<'_>, room: &RoomId, reason: Option<String>) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let entry = self.engine.permit(actor, &found.view(), Action::Leave).await?;
        match entry.map(|entry| entry.membership) {
            Some(Membership::Leave) => return Ok(()),
            Some(Membership::Ban) => return Err(RoomError::Forbidden("You are banned from this room.".to_owned())),
            None => return Err(RoomError::NoSuchRoom),
            Some(Membership::Join | Membership::Invite | Membership::Knock) => {}
        }
        let change = MemberChange { reason, ..MemberChange::new(actor.user, actor.user, "leave") };
        self.change_member(&found, change).await
    }

    /// Asks somebody in. `profile` is the invited user's, where this server knows it.
    pub async fn invite(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        user: &UserId,
        profile: MemberProfile,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.require_joined(actor, &found.view(), Action::Invite(user)).await?;
        self.engine.check_unblocked(found.nid).await?;
        let change = MemberChange { profile, reason, ..MemberChange::new(actor.user, user, "invite") };
        self.change_member(&found, change).await
    }

    /// Removes somebody.
    pub async fn kick(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        user: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        const MEMBERS: &[Membership] = &[Membership::Join, Membership::Invite, Membership::Knock];
        self.put_out(actor, room, user, reason, Action::Kick(user), MEMBERS).await
    }

    /// Lets somebody in again who was banned.
    pub async fn unban(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        user: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.put_out(actor, room, user, reason, Action::Unban(user), &[Membership::Ban]).await
    }

    /// Removes somebody and keeps them out.
    pub async fn ban(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        user: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.require_joined(actor, &found.view(), Action::Ban(user)).await?;
        let change = MemberChange { reason, ..MemberChange::new(actor.user, user, "ban") };
        self.change_member(&found, change).await
    }

    /// Kicks and unbans are the same event, told apart by the membership before (specification, "Leaving rooms").
    async fn put_out(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        user: &UserId,
        reason: Option<String>,
        action: Action<'_>,
        wanted: &'static [Membership],
    ) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.require_joined(actor, &found.view(), action).await?;
        let change = MemberChange { reason, ..MemberChange::new(actor.user, user, "leave") };
        self.engine
            .write(&found, move |writer| {
                async move {
                    let before = writer.membership_of(&change.target).await?.map(|record| record.membership);
                    if !before.is_some_and(|before| wanted.contains(&before)) {
                        let state = if wanted == [Membership::Ban] { "banned from" } else { "in" };
                        return Err(RoomError::Forbidden(format!("user_id: the user is not {state} this room.")));
                    }
                    writer.append(change.event()?).await.map(drop)
                }
                .boxed()
            })
            .await
    }

    /// `m.room.member` through the endpoint of state events.
    pub(crate) async fn set_member_state(
        &self,
        actor: Actor<'_>,
        room: &Arc<Room>,
        state_key: &str,
        content: Box<RawJsonValue>,
    ) -> Result<OwnedEventId, RoomError> {
        #[derive(serde::Deserialize)]
        struct Content {
            membership: String,
            #[serde(flatten)]
            others: Map<String, Value>,
        }
        let target = <&UserId>::try_from(state_key).map_err(|_| {
            RoomError::InvalidParam("stateKey: the state key of m.room.member is a user id.".to_owned())
        })?;
        let Content { membership, mut others } = serde_json::from_str(content.get())
            .map_err(|error| RoomError::BadContent(format!("content of m.room.member: {error}")))?;
        let action = match membership.as_str() {
            "join" => Action::Join,
            "knock" => Action::Knock,
            "invite" => Action::Invite(target),
            "ban" => Action::Ban(target),
            _ if target == actor.user => Action::Leave,
            _ => Action::Kick(target),
        };
        let entry = self.engine.permit(actor, &room.view(), action).await?;
        let stays = entry.is_some_and(|entry| entry.membership == Membership::Join);
        if matches!(action, Action::Invite(_)) || (action == Action::Join && !stays) {
            self.engine.check_unblocked(room.nid).await?;
        }
        if action == Action::Join && actor.guest && !stays && !self.engine.lets_guests_in(&room.view()).await? {
            return Err(no_guests());
        }
        // Who authorises a join is for the server to say: from a client it would open every restricted room.
        others.remove(AUTHORISED_VIA);
        others.insert("membership".to_owned(), membership.into());
        let (sender, target) = (actor.user.to_owned(), target.to_owned());
        let joins = action == Action::Join && sender == target;
        self.engine
            .write(room, move |writer| {
                async move {
                    let before = writer.membership_of(&target).await?.map(|record| record.membership);
                    if joins && !matches!(before, Some(Membership::Join | Membership::Invite)) {
                        let via = writer.authoriser_of_join(&target).await?;
                        others.extend(via.map(|via| (AUTHORISED_VIA.to_owned(), via.as_str().into())));
                    }
                    let content = to_raw_value(&others).map_err(|error| RoomError::BadContent(error.to_string()))?;
                    let new = NewEvent::state(sender, "m.room.member", target, content);
                    Ok(writer.append(new).await?.pdu.event_id().to_owned())
                }
                .boxed()
            })
            .await
    }

    async fn change_member(&self, room: &Arc<Room>, change: MemberChange) -> Result<(), RoomError> {
        let new = change.event()?;
        self.engine.write(room, move |writer| async move { writer.append(new).await.map(drop) }.boxed()).await
    }

    /// Only members act on others; strangers must not learn that the room exists.
    pub(crate) async fn require_joined(
        &self,
        actor: Actor<'_>,
        room: &RoomView,
        action: Action<'_>,
    ) -> Result<(), RoomError> {
        let entry = self.engine.permit(actor, room, action).await?;
        match entry.map(|entry| entry.membership) {
            Some(Membership::Join) => Ok(()),
            _ => Err(RoomError::Forbidden("You are not in this room.".to_owned())),
        }
    }

    /// Puts a room out of sight of somebody who has left it (specification, "Forgetting rooms").
    pub async fn forget(&self, actor: Actor<'_>, room: &RoomId) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let store = &self.engine.store;
        let key = (actor.nid, found.nid);
        for _ in 0..FORGET_ATTEMPTS_MAX {
            let read = store.latest().get_versioned(&MEMBERSHIPS, &key).await?;
            let (Packed(mut record), written) = read.ok_or(RoomError::NoSuchRoom)?;
            if !matches!(record.membership, Membership::Leave | Membership::Ban) {
                return Err(RoomError::StillMember);
            }
            record.settle(written);
            record.forgotten = true;
            let mut batch = Batch::default();
            batch.expect_version(&MEMBERSHIPS, &key, Some(written));
            batch.put(&MEMBERSHIPS, &key, &Packed(record));
            // Perhaps nobody is left who could ever read it. Who are the last together both leave the mark.
            if !self.has_local_members(found.nid).await? {
                batch.put(&FORGOTTEN, &found.nid, &self.engine.clock.now_ms());
            }
            batch.touch(actor.nid.watch());
            match store.commit(batch).await {
                Err(wardroom_store::CommitError::Conflict { .. }) => {}
                other => return other.map(drop).map_err(RoomError::from),
            }
        }
        Err(RoomError::inconsistent("a membership that never rests"))
    }

    /// Tells every room that a user is in of a changed profile.
    pub async fn update_profile(&self, actor: Actor<'_>, profile: &MemberProfile) -> Result<(), RoomError> {
        let joined =
            self.memberships(actor.nid).await?.into_iter().filter(|entry| entry.membership == Membership::Join);
        let rooms: Vec<RoomNid> = joined.map(|entry| entry.room).collect();
        let profile = profile.clone();
        let current: ProfileSource = Arc::new(move || futures_util::future::ready(Some(profile.clone())).boxed());
        self.carry_profile(actor.user, &rooms, &current).await
    }

    /// Tells these rooms, as far as the user is in them, of the user's profile as `current` says it is when their turn
    /// comes: whatever the order in which several changes get there, the newest stays. Rooms that know it are left alone.
    pub async fn carry_profile(
        &self,
        user: &UserId,
        rooms: &[RoomNid],
        current: &ProfileSource,
    ) -> Result<(), RoomError> {
        for rooms in rooms.chunks(PROFILE_ROOMS_AT_ONCE) {
            try_join_all(rooms.iter().map(|room| self.update_profile_in(user, *room, current))).await?;
        }
        Ok(())
    }

    async fn update_profile_in(&self, user: &UserId, room: RoomNid, current: &ProfileSource) -> Result<(), RoomError> {
        let room = self.engine.room(room).await?;
        let (user, current) = (user.to_owned(), Arc::clone(current));
        let written = self
            .engine
            .write(&room, move |writer| {
                async move {
                    // Left in the meantime: then there is nobody to tell.
                    let now = writer.membership_of(&user).await?;
                    if now.is_none_or(|record| record.membership != Membership::Join) {
                        return Ok(());
                    }
                    let Some(profile) = current().await else { return Ok(()) };
                    let known = writer.state_event(&StateEventType::RoomMember, user.as_str()).await?;
                    if known.and_then(|event| event.pdu.content_as::<MemberProfile>().ok()).as_ref() == Some(&profile) {
                        return Ok(());
                    }
                    let change = MemberChange { profile, ..MemberChange::new(&user, &user, "join") };
                    writer.append(change.event()?).await.map(drop)
                }
                .boxed()
            })
            .await;
        match written {
            // A room whose rules or policy server forbid it keeps the old profile; the others still get the new one.
            Err(RoomError::Forbidden(_) | RoomError::PolicyServer(_)) => Ok(()),
            written => written,
        }
    }
}
