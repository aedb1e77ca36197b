//! `wardroom admin tokens`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    AdminError, Answer,
    arguments::future,
    client::{Ask, Server},
    shown::{Column, entries, field, time},
};

#[derive(Debug, Subcommand)]
pub(super) enum TokensCommand {
    /// Lists registration tokens.
    List,
    /// Gives out a registration token.
    Create(Create),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// How many people may register with it; without this, any number.
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u64>,
    /// Until when it is good: as in 2027-01-31T18:00:00+01:00, or a span from now on as in 30m, 8h, 30d, 2w.
    #[arg(long, value_name = "TIME", value_parser = future)]
    until: Option<u64>,
}

const COLUMNS: &[Column] = &[
    ("TOKEN", |of| field(of, "token")),
    ("USES", |of| field(of, "uses_allowed")),
    ("USED", |of| field(of, "completed")),
    ("UNTIL", |of| time(of, "expiry_time")),
];

impl TokensCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List => {
                let found = server.ask(Ask::get(&["_synapse", "admin", "v1", "registration_tokens"])).await?;
                let tokens = entries(&found, "registration_tokens");
                Ok(Answer::table(tokens, COLUMNS, "There is no registration token."))
            }
            Self::Create(Create { uses, until }) => {
                let body = json!({ "uses_allowed": uses, "expiry_time": until });
                let path = ["_synapse", "admin", "v1", "registration_tokens", "new"];
                let token = server.ask(Ask::post(&path, body)).await?;
                Ok(Answer::sentence(&field(&token, "token"), token))
            }
        }
    }
}
