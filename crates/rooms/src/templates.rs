//! Membership events that somebody else signs: those for users of other servers, and invites of this server's.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{RoomId, UserId, events::TimelineEventType};
use serde_json::{
    Map, Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_event::{Pdu, RoomVersion};

use crate::{
    Action, Actor, Asker, Membership, Rooms, Verdict,
    error::RoomError,
    ids::{NS_USER, UserNid},
    membership::MemberChange,
    writer::{NewEvent, Writer},
};

/// An event for a user of another server to sign.
#[derive(Clone, Debug)]
pub struct Template {
    /// Version of the room.
    pub version: RoomVersion,
    /// The event, without hashes and signatures.
    pub event: Box<RawJsonValue>,
}

impl Rooms {
    /// A membership event for a user of another server to sign (`make_join`, `make_leave`, `make_knock`). Joins of
    /// restricted rooms name a local user who authorises them.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`], [`RoomError::CannotAuthorizeJoin`], [`RoomError::NoSuchRoom`].
    pub async fn member_template(
        &self,
        room: &RoomId,
        user: &UserId,
        membership: Membership,
    ) -> Result<Template, RoomError> {
        let room = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        if membership != Membership::Leave {
            self.engine.gate.prepare(user, &room.view()).await;
        }
        let (id, asked) = (room.view().id.clone(), user.to_owned());
        let template = self
            .engine
            .write(&room, move |writer| async move { writer.template(&asked, membership).await }.boxed())
            .await;
        if let Err(RoomError::Forbidden(sentence)) = &template {
            let action = if membership == Membership::Knock { Action::Knock } else { Action::Join };
            self.engine.record_refusal((user, action), &id, sentence).await?;
        }
        template
    }

    /// An event of this server's that is not yet part of the room: an invite that the invited user's server has to
    /// sign first ([`Rooms::admit`] then takes it). The gate and the authorization rules have allowed it.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`], [`RoomError::NoSuchRoom`], [`RoomError::BadContent`].
    pub async fn draft_member(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        target: &UserId,
        content: Box<RawJsonValue>,
    ) -> Result<Arc<Pdu>, RoomError> {
        let room = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.engine.gate.prepare(target, &room.view()).await;
        self.require_joined(actor, &room.view(), Action::Invite(target)).await?;
        self.engine.check_unblocked(room.nid).await?;
        let new = NewEvent::state(actor.user.to_owned(), "m.room.member", target, content);
        let draft = self.engine.write(&room, move |writer| async move { writer.prepare_unsent(new).await }.boxed());
        self.recommended(&room.view(), draft.await?).await
    }
}

impl Writer {
    async fn template(&mut self, user: &UserId, membership: Membership) -> Result<Template, RoomError> {
        self.check_resident().await?;
        let (word, action) = match membership {
            Membership::Join => ("join", Action::Join),
            Membership::Knock => ("knock", Action::Knock),
            Membership::Invite => ("invite", Action::Invite(user)),
            Membership::Leave | Membership::Ban => ("leave", Action::Leave),
        };
        if let Some(sentence) = self.ask(user, action).await? {
            return Err(RoomError::Forbidden(sentence));
        }
        if matches!(membership, Membership::Join | Membership::Knock) {
            self.require_let_in(user)?;
        }
        let mut change = MemberChange::new(user, user, word);
        let now = self.membership_of(user).await?.map(|record| record.membership);
        if membership == Membership::Join && !matches!(now, Some(Membership::Join | Membership::Invite)) {
            change.authorised_via = self.authoriser_of_join(user).await?;
        }
        let pdu = self.prepare_unsent(change.event()?).await?;
        let broken = |_| RoomError::inconsistent("event that is no object");
        let mut event: Map<String, Value> = serde_json::from_slice(pdu.json()).map_err(broken)?;
        event.remove("hashes");
        event.remove("signatures");
        Ok(Template { version: self.version(), event: to_raw_value(&event).map_err(broken)? })
    }

    /// Refuses whom this server cannot let in, though others may.
    pub(crate) fn require_let_in(&self, user: &UserId) -> Result<(), RoomError> {
        if self.engine.gate.lets_in(user, &self.view()) {
            return Ok(());
        }
        let sentence =
            "This server does not know whether the room's access policy lets you in: ask the one that set it.";
        Err(RoomError::Forbidden(sentence.to_owned()))
    }

    /// Puts an action of somebody to the gate: the sentence with which it refuses.
    pub(crate) async fn ask(&self, user: &UserId, action: Action<'_>) -> Result<Option<String>, RoomError> {
        let nid = self.engine.store.interner().known(NS_USER, user.as_str()).await?.map(UserNid::new);
        let record = match nid {
            Some(nid) => self.membership(nid).await?,
            None => None,
        };
        let asker = Asker {
            user,
            membership: record.as_ref().map(|record| record.membership),
            was_joined: record.as_ref().is_some_and(|record| record.was_joined && !record.forgotten),
        };
        match self.engine.gate.may(&asker, action, &self.view()) {
            Verdict::Allow => Ok(None),
            Verdict::Deny(sentence) => Ok(Some(sentence)),
        }
    }

    /// Puts an event of another server to the gate: the sentence with which it refuses.
    pub(crate) async fn ask_gate(&self, pdu: &Pdu) -> Result<Option<String>, RoomError> {
        let kind = pdu.kind().to_string();
        let target = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok());
        let membership = pdu.membership().as_ref().map(Membership::from);
        let action = match (pdu.kind(), membership, target) {
            (TimelineEventType::RoomMember, Some(membership), Some(target)) => match membership {
                Membership::Join => Action::Join,
                Membership::Knock => Action::Knock,
                Membership::Invite => Action::Invite(target),
                Membership::Ban => Action::Ban(target),
                Membership::Leave if target == pdu.sender() => Action::Leave,
                Membership::Leave => Action::Kick(target),
            },
            (TimelineEventType::RoomRedaction, ..) => Action::Redact,
            _ => Action::Send { kind: &kind, state_key: pdu.state_key() },
        };
        self.ask(pdu.sender(), action).await
    }
}
