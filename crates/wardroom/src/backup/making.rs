//! Making a backup of an open store, while it is in use.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags};
use wardroom_store::Store;

use super::{
    BackupError, DATA, KEYS, MEDIA, at,
    files::{self, By},
    manifest::{Kind, Manifest, MediaFiles},
};
use crate::keys::make_private_dir;

/// Files that the content repository has not finished.
const UNFINISHED: &str = "new";

/// What is copied, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Files of the content repository.
    pub(crate) media: PathBuf,
    /// Directory of the copy of the data; must not hold anything.
    pub(crate) data: PathBuf,
    /// Directory of the copy of the keys; takes the place of an older one.
    pub(crate) keys: PathBuf,
    /// The server whose data these are.
    pub(crate) server_name: String,
    /// The time, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// What was copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) media_files: u64,
    pub(crate) media_bytes: u64,
    /// Destructions of keys that the journal tells of.
    pub(crate) destructions: u64,
}

/// Makes a backup. What is acknowledged before is in it.
pub(crate) async fn make(store: &Store, target: Target) -> Result<Made, BackupError> {
    let Target { data, keys, .. } = &target;
    let new_keys = beside(keys);
    if !files::is_free(data)? {
        return Err(BackupError::Taken(data.clone()));
    }
    if !files::is_free(keys)? {
        Manifest::read(keys, Kind::Keys).map_err(|_| BackupError::NoKeysToReplace(keys.clone()))?;
    }
    make_private_dir(data).map_err(at(data))?;
    // Left by a backup that was interrupted.
    remove(&new_keys)?;
    make_private_dir(&new_keys).map_err(at(&new_keys))?;
    store.checkpoint(&data.join(DATA)).await?;
    // After the data, so that the keys of everything in it are there.
    let destructions = store.copy_keys(&new_keys.join(KEYS)).await?.destructions;
    let finishing = move || finish(&target, &new_keys, destructions);
    tokio::task::spawn_blocking(finishing).await.map_err(|error| at("the backup")(io::Error::other(error)))?
}

fn finish(target: &Target, new_keys: &Path, destructions: u64) -> Result<Made, BackupError> {
    let Target { media, data, keys, server_name, now_ms } = target;
    let about = (server_name.as_str(), *now_ms);
    let mut files = files::tree(media)?;
    files.retain(|file| !file.starts_with(UNFINISHED));
    let (media_files, media_bytes) = files::copy(media, &data.join(MEDIA), &files, |_| By::Link)?;
    let mut manifest = Manifest::of(data, Kind::Data, DATA, about)?;
    manifest.media = Some(MediaFiles { files: media_files, bytes: media_bytes });

    let mut of_keys = Manifest::of(new_keys, Kind::Keys, KEYS, about)?;
    of_keys.destructions = Some(destructions);
    of_keys.write(new_keys)?;
    put_in_place(new_keys, keys)?;
    manifest.write(data)?;
    Ok(Made { media_files, media_bytes, destructions })
}

/// Puts the new copy of the keys in the place of the older one, which is removed: at each moment one of them is there.
fn put_in_place(new: &Path, keys: &Path) -> Result<(), BackupError> {
    let renamed = if files::is_free(keys)? {
        fs::rename(new, keys)
    } else {
        rustix::fs::renameat_with(CWD, new, CWD, keys, RenameFlags::EXCHANGE).map_err(io::Error::from)
    };
    renamed.map_err(at(keys))?;
    if let Some(above) = keys.parent().filter(|above| !above.as_os_str().is_empty()) {
        files::sync(above)?;
    }
    remove(new)
}

/// Where a copy of the keys is made before it takes its place.
fn beside(keys: &Path) -> PathBuf {
    let mut name = OsString::from(keys);
    name.push(".new");
    PathBuf::from(name)
}

pub(super) fn remove(dir: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(at(dir)),
    }
}
