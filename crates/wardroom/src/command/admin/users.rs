//! `wardroom admin users`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    super::secret,
    AdminError, Answer,
    arguments::UserArgument,
    client::{Ask, Server},
    shown::{Column, field, time},
};

#[derive(Debug, Subcommand)]
pub(super) enum UsersCommand {
    /// Lists accounts.
    List(List),
    /// Tells of one account.
    Show {
        /// The user.
        user: UserArgument,
    },
    /// Makes an account; asks for the password.
    Create(Create),
    /// Closes an account: its sessions end and it leaves every room.
    Deactivate {
        /// The user.
        user: UserArgument,
        /// Redact what the user wrote towards those who come later.
        #[arg(long)]
        erase: bool,
    },
    /// Gives a user another password; asks for it.
    ResetPassword(ResetPassword),
    /// Locks an account: nobody uses it until it is unlocked.
    Lock {
        /// The user.
        user: UserArgument,
    },
    /// Ends that an account is locked.
    Unlock {
        /// The user.
        user: UserArgument,
    },
    /// Makes a user an administrator of the server.
    Admin {
        /// The user.
        user: UserArgument,
        /// End that the user is one.
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those whose names or display names have this.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only administrators.
    #[arg(long)]
    admins: bool,
    /// Those of closed accounts too.
    #[arg(long)]
    deactivated: bool,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The name, the part of the user id between "@" and ":".
    user: UserArgument,
    /// Make the user an administrator of the server.
    #[arg(long)]
    admin: bool,
    /// How the user is shown.
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// File with the password, its first line ("-" is standard input).
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ResetPassword {
    /// The user.
    user: UserArgument,
    /// Leave the user signed in.
    #[arg(long)]
    keep_sessions: bool,
    /// File with the password, its first line ("-" is standard input).
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

const COLUMNS: &[Column] = &[
    ("USER", |of| field(of, "name")),
    ("NAME", |of| field(of, "displayname")),
    ("ADMIN", |of| field(of, "admin")),
    ("STATE", state),
    ("LAST SEEN", |of| time(of, "last_seen_ts")),
];

const FACTS: &[Column] = &[
    ("user", |of| field(of, "name")),
    ("name", |of| field(of, "displayname")),
    ("administrator", |of| field(of, "admin")),
    ("state", state),
    ("made", |of| time(of, "creation_ts")),
    ("last seen", |of| time(of, "last_seen_ts")),
];

/// What an account is besides being one.
fn state(of: &Value) -> String {
    let words = [
        ("deactivated", "deactivated"),
        ("erased", "erased"),
        ("locked", "locked"),
        ("suspended", "suspended"),
        ("is_guest", "guest"),
    ];
    let is = |name: &str| of.get(name).and_then(Value::as_bool) == Some(true);
    let found: Vec<&str> = words.iter().filter(|(name, _)| is(name)).map(|(_, word)| *word).collect();
    if found.is_empty() { "active".to_owned() } else { found.join(", ") }
}

impl UsersCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        match self {
            Self::List(list) => list.run(server).await,
            Self::Show { user } => {
                let id = server.user_id(user).await?;
                let account = server.ask(Ask::get(&["_synapse", "admin", "v2", "users", id.as_str()])).await?;
                Ok(Answer::facts(account, FACTS))
            }
            Self::Create(create) => create.run(server).await,
            Self::Deactivate { user, erase } => {
                let id = server.user_id(user).await?;
                let path = ["_synapse", "admin", "v1", "deactivate", id.as_str()];
                let answer = server.ask(Ask::post(&path, json!({ "erase": erase }))).await?;
                Ok(Answer::sentence(&format!("Closed the account of {id}."), answer))
            }
            Self::ResetPassword(reset) => reset.run(server).await,
            Self::Lock { user } => lock(server, user, true).await,
            Self::Unlock { user } => lock(server, user, false).await,
            Self::Admin { user, revoke } => {
                let id = server.user_id(user).await?;
                let path = ["_synapse", "admin", "v1", "users", id.as_str(), "admin"];
                let answer = server.ask(Ask::put(&path, json!({ "admin": !revoke }))).await?;
                let now = if *revoke { "is no administrator any more" } else { "is an administrator" };
                Ok(Answer::sentence(&format!("{id} {now}."), answer))
            }
        }
    }
}

impl List {
    async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let first = || {
            Ask::get(&["_synapse", "admin", "v3", "users"])
                .with("limit", "1000")
                .with("locked", "true")
                .with_any("name", self.search.clone())
                .with_any("admins", self.admins.then_some("true"))
                .with_any("deactivated", (!self.deactivated).then_some("false"))
        };
        Ok(Answer::table(server.pages(first, "users", "next_token").await?, COLUMNS, "There is nobody."))
    }
}

impl Create {
    async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let id = server.user_id(&self.user).await?;
        let path = ["_synapse", "admin", "v2", "users", id.as_str()];
        // The same request changes an account that is there.
        let available = Ask::get(&["_synapse", "admin", "v1", "username_available"]).with("username", id.localpart());
        server.ask(available).await?;
        let password = secret::new_password(self.password_file.as_deref()).map_err(AdminError::Usage)?;
        let mut body = json!({ "password": *password, "admin": self.admin });
        if let Some(name) = &self.display_name {
            body["displayname"] = name.as_str().into();
        }
        let answer = server.ask(Ask::put(&path, body)).await?;
        Ok(Answer::sentence(&format!("Made the account {id}."), answer))
    }
}

impl ResetPassword {
    async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let id = server.user_id(&self.user).await?;
        let password = secret::new_password(self.password_file.as_deref()).map_err(AdminError::Usage)?;
        let body = json!({ "new_password": *password, "logout_devices": !self.keep_sessions });
        let path = ["_synapse", "admin", "v1", "reset_password", id.as_str()];
        let answer = server.ask(Ask::post(&path, body)).await?;
        Ok(Answer::sentence(&format!("{id} has another password."), answer))
    }
}

async fn lock(server: &Server, user: &UserArgument, locked: bool) -> Result<Answer, AdminError> {
    let id = server.user_id(user).await?;
    let path = ["_matrix", "client", "v1", "admin", "lock", id.as_str()];
    let answer = server.ask(Ask::put(&path, json!({ "locked": locked }))).await?;
    let now = if locked { "locked" } else { "not locked" };
    Ok(Answer::sentence(&format!("The account of {id} is {now}."), answer))
}
