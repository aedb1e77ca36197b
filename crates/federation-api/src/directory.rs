//! `GET` and `POST /publicRooms`, `GET /query/directory`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#published-room-directory)).

use axum::extract::State;
use ruma::{
    ServerName, UInt,
    api::federation::{
        directory::{
            get_public_rooms::v1 as get_public_rooms, get_public_rooms_filtered::v1 as get_public_rooms_filtered,
        },
        query::get_room_information::v1 as get_room_information,
    },
    directory::RoomNetwork,
};
use wardroom_audit::Act;
use wardroom_rooms::{PublicPage, PublicQuery};
use wardroom_web::{ApiError, Reply, Routes};

use crate::{FederationState, Signed, disclosures::looked, error, signed::SignedRoutes as _};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(public_rooms).signed(public_rooms_filtered).signed(room_of_alias)
}

async fn public_rooms(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_public_rooms::Request>,
) -> Result<Reply<get_public_rooms::Response>, ApiError> {
    let mut response = get_public_rooms::Response::new();
    let query = PublicQuery { limit: request.limit.map(u64::from), since: request.since, ..PublicQuery::default() };
    let page = page(&state, &origin, &request.room_network, &query).await?;
    response.chunk = page.chunk;
    response.next_batch = page.next_batch;
    response.prev_batch = page.prev_batch;
    response.total_room_count_estimate = Some(UInt::new_saturating(page.total_room_count_estimate));
    Ok(Reply(response))
}

async fn public_rooms_filtered(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_public_rooms_filtered::Request>,
) -> Result<Reply<get_public_rooms::Response>, ApiError> {
    let mut response = get_public_rooms::Response::new();
    let query = PublicQuery {
        limit: request.limit.map(u64::from),
        since: request.since,
        search_term: request.filter.generic_search_term,
        room_types: request.filter.room_types,
    };
    let page = page(&state, &origin, &request.room_network, &query).await?;
    response.chunk = page.chunk;
    response.next_batch = page.next_batch;
    response.prev_batch = page.prev_batch;
    response.total_room_count_estimate = Some(UInt::new_saturating(page.total_room_count_estimate));
    Ok(Reply(response))
}

async fn page(
    state: &FederationState,
    origin: &ServerName,
    network: &RoomNetwork,
    query: &PublicQuery,
) -> Result<PublicPage, ApiError> {
    if !state.public_rooms {
        return Err(ApiError::forbidden("This server does not show its room directory to other servers."));
    }
    if let RoomNetwork::ThirdParty(_) = network {
        // Rooms of bridged networks: there are none.
        return Ok(PublicPage { chunk: Vec::new(), next_batch: None, prev_batch: None, total_room_count_estimate: 0 });
    }
    let page = state.rooms.public_rooms(query).await.map_err(error::of_room)?;
    let record = looked(Act::Directory, origin, "public_rooms").count(page.chunk.len() as u64);
    let record = match &query.search_term {
        Some(term) => record.query(term),
        None => record,
    };
    state.disclose_often(record).await?;
    Ok(page)
}

async fn room_of_alias(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_room_information::Request>,
) -> Result<Reply<get_room_information::Response>, ApiError> {
    let no_such_alias = || ApiError::not_found("room_alias: there is no such alias on this server.");
    if request.room_alias.server_name() != state.server_name {
        return Err(no_such_alias());
    }
    let room = state.rooms.resolve_alias(&request.room_alias).await.map_err(error::of_room)?;
    let room = room.ok_or_else(no_such_alias)?;
    let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_alias)?;
    let servers = state.rooms.servers_to_join_through(&view).await.map_err(error::of_room)?;
    state.disclose_often(looked(Act::Directory, &origin, "alias").room(room.as_str())).await?;
    Ok(Reply(get_room_information::Response::new(room, servers)))
}
