//! `GET /_matrix/federation/unstable/org.wardroom/v1/attestation/{userId}?room_id=`: what this server says of the roles of
//! one of its users to another server, signed; and the EDU by which a server takes back what it said of its own.

use axum::{Json, extract::State};
use ruma::{
    CanonicalJsonObject, ServerName, api::federation::transactions::edu::Edu, serde::Raw, signatures::sign_json,
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_care::{CareError, ROLE_REVOKED};
use wardroom_rooms::UserNid;
use wardroom_web::{ApiError, Routes};

use crate::{FederationState, Signed, error, requests::RolesOf, signed::SignedRoutes as _};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(attestation)
}

/// Whoever may not know is not told why: not even whether there is such a user.
async fn attestation(
    State(state): State<FederationState>,
    Signed { origin, body: asked, .. }: Signed<RolesOf>,
) -> Result<Json<CanonicalJsonObject>, ApiError> {
    let nothing = || ApiError::forbidden("This server tells yours nothing of this user in this room.");
    if !state.accounts.is_local(&asked.user_id) || !state.accounts.is_active(&asked.user_id).await? {
        return Err(nothing());
    }
    let nid = state.accounts.user_nid(&asked.user_id).await?.ok_or_else(nothing)?;
    let user = (UserNid::new(nid.get()), &*asked.user_id);
    let attestations = state.care.attestations();
    let together = state.federation.rooms.are_together(user, &asked.room_id, &origin);
    if !attestations.tells_before_invitations(&origin) && !together.await.map_err(error::of_room)? {
        return Err(nothing());
    }
    let said = attestations.attest(&asked.user_id, &asked.room_id, &origin).await.map_err(of_care)?;
    let said = serde_json::to_vec(&said.ok_or_else(nothing)?).map_err(|error| ApiError::internal(&error))?;
    let mut said: CanonicalJsonObject = serde_json::from_slice(&said).map_err(|error| ApiError::internal(&error))?;
    let signed = sign_json(state.server_name.as_str(), state.signing_key.pair(), &mut said);
    signed.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(said))
}

/// Takes in what a server takes back of what it said. What is wrong, or not its own to say, is passed over.
///
/// # Errors
/// When the store fails: the server has to send the transaction again then.
pub(crate) async fn revocations(
    state: &FederationState,
    origin: &ServerName,
    edus: &[Raw<Edu>],
) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        edu_type: String,
        #[serde(borrow)]
        content: &'a RawJsonValue,
    }
    for edu in edus {
        let Ok(edu) = serde_json::from_str::<Envelope<'_>>(edu.json().get()) else { continue };
        if edu.edu_type == ROLE_REVOKED {
            state.care.role_revoked(origin, edu.content).await.map_err(of_care)?;
        }
    }
    Ok(())
}

fn of_care(error: CareError) -> ApiError {
    match error {
        CareError::Rooms(error) => error::of_room(error),
        error => ApiError::internal(&error),
    }
}
