//! `wardroom admin policy`.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use ruma::OwnedRoomOrAliasId;
use serde_json::{Map, Value, json};

use super::{
    super::Failure,
    AdminError, Answer,
    arguments::{UserArgument, room},
    client::{Ask, Server},
    shown::{Column, cleaned, entries, field},
};

/// Longest policy that is read, in bytes: no event is longer.
const POLICY_BYTES_MAX: u64 = 65_536;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Shows which roles a room requires.
    Show {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
    },
    /// Has a room require roles.
    Set {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
        /// File with the policy as JSON ("-" is standard input).
        #[arg(value_name = "FILE")]
        policy: PathBuf,
    },
    /// Ends that a room requires roles.
    Remove {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
    },
    /// Tells whom a policy would keep in a room and whom not; changes nothing.
    Evaluate {
        /// The room.
        #[arg(value_parser = room)]
        room: OwnedRoomOrAliasId,
        /// File with a policy instead of the room's own ("-" is standard input).
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Tells why a user may be in their rooms, or may not.
    Why {
        /// The user.
        user: UserArgument,
        /// This room, whether the user is in it or not.
        #[arg(long, value_name = "ROOM", value_parser = room)]
        room: Option<OwnedRoomOrAliasId>,
    },
}

const JUDGED: &[Column] = &[
    ("USER", |of| field(of, "user_id")),
    ("VERDICT", |of| verdict(of).to_owned()),
    ("ROLES", |of| field(of, "roles")),
    ("MISSING", |of| field(of, "missing")),
    ("REASON", |of| field(of, "reason")),
];

const ACCESS: &[Column] = &[
    ("ROOM", |of| field(of, "room_id")),
    ("MEMBERSHIP", |of| field(of, "membership")),
    ("VERDICT", |of| verdict(of).to_owned()),
    ("MISSING", |of| field(of, "missing")),
    ("REASON", |of| field(of, "reason")),
];

/// The server's verdict in a word.
pub(super) fn verdict(of: &Value) -> &'static str {
    match of.get("verdict").and_then(Value::as_str) {
        Some("compliant") => "may",
        Some("nonCompliant") => "may not",
        _ => "unknown",
    }
}

impl PolicyCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::Show { room } => {
                let found = server.ask(Ask::get(&path_of(server.room_id(room).await?.as_str()))).await?;
                let policy = found.get("policy").unwrap_or(&Value::Null);
                let text = format!("{policy:#}\n");
                let problem = field(&found, "problem");
                let note = if problem.is_empty() {
                    String::new()
                } else {
                    format!("It cannot be read: {}\n", cleaned(&problem))
                };
                Ok(Answer::text(text + &note, found))
            }
            Self::Set { room, policy } => {
                let policy = read(policy).map_err(AdminError::Usage)?;
                let id = server.room_id(room).await?;
                let answer = server.ask(Ask::put(&path_of(id.as_str()), Value::Object(policy))).await?;
                Ok(Answer::sentence(&format!("{id} requires roles."), answer))
            }
            Self::Remove { room } => {
                let id = server.room_id(room).await?;
                let answer = server.ask(Ask::delete(&path_of(id.as_str()))).await?;
                Ok(Answer::sentence(&format!("{id} requires no roles."), answer))
            }
            Self::Evaluate { room, policy } => evaluate(server, room, policy.as_deref()).await,
            Self::Why { user, room } => {
                let user = server.user_id(user).await?;
                let room = match room {
                    Some(room) => Some(server.room_id(room).await?.to_string()),
                    None => None,
                };
                let path = ["_wardroom", "admin", "v1", "users", user.as_str(), "access"];
                let found = server.ask(Ask::get(&path).with_any("room_id", room)).await?;
                let rooms = entries(&found, "rooms");
                Ok(Answer::table(rooms, ACCESS, "The user is in no room.").with_json(found))
            }
        }
    }
}

fn path_of(room: &str) -> [&str; 6] {
    ["_wardroom", "admin", "v1", "rooms", room, "policy"]
}

async fn evaluate(server: &Server, room: &OwnedRoomOrAliasId, policy: Option<&Path>) -> Result<Answer, AdminError> {
    let policy = policy.map(read).transpose().map_err(AdminError::Usage)?;
    let id = server.room_id(room).await?;
    let body = policy.map_or_else(|| json!({}), |policy| json!({ "policy": policy }));
    let path = ["_wardroom", "admin", "v1", "rooms", id.as_str(), "policy", "evaluate"];
    let found = server.ask(Ask::post(&path, body)).await?;
    let results = entries(&found, "results");
    Ok(Answer::table(results, JUDGED, "Nobody is in the room.").with_json(found))
}

/// A JSON object out of a file, or out of standard input if that is "-".
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(POLICY_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(POLICY_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: is no JSON object: {error}", path.display()))?)
}
