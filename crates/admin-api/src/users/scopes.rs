//! `GET` and `PUT /_wardroom/admin/v1/users/{user}/scopes`: what an administrator may do.

use axum::Json;
use serde::{Deserialize, Serialize};
use wardroom_accounts::{AdminScope, AdminScope::Users, AdminScopes};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
};

/// The scopes of one administrator.
const SCOPES: &str = "/_wardroom/admin/v1/users/{user_id}/scopes";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(SCOPES, Users, "Tells what a user may do as an administrator.", show).put(
        SCOPES,
        Users,
        "Restricts an administrator, or ends that; takes every scope.",
        set,
    )
}

#[derive(Serialize)]
struct Shown {
    scopes: Vec<AdminScope>,
    /// Not to all of them.
    restricted: bool,
}

impl Shown {
    fn of(scopes: AdminScopes) -> Json<Self> {
        Json(Self { scopes: scopes.list(), restricted: !scopes.is_all() })
    }
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Shown>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    Ok(Shown::of(state.accounts.admin_scopes(user.nid).await?))
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Shown>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        /// None ends the restriction.
        scopes: Option<Vec<String>>,
    }
    let Body { scopes } = asked.body()?;
    asked.unrestricted()?;
    let user = asked.local_user(&state, 0).await?;
    if !user.admin {
        return Err(ApiError::invalid_param("user_id: this user is no administrator."));
    }
    let scopes = match scopes {
        None => AdminScopes::ALL,
        Some(words) => {
            let named: Option<Vec<_>> = words.iter().map(|word| AdminScope::from_word(word)).collect();
            let sentence = "scopes: must be some of users, rooms, privacy, audit and operation.";
            named.ok_or_else(|| ApiError::invalid_param(sentence))?.into_iter().collect()
        }
    };
    if user.nid == asked.session.nid && !scopes.is_all() {
        return Err(ApiError::invalid_param("user_id: You may not restrict yourself."));
    }
    state.accounts.set_admin_scopes(&user.id, scopes).await?;
    Ok(Shown::of(scopes))
}
