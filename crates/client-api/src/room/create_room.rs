//! `POST /createRoom` ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom)).

use axum::extract::State;
use futures_util::{StreamExt as _, stream};
use ruma::{
    OwnedRoomAliasId, OwnedUserId, RoomAliasId, ServerName,
    api::client::room::{
        Visibility,
        create_room::v3::{Request, Response, RoomPreset},
    },
    events::room::history_visibility::HistoryVisibility,
    serde::Raw,
};
use serde_json::{Map, Value, json, value::to_raw_value};
use wardroom_federation::Invitation;
use wardroom_rooms::{MemberProfile, NewRoom, Preset};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{
    initial_state::{self, StateEvent},
    invite_user, invitee_profile, own_profile, registered, unsuspended,
};
use crate::{ClientSettings, ClientState, error};

/// Servers that are asked at the same time to sign invitations to a new room.
const INVITATIONS_AT_ONCE: usize = 8;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(create_room)
}

async fn create_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::CreateRoom, session.nid)?;
    unsuspended(&session)?;
    let actor = registered(&session)?;
    if !request.invite_3pid.is_empty() {
        return Err(invite_user::third_party());
    }
    let listed = match request.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(ApiError::invalid_param("visibility: must be `public` or `private`.")),
    };
    let alias = request.room_alias_name.as_deref();
    let preset = preset(request.preset.as_ref(), listed)?;
    let room = NewRoom {
        version: request.room_version,
        preset,
        creation_content: object("creation_content", request.creation_content.as_ref())?,
        initial_state: with_history(preset, initial_state::read(&request.initial_state)?, &state.settings)?,
        power_levels: object("power_level_content_override", request.power_level_content_override.as_ref())?,
        name: request.name,
        topic: request.topic,
        alias: alias.map(|name| alias_of(name, &state.settings.server_name)).transpose()?,
        invite: invitees(&state, request.invite).await?,
        is_direct: request.is_direct,
        listed,
        profile: own_profile(&state, &session).await?,
    };
    let (elsewhere, is_direct) = (invited_elsewhere(&state, &room), room.is_direct);
    let room_id = state.rooms.create(actor, room).await.map_err(error::of_room)?;
    if let Some(federation) = &state.federation {
        let invitations = elsewhere.into_iter().map(|(user, profile)| {
            let room_id = &room_id;
            async move {
                let invitation = Invitation { profile, reason: None, is_direct };
                // The room is there, whoever comes: that is no failure of the request.
                if let Err(error) = federation.rooms.invite(actor, room_id, &user, invitation).await {
                    tracing::info!(%error, server = %user.server_name(), "a user of another server was not invited");
                }
            }
        });
        stream::iter(invitations).buffer_unordered(INVITATIONS_AT_ONCE).collect::<()>().await;
    }
    Ok(Reply(Response::new(room_id)))
}

/// The invited users of other servers: those have to sign their invitations, which takes a room that is there.
fn invited_elsewhere(state: &ClientState, room: &NewRoom) -> Vec<(OwnedUserId, MemberProfile)> {
    room.invite.iter().filter(|(user, _)| !state.accounts.is_local(user)).cloned().collect()
}

/// The preset that was asked for, or the one that goes with the visibility.
fn preset(wanted: Option<&RoomPreset>, listed: bool) -> Result<Preset, ApiError> {
    match wanted {
        None if listed => Ok(Preset::PublicChat),
        None | Some(RoomPreset::PrivateChat) => Ok(Preset::PrivateChat),
        Some(RoomPreset::PublicChat) => Ok(Preset::PublicChat),
        Some(RoomPreset::TrustedPrivateChat) => Ok(Preset::TrustedPrivateChat),
        Some(_) => {
            let sentence = "preset: must be `private_chat`, `trusted_private_chat` or `public_chat`.";
            Err(ApiError::invalid_param(sentence))
        }
    }
}

/// The state that was asked for, and who reads the history where nothing is said of it and the server has another wish than
/// the preset.
fn with_history(
    preset: Preset,
    mut initial: Vec<StateEvent>,
    settings: &ClientSettings,
) -> Result<Vec<StateEvent>, ApiError> {
    const KIND: &str = "m.room.history_visibility";
    let wanted = &settings.private_history;
    let is_said = initial.iter().any(|(kind, state_key, _)| kind == KIND && state_key.is_empty());
    if preset != Preset::PublicChat && *wanted != HistoryVisibility::Shared && !is_said {
        let content = to_raw_value(&json!({ "history_visibility": wanted }));
        let content = content.map_err(|error| ApiError::internal(&error))?;
        initial.push((KIND.to_owned(), String::new(), content));
    }
    Ok(initial)
}

/// The fields of an object that ruma passes on unread.
fn object<T>(field: &str, raw: Option<&Raw<T>>) -> Result<Map<String, Value>, ApiError> {
    let read = raw.map_or_else(|| Ok(Map::new()), |raw| serde_json::from_str(raw.json().get()));
    read.map_err(|error| ApiError::bad_json(format!("`{field}` is wrong: {error}.")))
}

fn alias_of(localpart: &str, server: &ServerName) -> Result<OwnedRoomAliasId, ApiError> {
    let wrong = |problem: &str| ApiError::invalid_param(format!("room_alias_name: {problem}."));
    if localpart.is_empty() {
        return Err(wrong("must not be empty"));
    }
    // Only the part before the colon is wanted; with one in it, the rest would count as the server's name.
    if localpart.contains(':') {
        return Err(wrong("is the part of the alias between `#` and `:` alone"));
    }
    let alias = RoomAliasId::parse(format!("#{localpart}:{server}"));
    alias.map_err(|error| wrong(&error.to_string()))
}

/// The users to invite, each once, with their profiles.
async fn invitees(state: &ClientState, users: Vec<OwnedUserId>) -> Result<Vec<(OwnedUserId, MemberProfile)>, ApiError> {
    let mut invitees: Vec<(OwnedUserId, MemberProfile)> = Vec::with_capacity(users.len());
    for user in users {
        if invitees.iter().any(|(invited, _)| *invited == user) {
            continue;
        }
        let profile = invitee_profile(state, "invite", &user).await?;
        invitees.push((user, profile));
    }
    Ok(invitees)
}

#[cfg(test)]
mod tests {
    use ruma::{
        api::client::room::create_room::v3::{CreationContent, RoomPreset},
        serde::Raw,
        server_name,
    };
    use serde_json::json;
    use wardroom_rooms::Preset;

    use super::{alias_of, object, preset};

    #[test]
    fn the_visibility_chooses_a_preset_where_none_is_asked_for() {
        assert_eq!(preset(None, true).unwrap(), Preset::PublicChat);
        assert_eq!(preset(None, false).unwrap(), Preset::PrivateChat);
        assert_eq!(preset(Some(&RoomPreset::TrustedPrivateChat), true).unwrap(), Preset::TrustedPrivateChat);
        assert_eq!(preset(Some(&"party".into()), true).unwrap_err().status(), 400);
    }

    #[test]
    fn an_alias_is_made_of_its_local_part() {
        let server = server_name!("localhost:8008");
        assert_eq!(alias_of("ward 7 é", server).unwrap().as_str(), "#ward 7 é:localhost:8008");
        for wrong in ["", "a:b", "#a:localhost:8008", "a\0"] {
            assert_eq!(alias_of(wrong, server).unwrap_err().status(), 400, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_by_name() {
        let raw = |value: serde_json::Value| Raw::<CreationContent>::from_json_string(value.to_string()).unwrap();
        assert!(object::<CreationContent>("creation_content", None).unwrap().is_empty());
        assert_eq!(object("creation_content", Some(&raw(json!({"a": 1})))).unwrap()["a"], 1);
        let error = object("creation_content", Some(&raw(json!([1])))).unwrap_err();
        assert!(format!("{error:?}").contains("creation_content"));
    }
}
