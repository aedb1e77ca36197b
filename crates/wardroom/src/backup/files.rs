//! Trees of files, copied durably.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{BackupError, at};

/// Bytes of a file that are hashed at a time.
const HASHED_AT_ONCE: usize = 1 << 20;

/// How a file gets to its copy.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// A copy of its own.
    Copy,
    /// A second name of the same file, where the file system allows it: for files that never change.
    Link,
}

/// Whether the engine of the store never changes a file once it is written.
pub(super) fn is_immutable(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "sst" || end == "blob")
}

/// Makes a directory that only its owner may enter, in one that exists.
pub(super) fn make_dir(dir: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(dir).map_err(at(dir))
}

/// The files below a directory, by their paths in it, in order. None if it is not there.
pub(super) fn tree(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let (mut files, mut dirs) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = dirs.pop() {
        let place = dir.join(&inner);
        let entries = match fs::read_dir(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && inner.as_os_str().is_empty() => break,
            entries => entries.map_err(at(&place))?,
        };
        for entry in entries {
            let entry = entry.map_err(at(&place))?;
            let path = inner.join(entry.file_name());
            match entry.file_type().map_err(at(dir.join(&path)))? {
                kind if kind.is_dir() => dirs.push(path),
                kind if kind.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Copies files of one directory to another, which is made, durably. A file that vanishes meanwhile is left out.
/// Answers how many files and bytes there were.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    files: &[PathBuf],
    by: impl Fn(&Path) -> By,
) -> Result<(u64, u64), BackupError> {
    make_dir(to)?;
    let (mut count, mut bytes) = (0, 0);
    let mut dirs = vec![to.to_owned()];
    for file in files {
        let (source, target) = (from.join(file), to.join(file));
        if let Some(dir) = target.parent()
            && !dirs.contains(&dir.to_owned())
        {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
            dirs.push(dir.to_owned());
        }
        let copied = match by(file) {
            By::Link => fs::hard_link(&source, &target).or_else(|_| copy_file(&source, &target)),
            By::Copy => copy_file(&source, &target),
        };
        match copied {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => {
                copied.map_err(at(&target))?;
                count += 1;
                bytes += fs::metadata(&target).map_err(at(&target))?.len();
            }
        }
    }
    for dir in dirs.iter().rev() {
        sync(dir)?;
    }
    Ok((count, bytes))
}

fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target)?;
    File::open(target)?.sync_all()
}

/// Makes a file, or the entries of a directory, durable.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

/// Size and SHA-256 of a file, in hexadecimal, which is durable then.
pub(super) fn digest(path: &Path) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(at(path))?;
    file.sync_all().map_err(at(path))?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; HASHED_AT_ONCE];
    loop {
        let read = file.read(&mut buffer).map_err(at(path))?;
        if read == 0 {
            let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((size, hex));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Whether a directory is not there, or empty.
pub(super) fn is_free(dir: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        entries => Ok(entries.map_err(at(dir))?.next().is_none()),
    }
}
