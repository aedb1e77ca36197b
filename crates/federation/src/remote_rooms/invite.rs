//! Inviting users of other servers (specification, server-server API, "Inviting to a room").

use std::{sync::Arc, time::Duration};

use ruma::{
    RoomId, UserId,
    api::federation::membership::{RawStrippedState, create_invite::v2 as create_invite},
};
use serde::Serialize;
use serde_json::value::to_raw_value;
use wardroom_event::Pdu;
use wardroom_rooms::{Actor, MemberProfile};

use super::{Inner, RemoteError, RemoteRooms, is_of, join::raw};
use crate::{Limits, PartnerError};

/// Time for the invited user's server to answer: it may ask others.
const INVITE_TIMEOUT: Duration = Duration::from_secs(60);

/// What an invitation says besides whom it invites.
#[derive(Clone, Debug, Default)]
pub struct Invitation {
    /// The invited user's profile, where it is known.
    pub profile: MemberProfile,
    /// Why, in the inviting user's words.
    pub reason: Option<String>,
    /// The room is a direct chat.
    pub is_direct: bool,
}

#[derive(Serialize)]
struct Content<'a> {
    membership: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_direct: Option<bool>,
}

impl RemoteRooms {
    /// Invites a user of another server. That server signs the invitation before it becomes part of the room, so it can
    /// refuse.
    ///
    /// # Errors
    /// [`RemoteError::Partner`] where the user's server cannot be asked or refuses, [`RemoteError::Room`] where the room's
    /// rules do not allow the invitation.
    pub async fn invite(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        user: &UserId,
        invitation: Invitation,
    ) -> Result<(), RemoteError> {
        let content = Content {
            membership: "invite",
            displayname: invitation.profile.displayname.as_deref(),
            avatar_url: invitation.profile.avatar_url.as_deref(),
            reason: invitation.reason.as_deref(),
            is_direct: invitation.is_direct.then_some(true),
        };
        let content = to_raw_value(&content).map_err(|error| RemoteError::Unmakeable(error.to_string()))?;
        let inner = &self.inner;
        if !inner.partners.admits(user.server_name()) {
            return Err(PartnerError::Denied(user.server_name().to_owned()).into());
        }
        let invite = inner.rooms.draft_member(actor, room, user, content).await?;
        self.deliver_invite(&invite, user).await
    }

    /// Has the invited user's server sign an invitation that this server made, and makes it part of the room.
    ///
    /// # Errors
    /// As [`RemoteRooms::invite`].
    pub async fn deliver_invite(&self, invite: &Arc<Pdu>, user: &UserId) -> Result<(), RemoteError> {
        let inner = &self.inner;
        let signed = inner.countersigned_invite(invite, user).await?;
        // Where the user's server is in the room already, it hears of the invitation as of any other event.
        Ok(inner.rooms.admit(invite.room_id(), signed, &inner.server_name).await?)
    }

    /// Whether a user is of another server.
    pub fn is_remote(&self, user: &UserId) -> bool {
        !is_of(user, &self.inner.server_name)
    }
}

impl Inner {
    async fn countersigned_invite(&self, invite: &Arc<Pdu>, user: &UserId) -> Result<Arc<Pdu>, RemoteError> {
        let told = self.rooms.introduction(invite.room_id(), invite.sender()).await?;
        let mut state = Vec::with_capacity(told.len());
        for event in &told {
            state.push(RawStrippedState::Pdu(raw(event)?));
        }
        let version = invite.version();
        let request = create_invite::Request::new(
            invite.room_id().to_owned(),
            invite.event_id().to_owned(),
            version.id().clone(),
            raw(invite)?,
            state,
        );
        let limits = Limits { timeout: INVITE_TIMEOUT, ignore_backoff: true, ..Limits::default() };
        let answer = self.partners.request(user.server_name(), request, limits).await?;
        let wrong = RemoteError::Untrustworthy;
        if Pdu::parse(answer.event.get().as_bytes(), version).is_err() {
            return Err(RemoteError::BadEvent("the invitation that it signed is no event of the room's version"));
        }
        let signed_by = signers(answer.event.get());
        let checked = self.ingest.fetcher().ask.check(version, vec![answer.event]).await.pop().and_then(Result::ok);
        let signed = checked.ok_or(wrong("the invitation that it signed is not signed as it has to be"))?;
        if signed.event_id() != invite.event_id() || signed.json().len() < invite.json().len() {
            return Err(wrong("the invitation that it signed is another one"));
        }
        if !signed_by.iter().any(|server| server == user.server_name().as_str()) {
            return Err(wrong("it has not signed the invitation"));
        }
        Ok(signed)
    }
}

/// The servers whose signatures an event has.
fn signers(event: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Signed {
        signatures: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Signed>(event).map(|event| event.signatures.into_keys().collect()).unwrap_or_default()
}
