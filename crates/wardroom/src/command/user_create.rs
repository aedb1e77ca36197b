//! `wardroom user create`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use wardroom_audit::{Origin, Who, origin};
use wardroom_clock::SystemClock;
use wardroom_holds::Holds;
use wardroom_store::OpenError;

use super::{ConfigFile, Failure, print, runtime, secret};
use crate::{
    auditing,
    wiring::{self, StartError, StoreUse},
};

/// Who acts, in records of the audit trail.
const COMMAND_LINE: &str = "command line";

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
    let password = secret::new_password(create.password_file.as_deref())?;
    runtime()?.block_on(async {
        let store = wiring::open_store(&config, &SystemClock, StoreUse::Create).await.map_err(explain)?;
        let audit = auditing::open(&config, &store, Arc::new(SystemClock)).await?;
        let accounts =
            wiring::accounts(&config, store.clone(), Arc::new(SystemClock), (audit, Holds::default())).await?;
        let who = Who { service: Some(COMMAND_LINE.to_owned()), ..Who::default() };
        let creation = accounts.create_user(&create.name, Some(&password), create.admin);
        let created = origin::scope(Origin { who, request: None }, creation).await;
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
