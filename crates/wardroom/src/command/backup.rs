//! `wardroom backup` and `wardroom restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wardroom_audit::Act;
use wardroom_clock::{Clock as _, SystemClock};
use wardroom_store::OpenError;

use super::{ConfigFile, Failure, print, runtime};
use crate::{
    auditing::by_command_line,
    backup::{self, Copies, Restored, Target},
    wiring::{self, StartError, StoreUse},
};

#[derive(Debug, Subcommand)]
pub(super) enum BackupCommand {
    /// Copies everything that is stored, while the server is stopped.
    Create(Place),
    /// Restores a backup to a temporary place beside it and checks it there; changes nothing.
    Verify(Place),
}

#[derive(Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    config: ConfigFile,
    /// Directory of the copy of the data; a new one for each backup.
    dir: PathBuf,
    /// Directory of the copy of the keys; only the newest one is kept there. Keep it apart from the data.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    config: ConfigFile,
    /// Directory of the copy of the data.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Directory of the newest copy of the keys.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// A journal of destroyed keys that is newer than the copy of the keys.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

pub(super) fn run(command: &BackupCommand) -> Result<(), Failure> {
    match command {
        BackupCommand::Create(place) => create(place),
        BackupCommand::Verify(place) => verify(place),
    }
}

fn create(place: &Place) -> Result<(), Failure> {
    let config = place.config.load()?;
    let made = runtime()?.block_on(async {
        let store = wiring::open_store(&config, &SystemClock, StoreUse::Existing).await.map_err(explain)?;
        let target = Target {
            media: config.media_dir(),
            data: place.dir.clone(),
            keys: place.keys.clone(),
            server_name: config.server_name.to_string(),
            now_ms: SystemClock.now_ms(),
        };
        let made = async {
            // Before the copy: it is in it.
            by_command_line(&config, &store, Act::BackupCreate).await?;
            Ok::<_, Failure>(backup::make(&store, target).await?)
        };
        let made = made.await;
        store.close().await;
        made
    })?;
    print(&format!(
        "The data is in {}, with {} files of media ({} bytes); the keys are in {}. Keep the two apart, and of the keys only \
         this newest copy.\n",
        place.dir.display(),
        made.media_files,
        made.media_bytes,
        place.keys.display()
    ))?;
    Ok(())
}

fn verify(place: &Place) -> Result<(), Failure> {
    let config = place.config.load()?;
    let from = Copies { data: &place.dir, keys: &place.keys, journal: None };
    let restored = runtime()?.block_on(backup::check(&config, from))?;
    print(&format!("The backup is good. {}", told(&restored)))?;
    Ok(())
}

pub(super) fn restore(restore: &Restore) -> Result<(), Failure> {
    let config = restore.config.load()?;
    let from = Copies { data: &restore.data, keys: &restore.keys, journal: restore.journal.as_deref() };
    let sentence = match runtime()?.block_on(backup::restore(&config, from))? {
        Some(restored) => format!("Restored. {}", told(&restored)),
        None => "Finished the restore that was interrupted.\n".to_owned(),
    };
    print(&sentence)?;
    Ok(())
}

fn told(restored: &Restored) -> String {
    let Restored { report, removed, dropped, removed_files, holds } = restored;
    format!(
        "{} rooms and {} events were checked; {removed} rooms that were destroyed since were taken away, {removed_files} files \
         that were deleted since, and {dropped} events of other rooms. {holds} legal holds that were set or released since \
         are as they were.\n",
        report.rooms, report.events
    )
}

/// Says what to do when the server is running.
fn explain(error: StartError) -> Failure {
    match error {
        StartError::Store { source: OpenError::Locked, .. } => {
            "the server is running and has the store open: stop it first, or let it make the backup itself (wardroom \
             admin backup)"
                .into()
        }
        other => other.into(),
    }
}
