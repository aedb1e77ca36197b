//! `wardroom admin holds`.

use clap::{Args, Subcommand, ValueEnum};
use ruma::OwnedRoomOrAliasId;
use serde_json::{Map, Value, json};

use super::{
    AdminError, Answer,
    arguments::{UserArgument, future, point, room},
    client::{Ask, Server},
    shown::{Column, field, time},
};

#[derive(Debug, Subcommand)]
pub(super) enum HoldsCommand {
    /// Lists legal holds, the newest first.
    List {
        /// Which.
        #[arg(long, value_enum, default_value = "in-force")]
        state: State,
    },
    /// Keeps what is named from being deleted; of several things named, what all of them apply to.
    Set(Box<Set>),
    /// Releases a hold, or asks for its release where two administrators are needed for it.
    Release {
        /// The hold's id.
        #[arg(value_name = "ID")]
        hold: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum State {
    InForce,
    Released,
    All,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// In this room.
    #[arg(long, value_parser = room)]
    room: Option<OwnedRoomOrAliasId>,
    /// By this user.
    #[arg(long)]
    user: Option<UserArgument>,
    /// This file, as mxc URI.
    #[arg(long, value_name = "MXC")]
    media: Option<String>,
    /// Sent or received at this time or later.
    #[arg(long, value_name = "TIME", value_parser = point)]
    from: Option<u64>,
    /// Sent or received at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = point)]
    to: Option<u64>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who ordered it, and under which number.
    #[arg(long, value_name = "TEXT")]
    authority: String,
    /// When it ends by itself.
    #[arg(long, value_name = "TIME", value_parser = future)]
    expires: Option<u64>,
}

const PATH: [&str; 4] = ["_wardroom", "admin", "v1", "holds"];

const COLUMNS: &[Column] = &[
    ("ID", |of| field(of, "id")),
    ("AUTHORITY", |of| field(of, "authority")),
    ("WHAT", |of| covered(of)),
    ("SET", |of| time(of, "created_ts")),
    ("ENDS", |of| time(of, "expires_ts")),
    ("RELEASED", |of| time(of, "released_ts")),
    ("RELEASE ASKED BY", |of| field(of, "release_requested_by")),
];

fn covered(of: &Value) -> String {
    let scope = of.get("scope").unwrap_or(&Value::Null);
    let named = ["room_id", "user_id", "media"].map(|name| field(scope, name));
    let times = [("from", "from_ts"), ("to", "to_ts")].map(|(word, name)| match time(scope, name) {
        at if at.is_empty() => at,
        at => format!("{word} {at}"),
    });
    let parts: Vec<String> = named.into_iter().chain(times).filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

impl HoldsCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List { state } => {
                let state = match state {
                    State::InForce => "in_force",
                    State::Released => "released",
                    State::All => "all",
                };
                let holds = server.pages(|| Ask::get(&PATH).with("state", state), "holds", "next_token").await?;
                Ok(Answer::table(holds, COLUMNS, "Nothing is held."))
            }
            Self::Set(set) => set.run(server).await,
            Self::Release { hold, reason } => {
                let [first, second, third, fourth] = PATH;
                let path = [first, second, third, fourth, hold.as_str()];
                let answer = server.ask(Ask::delete(&path).saying(json!({ "reason": reason }))).await?;
                let released = answer.get("released_ts").is_some();
                let sentence =
                    if released { "The hold is released." } else { "Another administrator has to release it as well." };
                Ok(Answer::sentence(sentence, answer))
            }
        }
    }
}

impl Set {
    async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let mut scope = Map::new();
        if let Some(room) = &self.room {
            scope.insert("room_id".to_owned(), server.room_id(room).await?.as_str().into());
        }
        if let Some(user) = &self.user {
            scope.insert("user_id".to_owned(), server.user_id(user).await?.as_str().into());
        }
        if let Some(media) = &self.media {
            scope.insert("media".to_owned(), media.as_str().into());
        }
        for (name, time) in [("from_ts", self.from), ("to_ts", self.to)] {
            if let Some(ms) = time {
                scope.insert(name.to_owned(), ms.into());
            }
        }
        let body = json!({
            "scope": scope,
            "reason": self.reason,
            "authority": self.authority,
            "expires_ts": self.expires,
        });
        let answer = server.ask(Ask::post(&PATH, body)).await?;
        let sentence = format!("It is held: {}.", field(&answer, "id"));
        Ok(Answer::sentence(&sentence, answer))
    }
}
