//! Rooms: making, joining and leaving them, sending to and reading from them, the directory, receipts and typing.
//!
//! Handlers say who acts and hand on what was asked; whether it may be done is decided by `rooms`.

mod alias;
mod break_glass;
mod create_room;
mod create_typing_event;
mod directory;
mod event_json;
mod forget_and_leave;
mod get_context;
mod get_event_by_timestamp;
mod get_hierarchy;
mod get_message_events;
mod get_mutual_rooms;
mod get_room_event;
mod get_state_events;
mod get_summary;
mod ignores;
mod initial_state;
mod invite_user;
mod join_room;
mod kick_and_ban;
mod members;
mod peeking;
mod receipt;
mod redact_event;
mod relations;
mod report;
mod search;
mod send_message_event;
mod send_state_event;
mod thread_subscriptions;
mod threads;
mod upgrade_room;

use http::StatusCode;
use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId, RoomOrAliasId, UInt, UserId, api::error::ErrorKind};
use wardroom_accounts::{IgnoredUsers, Profile, Session};
use wardroom_rooms::{MemberProfile, Place, Stored};
use wardroom_web::{ApiError, Routes};

use self::ignores::Ignores;
use crate::{
    ClientState,
    caller::{actor, registered, unsuspended},
    error,
};

pub(crate) fn routes() -> Routes<ClientState> {
    create_room::routes()
        .merge(join_room::routes())
        .merge(forget_and_leave::routes())
        .merge(invite_user::routes())
        .merge(kick_and_ban::routes())
        .merge(send_message_event::routes())
        .merge(send_state_event::routes())
        .merge(redact_event::routes())
        .merge(get_message_events::routes())
        .merge(get_context::routes())
        .merge(get_room_event::routes())
        .merge(get_state_events::routes())
        .merge(members::routes())
        .merge(alias::routes())
        .merge(directory::routes())
        .merge(receipt::routes())
        .merge(create_typing_event::routes())
        .merge(get_event_by_timestamp::routes())
        .merge(get_hierarchy::routes())
        .merge(get_mutual_rooms::routes())
        .merge(get_summary::routes())
        .merge(report::routes())
        .merge(upgrade_room::routes())
        .merge(relations::routes())
        .merge(search::routes())
        .merge(threads::routes())
        .merge(thread_subscriptions::routes())
        .merge(peeking::routes())
        .merge(break_glass::routes())
}

fn member_profile(profile: Profile) -> MemberProfile {
    MemberProfile { displayname: profile.displayname, avatar_url: profile.avatar_url }
}

/// The caller's own profile, for a membership event.
async fn own_profile(state: &ClientState, session: &Session) -> Result<MemberProfile, ApiError> {
    Ok(state.accounts.profile(&session.user).await?.map(member_profile).unwrap_or_default())
}

/// The profile of somebody who is to be invited.
///
/// An invitation to a name that nobody has would wait for whoever gets that name one day, so it is refused.
async fn invitee_profile(state: &ClientState, field: &str, user: &UserId) -> Result<MemberProfile, ApiError> {
    may_be_invited(state, field, user).await?;
    match state.accounts.profile(user).await? {
        Some(profile) => Ok(member_profile(profile)),
        None if state.accounts.is_local(user) => {
            Err(ApiError::not_found(format!("{field}: there is no such user on this server.")))
        }
        None if state.federation.is_none() => {
            Err(ApiError::forbidden(format!("{field}: this server does not speak to other servers.")))
        }
        None => Ok(MemberProfile::default()),
    }
}

/// Refuses invitations to users of this server who let nobody invite them (specification, "Invite permission").
async fn may_be_invited(state: &ClientState, field: &str, user: &UserId) -> Result<(), ApiError> {
    if !state.accounts.is_local(user) {
        return Ok(());
    }
    match state.accounts.user_nid(user).await? {
        Some(nid) if state.accounts.blocks_invites(nid).await? => {
            let sentence = format!("{field}: this user does not want to be invited.");
            Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::InviteBlocked, sentence))
        }
        _ => Ok(()),
    }
}

/// The room that an id or an alias leads to, and servers that may be in it: those that the client names, and those that
/// the alias does. A room id may lead nowhere; that is found out where it is used.
async fn room_of(
    state: &ClientState,
    room: &RoomOrAliasId,
    via: Vec<OwnedServerName>,
) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ApiError> {
    match <&RoomAliasId>::try_from(room) {
        Ok(alias) => {
            let (room, servers) = room_of_alias(state, alias).await?;
            Ok((room, servers.into_iter().chain(via).collect()))
        }
        Err(room) => Ok((room.to_owned(), via)),
    }
}

/// The room that an alias leads to, and servers that may be in it.
async fn room_of_alias(
    state: &ClientState,
    alias: &RoomAliasId,
) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ApiError> {
    let here = &state.settings.server_name;
    let found = match &state.federation {
        Some(federation) if alias.server_name() != here => {
            federation.rooms.resolve_alias(alias).await.map_err(error::of_remote)?
        }
        _ => {
            let found = state.rooms.resolve_alias(alias).await.map_err(error::of_room)?;
            found.map(|room| (room, vec![here.clone()]))
        }
    };
    found.ok_or_else(|| ApiError::not_found("This room alias leads to no room that this server knows."))
}

/// A place in a timeline that a client names by a token; `field` is the parameter it came in.
fn place(field: &str, token: Option<&str>) -> Result<Option<Place>, ApiError> {
    let parsed = token.map(str::parse).transpose();
    parsed.map_err(|_| ApiError::invalid_param(format!("{field}: this is not a token that this server gave.")))
}

/// Whether a reader who ignores these users hears nothing of an event.
fn hides(ignored: &IgnoredUsers, event: &Stored) -> bool {
    ignored.hides(event.pdu.sender(), event.pdu.is_state())
}

/// How many items a client wants, and gets at most.
fn at_most(wanted: UInt, max: usize) -> usize {
    usize::try_from(wanted).unwrap_or(usize::MAX).min(max)
}

#[cfg(test)]
mod tests {
    use ruma::uint;
    use wardroom_rooms::Place;

    use super::{at_most, place};

    #[test]
    fn tokens_of_others_are_refused_by_the_name_of_the_parameter() {
        assert_eq!(place("from", None).unwrap(), None);
        assert_eq!(place("from", Some("t5_1")).unwrap(), Some("t5_1".parse::<Place>().unwrap()));
        for junk in ["", "5", "t5", "s5_1_2", "x"] {
            let error = place("from", Some(junk)).unwrap_err();
            assert_eq!(error.status(), 400, "{junk}");
            assert!(format!("{error:?}").contains("from:"));
        }
    }

    #[test]
    fn limits_are_clamped() {
        assert_eq!(at_most(uint!(5), 10), 5);
        assert_eq!(at_most(ruma::UInt::MAX, 10), 10);
    }
}
