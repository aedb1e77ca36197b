//! `wardroom admin rooms`.

use std::time::Duration;

use clap::{Args, Subcommand};
use ruma::OwnedRoomOrAliasId;
use serde_json::{Value, json};

use super::{
    AdminError, Answer,
    arguments::{UserArgument, room},
    client::{Ask, Server},
    shown::{Column, cleaned, entries, field},
};

/// How often the server is asked how far a deletion got.
const ASK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(super) enum RoomsCommand {
    /// Lists rooms.
    List {
        /// Only those whose name, alias or id has this.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Tells of one room.
    Show {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
    },
    /// Lists who is in a room.
    Members {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
    },
    /// Deletes a room: takes this server's users out of it and destroys what is here of it.
    Delete(Delete),
    /// Keeps this server's users out of a room.
    Block {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
    },
    /// Ends that a room is blocked.
    Unblock {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
    },
    /// Takes one user out of a room.
    RemoveUser {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
        /// The user.
        user: UserArgument,
        /// Why, for everybody in the room.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The room.
    #[arg(value_parser = room)]
    room: OwnedRoomOrAliasId,
    /// Keep this server's users out of it from now on.
    #[arg(long)]
    block: bool,
    /// A user of this server who makes a room that the others are moved to.
    #[arg(long, value_name = "USER")]
    new_room_user: Option<UserArgument>,
    /// What is said in that room.
    #[arg(long, value_name = "TEXT", requires = "new_room_user")]
    message: Option<String>,
}

const COLUMNS: &[Column] = &[
    ("ROOM", |of| field(of, "room_id")),
    ("NAME", |of| field(of, "name")),
    ("ALIAS", |of| field(of, "canonical_alias")),
    ("MEMBERS", |of| field(of, "joined_members")),
    ("HERE", |of| field(of, "joined_local_members")),
    ("ENCRYPTED", |of| encrypted(of).to_owned()),
];

const FACTS: &[Column] = &[
    ("room", |of| field(of, "room_id")),
    ("name", |of| field(of, "name")),
    ("topic", |of| field(of, "topic")),
    ("alias", |of| field(of, "canonical_alias")),
    ("members", |of| field(of, "joined_members")),
    ("of this server", |of| field(of, "joined_local_members")),
    ("version", |of| field(of, "version")),
    ("made by", |of| field(of, "creator")),
    ("encrypted", |of| encrypted(of).to_owned()),
    ("may be joined", |of| field(of, "join_rules")),
    ("history", |of| field(of, "history_visibility")),
    ("in the directory", |of| field(of, "public")),
    ("other servers", |of| field(of, "federatable")),
];

fn encrypted(of: &Value) -> &'static str {
    if of.get("encryption").is_some_and(Value::is_string) { "yes" } else { "no" }
}

impl RoomsCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List { search } => {
                let first = || {
                    let list = Ask::get(&["_synapse", "admin", "v1", "rooms"]);
                    list.with("limit", "1000").with_any("search_term", search.clone())
                };
                Ok(Answer::table(server.pages(first, "rooms", "next_batch").await?, COLUMNS, "There is no room."))
            }
            Self::Show { room } => {
                let id = server.room_id(room).await?;
                let found = server.ask(Ask::get(&["_synapse", "admin", "v1", "rooms", id.as_str()])).await?;
                Ok(Answer::facts(found, FACTS))
            }
            Self::Members { room } => {
                let id = server.room_id(room).await?;
                let path = ["_synapse", "admin", "v1", "rooms", id.as_str(), "members"];
                let found = server.ask(Ask::get(&path)).await?;
                let members = entries(&found, "members");
                let lines = members.iter().filter_map(Value::as_str).map(|member| cleaned(member) + "\n").collect();
                Ok(Answer::text(lines, found))
            }
            Self::Delete(delete) => delete.run(server).await,
            Self::Block { room } => block(server, room, true).await,
            Self::Unblock { room } => block(server, room, false).await,
            Self::RemoveUser { room, user, reason } => {
                let (room, user) = (server.room_id(room).await?, server.user_id(user).await?);
                let mut body = json!({ "user_id": user });
                if let Some(reason) = reason {
                    body["reason"] = reason.as_str().into();
                }
                let path = ["_wardroom", "admin", "v1", "rooms", room.as_str(), "remove"];
                let answer = server.ask(Ask::post(&path, body)).await?;
                Ok(Answer::sentence(&format!("{user} is not in {room} any more."), answer))
            }
        }
    }
}

async fn block(server: &Server, room: &OwnedRoomOrAliasId, block: bool) -> Result<Answer, AdminError> {
    let id = server.room_id(room).await?;
    let path = ["_synapse", "admin", "v1", "rooms", id.as_str(), "block"];
    let answer = server.ask(Ask::put(&path, json!({ "block": block }))).await?;
    let now = if block { "blocked" } else { "not blocked" };
    Ok(Answer::sentence(&format!("{id} is {now}."), answer))
}

impl Delete {
    async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let id = server.room_id(&self.room).await?;
        let mut body = json!({ "block": self.block });
        if let Some(user) = &self.new_room_user {
            body["new_room_user_id"] = server.user_id(user).await?.as_str().into();
        }
        if let Some(message) = &self.message {
            body["message"] = message.as_str().into();
        }
        let begun = server.ask(Ask::delete(&["_synapse", "admin", "v2", "rooms", id.as_str()]).saying(body)).await?;
        let task = field(&begun, "delete_id");
        loop {
            let path = ["_synapse", "admin", "v2", "rooms", "delete_status", &task];
            let status = server.ask(Ask::get(&path)).await?;
            match status.get("status").and_then(Value::as_str) {
                Some("complete") => return Ok(Answer::sentence(&format!("Deleted {id}."), status)),
                Some("failed") => {
                    let why = cleaned(&field(&status, "error"));
                    return Err(AdminError::Refused(format!("{id} is not deleted: {why}")));
                }
                _ => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }
}
