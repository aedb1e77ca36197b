//! `wardroom admin roles`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    AdminError, Answer,
    arguments::{UserArgument, future, point},
    client::{Ask, Server},
    shown::{Column, cleaned, entries, field, time},
};

#[derive(Debug, Subcommand)]
pub(super) enum RolesCommand {
    /// Lists the roles that somebody has, with how many.
    List,
    /// Lists who has a role that meets a requirement.
    Holders {
        /// The requirement, as policies write it: physician@h1, physician@h1/*, unit:cardiology@h1.
        requirement: String,
    },
    /// Shows which roles a user has, and from where.
    Show {
        /// The user, also one of another server.
        user: UserArgument,
    },
    /// Gives a user a role.
    Give(Give),
    /// Takes a role back that an administrator gave.
    Take {
        /// The user, also one of another server.
        user: UserArgument,
        /// The role, as it was given.
        role: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Give {
    /// The user, also one of another server.
    user: UserArgument,
    /// The role: code@organisation or code@organisation/unit.
    role: String,
    /// Why, for those who look at it later.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// From when on: as in 2027-01-31T18:00:00+01:00, or a span from now on as in 30m, 8h, 30d, 2w.
    #[arg(long, value_name = "TIME", value_parser = point)]
    from: Option<u64>,
    /// Until when, written the same way.
    #[arg(long, value_name = "TIME", value_parser = future)]
    until: Option<u64>,
}

const ROLES: &[Column] = &[("ROLE", |of| field(of, "role")), ("HOLDERS", |of| field(of, "holders"))];

const BINDINGS: &[Column] = &[
    ("ROLE", |of| field(of, "role")),
    ("SOURCE", |of| field(of, "source")),
    ("FROM", |of| time(of, "from_ts")),
    ("UNTIL", |of| time(of, "until_ts")),
    ("SET BY", |of| field(of, "set_by")),
    ("REASON", |of| field(of, "reason")),
];

fn bindings(user: &str) -> [&str; 5] {
    ["_wardroom", "admin", "v1", "role_bindings", user]
}

impl RolesCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List => {
                let found = server.ask(Ask::get(&["_wardroom", "admin", "v1", "roles"])).await?;
                let roles = entries(&found, "roles");
                Ok(Answer::table(roles, ROLES, "Nobody has a role."))
            }
            Self::Holders { requirement } => {
                let first = || {
                    let list = Ask::get(&["_wardroom", "admin", "v1", "role_holders"]);
                    list.with("limit", "1000").with("requirement", requirement.as_str())
                };
                let users = server.pages(first, "users", "next_token").await?;
                let lines = users.iter().filter_map(Value::as_str).map(|user| cleaned(user) + "\n").collect();
                Ok(Answer::text(lines, Value::Array(users)))
            }
            Self::Show { user } => {
                let user = server.user_id(user).await?;
                let found = server.ask(Ask::get(&bindings(user.as_str()))).await?;
                let roles = entries(&found, "roles");
                let none = "The user has no role.";
                Ok(Answer::table(roles, BINDINGS, none).with_json(found))
            }
            Self::Give(give) => give.run(server).await,
            Self::Take { user, role } => {
                let user = server.user_id(user).await?;
                let answer = server.ask(Ask::delete(&bindings(user.as_str())).with("role", role.as_str())).await?;
                Ok(Answer::sentence(&format!("Took {role} from {user}."), answer))
            }
        }
    }
}

impl Give {
    async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let Self { user, role, reason, from, until } = self;
        let user = server.user_id(user).await?;
        let body = json!({ "role": role, "reason": reason, "from_ts": from, "until_ts": until });
        let answer = server.ask(Ask::post(&bindings(user.as_str()), body)).await?;
        Ok(Answer::sentence(&format!("Gave {role} to {user}."), answer))
    }
}
