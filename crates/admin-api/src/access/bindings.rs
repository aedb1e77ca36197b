//! `GET`, `PUT`, `POST` and `DELETE /_wardroom/admin/v1/role_bindings/{user}`: roles that administrators give, with a reason
//! and an end; and `GET /_wardroom/admin/v1/users/{user}/access`: why somebody may be in a room or may not.

use axum::Json;
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Users;
use wardroom_care::{Assessment, Binding, Role, Said, Source};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

/// The roles of one user.
const BINDINGS: &str = "/_wardroom/admin/v1/role_bindings/{user_id}";
/// What they open.
const ACCESS: &str = "/_wardroom/admin/v1/users/{user_id}/access";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(BINDINGS, Users, "Shows which roles a user has, and from where.", show)
        .put(BINDINGS, Users, "Sets the roles that administrators give a user.", set)
        .post(BINDINGS, Users, "Gives a user one more role, or one that they have anew.", give)
        .delete(BINDINGS, Users, "Takes those roles back, or the one in `role`.", remove)
        .get(ACCESS, Users, "Tells why a user may be in a room (`room_id`), or in each of theirs, or may not.", access)
}

/// A role as it is shown. Times are milliseconds since 1970.
#[derive(Serialize)]
struct Shown {
    role: String,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ts: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    set_by: String,
    set_ts: u64,
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let holder = state.care.roles().of(&asked.user_id(0)?);
    let Some(holder) = holder else {
        return Ok(Json(json!({ "active": true, "roles": [], "in_force": [] })));
    };
    let shown = |source: Source, binding: &Binding| Shown {
        role: binding.role.to_string(),
        source: source.name(),
        from_ts: binding.from_ms,
        until_ts: binding.until_ms,
        reason: binding.reason.clone(),
        set_by: binding.set_by.clone(),
        set_ts: binding.set_ms,
    };
    let roles: Vec<Shown> = holder
        .said()
        .flat_map(|(source, said)| said.bindings.iter().map(move |binding| shown(source, binding)))
        .collect();
    let in_force: Vec<String> = holder.roles_at(state.care.now_ms()).iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "active": holder.is_active(), "roles": roles, "in_force": in_force })))
}

/// A role as an administrator gives it.
#[derive(Deserialize)]
struct Given {
    role: String,
    from_ts: Option<u64>,
    until_ts: Option<u64>,
    reason: String,
}

impl Given {
    /// What is kept of it; what is wrong is told with `place` before the field's name.
    fn binding(self, state: &AdminState, asked: &Asked, place: &str) -> Result<Binding, ApiError> {
        let Self { role, from_ts: from_ms, until_ts: until_ms, reason } = self;
        let role = Role::parse(&role).map_err(|error| ApiError::invalid_param(format!("{place}role: {error}.")))?;
        if reason.trim().is_empty() {
            return Err(ApiError::invalid_param(format!("{place}reason: say why.")));
        }
        let set_by = asked.session.user.to_string();
        Ok(Binding { role, from_ms, until_ms, reason, set_by, set_ms: state.care.now_ms() })
    }
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        roles: Vec<Given>,
    }
    let (user, Body { roles }) = (asked.user_id(0)?, asked.body()?);
    let bindings = roles.into_iter().enumerate();
    let bindings = bindings.map(|(index, given)| given.binding(&state, &asked, &format!("roles[{index}].")));
    let bindings = bindings.collect::<Result<Vec<Binding>, ApiError>>()?;
    let said = Said { active: None, bindings };
    let changed = state.care.roles().say(&user, Source::Manual, said).await.map_err(error::of_care)?;
    Ok(Json(json!({ "changed": changed })))
}

async fn give(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (user, given) = (asked.user_id(0)?, asked.body::<Given>()?);
    let binding = given.binding(&state, &asked, "")?;
    let changed = state.care.roles().change(&user, Source::Manual, |mut said| {
        said.bindings.retain(|known| known.role != binding.role);
        said.bindings.push(binding);
        Ok(said)
    });
    Ok(Json(json!({ "changed": changed.await.map_err(error::of_care)? })))
}

async fn remove(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (user, role) = (asked.user_id(0)?, asked.text("role"));
    let changed = state.care.roles().change(&user, Source::Manual, |mut said| {
        match &role {
            Some(role) => said.bindings.retain(|binding| binding.role.to_string() != *role),
            None => said.bindings.clear(),
        }
        Ok(said)
    });
    if changed.await.map_err(error::of_care)? {
        return Ok(Json(json!({ "changed": true })));
    }
    Err(ApiError::not_found("role: no administrator gave the user such a role."))
}

/// How a user stands to the policy of a room.
#[derive(Serialize)]
struct Access {
    room_id: OwnedRoomId,
    /// None where the user is not and was not there.
    membership: Option<&'static str>,
    /// Whether the room requires roles at all.
    requires_roles: bool,
    #[serde(flatten)]
    assessment: Assessment,
}

async fn access(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.user_id(0)?;
    let memberships = state.care.memberships(&user).await.map_err(error::of_care)?;
    let rooms = match asked.get("room_id") {
        Some(room) => {
            let room =
                OwnedRoomId::try_from(room).map_err(|_| ApiError::invalid_param("room_id: this is no room id."))?;
            let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
            vec![view]
        }
        None => {
            let mut rooms = Vec::with_capacity(memberships.len());
            for room in memberships.keys() {
                rooms.push(state.rooms.view_of(*room).await.map_err(error::of_room)?);
            }
            rooms
        }
    };
    let answer = rooms.into_iter().map(|view| {
        let policy = state.care.policy(&view);
        Access {
            room_id: view.id.clone(),
            membership: memberships.get(&view.nid).map(|membership| membership.word()),
            requires_roles: policy.is_some(),
            assessment: state.care.assess_in(&view, &user, policy.as_ref()),
        }
    });
    Ok(Json(json!({ "rooms": answer.collect::<Vec<_>>() })))
}
