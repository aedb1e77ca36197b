//! `wardroom admin login` and `logout`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    super::secret,
    AdminError, Answer,
    client::{Ask, Connection, Server},
};

/// Name of the session among the user's devices.
const DEVICE_NAME: &str = "wardroom admin";
const LOGOUT: [&str; 4] = ["_matrix", "client", "v3", "logout"];
/// A token is for its owner's eyes.
const TOKEN_FILE_MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub(super) struct Login {
    /// The administrator.
    #[arg(value_name = "USER")]
    user: String,
    /// File with the password, its first line ("-" is standard input); asked for without this.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Login {
    pub(super) async fn run(&self, connection: &Connection) -> Result<Answer, AdminError> {
        let file = connection.token_file().filter(|path| *path != Path::new("-"));
        let file = file.ok_or_else(|| AdminError::usage("say with --token-file where the token is to be kept"))?;
        let server = Server::unknown(connection)?;
        let password = secret::password(self.password_file.as_deref()).map_err(AdminError::Usage)?;
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": self.user },
            "password": *password,
            "initial_device_display_name": DEVICE_NAME,
        });
        let answer = server.ask(Ask::post(&["_matrix", "client", "v3", "login"], body)).await?;
        let said = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(user), Some(token)) = (said("user_id"), said("access_token").map(Zeroizing::new)) else {
            return Err(AdminError::Refused("the server gave no access token".to_owned()));
        };
        if let Err(error) = keep(file, &token) {
            // Nobody has the token: its session is of no use.
            server.with_token(token).ask(Ask::post(&LOGOUT, json!({}))).await?;
            return Err(AdminError::usage(format!("--token-file {}: {error}", file.display())));
        }
        let sentence = format!("Signed in as {user}; the token is in {}.", file.display());
        Ok(Answer::sentence(&sentence, json!({ "user_id": user })))
    }
}

/// Ends the session of the token, and removes its file.
pub(super) async fn logout(connection: &Connection) -> Result<Answer, AdminError> {
    let server = Server::signed_in(connection)?;
    server.ask(Ask::post(&LOGOUT, json!({}))).await?;
    if let Some(path) = connection.token_file().filter(|path| *path != Path::new("-")) {
        fs::remove_file(path).map_err(AdminError::Lost)?;
    }
    Ok(Answer::sentence("Signed out.", json!({})))
}

/// Puts a token in the place of what the file held before, at once.
fn keep(path: &Path, token: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(TOKEN_FILE_MODE).open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
