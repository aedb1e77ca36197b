//! `GET /_synapse/admin/v2/users` and `v3/users`.

use axum::Json;
use serde::Serialize;
use wardroom_accounts::{AdminScope::Users, UserOrder, UserQuery};
use wardroom_web::ApiError;

use super::Common;
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, next_place},
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v2/users", Users, "Lists accounts; deactivated ones too with `deactivated=true`.", v2)
        .get("/_synapse/admin/v3/users", Users, "Lists accounts; `deactivated` selects by whether they are.", v3)
}

#[derive(Serialize)]
struct Listed {
    users: Vec<Common>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

async fn v2(state: AdminState, asked: Asked) -> Result<Json<Listed>, ApiError> {
    let all = asked.flag("deactivated")?.unwrap_or(false);
    list(state, asked, (!all).then_some(false)).await
}

async fn v3(state: AdminState, asked: Asked) -> Result<Json<Listed>, ApiError> {
    let deactivated = asked.flag("deactivated")?;
    list(state, asked, deactivated).await
}

async fn list(state: AdminState, asked: Asked, deactivated: Option<bool>) -> Result<Json<Listed>, ApiError> {
    let (from, limit) = asked.page()?;
    let query = UserQuery {
        user_id: asked.text("user_id"),
        // The more exact of the two holds alone.
        name: asked.text("name").filter(|_| asked.get("user_id").is_none()),
        guests: (!asked.flag("guests")?.unwrap_or(true)).then_some(false),
        deactivated,
        admins: asked.flag("admins")?,
        locked: (!asked.flag("locked")?.unwrap_or(false)).then_some(false),
        order: order(asked.get("order_by"))?,
        backwards: asked.backwards(false)?,
        from,
        limit,
    };
    let page = state.accounts.list_users(&query).await?;
    let next_token = next_place(from, page.users.len(), page.total).map(|next| next.to_string());
    let mut users = Vec::with_capacity(page.users.len());
    for user in page.users {
        users.push(Common::of(&state, user).await?);
    }
    Ok(Json(Listed { users, total: page.total, next_token }))
}

fn order(name: Option<&str>) -> Result<UserOrder, ApiError> {
    Ok(match name {
        None | Some("name") => UserOrder::Name,
        Some("is_guest") => UserOrder::IsGuest,
        Some("admin") => UserOrder::Admin,
        Some("deactivated") => UserOrder::Deactivated,
        Some("locked") => UserOrder::Locked,
        Some("displayname") => UserOrder::DisplayName,
        Some("avatar_url") => UserOrder::AvatarUrl,
        Some("creation_ts") => UserOrder::Created,
        Some("last_seen_ts") => UserOrder::LastSeen,
        Some("user_type" | "shadow_banned" | "approved") => UserOrder::Nothing,
        Some(_) => return Err(ApiError::invalid_param("order_by: users cannot be ordered by this")),
    })
}
