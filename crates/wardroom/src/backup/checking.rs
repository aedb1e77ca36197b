//! The drill: whether a backup serves.

use std::path::{Path, PathBuf};

use super::{
    BackupError, MEDIA,
    files::{By, is_immutable},
    making::remove,
    restoring::{Copies, Restored, look_through, put_together},
};
use crate::{config::Config, keys};

/// A directory that goes away.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is in nobody's way.
        let _ = remove(&self.0);
    }
}

/// Restores a backup to a place beside it, checks everything, and removes that again. The backup stays as it is.
pub(crate) async fn check(config: &Config, from: Copies<'_>) -> Result<Restored, BackupError> {
    let master = keys::master_key(config, false)?;
    let place = Temporary(beside(from.data));
    remove(&place.0)?;
    let by = |part: &str, file: &Path| if part == MEDIA || is_immutable(file) { By::Link } else { By::Copy };
    put_together(&place.0, &master, from, by)?;
    look_through(config, &place.0, &master).await
}

fn beside(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".drill");
    PathBuf::from(name)
}
