//! `GET /_matrix/federation/unstable/org.wardroom/v1/attestation/{userId}?room_id=`: what this server says of the roles of
//! one of its users to another server, signed; and the EDU by which a server takes back what it said of its own.

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::{
    CanonicalJsonObject, ServerName, api::federation::transactions::edu::Edu, serde::Raw, signatures::sign_json,
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_audit::{Act, Record};
use wardroom_care::{Attestation, CareError, ROLE_REVOKED};
use wardroom_rooms::UserNid;
use wardroom_web::{ApiError, Routes};

use crate::{FederationState, Signed, disclosures::told_of_room, error, requests::RolesOf, signed::SignedRoutes as _};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(attestation)
}

/// Whoever may not know is not told why: not even whether there is such a user.
async fn attestation(
    State(state): State<FederationState>,
    Signed { origin, body: asked, .. }: Signed<RolesOf>,
) -> Result<Json<CanonicalJsonObject>, ApiError> {
    match words(&state, &origin, &asked).await {
        Ok(said) => {
            let record = told_of_room(&origin, "attestation", &asked.room_id, &asked.user_id);
            state.disclose(record.count(said.roles.len() as u64)).await?;
            signed(&state, &said).map(Json)
        }
        Err(error) => {
            if error.status() == StatusCode::FORBIDDEN {
                let refused = Record::of(Act::RoleCheck).room(asked.room_id.as_str()).user(asked.user_id.as_str());
                state.deny(refused.detail("read attestation")).await?;
            }
            Err(error)
        }
    }
}

/// What this server says of a user.
async fn words(state: &FederationState, origin: &ServerName, asked: &RolesOf) -> Result<Attestation, ApiError> {
    let nothing = || ApiError::forbidden("This server tells yours nothing of this user in this room.");
    if !state.accounts.is_local(&asked.user_id) || !state.accounts.is_active(&asked.user_id).await? {
        return Err(nothing());
    }
    let nid = state.accounts.user_nid(&asked.user_id).await?.ok_or_else(nothing)?;
    let user = (UserNid::new(nid.get()), &*asked.user_id);
    let attestations = state.care.attestations();
    let together = state.federation.rooms.are_together(user, &asked.room_id, origin);
    if !attestations.tells_before_invitations(origin) && !together.await.map_err(error::of_room)? {
        return Err(nothing());
    }
    let said = attestations.attest(&asked.user_id, &asked.room_id, origin).await.map_err(of_care)?;
    said.ok_or_else(nothing)
}

fn signed(state: &FederationState, said: &Attestation) -> Result<CanonicalJsonObject, ApiError> {
    let said = serde_json::to_vec(said).map_err(|error| ApiError::internal(&error))?;
    let mut said: CanonicalJsonObject = serde_json::from_slice(&said).map_err(|error| ApiError::internal(&error))?;
    let signed = sign_json(state.server_name.as_str(), state.signing_key.pair(), &mut said);
    signed.map_err(|error| ApiError::internal(&error))?;
    Ok(said)
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
