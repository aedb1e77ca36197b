//! Inviting people of other servers to the spaces of their roles.

use std::pin::Pin;

use ruma::{RoomId, UserId};
use wardroom_care::{Inviter, NotInvited};
use wardroom_federation::{Invitation, PartnerError, RemoteError, RemoteRooms};
use wardroom_rooms::Actor;

/// Has other servers sign invitations.
#[derive(Debug)]
pub(crate) struct ByFederation(pub(crate) RemoteRooms);

impl Inviter for ByFederation {
    fn invite<'a>(
        &'a self,
        by: Actor<'a>,
        room: &'a RoomId,
        user: &'a UserId,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotInvited>> + Send + 'a>> {
        Box::pin(async move {
            self.0.invite(by, room, user, Invitation::default()).await.map_err(|error| {
                let answered = matches!(
                    error,
                    RemoteError::Room(_)
                        | RemoteError::Partner(PartnerError::Refused { .. })
                        | RemoteError::Untrustworthy(_)
                        | RemoteError::BadEvent(_)
                );
                NotInvited { sentence: error.to_string(), unreachable: !answered }
            })
        })
    }
}
