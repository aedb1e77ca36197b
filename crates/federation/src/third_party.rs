//! Invitations of people whose user id was not known, only their mail address or telephone number (server-server API,
//! section "Third-party invites").
//!
//! An identity server signs who it was in the end. The authorization rules check that signature against the keys in the
//! room's `m.room.third_party_invite`, so whoever brings it, wherever it comes from, can do no more than what the
//! inviting user wanted.

use futures_util::{StreamExt as _, stream};
use ruma::{
    OwnedUserId, RoomId, UserId,
    api::federation::thirdparty::exchange_invite::v1 as exchange,
    events::{StateEventType, room::member::RoomMemberEventContent},
    serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};
use wardroom_accounts::{AccountError, Accounts};
use wardroom_rooms::{Actor, RoomError, Rooms, UserNid};

use crate::{Limits, Partners, Parts, RemoteError, RemoteRooms};

/// Invitations that one notice of an identity server may bring.
pub const INVITES_PER_NOTICE_MAX: usize = 20;
/// Of those, how many are exchanged at the same time.
const EXCHANGES_AT_ONCE: usize = 4;
/// Longest name that is shown for somebody invited, in bytes.
const DISPLAY_NAME_BYTES_MAX: usize = 1_000;

/// Why an invitation was not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ThirdPartyError {
    /// What was sent is not what it has to be; the sentence names the field.
    #[error("{0}")]
    Invalid(&'static str),
    /// The inviting user is none of this server's, or is not active any more.
    #[error("sender: there is no such user on this server.")]
    NoSuchSender,
    /// The rooms say no, or another server does.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The accounts fail.
    #[error(transparent)]
    Accounts(#[from] AccountError),
}

impl From<RoomError> for ThirdPartyError {
    fn from(error: RoomError) -> Self {
        Self::Remote(error.into())
    }
}

/// An invitation that is to become one of a user.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Who invited.
    pub sender: OwnedUserId,
    /// Who was invited, as it turned out.
    pub invited: OwnedUserId,
    /// `third_party_invite.signed`: what the identity server signed.
    pub signed: Box<RawJsonValue>,
    /// `third_party_invite.display_name`, which holds where the room does not say it.
    pub display_name: String,
}

/// `third_party_invite.signed`, as far as it is read here: the rules check the signatures.
#[derive(Deserialize)]
struct Signed {
    mxid: OwnedUserId,
    token: String,
}

#[derive(Serialize)]
struct Content<'a> {
    membership: &'static str,
    third_party_invite: ThirdPartyInvite<'a>,
}

#[derive(Serialize)]
struct ThirdPartyInvite<'a> {
    display_name: &'a str,
    signed: &'a RawJsonValue,
}

fn content(display_name: &str, signed: &RawJsonValue) -> Result<Box<RawJsonValue>, ThirdPartyError> {
    let third_party_invite = ThirdPartyInvite { display_name, signed };
    let content = to_raw_value(&Content { membership: "invite", third_party_invite });
    content.map_err(|_| ThirdPartyError::Invalid("third_party_invite: it cannot be written as JSON."))
}

impl Exchange {
    /// Reads the content of the membership event that another server asks for.
    ///
    /// # Errors
    /// [`ThirdPartyError::Invalid`].
    pub fn read(sender: OwnedUserId, invited: OwnedUserId, content: &RawJsonValue) -> Result<Self, ThirdPartyError> {
        #[derive(Deserialize)]
        struct Asked {
            membership: String,
            third_party_invite: AskedInvite,
        }
        #[derive(Deserialize)]
        struct AskedInvite {
            #[serde(default)]
            display_name: String,
            signed: Box<RawJsonValue>,
        }
        let asked: Asked = serde_json::from_str(content.get())
            .map_err(|_| ThirdPartyError::Invalid("content: membership or third_party_invite.signed is missing."))?;
        if asked.membership != "invite" {
            return Err(ThirdPartyError::Invalid("content.membership: it must be \"invite\"."));
        }
        let AskedInvite { display_name, signed } = asked.third_party_invite;
        Ok(Self { sender, invited, signed, display_name })
    }

    fn signed(&self) -> Result<Signed, ThirdPartyError> {
        let wrong = ThirdPartyError::Invalid("third_party_invite.signed: mxid or token is missing or wrong.");
        let signed: Signed = serde_json::from_str(self.signed.get()).map_err(|_| wrong)?;
        if signed.mxid != self.invited {
            return Err(ThirdPartyError::Invalid("third_party_invite.signed.mxid: another user was invited."));
        }
        Ok(signed)
    }
}

/// Invitations of people whose user id was not known. Clones are cheap.
#[derive(Clone, Debug)]
pub struct ThirdPartyInvites {
    accounts: Accounts,
    rooms: Rooms,
    partners: Partners,
    remote: RemoteRooms,
}

impl ThirdPartyInvites {
    pub(crate) fn new(parts: &Parts, partners: &Partners, remote: &RemoteRooms) -> Self {
        Self {
            accounts: parts.accounts.clone(),
            rooms: parts.rooms.clone(),
            partners: partners.clone(),
            remote: remote.clone(),
        }
    }

    /// Invites, in the name of the user of this server who sent the `m.room.third_party_invite`, the user whom the
    /// identity server found (`PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`).
    ///
    /// # Errors
    /// As [`ThirdPartyError`] says; where the signature does not fit, the rooms say no.
    pub async fn exchange(&self, room: &RoomId, exchange: &Exchange) -> Result<(), ThirdPartyError> {
        let signed = exchange.signed()?;
        if !self.accounts.is_local(&exchange.sender) || !self.accounts.is_active(&exchange.sender).await? {
            return Err(ThirdPartyError::NoSuchSender);
        }
        let nid = self.accounts.user_nid(&exchange.sender).await?.ok_or(ThirdPartyError::NoSuchSender)?;
        let nid = UserNid::new(nid.get());
        let actor = Actor { user: &exchange.sender, nid, device: None, guest: false };
        let told = self.display_name(room, &signed.token).await?;
        let display_name = told.as_deref().unwrap_or(&exchange.display_name);
        if display_name.len() > DISPLAY_NAME_BYTES_MAX {
            return Err(ThirdPartyError::Invalid("third_party_invite.display_name: it is longer than 1000 bytes."));
        }
        let content = content(display_name, &exchange.signed)?;
        let invited = &exchange.invited;
        if self.remote.is_remote(invited) {
            let invite = self.rooms.draft_member(actor, room, invited, content).await?;
            return Ok(self.remote.deliver_invite(&invite, invited).await?);
        }
        let kind = StateEventType::RoomMember;
        self.rooms.set_state(actor, room, &kind, invited.as_str(), content).await?;
        Ok(())
    }

    /// The name that the inviting user gave, as the room has it: who exchanges the invitation cannot change it.
    async fn display_name(&self, room: &RoomId, token: &str) -> Result<Option<String>, RoomError> {
        #[derive(Deserialize)]
        struct Named {
            display_name: String,
        }
        let view = self.rooms.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let kind = StateEventType::RoomThirdPartyInvite;
        let event = self.rooms.state_event(view.nid, view.state, &kind, token).await?;
        Ok(event.and_then(|event| event.pdu.content_as::<Named>().ok()).map(|named| named.display_name))
    }

    /// Exchanges the invitations that an identity server brings once it knows who somebody is
    /// (`PUT /_matrix/federation/v1/3pid/onbind`): here for those of this server's users, else by the inviting user's
    /// server. The notice is not signed, so it can do no more than ask; what fails is passed over.
    ///
    /// # Errors
    /// [`ThirdPartyError::Invalid`] where the notice is about nobody here, or holds too much.
    pub async fn bound(&self, user: &UserId, invites: Vec<Bound>) -> Result<(), ThirdPartyError> {
        if !self.accounts.is_local(user) || !self.accounts.is_active(user).await? {
            return Err(ThirdPartyError::Invalid("mxid: there is no such user on this server."));
        }
        if invites.len() > INVITES_PER_NOTICE_MAX {
            return Err(ThirdPartyError::Invalid("invites: there are more than 20."));
        }
        let exchanges = invites.into_iter().map(|bound| async move {
            if let Err(error) = self.exchange_anywhere(user, &bound).await {
                tracing::debug!(%error, "an invitation of an identity server led to nothing");
            }
        });
        stream::iter(exchanges).buffer_unordered(EXCHANGES_AT_ONCE).collect::<()>().await;
        Ok(())
    }

    async fn exchange_anywhere(&self, user: &UserId, bound: &Bound) -> Result<(), ThirdPartyError> {
        let exchange = Exchange {
            sender: bound.sender.clone(),
            invited: user.to_owned(),
            signed: bound.signed.clone(),
            display_name: String::new(),
        };
        if self.accounts.is_local(&bound.sender) {
            return self.exchange(&bound.room, &exchange).await;
        }
        exchange.signed()?;
        let content: Raw<RoomMemberEventContent> = Raw::from_json(content("", &bound.signed)?);
        let request = exchange::Request::new(bound.room.clone(), bound.sender.clone(), user.to_owned(), content);
        let asked = self.partners.request(bound.sender.server_name(), request, Limits::default()).await;
        asked.map(drop).map_err(|error| ThirdPartyError::Remote(error.into()))
    }
}

/// An invitation that waited for somebody to be known.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Where to.
    pub room: ruma::OwnedRoomId,
    /// Who invited.
    pub sender: OwnedUserId,
    /// What the identity server signed.
    pub signed: Box<RawJsonValue>,
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;
    use serde_json::json;

    use super::*;

    fn read(content: &serde_json::Value) -> Result<Exchange, ThirdPartyError> {
        let content = to_raw_value(content).unwrap();
        Exchange::read(owned_user_id!("@alice:a.example"), owned_user_id!("@bob:b.example"), &content)
    }

    #[test]
    fn what_another_server_asks_for_is_read() {
        let signed = json!({ "mxid": "@bob:b.example", "token": "t", "signatures": {} });
        let invite = json!({ "display_name": "B.", "signed": signed });
        let exchange = read(&json!({ "membership": "invite", "third_party_invite": invite })).unwrap();
        assert_eq!((exchange.display_name.as_str(), exchange.signed().unwrap().token.as_str()), ("B.", "t"));
        let made: serde_json::Value = serde_json::from_str(content("B.", &exchange.signed).unwrap().get()).unwrap();
        assert_eq!(made, json!({ "membership": "invite", "third_party_invite": invite }));

        let other = json!({ "signed": { "mxid": "@carol:b.example", "token": "t" } });
        let other = read(&json!({ "membership": "invite", "third_party_invite": other })).unwrap();
        assert!(other.signed().is_err(), "signed for somebody else");
        for wrong in [
            json!({}),
            json!({ "membership": "join", "third_party_invite": invite }),
            json!({ "membership": "invite" }),
            json!({ "membership": "invite", "third_party_invite": {} }),
            json!([]),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
