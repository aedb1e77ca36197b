//! `POST /keys/device_signing/upload`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload)).

use axum::extract::State;
use ruma::{
    api::client::keys::upload_signing_keys::v3::{Request, Response},
    serde::Raw,
};
use wardroom_accounts::{CrossSigningOutcome, CrossSigningUpload};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{ClientState, account::require_password};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(upload_signing_keys)
}

async fn upload_signing_keys(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Keys, session.nid)?;
    let upload = CrossSigningUpload {
        master: body.master_key.map(Raw::into_json),
        self_signing: body.self_signing_key.map(Raw::into_json),
        user_signing: body.user_signing_key.map(Raw::into_json),
    };
    if state.accounts.upload_cross_signing(&session, &upload, false).await? == CrossSigningOutcome::NeedsAuthentication
    {
        let keys = [&upload.master, &upload.self_signing, &upload.user_signing];
        let operation = "POST /keys/device_signing/upload";
        require_password(&state, &session, operation, &keys, body.auth.as_ref()).await?;
        state.accounts.upload_cross_signing(&session, &upload, true).await?;
    }
    Ok(Reply(Response::new()))
}
