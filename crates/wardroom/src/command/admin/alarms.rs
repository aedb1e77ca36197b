//! `wardroom admin alarms`.

use super::{
    AdminError, Answer,
    client::{Ask, Server},
    shown::{Column, entries, field, time},
};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum AlarmsCommand {
    /// Lists what an administrator has to look at.
    List,
    /// Takes an alarm away that was looked at.
    Clear {
        /// The alarm's id.
        #[arg(value_name = "ID")]
        alarm: String,
    },
}

const COLUMNS: &[Column] = &[
    ("ID", |of| field(of, "id")),
    ("KIND", |of| field(of, "kind")),
    ("LAST", |of| time(of, "last_ts")),
    ("TIMES", |of| field(of, "count")),
    ("WHAT", |of| field(of, "sentence")),
];

impl AlarmsCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List => {
                let found = server.ask(Ask::get(&["_wardroom", "admin", "v1", "alarms"])).await?;
                let alarms = entries(&found, "alarms");
                Ok(Answer::table(alarms, COLUMNS, "There is nothing to look at."))
            }
            Self::Clear { alarm } => {
                let answer = server.ask(Ask::delete(&["_wardroom", "admin", "v1", "alarms", alarm])).await?;
                Ok(Answer::sentence("The alarm is gone.", answer))
            }
        }
    }
}
