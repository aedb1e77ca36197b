//! The way back from a backup.
//!
//! Everything is put together in a directory of its own in the data directory and checked there. Then a file says that
//! it is good, and its parts are moved to their places. As long as the directory is there, the server does not start.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use wardroom_audit::{Act, AuditLog};
use wardroom_clock::{Clock as _, SystemClock};
use wardroom_holds::Holds;
use wardroom_media::Media;
use wardroom_rooms::{FsckReport, Rooms, Settings, StandardGate, fsck};
use wardroom_store::{DATABASE_DIR, KEYS_DIR, MasterKey, Store, replay_journal};

use super::{
    BackupError, DATA, KEYS, MEDIA, at,
    files::{self, By},
    making::remove,
    manifest::{Kind, Manifest},
};
use crate::{auditing::by_command_line, config::Config, identity, keys, wiring};

/// Where a restore works, in the data directory.
pub(crate) const RESTORING_DIR: &str = "restoring";
/// The file that says that what is there is good.
const GOOD: &str = "good";
/// The parts of the data directory, the database last: without it there is no server.
const PARTS: [&str; 3] = [KEYS_DIR, MEDIA, DATABASE_DIR];

/// Where a backup is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies<'a> {
    /// The copy of the data.
    pub(crate) data: &'a Path,
    /// The copy of the keys.
    pub(crate) keys: &'a Path,
    /// A journal of destructions that is newer than the keys.
    pub(crate) journal: Option<&'a Path>,
}

/// What was restored.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    pub(crate) report: FsckReport,
    /// Rooms of the data that were destroyed since.
    pub(crate) removed: u64,
    /// Events of other rooms whose contents were destroyed since.
    pub(crate) dropped: u64,
    /// Files that were destroyed since the copy was made.
    pub(crate) removed_files: u64,
    /// Legal holds that were set or released since.
    pub(crate) holds: u64,
}

/// Restores a backup into a data directory that holds none of its parts. None where it only moved what an interrupted
/// restore had found to be good.
pub(crate) async fn restore(config: &Config, from: Copies<'_>) -> Result<Option<Restored>, BackupError> {
    let (target, work) = (&config.data_dir, config.data_dir.join(RESTORING_DIR));
    if work.join(GOOD).exists() {
        move_in(&work, target)?;
        return Ok(None);
    }
    if let Some(part) = PARTS.iter().map(|part| target.join(part)).find(|part| part.exists()) {
        return Err(BackupError::Taken(part));
    }
    remove(&work)?;
    let master = keys::master_key(config, false)?;
    keys::make_private_dir(target).map_err(at(target))?;
    put_together(&work, &master, from, |_, _| By::Copy)?;
    let mut restored = look_through(config, &work, &master).await?;
    restored.holds = note_restored(config, &work, &master).await?;
    File::create(work.join(GOOD)).map_err(at(&work))?;
    files::sync(&work)?;
    move_in(&work, target)?;
    Ok(Some(restored))
}

/// Checks a backup against its manifests and puts a data directory together from it, with the journal carried out.
pub(super) fn put_together(
    work: &Path,
    master: &MasterKey,
    from: Copies<'_>,
    by: impl Fn(&str, &Path) -> By,
) -> Result<(), BackupError> {
    Manifest::read(from.data, Kind::Data)?.check(from.data, DATA)?;
    Manifest::read(from.keys, Kind::Keys)?.check(from.keys, KEYS)?;
    files::make_dir(work)?;
    for (source, part) in
        [(from.data.join(DATA), DATABASE_DIR), (from.data.join(MEDIA), MEDIA), (from.keys.join(KEYS), KEYS_DIR)]
    {
        files::copy(&source, &work.join(part), &files::tree(&source)?, |file| by(part, file))?;
    }
    let now_unix_seconds = SystemClock.now_ms() / 1_000;
    replay_journal(&work.join(KEYS_DIR), master, from.journal, now_unix_seconds).map_err(BackupError::Keys)?;
    Ok(())
}

/// Opens what was put together, takes away what remains of destroyed rooms, and checks the rest.
pub(super) async fn look_through(config: &Config, dir: &Path, master: &MasterKey) -> Result<Restored, BackupError> {
    let store = wiring::open_store_in(dir, config, &SystemClock, master).await?;
    let looked = look_at(config, dir, &store).await;
    store.close().await;
    let restored = looked?;
    if restored.report.problems.is_empty() {
        return Ok(restored);
    }
    Err(BackupError::Problems(restored.report.problems))
}

/// Records in what was restored that it was, and brings back the legal holds that it is too old for; answers how many.
async fn note_restored(config: &Config, dir: &Path, master: &MasterKey) -> Result<u64, BackupError> {
    let store = wiring::open_store_in(dir, config, &SystemClock, master).await?;
    let noted = async {
        let audit = by_command_line(config, &store, Act::BackupRestore).await?;
        Ok::<_, wiring::StartError>(wardroom_holds::replay(&store, &audit).await?)
    };
    let noted = noted.await;
    store.close().await;
    Ok(noted?)
}

async fn look_at(config: &Config, dir: &Path, store: &Store) -> Result<Restored, BackupError> {
    let settings = Settings {
        server_name: config.server_name.clone(),
        default_version: config.rooms.default_version.clone(),
        retention: config.retention.settings(false),
        signing_key: Arc::new(identity::signing_key(store, &config.server_name).await?),
        // What is removed here was given up before the copy was made.
        holds: Holds::default(),
    };
    let silent = AuditLog::silent();
    let rooms = Rooms::new(store.clone(), Arc::new(SystemClock), Arc::new(StandardGate), silent, settings);
    let removed = rooms.remove_remains().await?;
    let dropped = rooms.drop_lost().await?;
    drop(rooms);
    let removed_files = remove_files(config, dir, store).await?;
    Ok(Restored { report: fsck(store).await?, removed, dropped, removed_files, holds: 0 })
}

/// Takes away files that were deleted since the copy was made.
async fn remove_files(config: &Config, dir: &Path, store: &Store) -> Result<u64, BackupError> {
    let settings = wardroom_media::Settings {
        server_name: config.server_name.clone(),
        dir: dir.join(MEDIA),
        sync: true,
        upload_bytes_max: 0,
        user_bytes_max: None,
        remote_bytes_max: 0,
        remote_cache_days: None,
        thumbnail_sizes: Vec::new(),
        previews: None,
        // As above.
        holds: Holds::default(),
    };
    let media = Media::open(store.clone(), Arc::new(SystemClock), AuditLog::silent(), settings).await?;
    Ok(media.remove_remains().await?)
}

fn move_in(work: &Path, target: &Path) -> Result<(), BackupError> {
    for part in PARTS {
        let (from, to): (PathBuf, PathBuf) = (work.join(part), target.join(part));
        if from.exists() {
            if to.exists() {
                return Err(BackupError::Taken(to));
            }
            fs::rename(&from, &to).map_err(at(&to))?;
        }
    }
    files::sync(target)?;
    remove(work)?;
    files::sync(target)
}
