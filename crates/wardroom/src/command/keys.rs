//! `wardroom keys rotate`.

use clap::Subcommand;
use wardroom_clock::{Clock as _, SystemClock};
use wardroom_store::OpenError;

use super::{ConfigFile, Failure, print, runtime};
use crate::{
    identity::{self, Rotated},
    wiring::{self, StartError, StoreUse},
};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Makes a new signing key, while the server is stopped. The old one stays published, so that what it signed stays
    /// believed, and nothing new that is signed with it is.
    Rotate(ConfigFile),
}

pub(super) fn run(command: &KeysCommand) -> Result<(), Failure> {
    let KeysCommand::Rotate(file) = command;
    let config = file.load()?;
    runtime()?.block_on(async {
        let store = wiring::open_store(&config, &SystemClock, StoreUse::Existing).await.map_err(explain)?;
        let rotated = identity::rotate(&store, &config.server_name, SystemClock.now_ms()).await;
        store.close().await;
        let Rotated { old, new } = rotated?;
        print(&format!("The server now signs with {new}. {old} has expired and stays published.\n"))?;
        Ok(())
    })
}

/// Says what to do when the server is running.
fn explain(error: StartError) -> Failure {
    match error {
        StartError::Store { source: OpenError::Locked, .. } => {
            "the server is running and has the store open: stop it first".into()
        }
        other => other.into(),
    }
}
