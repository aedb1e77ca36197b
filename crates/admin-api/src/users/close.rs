//! `POST /_synapse/admin/v1/deactivate/{user}` and `v1/reset_password/{user}`.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::{AdminScope::Users, LogoutDevices, User};
use wardroom_rooms::UserNid;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
    holds::check_erasable,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .post(
            "/_synapse/admin/v1/deactivate/{user_id}",
            Users,
            "Closes an account: its sessions end and it leaves every room.",
            deactivate,
        )
        .post("/_synapse/admin/v1/reset_password/{user_id}", Users, "Gives a user another password.", reset_password)
}

/// Closes an account and takes the user out of every room.
pub(super) async fn close(state: &AdminState, user: &User, erase: bool) -> Result<(), ApiError> {
    let nid = UserNid::new(user.nid.get());
    if erase {
        check_erasable(state, user).await?;
        state.rooms.erase_user(nid).await.map_err(error::of_room)?;
    }
    if !user.deactivated {
        // First, so that nobody joins anything any more.
        state.accounts.deactivate(&user.id).await?;
    }
    state.rooms.leave_everything(&user.id, nid).await.map_err(error::of_room)?;
    Ok(())
}

async fn deactivate(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        erase: bool,
    }
    let Body { erase } = asked.body()?;
    let user = asked.subject(&state, 0).await?;
    if user.nid == asked.session.nid {
        return Err(ApiError::invalid_param("user_id: You may not take your own account away."));
    }
    close(&state, &user, erase).await?;
    // Nothing was ever bound at an identity server.
    Ok(Json(json!({ "id_server_unbind_result": "success" })))
}

async fn reset_password(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        new_password: String,
        #[serde(default = "yes")]
        logout_devices: bool,
    }
    fn yes() -> bool {
        true
    }
    let Body { new_password, logout_devices } = asked.body()?;
    let user = asked.subject(&state, 0).await?;
    let kept = (user.nid == asked.session.nid).then_some(&*asked.session.device);
    let logout = if logout_devices { LogoutDevices::AllBut(kept) } else { LogoutDevices::Keep };
    state.accounts.set_password(&user.id, &new_password, logout).await?;
    Ok(Json(json!({})))
}
