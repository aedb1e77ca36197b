//! Rooms whose members the server itself keeps ([`Gate::keeps_members`](crate::Gate::keeps_members)): many come and go in
//! one commit, by the word of one user who has the power.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use ruma::{OwnedUserId, RoomId, UserId, events::StateEventType};
use serde_json::json;

use crate::{
    Action, Rooms,
    create::raw,
    error::RoomError,
    governed::ARRIVALS,
    ids::{NS_USER, UserNid},
    join_rules::JoinRules,
    membership::{MemberChange, MemberProfile},
    tables::Membership,
    writer::{NewEvent, Writer},
};

/// Field of a membership event by which the server ends a membership: tells it from leaving by one's own will.
pub const ROLE_LOST: &str = "org.wardroom.role_lost";

/// What is said of users whose accounts are closed.
const REASON_CLOSED: &str = "The account is closed.";
/// Members who come or go with one commit.
const MEMBERS_PER_COMMIT: usize = 100;

/// What is to become of somebody in a room.
#[derive(Clone, Debug)]
pub enum KeptMember {
    /// A user of this server comes in, without an invitation from anybody else.
    Joins(OwnedUserId, MemberProfile),
    /// Somebody goes: users of this server leave, whatever power anybody has; others are put out. The sentence is the
    /// reason.
    Goes(OwnedUserId, &'static str),
}

impl KeptMember {
    /// Who.
    pub fn user(&self) -> &OwnedUserId {
        match self {
            Self::Joins(user, _) | Self::Goes(user, _) => user,
        }
    }
}

impl Rooms {
    /// Has members come and go by the word of `by`, who is in the room. Those who are in already, are gone already or are
    /// banned are left as they are. Returns who could not be moved, and why.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`]; when too much waits for the room or the store fails, and then a part may have happened.
    pub async fn keep_members(
        &self,
        by: &UserId,
        room: &RoomId,
        members: Vec<KeptMember>,
    ) -> Result<Vec<(OwnedUserId, RoomError)>, RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let blocked = self.engine.check_unblocked(found.nid).await.err();
        let (mut members, mut refused) = (VecDeque::from(members), Vec::new());
        while !members.is_empty() {
            let (by, blocked, part) = (by.to_owned(), blocked.clone(), members.len().min(MEMBERS_PER_COMMIT));
            let part: Vec<KeptMember> = members.drain(..part).collect();
            let written = self
                .engine
                .write(&found, move |writer| async move { writer.keep_all(&by, part, blocked.as_ref()).await }.boxed());
            refused.extend(written.await?);
        }
        Ok(refused)
    }

    /// Has a user of this server leave a room, by no will of theirs: they may be brought in again.
    pub(crate) async fn send_away(&self, user: &UserId, room: &RoomId) -> Result<(), RoomError> {
        let goes = vec![KeptMember::Goes(user.to_owned(), REASON_CLOSED)];
        let refused = self.keep_members(user, room, goes).await?;
        refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Writer {
    async fn keep_all(
        &mut self,
        by: &UserId,
        members: Vec<KeptMember>,
        blocked: Option<&RoomError>,
    ) -> Result<Vec<(OwnedUserId, RoomError)>, RoomError> {
        let mut refused = Vec::new();
        for member in members {
            let user = member.user().clone();
            let kept = match (&member, blocked) {
                (KeptMember::Joins(..), Some(error)) => Err(error.clone()),
                _ => self.keep_member(by, member).await,
            };
            match kept {
                Ok(()) => {}
                Err(error @ (RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_))) => return Err(error),
                // What went before is in the batch: only the failure of that is the failure of all.
                Err(error) if self.failed.is_none() => refused.push((user, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    async fn keep_member(&mut self, by: &UserId, member: KeptMember) -> Result<(), RoomError> {
        let user = member.user().clone();
        let before = self.membership_of(&user).await?.map(|record| record.membership);
        let is_there = matches!(before, Some(Membership::Join | Membership::Invite | Membership::Knock));
        match member {
            KeptMember::Joins(..) if matches!(before, Some(Membership::Join | Membership::Ban)) => return Ok(()),
            KeptMember::Joins(_, profile) => self.bring_in(by, &user, profile, before).await?,
            KeptMember::Goes(_, reason) if is_there => self.send_away(by, &user, reason).await?,
            KeptMember::Goes(..) => return Ok(()),
        }
        // Whoever has this done has just looked at them.
        if let Some(nid) = self.engine.store.interner().known(NS_USER, user.as_str()).await? {
            let arrival = (self.nid(), UserNid::new(nid));
            self.batch.delete(&ARRIVALS, &arrival);
        }
        Ok(())
    }

    async fn bring_in(
        &mut self,
        by: &UserId,
        user: &UserId,
        profile: MemberProfile,
        before: Option<Membership>,
    ) -> Result<(), RoomError> {
        self.must_be_allowed(user, Action::Join).await?;
        let mut join = MemberChange { profile: profile.clone(), ..MemberChange::new(user, user, "join") };
        if before != Some(Membership::Invite) {
            let rules = self.state_event(&StateEventType::RoomJoinRules, "").await?;
            let rules = JoinRules::of(rules.as_ref().map(|stored| &*stored.pdu));
            if rules.is_restricted(self.version()) {
                join.authorised_via = Some(by.to_owned());
            } else if !rules.is_public() {
                self.must_be_allowed(by, Action::Invite(user)).await?;
                let invite = MemberChange { profile, ..MemberChange::new(by, user, "invite") };
                self.append(invite.event()?).await?;
            }
        }
        self.append(join.event()?).await.map(drop)
    }

    async fn send_away(&mut self, by: &UserId, user: &UserId, reason: &str) -> Result<(), RoomError> {
        let (sender, action) = match user.server_name() == self.engine.server_name {
            true => (user, Action::Leave),
            false => (by, Action::Kick(user)),
        };
        self.must_be_allowed(sender, action).await?;
        let content = raw(&json!({ "membership": "leave", "reason": reason, ROLE_LOST: true }))?;
        self.append(NewEvent::state(sender.to_owned(), "m.room.member", user, content)).await.map(drop)
    }

    async fn must_be_allowed(&self, user: &UserId, action: Action<'_>) -> Result<(), RoomError> {
        match self.ask(user, action).await? {
            Some(sentence) => Err(RoomError::Forbidden(sentence)),
            None => Ok(()),
        }
    }
}
