//! The directory of sealed files.
//!
//! A file is written in `new/`, synced, renamed to its place (`ab/abcdef...`), and only then named by a row of the
//! store. Whatever is there without a row is left over from a crash.

mod reader;
mod writer;

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use wardroom_store::DataKey;
use zeroize::Zeroizing;

pub(crate) use self::{reader::BlobReader, writer::BlobWriter};
use crate::{random, seal::KEY_BYTES, tables::BlobRow};

/// The name of a file: random, so that it says nothing.
pub(crate) type BlobName = [u8; 16];

/// Where files are written before they have their place.
const NEW_DIR: &str = "new";

/// Content is refused while the file system has less free space: twice what the store keeps for itself, so that
/// messages still go through when there is no more space for files.
const FREE_BYTES_MIN: u64 = 128 << 20;

/// Bytes read or written by one call to the blocking pool: a few chunks.
pub(crate) const PIECE_CHUNKS: usize = 4;

/// The files.
#[derive(Clone, Debug)]
pub(crate) struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Whether a file is on stable storage before it counts.
    sync: bool,
    /// Files that are being written, or whose row is being committed.
    in_flight: Mutex<HashSet<BlobName>>,
    /// Directories, by the byte that their files begin with, whose entries are known to be on stable storage.
    durable_dirs: Mutex<HashSet<u8>>,
}

/// A complete file in its place, whose row is yet to be committed. Dropped without [`NewBlob::keep`] it is removed.
#[derive(Debug)]
pub(crate) struct NewBlob {
    row: BlobRow,
    key: Zeroizing<[u8; KEY_BYTES]>,
    sealed_with: DataKey,
    claim: Claim,
}

/// Keeps a file from being taken for one that a crash left, and removes it if nothing becomes of it.
#[derive(Debug)]
struct Claim {
    blobs: Blobs,
    name: BlobName,
    /// The file, wherever it is at the moment.
    remove: Option<PathBuf>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(path) = self.remove.take() {
            // If it stays, it is swept later.
            let _ = fs::remove_file(path);
        }
        self.blobs.0.in_flight.lock().remove(&self.name);
    }
}

impl NewBlob {
    /// What a row says of the file.
    pub(crate) fn row(&self) -> &BlobRow {
        &self.row
    }

    /// The file's key.
    pub(crate) fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// The data key that the file's key is sealed with.
    pub(crate) fn sealed_with(&self) -> &DataKey {
        &self.sealed_with
    }

    /// To be called when a commit that names the file begins. Hold the file until the commit has ended: until then it is
    /// not taken for one without a row. If the commit fails, the file is swept.
    pub(crate) fn keep(&mut self) {
        self.claim.remove = None;
    }
}

impl Blobs {
    /// The files in a directory, which is made if it is not there. What was being written when the server last stopped
    /// is removed.
    pub(crate) fn open(dir: &Path, sync: bool) -> io::Result<Self> {
        let new = dir.join(NEW_DIR);
        DirBuilder::new().recursive(true).mode(0o700).create(&new)?;
        for entry in fs::read_dir(&new)? {
            fs::remove_file(entry?.path())?;
        }
        let (in_flight, durable_dirs) = (Mutex::default(), Mutex::default());
        let blobs = Self(Arc::new(Inner { dir: dir.to_owned(), sync, in_flight, durable_dirs }));
        blobs.sync_dir(dir)?;
        if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
            blobs.sync_dir(above)?;
        }
        Ok(blobs)
    }

    /// The place of a file.
    pub(crate) fn path(&self, name: &BlobName) -> PathBuf {
        let name = hex(name);
        self.0.dir.join(&name[..2]).join(&name)
    }

    /// Removes a file that no row names any more. That it is gone already is fine.
    pub(crate) fn remove(&self, name: &BlobName) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The files that begin with a byte, without those that are being written. Whatever else lies there is ignored.
    pub(crate) fn list(&self, first: u8) -> io::Result<Vec<BlobName>> {
        let entries = match fs::read_dir(self.0.dir.join(hex(&[first]))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(unhex));
        }
        // After the listing: a file of the list that is not in flight now has its row, or never gets one.
        let in_flight = self.0.in_flight.lock();
        names.retain(|name| !in_flight.contains(name));
        Ok(names)
    }

    /// Claims a new name.
    fn claim(&self) -> Claim {
        let name = random::bytes();
        self.0.in_flight.lock().insert(name);
        Claim { blobs: self.clone(), name, remove: None }
    }

    /// Whether there is space for content.
    fn has_space(&self) -> bool {
        // A file system that does not answer is not taken for a full one.
        rustix::fs::statvfs(&self.0.dir)
            .map_or(true, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= FREE_BYTES_MIN)
    }

    /// Makes the directory of a file and its entry durable, where that is not known already. That another upload has
    /// made the directory does not say that its entry would survive.
    fn make_dir(&self, name: &BlobName, dir: &Path) -> io::Result<()> {
        if self.0.durable_dirs.lock().contains(&name[0]) {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => self.sync_dir(&self.0.dir)?,
        }
        self.0.durable_dirs.lock().insert(name[0]);
        Ok(())
    }

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.0.sync { File::open(dir)?.sync_all() } else { Ok(()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<BlobName> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut name = BlobName::default();
    for (at, byte) in name.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    // Not every text that parses is a name that this server gave.
    (hex(&name) == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use wardroom_store::{Catalogue, Store};

    use super::*;
    use crate::keys::FileKeys;

    /// A file's row and key.
    type Known = (BlobRow, [u8; KEY_BYTES]);

    async fn keys() -> FileKeys {
        FileKeys::open(Store::in_memory(Catalogue::new(&[crate::TABLES]).unwrap())).await.unwrap()
    }

    async fn stored(blobs: &Blobs, content: &[u8]) -> Known {
        let mut writer = BlobWriter::create(blobs, 1).await.unwrap();
        for part in content.chunks(50_000) {
            writer.write(part).await.unwrap();
        }
        let mut blob = writer.finish(&keys().await).await.unwrap();
        blob.keep();
        (blob.row().clone(), *blob.key())
    }

    async fn read(blobs: &Blobs, (row, key): &Known, range: std::ops::Range<u64>) -> Vec<u8> {
        let mut reader = BlobReader::open(blobs, row, key, range).await.unwrap();
        let mut content = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            assert!(!piece.is_empty());
            content.extend_from_slice(&piece);
        }
        content
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[tokio::test]
    async fn contents_are_read_back_whole_and_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), true).unwrap();
        for length in [0, 1, 65_535, 65_536, 65_537, 262_144, 262_145, 1_000_003] {
            let content = content(length);
            let file = stored(&blobs, &content).await;
            assert_eq!(file.0.length, length as u64);
            assert_eq!(read(&blobs, &file, 0..file.0.length).await, content, "{length}");
            for (from, to) in [(0, 1), (1, 2), (65_535, 65_537), (65_536, 300_000), (999_999, 1_000_003)] {
                if to <= length {
                    let range = from as u64..to as u64;
                    assert_eq!(read(&blobs, &file, range).await, content[from..to], "{length} {from}-{to}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_was_changed_or_cut_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), false).unwrap();
        let content = content(200_000);
        let file = stored(&blobs, &content).await;
        let (row, key) = &file;
        let path = blobs.path(&row.name);
        let good = fs::read(&path).unwrap();
        assert!(!good.windows(8).any(|part| part == &content[..8]), "it is sealed");
        fs::write(&path, &good[..good.len() - 65_552]).unwrap();
        assert!(BlobReader::open(&blobs, row, key, 0..row.length).await.is_err());
        let mut bad = good.clone();
        bad[70_000] ^= 1;
        fs::write(&path, &bad).unwrap();
        let mut reader = BlobReader::open(&blobs, row, key, 0..row.length).await.unwrap();
        assert!(reader.next().await.is_err());
        assert_eq!(read(&blobs, &file, 0..1_000).await, content[..1_000], "the first chunk is whole");
        fs::remove_file(&path).unwrap();
        assert!(BlobReader::open(&blobs, row, key, 0..1).await.is_err());
    }

    #[tokio::test]
    async fn what_was_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), true).unwrap();
        let files = || {
            let dirs = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            dirs.map(|dir| fs::read_dir(dir).unwrap().count()).sum::<usize>()
        };
        let mut writer = BlobWriter::create(&blobs, 1).await.unwrap();
        writer.write(&content(1_000_000)).await.unwrap();
        assert_eq!(files(), 1);
        drop(writer);
        assert_eq!(files(), 0);
        let mut writer = BlobWriter::create(&blobs, 1).await.unwrap();
        writer.write(b"x").await.unwrap();
        drop(writer.finish(&keys().await).await.unwrap());
        assert_eq!(files(), 0);
        assert!(blobs.0.in_flight.lock().is_empty());
        // A crash while writing.
        fs::write(dir.path().join(NEW_DIR).join("left"), "x").unwrap();
        Blobs::open(dir.path(), true).unwrap();
        assert_eq!(files(), 0);
    }

    #[tokio::test]
    async fn files_in_flight_are_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), false).unwrap();
        let mut writer = BlobWriter::create(&blobs, 1).await.unwrap();
        writer.write(b"x").await.unwrap();
        let mut blob = writer.finish(&keys().await).await.unwrap();
        let name = blob.row().name;
        blob.keep();
        assert_eq!(blobs.list(name[0]).unwrap(), Vec::<BlobName>::new());
        drop(blob);
        fs::write(blobs.path(&name).with_file_name("a stranger"), "").unwrap();
        assert_eq!(blobs.list(name[0]).unwrap(), [name]);
        blobs.remove(&name).unwrap();
        blobs.remove(&name).unwrap();
        assert_eq!(blobs.list(name[0]).unwrap(), Vec::<BlobName>::new());
    }
}
