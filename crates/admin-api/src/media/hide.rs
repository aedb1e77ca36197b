//! Looking at media, hiding them and showing them again.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_media::{MediaId, UserNid};
use wardroom_web::ApiError;

use super::{Shown, media_id, name, no_such_media, of_media, of_uri};
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(super) fn endpoints() -> Endpoints {
    let hide_one = "Hides one media from everybody.";
    Endpoints::new()
        .get("/_synapse/admin/v1/room/{room_id}/media", Operation, "Lists media that a room's events name.", of_room)
        .post("/_synapse/admin/v1/room/{room_id}/media/quarantine", Operation, "Hides a room's media.", hide_of_room)
        .post("/_synapse/admin/v1/user/{user_id}/media/quarantine", Operation, "Hides a user's media.", hide_of_user)
        .post("/_synapse/admin/v1/media/quarantine/{server_name}/{media_id}", Operation, hide_one, hide)
        .post(
            "/_synapse/admin/v1/media/unquarantine/{server_name}/{media_id}",
            Operation,
            "Shows a hidden media again.",
            unhide,
        )
        .post("/_synapse/admin/v1/media/protect/{media_id}", Operation, "Keeps a media from being hidden.", protect)
        .post("/_synapse/admin/v1/media/unprotect/{media_id}", Operation, "Lets a media be hidden again.", unprotect)
        .get("/_synapse/admin/v1/media/{server_name}/{media_id}", Operation, "Tells of one media.", show)
}

fn by(asked: &Asked) -> UserNid {
    UserNid::new(asked.session.nid.get())
}

async fn named(state: &AdminState, asked: &Asked) -> Result<Vec<MediaId>, ApiError> {
    let found = state.rooms.media_in(&asked.room_id(0)?).await.map_err(error::of_room)?;
    Ok(found.iter().filter_map(|uri| of_uri(uri)).collect())
}

async fn of_room(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (local, remote): (Vec<MediaId>, Vec<MediaId>) =
        named(&state, &asked).await?.into_iter().partition(|media| state.media.is_local(media));
    let uris = |media: Vec<MediaId>| media.iter().map(MediaId::uri).collect::<Vec<_>>();
    Ok(Json(json!({ "local": uris(local), "remote": uris(remote) })))
}

async fn hide_of_room(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let mut hidden = 0_u64;
    for media in named(&state, &asked).await? {
        hidden += u64::from(state.media.set_quarantine_by(&media, by(&asked), true).await.map_err(of_media)?);
    }
    Ok(Json(json!({ "num_quarantined": hidden })))
}

async fn hide_of_user(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    let mut hidden = 0_u64;
    for info in state.media.all_of_user(UserNid::new(user.nid.get())).await.map_err(of_media)? {
        hidden += u64::from(state.media.set_quarantine_by(&info.media, by(&asked), true).await.map_err(of_media)?);
    }
    Ok(Json(json!({ "num_quarantined": hidden })))
}

async fn hide(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let media = media_id(asked.part(0), asked.part(1))?;
    // As with other servers' media, nothing is said of what is not there or protected.
    state.media.set_quarantine_by(&media, by(&asked), true).await.map_err(of_media)?;
    Ok(Json(json!({})))
}

async fn unhide(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let media = media_id(asked.part(0), asked.part(1))?;
    state.media.set_quarantine_by(&media, by(&asked), false).await.map_err(of_media)?;
    Ok(Json(json!({})))
}

async fn protect(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    set_protected(&state, &asked, true).await
}

async fn unprotect(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    set_protected(&state, &asked, false).await
}

async fn set_protected(state: &AdminState, asked: &Asked, protected: bool) -> Result<Json<Value>, ApiError> {
    let media = media_id(state.accounts.settings().server_name.as_str(), asked.part(0))?;
    match state.media.set_protected(&media, protected).await.map_err(of_media)? {
        true => Ok(Json(json!({}))),
        false => Err(no_such_media()),
    }
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let media = media_id(asked.part(0), asked.part(1))?;
    let info = state.media.info(&media).await.map_err(of_media)?.ok_or_else(no_such_media)?;
    let owner = match info.owner {
        Some(owner) => name(&state, owner).await?,
        None => None,
    };
    let local = state.media.is_local(&media);
    let mut shown = json!(Shown::of(&state, info).await?);
    shown["media_origin"] = if local { Value::Null } else { media.server().as_str().into() };
    shown["user_id"] = json!(owner);
    shown["url_cache"] = Value::Null;
    shown["authenticated"] = true.into();
    Ok(Json(json!({ "media_info": shown })))
}
