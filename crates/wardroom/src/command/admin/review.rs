//! `wardroom admin review` and `revalidate`.

use clap::Args;
use ruma::OwnedRoomOrAliasId;
use serde_json::{Value, json};

use super::{
    AdminError, Answer,
    arguments::{UserArgument, room},
    client::{Ask, Server},
    policy::verdict,
    shown::{Column, csv, entries, field, with},
};

#[derive(Debug, Args)]
pub(super) struct Review {
    /// As CSV, for spreadsheets.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revalidate {
    /// Only this room.
    #[arg(long, value_name = "ROOM", value_parser = room, conflicts_with = "user")]
    room: Option<OwnedRoomOrAliasId>,
    /// Only this user.
    #[arg(long, value_name = "USER")]
    user: Option<UserArgument>,
}

const REVIEWED: &[Column] = &[
    ("ROOM", |of| field(of, "room_id")),
    ("USER", |of| field(of, "user_id")),
    ("VERDICT", |of| verdict(of).to_owned()),
    ("ROLES", |of| field(of, "roles")),
    ("MISSING", |of| field(of, "missing")),
    ("REASON", |of| field(of, "reason")),
];

const COUNTS: &[Column] = &[
    ("rooms", |of| field(of, "rooms")),
    ("members", |of| field(of, "members")),
    ("without the roles", |of| field(of, "unmet")),
    ("put out", |of| field(of, "removed")),
];

impl Review {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let first = || Ask::get(&["_wardroom", "admin", "v1", "access_review"]);
        let rooms = server.pages(first, "rooms", "next_token").await?;
        let members: Vec<Value> = rooms.iter().flat_map(members).collect();
        if self.csv {
            return Ok(Answer::text(csv(&members, REVIEWED), Value::Array(rooms)));
        }
        Ok(Answer::table(members, REVIEWED, "No room requires roles.").with_json(Value::Array(rooms)))
    }
}

/// Those in a room, each with the room.
fn members(room: &Value) -> Vec<Value> {
    let id = room.get("room_id").unwrap_or(&Value::Null);
    entries(room, "members").into_iter().map(|member| with(member, "room_id", id.clone())).collect()
}

impl Revalidate {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let mut body = json!({});
        if let Some(room) = &self.room {
            body["room_id"] = server.room_id(room).await?.as_str().into();
        }
        if let Some(user) = &self.user {
            body["user_id"] = server.user_id(user).await?.as_str().into();
        }
        let counts = server.ask(Ask::post(&["_wardroom", "admin", "v1", "revalidate"], body)).await?;
        Ok(Answer::facts(counts, COUNTS))
    }
}
