//! `GET` and `PUT /directory/list/room/{roomId}`, `GET` and `POST /publicRooms`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#published-room-directory)).

use axum::extract::State;
use ruma::{
    ServerName, UInt,
    api::{
        client::{
            directory::{
                get_public_rooms::v3 as get_public_rooms, get_public_rooms_filtered::v3 as get_public_rooms_filtered,
                get_room_visibility::v3 as get_room_visibility, set_room_visibility::v3 as set_room_visibility,
            },
            room::Visibility,
        },
        federation::directory::get_public_rooms_filtered::v1 as elsewhere_filtered,
    },
    directory::RoomNetwork,
};
use wardroom_audit::{Act, Record};
use wardroom_federation::Federation;
use wardroom_rooms::{PublicPage, PublicQuery};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::registered;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_room_visibility)
        .endpoint(set_room_visibility)
        .endpoint(get_public_rooms)
        .endpoint(get_public_rooms_filtered)
}

async fn get_room_visibility(
    State(state): State<ClientState>,
    Ruma { body: request, .. }: Ruma<get_room_visibility::Request>,
) -> Result<Reply<get_room_visibility::Response>, ApiError> {
    let listed = state.rooms.is_listed(&request.room_id).await.map_err(error::of_room)?;
    let visibility = if listed { Visibility::Public } else { Visibility::Private };
    Ok(Reply(get_room_visibility::Response::new(visibility)))
}

async fn set_room_visibility(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<set_room_visibility::Request>,
) -> Result<Reply<set_room_visibility::Response>, ApiError> {
    state.limits.take(Class::Account, session.nid)?;
    let listed = match request.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(ApiError::invalid_param("visibility: must be `public` or `private`.")),
    };
    state.rooms.set_listed(registered(&session)?, &request.room_id, listed).await.map_err(error::of_room)?;
    Ok(Reply(set_room_visibility::Response::new()))
}

async fn get_public_rooms(
    State(state): State<ClientState>,
    Ruma { body: request, .. }: Ruma<get_public_rooms::Request>,
) -> Result<Reply<get_public_rooms_filtered::Response>, ApiError> {
    if let Some(server) = elsewhere(&state, request.server.as_deref())? {
        let mut asked = elsewhere_filtered::Request::new();
        (asked.limit, asked.since) = (request.limit, request.since);
        return page_of(&state, server, asked).await;
    }
    let query = PublicQuery { limit: request.limit.map(u64::from), since: request.since, ..PublicQuery::default() };
    page(&state, &query).await
}

async fn get_public_rooms_filtered(
    State(state): State<ClientState>,
    Ruma { body: request, .. }: Ruma<get_public_rooms_filtered::Request>,
) -> Result<Reply<get_public_rooms_filtered::Response>, ApiError> {
    if let Some(server) = elsewhere(&state, request.server.as_deref())? {
        let mut asked = elsewhere_filtered::Request::new();
        (asked.limit, asked.since) = (request.limit, request.since);
        (asked.filter, asked.room_network) = (request.filter, request.room_network);
        return page_of(&state, server, asked).await;
    }
    if let RoomNetwork::ThirdParty(_) = request.room_network {
        // Rooms of bridged networks: there are none.
        return Ok(Reply(get_public_rooms_filtered::Response::new()));
    }
    let query = PublicQuery {
        limit: request.limit.map(u64::from),
        since: request.since,
        search_term: request.filter.generic_search_term,
        room_types: request.filter.room_types,
    };
    page(&state, &query).await
}

async fn page(
    state: &ClientState,
    query: &PublicQuery,
) -> Result<Reply<get_public_rooms_filtered::Response>, ApiError> {
    let PublicPage { chunk, next_batch, prev_batch, total_room_count_estimate } =
        state.rooms.public_rooms(query).await.map_err(error::of_room)?;
    state.note_asked(asked(query.search_term.as_deref()), chunk.len()).await?;
    let mut response = get_public_rooms_filtered::Response::new();
    response.chunk = chunk;
    response.next_batch = next_batch;
    response.prev_batch = prev_batch;
    response.total_room_count_estimate = Some(UInt::new_saturating(total_room_count_estimate));
    Ok(Reply(response))
}

/// The record of a look into a directory of rooms.
fn asked(search_term: Option<&str>) -> Record {
    let record = Record::of(Act::Directory).detail("public_rooms");
    match search_term {
        Some(term) => record.query(term),
        None => record,
    }
}

/// The other server whose directory is wanted, if it is not this one's.
fn elsewhere<'a>(
    state: &'a ClientState,
    server: Option<&'a ServerName>,
) -> Result<Option<(&'a Federation, &'a ServerName)>, ApiError> {
    let Some(server) = server.filter(|server| **server != *state.settings.server_name) else { return Ok(None) };
    match &state.federation {
        Some(federation) => Ok(Some((federation, server))),
        None => Err(ApiError::forbidden("server: this server does not speak to other servers.")),
    }
}

/// A page of another server's directory, as it tells it.
async fn page_of(
    state: &ClientState,
    (federation, server): (&Federation, &ServerName),
    request: elsewhere_filtered::Request,
) -> Result<Reply<get_public_rooms_filtered::Response>, ApiError> {
    let record = asked(request.filter.generic_search_term.as_deref()).servers(vec![server.to_string()]);
    let page = federation.rooms.public_rooms(server, request).await.map_err(error::of_remote)?;
    state.note_asked(record, page.chunk.len()).await?;
    let mut response = get_public_rooms_filtered::Response::new();
    response.chunk = page.chunk;
    response.next_batch = page.next_batch;
    response.prev_batch = page.prev_batch;
    response.total_room_count_estimate = page.total_room_count_estimate;
    Ok(Reply(response))
}
