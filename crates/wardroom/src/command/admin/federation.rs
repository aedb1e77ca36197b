//! `wardroom admin federation`.

use clap::Subcommand;
use ruma::OwnedServerName;

use super::{
    AdminError, Answer,
    client::{Ask, Server},
    shown::{Column, field, time},
};

#[derive(Debug, Subcommand)]
pub(super) enum FederationCommand {
    /// Lists the servers that something was sent to.
    List,
    /// Tells of one of them.
    Show {
        /// The name of the other server.
        #[arg(value_name = "SERVER")]
        partner: OwnedServerName,
    },
    /// Tries a server again now that was not reached.
    Reset {
        /// The name of the other server.
        #[arg(value_name = "SERVER")]
        partner: OwnedServerName,
    },
}

const COLUMNS: &[Column] = &[
    ("SERVER", |of| field(of, "destination")),
    ("NOT REACHED SINCE", |of| time(of, "failure_ts")),
    ("LAST TRIED", |of| time(of, "retry_last_ts")),
];

const FACTS: &[Column] = &[
    ("server", |of| field(of, "destination")),
    ("not reached since", |of| time(of, "failure_ts")),
    ("last tried", |of| time(of, "retry_last_ts")),
    ("tried again after ms", |of| field(of, "retry_interval")),
    ("sent up to", |of| field(of, "last_successful_stream_ordering")),
];

const DESTINATIONS: [&str; 5] = ["_synapse", "admin", "v1", "federation", "destinations"];

impl FederationCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List => {
                let first = || Ask::get(&DESTINATIONS).with("limit", "1000");
                let none = "Nothing was ever sent to another server.";
                Ok(Answer::table(server.pages(first, "destinations", "next_token").await?, COLUMNS, none))
            }
            Self::Show { partner } => {
                let path = [&DESTINATIONS[..], &[partner.as_str()]].concat();
                Ok(Answer::facts(server.ask(Ask::get(&path)).await?, FACTS))
            }
            Self::Reset { partner } => {
                let path = [&DESTINATIONS[..], &[partner.as_str(), "reset_connection"]].concat();
                let answer = server.ask(Ask::post(&path, serde_json::json!({}))).await?;
                Ok(Answer::sentence(&format!("{partner} is tried again."), answer))
            }
        }
    }
}
