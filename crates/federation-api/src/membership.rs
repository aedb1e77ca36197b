//! Joining, leaving, knocking and inviting across servers
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#joining-rooms)): a server asks for a template (`make_*`),
//! completes and signs it, and hands it back (`send_*`).

mod invites;
mod joins;
mod knocks;
mod leaves;

use std::sync::Arc;

use ruma::{
    OwnedUserId, RoomId, RoomVersionId, ServerName,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::{Membership, RoomView, Template};
use wardroom_web::{ApiError, Routes};

use crate::{FederationState, error, shared_room::resident_room, stream::raw};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().merge(joins::routes()).merge(leaves::routes()).merge(knocks::routes()).merge(invites::routes())
}

/// A template for a user of the server that asks.
///
/// # Errors
/// 403 where the user is another server's or may not do this, 404 where this server is not in the room, 400
/// `M_INCOMPATIBLE_ROOM_VERSION` where the other server does not know the room's version.
async fn template(
    state: &FederationState,
    origin: &ServerName,
    view: &RoomView,
    user: &OwnedUserId,
    membership: Membership,
    versions: Option<&[RoomVersionId]>,
) -> Result<Template, ApiError> {
    require_own(origin, user)?;
    if versions.is_some_and(|versions| !versions.contains(view.version.id())) {
        return Err(error::incompatible(view.version.id()));
    }
    state.rooms.member_template(&view.id, user, membership).await.map_err(error::of_room)
}

/// Servers act for their own users only.
fn require_own(origin: &ServerName, user: &OwnedUserId) -> Result<(), ApiError> {
    if user.server_name() == origin {
        Ok(())
    } else {
        Err(ApiError::forbidden("userId: this user does not belong to your server."))
    }
}

/// A membership event as another server sends it: not checked yet beyond its form.
struct Sent<'a> {
    origin: &'a ServerName,
    room: &'a RoomId,
    version: RoomVersion,
    event_id: &'a str,
    event: &'a RawJsonValue,
    membership: MembershipState,
}

impl Sent<'_> {
    /// Reads the event. Its signatures are checked by [`verified`].
    ///
    /// # Errors
    /// 400 where it is not what its endpoint takes, 403 where its sender is another server's.
    fn read(&self) -> Result<Pdu, ApiError> {
        let pdu = Pdu::parse(self.event.get().as_bytes(), self.version);
        let pdu = pdu.map_err(|error| error::of_event("event", error))?;
        if *pdu.kind() != TimelineEventType::RoomMember {
            return Err(ApiError::invalid_param("type: must be m.room.member."));
        }
        if pdu.membership().as_ref() != Some(&self.membership) {
            return Err(ApiError::invalid_param(format!("content.membership: must be {}.", self.membership)));
        }
        if pdu.room_id() != self.room {
            return Err(ApiError::invalid_param("room_id: this is another room than the path's."));
        }
        if pdu.sender().server_name() != self.origin {
            return Err(ApiError::forbidden("sender: this user does not belong to your server."));
        }
        // In an invite this is somebody else.
        if self.membership != MembershipState::Invite && pdu.state_key() != Some(pdu.sender().as_str()) {
            return Err(ApiError::invalid_param("state_key: must be the sender."));
        }
        if pdu.event_id().as_str() != self.event_id {
            return Err(ApiError::invalid_param("eventId: this is not the event's id, which is its reference hash."));
        }
        Ok(pdu)
    }
}

/// The event, once the signatures that its room version asks for were found to be right, and its content to be what
/// was signed.
///
/// # Errors
/// 403 where a signature is wrong or missing, 400 where the content hash is wrong.
pub(crate) async fn verified(state: &FederationState, pdu: &Pdu) -> Result<Arc<Pdu>, ApiError> {
    let checked = state.federation.partners.check_events(pdu.version(), vec![raw(pdu)?]).await.pop();
    let checked = checked.unwrap_or_else(|| Err("it was not checked".to_owned()));
    let checked = checked
        .map_err(|reason| ApiError::forbidden(format!("signatures: the event cannot be verified: {reason}.")))?;
    // What does not have the right hash comes back redacted.
    if checked.json() != pdu.json() {
        return Err(ApiError::invalid_param("hashes: the content is not what its hash says."));
    }
    Ok(checked)
}

/// Takes an event that ends one of the handshakes into the room.
async fn take(
    state: &FederationState,
    origin: &ServerName,
    request: (&RoomId, &str, &RawJsonValue),
    membership: MembershipState,
) -> Result<(Arc<RoomView>, Arc<Pdu>), ApiError> {
    let (room, event_id, event) = request;
    let view = resident_room(state, room, origin).await?;
    let sent = Sent { origin, room, version: view.version, event_id, event, membership };
    let pdu = verified(state, &sent.read()?).await?;
    state.rooms.admit(room, Arc::clone(&pdu), origin).await.map_err(error::of_room)?;
    Ok((view, pdu))
}
