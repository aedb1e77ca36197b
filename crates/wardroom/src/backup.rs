//! Copies of everything that is stored, and the way back.
//!
//! A backup is two directories, which are to be kept apart:
//!
//! ```text
//! DATA/data/           the database, without the keys of what may be destroyed
//! DATA/media/          the files of the content repository, sealed
//! DATA/manifest.json   what must be there; written last
//! KEYS/keys/           these keys, and the journal of what was destroyed
//! KEYS/manifest.json
//! ```
//!
//! Of the keys only the newest copy is kept: with it, an older copy of the data shows nothing that was destroyed since.
//! A directory without its manifest is a backup that was not finished, and is refused.

mod checking;
mod files;
mod making;
mod manifest;
mod restoring;

use std::{io, path::PathBuf};

use wardroom_rooms::RoomError;
use wardroom_store::{CheckpointError, OpenError};

pub(crate) use self::{
    checking::check,
    making::{Target, make},
    restoring::{Copies, RESTORING_DIR, Restored, restore},
};
use crate::{keys::KeyError, wiring::StartError};

/// The database in a backup.
const DATA: &str = "data";
/// The files of the content repository in a backup.
const MEDIA: &str = "media";
/// The keys in a backup of these.
const KEYS: &str = "keys";

/// Why a backup was not made, or does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: there is something already; nothing is ever overwritten", .0.display())]
    Taken(PathBuf),
    #[error("{}: this is no copy of keys, and is not replaced by one", .0.display())]
    NoKeysToReplace(PathBuf),
    #[error("{}: there is no {manifest}: the backup was not finished", dir.display(), manifest = manifest::FILE)]
    Incomplete { dir: PathBuf },
    #[error("{}: not what the manifest says", .0.display())]
    Damaged(PathBuf),
    #[error("{}: a backup of {found}, where one of {expected} is needed", dir.display())]
    OtherKind { dir: PathBuf, found: &'static str, expected: &'static str },
    #[error(transparent)]
    Copy(#[from] CheckpointError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the keys")]
    Keys(#[source] OpenError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the rooms")]
    Rooms(#[from] RoomError),
    #[error("the files of media")]
    Media(#[from] wardroom_media::MediaError),
    #[error("{} problems were found:{}", .0.len(), listed(.0))]
    Problems(Vec<String>),
}

fn listed(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Names the path of an error.
fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File { path: path.into(), source }
}
