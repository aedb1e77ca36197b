//! `wardroom user create`.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use wardroom_clock::SystemClock;
use wardroom_store::OpenError;
use zeroize::Zeroizing;

use super::{ConfigFile, Failure, print, runtime};
use crate::wiring::{self, StartError, StoreUse};

/// Longest password file that is read.
const PASSWORD_FILE_BYTES_MAX: u64 = 4_096;

#[derive(Debug, Args)]
pub(super) struct UserCreate {
    #[command(flatten)]
    config: ConfigFile,
    /// Make the user an administrator of this server.
    #[arg(long)]
    admin: bool,
    /// File with the password, its first line ("-" is standard input); asked for without this.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The name, the part of the user id between "@" and ":".
    name: String,
}

pub(super) fn run(create: &UserCreate) -> Result<(), Failure> {
    let config = create.config.load()?;
    let password = match &create.password_file {
        Some(path) => from_file(path)?,
        None => ask()?,
    };
    runtime()?.block_on(async {
        let store = wiring::open_store(&config, &SystemClock, StoreUse::Create).await.map_err(explain)?;
        let accounts = wiring::accounts(&config, store.clone(), Arc::new(SystemClock)).await?;
        let created = accounts.create_user(&create.name, Some(&password), create.admin).await;
        drop(accounts);
        store.close().await;
        let kind = if create.admin { "administrator" } else { "user" };
        let created = created.map_err(|error| format!("{}: {error}", create.name))?;
        print(&format!("Created the {kind} {}.\n", created.id))?;
        Ok(())
    })
}

/// Says what to do when the server is running.
fn explain(error: StartError) -> Failure {
    match error {
        StartError::Store { source: OpenError::Locked, .. } => {
            "the server is running and has the store open: stop it first, or register the user while it runs, over \
             /_synapse/admin/v1/register with registration.shared_secret"
                .into()
        }
        other => other.into(),
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        io::stdin().take(PASSWORD_FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(PASSWORD_FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| format!("--password-file {}: {error}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(format!("--password-file {}: the first line is empty", path.display()).into());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn ask() -> Result<Zeroizing<String>, Failure> {
    let prompt = |question| {
        let answer = rpassword::prompt_password(question);
        answer
            .map(Zeroizing::new)
            .map_err(|error| format!("no password: {error} (--password-file takes it from a file)"))
    };
    let password = prompt("Password: ")?;
    if *password != *prompt("Again: ")? {
        return Err("the two passwords differ".into());
    }
    Ok(password)
}
