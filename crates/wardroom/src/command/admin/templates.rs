//! `wardroom admin templates`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::{
    AdminError, Answer,
    client::{Ask, Server},
    policy::read,
    shown::{Column, field, with},
};

#[derive(Debug, Subcommand)]
pub(super) enum TemplatesCommand {
    /// Lists the policies that new rooms get by themselves.
    List,
    /// Shows one of them.
    Show {
        /// Its name.
        name: String,
    },
    /// Has new rooms of a kind get a policy.
    Set {
        /// Its name; the first that fits a room counts, by the order of names.
        name: String,
        /// File with the template as JSON ("-" is standard input).
        #[arg(value_name = "FILE")]
        template: PathBuf,
    },
    /// Ends that new rooms get this policy.
    Remove {
        /// Its name.
        name: String,
    },
}

const COLUMNS: &[Column] = &[
    ("NAME", |of| field(of, "name")),
    ("ROOM TYPE", |of| field(of, "room_type")),
    ("MADE BY", |of| field(of, "creator_role")),
    ("ALIAS", |of| field(of, "alias")),
];

fn path_of(name: &str) -> [&str; 5] {
    ["_wardroom", "admin", "v1", "policy_templates", name]
}

impl TemplatesCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List => {
                let mut found = server.ask(Ask::get(&["_wardroom", "admin", "v1", "policy_templates"])).await?;
                let templates = found.get_mut("templates").map(Value::take);
                let named = |(name, template)| with(template, "name", Value::String(name));
                let rows = match templates {
                    Some(Value::Object(templates)) => templates.into_iter().map(named).collect(),
                    _ => Vec::new(),
                };
                Ok(Answer::table(rows, COLUMNS, "New rooms get no policies by themselves."))
            }
            Self::Show { name } => {
                let found = server.ask(Ask::get(&path_of(name))).await?;
                Ok(Answer::text(format!("{found:#}\n"), found))
            }
            Self::Set { name, template } => {
                let template = read(template).map_err(AdminError::Usage)?;
                let answer = server.ask(Ask::put(&path_of(name), Value::Object(template))).await?;
                Ok(Answer::sentence(&format!("New rooms get the policy of {name}."), answer))
            }
            Self::Remove { name } => {
                let answer = server.ask(Ask::delete(&path_of(name))).await?;
                Ok(Answer::sentence(&format!("New rooms do not get the policy of {name} any more."), answer))
            }
        }
    }
}
