//! Invitations by e-mail address or telephone number, once it is known to which user it belongs
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#third-party-invites)): `PUT /3pid/onbind`, with which an
//! identity server tells it, and `PUT /exchange_third_party_invite/{roomId}`, with which the user's server asks the
//! inviter's for the invitation.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::{
        error::ErrorKind,
        federation::thirdparty::{bind_callback::v1 as bind_callback, exchange_invite::v1 as exchange_invite},
    },
    events::StateEventType,
};
use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_event::Pdu;
use wardroom_federation::{Limits, PartnerError, RemoteError};
use wardroom_rooms::{Actor, UserNid};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{FederationState, Signed, error, shared_room::resident_room, signed::SignedRoutes as _};

/// Invitations that one binding of an address may bring.
const INVITES_MAX: usize = 50;
/// Invitations that are worked on at the same time.
const INVITES_AT_ONCE: usize = 4;
/// Time for all of them.
const INVITES_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(exchange).endpoint(onbind)
}

/// What an identity server has signed: that this user has shown to own the address that the token stands for.
#[derive(Debug, Deserialize, Serialize)]
struct Binding {
    mxid: OwnedUserId,
    token: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The content of the invitation.
#[derive(Serialize)]
struct Content<'a> {
    membership: &'static str,
    third_party_invite: ThirdPartyInvite<'a>,
}

#[derive(Serialize)]
struct ThirdPartyInvite<'a> {
    display_name: &'a str,
    signed: &'a Binding,
}

async fn exchange(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<exchange_invite::Request>,
) -> Result<Reply<exchange_invite::Response>, ApiError> {
    #[derive(Deserialize)]
    struct Content {
        membership: String,
        third_party_invite: Given,
    }
    #[derive(Deserialize)]
    struct Given {
        signed: Binding,
    }
    if request.kind != StateEventType::RoomMember {
        return Err(ApiError::invalid_param("type: must be m.room.member."));
    }
    let content: Content = serde_json::from_str(request.content.json().get())
        .map_err(|error| ApiError::bad_json(format!("`content` is wrong: {error}.")))?;
    if content.membership != "invite" {
        return Err(ApiError::invalid_param("content.membership: must be invite."));
    }
    let binding = content.third_party_invite.signed;
    if binding.mxid != request.state_key {
        return Err(ApiError::invalid_param("state_key: must be the user of content.third_party_invite.signed."));
    }
    if request.state_key.server_name() != origin {
        return Err(ApiError::forbidden("state_key: this user does not belong to your server."));
    }
    resident_room(&state, &request.room_id, &origin).await?;
    let invite = draft(&state, &request.room_id, &request.sender, &binding).await?;
    state.federation.rooms.deliver_invite(&invite, &request.state_key).await.map_err(of_remote)?;
    Ok(Reply(exchange_invite::Response::new()))
}

/// The invitation, by the user of this server who gave the address. The authorization rules check what was signed.
async fn draft(
    state: &FederationState,
    room: &RoomId,
    inviter: &UserId,
    binding: &Binding,
) -> Result<Arc<Pdu>, ApiError> {
    let active = inviter.server_name() == state.server_name && state.accounts.is_active(inviter).await?;
    let nid = if active { state.accounts.user_nid(inviter).await? } else { None };
    let nid = nid.ok_or_else(|| ApiError::forbidden("sender: not a user of this server."))?;
    let view = state.rooms.view(room).await.map_err(error::of_room)?.ok_or_else(error::no_such_room)?;
    let kind = StateEventType::RoomThirdPartyInvite;
    let given = state.rooms.state_event(view.nid, view.state, &kind, &binding.token).await.map_err(error::of_room)?;
    let given = given.ok_or_else(|| ApiError::forbidden("There is no invitation with this token in the room."))?;
    let content = content(&given.pdu, binding)?;
    let actor = Actor { user: inviter, nid: UserNid::new(nid.get()), device: None, guest: false };
    state.rooms.draft_member(actor, room, &binding.mxid, content).await.map_err(error::of_room)
}

fn content(given: &Pdu, binding: &Binding) -> Result<Box<RawJsonValue>, ApiError> {
    #[derive(Deserialize)]
    struct Given {
        #[serde(default)]
        display_name: String,
    }
    // The name that its inviter gave it, whatever the other server says.
    let display_name = given.content_as::<Given>().map(|given| given.display_name).unwrap_or_default();
    let third_party_invite = ThirdPartyInvite { display_name: &display_name, signed: binding };
    to_raw_value(&Content { membership: "invite", third_party_invite }).map_err(|error| ApiError::internal(&error))
}

/// The invited user's server had to sign the invitation.
fn of_remote(error: RemoteError) -> ApiError {
    match error {
        RemoteError::Room(error) => error::of_room(error),
        RemoteError::Partner(PartnerError::Refused { status, .. }) if status == StatusCode::FORBIDDEN => {
            ApiError::forbidden("The user's server does not take the invitation.")
        }
        error => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, format!("The user's server: {error}.")),
    }
}

/// Anybody may call this: nothing is believed that the inviter's server, or the room's rules, do not check.
async fn onbind(
    State(state): State<FederationState>,
    Ruma { body: request, client_ip, .. }: Ruma<bind_callback::Request>,
) -> Result<Reply<bind_callback::Response>, ApiError> {
    state.limits.take(Class::Invite, client_ip)?;
    if request.invites.len() > INVITES_MAX {
        return Err(ApiError::invalid_param(format!("invites: more than {INVITES_MAX}.")));
    }
    if request.mxid.server_name() != state.server_name || !state.accounts.is_active(&request.mxid).await? {
        return Err(ApiError::invalid_param("mxid: not a user of this server."));
    }
    let own = request.invites.into_iter().filter(|invite| invite.mxid == request.mxid);
    let work = stream::iter(own).for_each_concurrent(INVITES_AT_ONCE, async |invite| {
        let bind_callback::ThirdPartyInvite { room_id, sender, signed, .. } = invite;
        let Ok(binding) = serde_json::from_str::<Binding>(signed.json().get()) else { return };
        if binding.mxid == request.mxid
            && let Err(error) = ask_for_invite(&state, room_id, sender, &binding).await
        {
            tracing::info!(status = %error.status(), "an invitation to an address that was bound came to nothing");
        }
    });
    if tokio::time::timeout(INVITES_TIMEOUT, work).await.is_err() {
        tracing::info!("invitations to an address that was bound took too long");
    }
    Ok(Reply(bind_callback::Response::new()))
}

/// Makes an invitation of a user of this server: itself, where the inviter is of this server too, and by asking the
/// inviter's server otherwise.
async fn ask_for_invite(
    state: &FederationState,
    room: OwnedRoomId,
    inviter: OwnedUserId,
    binding: &Binding,
) -> Result<(), ApiError> {
    if inviter.server_name() == state.server_name {
        let invite = draft(state, &room, &inviter, binding).await?;
        return state.rooms.admit(&room, invite, &state.server_name).await.map_err(error::of_room);
    }
    // The inviter's server knows what it is called.
    let third_party_invite = ThirdPartyInvite { display_name: "", signed: binding };
    let content = to_raw_value(&Content { membership: "invite", third_party_invite });
    let content = content.map_err(|error| ApiError::internal(&error))?;
    let server = inviter.server_name().to_owned();
    let request =
        exchange_invite::Request::new(room, inviter, binding.mxid.clone(), ruma::serde::Raw::from_json(content));
    let asked = state.federation.partners.request(&server, request, Limits::default()).await;
    asked.map(drop).map_err(|error| of_remote(error.into()))
}
