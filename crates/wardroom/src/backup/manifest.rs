//! What must be in a backup.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{BackupError, MEDIA, at, files};

/// The file of the manifest. Written last: without it a backup is not complete.
pub(super) const FILE: &str = "manifest.json";
/// Version of the form of backups.
const FORMAT: u32 = 1;

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Data,
    Keys,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Keys => "keys",
        }
    }
}

/// A file with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Entry {
    /// In the backup.
    path: String,
    bytes: u64,
    /// In hexadecimal.
    sha256: String,
}

/// The files of the content repository. Each is sealed under a key of its own, and tells by itself if it was altered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct MediaFiles {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// The manifest of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Manifest {
    format: u32,
    kind: Kind,
    pub(super) server_name: String,
    /// When it was made, in milliseconds since 1970.
    pub(super) made_ms: u64,
    /// The program that made it.
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media: Option<MediaFiles>,
    /// Destructions of keys that the journal tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) destructions: Option<u64>,
    files: Vec<Entry>,
}

impl Manifest {
    /// The manifest of a directory whose parts are all there, but for the files of the content repository.
    pub(super) fn of(dir: &Path, kind: Kind, part: &str, about: (&str, u64)) -> Result<Self, BackupError> {
        let mut files = Vec::new();
        for file in files::tree(&dir.join(part))? {
            let (bytes, sha256) = files::digest(&dir.join(part).join(&file))?;
            files.push(Entry { path: format!("{part}/{}", file.display()), bytes, sha256 });
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (server_name, made_ms) = (about.0.to_owned(), about.1);
        Ok(Self { format: FORMAT, kind, server_name, made_ms, version, media: None, destructions: None, files })
    }

    /// Writes the manifest, by which the backup becomes complete.
    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let (new, path) = (dir.join("manifest.new"), dir.join(FILE));
        let text = serde_json::to_vec_pretty(self).map_err(|error| at(&path)(error.into()))?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(at(&path))?;
        files::sync(dir)
    }

    /// Reads the manifest of a backup of this kind.
    pub(super) fn read(dir: &Path, kind: Kind) -> Result<Self, BackupError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::Incomplete { dir: dir.to_owned() });
            }
            text => text.map_err(at(&path))?,
        };
        let read: Self = serde_json::from_slice(&text).map_err(|_| BackupError::Damaged(path.clone()))?;
        if read.format != FORMAT {
            return Err(BackupError::Damaged(path));
        }
        if read.kind != kind {
            let (found, expected) = (read.kind.word(), kind.word());
            return Err(BackupError::OtherKind { dir: dir.to_owned(), found, expected });
        }
        Ok(read)
    }

    /// Checks that the directory holds what the manifest says, and nothing else beside it.
    pub(super) fn check(&self, dir: &Path, part: &str) -> Result<(), BackupError> {
        for entry in &self.files {
            let path = dir.join(&entry.path);
            if !path.is_file() || files::digest(&path)? != (entry.bytes, entry.sha256.clone()) {
                return Err(BackupError::Damaged(path));
            }
        }
        for file in files::tree(&dir.join(part))? {
            let path = format!("{part}/{}", file.display());
            if !self.files.iter().any(|entry| entry.path == path) {
                return Err(BackupError::Damaged(dir.join(path)));
            }
        }
        if let Some(media) = self.media {
            let mut found = MediaFiles::default();
            for file in files::tree(&dir.join(MEDIA))? {
                let path = dir.join(MEDIA).join(file);
                found.files += 1;
                found.bytes += fs::metadata(&path).map_err(at(&path))?.len();
            }
            if found != media {
                return Err(BackupError::Damaged(dir.join(MEDIA)));
            }
        }
        Ok(())
    }
}
