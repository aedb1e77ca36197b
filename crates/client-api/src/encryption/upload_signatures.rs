//! `POST /keys/signatures/upload`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload)).

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ruma::{OwnedUserId, api::client::keys::upload_signatures::v3::Request};
use serde::Serialize;
use wardroom_accounts::SignatureFailure;
use wardroom_web::{ApiError, Class, Routes, Ruma};

use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(upload_signatures)
}

/// Why a signature was not kept. ruma's type cannot be made.
#[derive(Serialize)]
struct Failure {
    errcode: &'static str,
    error: String,
}

#[derive(Serialize)]
struct Answer {
    failures: BTreeMap<OwnedUserId, BTreeMap<String, Failure>>,
}

async fn upload_signatures(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Json<Answer>, ApiError> {
    state.limits.take(Class::Keys, session.nid)?;
    let signed = body.signed_keys.iter().map(|(user, keys)| {
        let keys = keys.iter().map(|(id, key)| (id.to_owned(), key.to_owned()));
        (user.clone(), keys.collect())
    });
    let signed: BTreeMap<_, _> = signed.collect();
    if let Some(federation) = &state.federation {
        // Whom one signs may have an identity here that is not up to date, or none yet.
        let elsewhere = signed.keys().filter(|user| !state.accounts.is_local(user)).map(|user| (user.clone(), vec![]));
        let elsewhere: BTreeMap<_, _> = elsewhere.collect();
        if !elsewhere.is_empty() {
            federation.devices.query(elsewhere, None).await.map_err(error::of_federation)?;
        }
    }
    let failures = state.accounts.upload_signatures(&session, &signed).await?;
    let failures = failures.into_iter().map(|(user, keys)| {
        let keys = keys.into_iter().map(|(id, failure)| (id, told(failure)));
        (user, keys.collect())
    });
    Ok(Json(Answer { failures: failures.collect() }))
}

fn told(failure: SignatureFailure) -> Failure {
    let errcode = match failure {
        SignatureFailure::UnknownKey => "M_NOT_FOUND",
        SignatureFailure::OtherKey => "M_INVALID_PARAM",
        SignatureFailure::InvalidSignature => "M_INVALID_SIGNATURE",
    };
    Failure { errcode, error: failure.to_string() }
}
