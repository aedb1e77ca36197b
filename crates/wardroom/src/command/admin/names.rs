//! From what people write to ids.

use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, UserId};
use serde_json::Value;

use super::{
    AdminError,
    arguments::UserArgument,
    client::{Ask, Server},
};

impl Server {
    /// The id of a user; of one of this server, whose name alone was given.
    pub(super) async fn user_id(&self, user: &UserArgument) -> Result<OwnedUserId, AdminError> {
        if let UserArgument::Id(id) = user {
            return Ok(id.clone());
        }
        let asked = self.ask(Ask::get(&["_matrix", "client", "v3", "account", "whoami"])).await?;
        let own = asked.get("user_id").and_then(Value::as_str).and_then(|id| UserId::parse(id).ok());
        let own = own.ok_or_else(|| AdminError::Refused("the server does not say whose token this is".to_owned()))?;
        user.on(own.server_name()).map_err(AdminError::usage)
    }

    /// The id of a room; of the one that an alias leads to.
    pub(super) async fn room_id(&self, room: &OwnedRoomOrAliasId) -> Result<OwnedRoomId, AdminError> {
        if let Ok(id) = OwnedRoomId::try_from(room.clone()) {
            return Ok(id);
        }
        let found = self.ask(Ask::get(&["_matrix", "client", "v3", "directory", "room", room.as_str()])).await?;
        let id = found.get("room_id").and_then(Value::as_str).and_then(|id| OwnedRoomId::try_from(id).ok());
        id.ok_or_else(|| AdminError::Refused("the server does not say where the alias leads".to_owned()))
    }
}
