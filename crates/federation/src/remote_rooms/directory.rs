//! What other servers list: their aliases and public rooms.

use ruma::{
    OwnedRoomId, OwnedServerName, RoomAliasId, ServerName,
    api::federation::{
        directory::get_public_rooms_filtered::v1 as get_public_rooms_filtered,
        query::get_room_information::v1 as get_room_information,
    },
};

use super::{QUESTION_TIMEOUT, RemoteError, RemoteRooms};
use crate::{Limits, PartnerError};

/// Servers that an alias may name as being in its room.
const SERVERS_OF_ALIAS_MAX: usize = 50;
/// Bytes of a page of a directory.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

impl RemoteRooms {
    /// The room that an alias of another server leads to, and servers that are in it, the alias's own first
    /// (`GET /_matrix/federation/v1/query/directory`); `None` where it leads nowhere.
    ///
    /// # Errors
    /// [`RemoteError::Partner`] where the alias's server cannot be asked.
    pub async fn resolve_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<Option<(OwnedRoomId, Vec<OwnedServerName>)>, RemoteError> {
        let server = alias.server_name();
        match self.inner.ask(server, get_room_information::Request::new(alias.to_owned())).await {
            Ok(answer) => {
                let mut servers = vec![server.to_owned()];
                let others = answer.servers.into_iter().filter(|other| other != server);
                servers.extend(others.take(SERVERS_OF_ALIAS_MAX));
                Ok(Some((answer.room_id, servers)))
            }
            Err(PartnerError::Refused { status, .. }) if status.as_u16() == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A page of the public rooms of another server (`POST /_matrix/federation/v1/publicRooms`).
    ///
    /// # Errors
    /// [`RemoteError::Partner`] where the server cannot be asked or does not tell.
    pub async fn public_rooms(
        &self,
        server: &ServerName,
        request: get_public_rooms_filtered::Request,
    ) -> Result<get_public_rooms_filtered::Response, RemoteError> {
        let limits = Limits { timeout: QUESTION_TIMEOUT, answer_bytes_max: PAGE_BYTES_MAX, ..Limits::default() };
        Ok(self.inner.partners.request(server, request, limits).await?)
    }
}
