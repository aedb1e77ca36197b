//! Who is in a room, and with which power: `POST /_synapse/admin/v1/join/{room}`,
//! `v1/rooms/{room}/make_room_admin`, and `/_wardroom/admin/v1/rooms/{room}/remove`.

use axum::Json;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomOrAliasId};
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::{AdminScope::Rooms, User};
use wardroom_federation::Passage;
use wardroom_rooms::{Actor, RoomError, UserNid};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_room, no_such_user},
    error, profile,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .post(
            "/_synapse/admin/v1/join/{room_id_or_alias}",
            Rooms,
            "Joins a user of this server to a room, by an invitation of the administrator where one is needed.",
            join,
        )
        .post(
            "/_synapse/admin/v1/rooms/{room_id}/make_room_admin",
            Rooms,
            "Gives a user the power of the most powerful user of this server in the room.",
            make_room_admin,
        )
        .post("/_wardroom/admin/v1/rooms/{room_id}/remove", Rooms, "Takes one user out of one room.", remove)
}

/// The room that an id or an alias leads to, and servers that may be in it.
async fn room_of(state: &AdminState, name: &str) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ApiError> {
    let wrong = |_| ApiError::invalid_param("room_id_or_alias: this is neither a room id nor an alias.");
    let name = <&RoomOrAliasId>::try_from(name).map_err(wrong)?;
    let alias = match <&RoomAliasId>::try_from(name) {
        Err(room) => return Ok((room.to_owned(), Vec::new())),
        Ok(alias) => alias,
    };
    if alias.server_name() != state.accounts.settings().server_name
        && let Some(federation) = &state.federation
    {
        let found = federation.rooms.resolve_alias(alias).await.map_err(error::of_remote)?;
        return found.ok_or_else(no_such_room);
    }
    let found = state.rooms.resolve_alias(alias).await.map_err(error::of_room)?;
    found.map(|room| (room, Vec::new())).ok_or_else(no_such_room)
}

/// The user of this server whom a body names.
async fn named_user(state: &AdminState, id: &OwnedUserId) -> Result<User, ApiError> {
    if !state.accounts.is_local(id) {
        return Err(ApiError::invalid_param("user_id: must be a user of this server."));
    }
    state.accounts.user(id).await?.filter(|user| !user.deactivated).ok_or_else(no_such_user)
}

async fn join(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        user_id: OwnedUserId,
    }
    let Body { user_id } = asked.body()?;
    let user = named_user(&state, &user_id).await?;
    let (room, mut via) = room_of(&state, asked.part(0)).await?;
    for name in ["via", "server_name"] {
        via.extend(asked.all(name).filter_map(|server| OwnedServerName::try_from(server).ok()));
    }
    let shown = profile::of(&state, &user).await?;
    let actor = Actor { user: &user.id, nid: UserNid::new(user.nid.get()), device: None, guest: user.guest };
    let here = state.rooms.is_here(&room).await.map_err(error::of_room)?;
    if here {
        let joined = state.rooms.join(actor, &room, shown.clone(), None).await;
        match joined {
            Err(RoomError::Forbidden(_)) => {}
            done => return done.map(|()| Json(json!({ "room_id": room }))).map_err(error::of_room),
        }
        // Not open to this user: the administrator asks them in, as far as the administrator may.
        state.rooms.invite(asked.actor(), &room, &user.id, shown.clone(), None).await.map_err(error::of_room)?;
        state.rooms.join(actor, &room, shown, None).await.map_err(error::of_room)?;
    } else {
        let federation = state.federation.as_ref().ok_or_else(no_such_room)?;
        let passage = Passage { actor, room: &room, via: &via, profile: shown, reason: None };
        federation.rooms.join(passage).await.map_err(error::of_remote)?;
    }
    Ok(Json(json!({ "room_id": room })))
}

async fn make_room_admin(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        user_id: Option<OwnedUserId>,
    }
    let Body { user_id } = asked.body()?;
    let (name, _) = room_of(&state, asked.part(0)).await?;
    let user_id = user_id.unwrap_or_else(|| asked.session.user.clone());
    state.rooms.make_powerful(&name, &user_id).await.map_err(error::of_room)?;
    // Who is not in the room yet gets in.
    if let Some(user) = state.accounts.user(&user_id).await? {
        let shown = profile::of(&state, &user).await?;
        state.rooms.invite_by_somebody(&name, &user.id, shown).await.map_err(error::of_room)?;
    }
    Ok(Json(json!({})))
}

async fn remove(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        user_id: OwnedUserId,
        #[serde(default)]
        reason: Option<String>,
    }
    let (room, Body { user_id, reason }) = (asked.room_id(0)?, asked.body()?);
    state.rooms.remove_member(&room, &user_id, reason).await.map_err(error::of_room)?;
    Ok(Json(json!({})))
}
