//! What must outlive a restore: entries in a file beside the keys, which only grows and is never older than they are.
//!
//! ```text
//! magic 8 | store id 16
//! length u32 | nonce 12 | AES-256-GCM ciphertext | tag 16
//! ```
//!
//! Integers are big-endian. The key is derived from the master key. Associated data is the tag of the entry before, of the first
//! one the header: nobody without the master key can read, change, add, reorder or leave out entries before the last one.
//! What a crash left unfinished at the end is cut off when the file is opened: it was not acknowledged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    rand,
};
use bytes::Bytes;

use super::JournalFault;
use crate::sealing::TAG_BYTES;

const MAGIC: [u8; 8] = *b"WRKEPT01";
const HEADER_BYTES: usize = 8 + 16;
const LENGTH_BYTES: usize = 4;
/// Longest entry.
pub(crate) const KEPT_ENTRY_BYTES_MAX: usize = 1 << 16;

/// Whatever the next entry is bound to.
type Bound = Vec<u8>;

/// What a file holds.
#[derive(Debug)]
pub(crate) struct KeptContents {
    pub(crate) entries: Vec<Bytes>,
    /// Bytes that are whole.
    length: u64,
    last: Bound,
}

impl KeptContents {
    /// Reads the file of a store, up to where it is not whole.
    pub(crate) fn read(path: &Path, key: &LessSafeKey, store_id: [u8; 16]) -> Result<Self, JournalFault> {
        let bytes = fs::read(path)?;
        let header = header(store_id);
        let mut rest = bytes.strip_prefix(header.as_slice()).ok_or(JournalFault::Corrupt)?;
        let mut read = Self { entries: Vec::new(), length: HEADER_BYTES as u64, last: header };
        while let Some((length, more)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((sealed, more)) = more.split_at_checked(length) else { break };
            match opened(sealed, key, &read.last) {
                Some(entry) => read.entries.push(entry),
                // The end may be there without what it says.
                None if more.is_empty() => break,
                None => return Err(JournalFault::Corrupt),
            }
            read.length += (LENGTH_BYTES + length) as u64;
            read.last = sealed[length - TAG_BYTES..].to_vec();
            rest = more;
        }
        Ok(read)
    }
}

fn header(store_id: [u8; 16]) -> Bound {
    [&MAGIC[..], &store_id].concat()
}

fn opened(sealed: &[u8], key: &LessSafeKey, bound: &[u8]) -> Option<Bytes> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = ciphertext.to_vec();
    let entry = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound), &mut buffer).ok()?;
    Some(Bytes::copy_from_slice(entry))
}

/// An entry as it stands in the file, without its length.
fn sealed(entry: &[u8], key: &LessSafeKey, bound: &[u8]) -> io::Result<Vec<u8>> {
    let failed = |_| io::Error::other("an entry could not be sealed");
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(failed)?;
    let mut buffer = entry.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut buffer).map_err(failed)?;
    Ok([&nonce[..], &buffer].concat())
}

/// An open file.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    file: File,
    key: LessSafeKey,
    store_id: [u8; 16],
    length: u64,
    last: Bound,
    /// An unfinished entry could not be taken back.
    broken: bool,
}

impl KeptFile {
    /// Opens the file of a store, or makes one, and cuts off what is not whole.
    pub(crate) fn open(path: &Path, key: LessSafeKey, store_id: [u8; 16]) -> Result<Self, JournalFault> {
        let header = header(store_id);
        // Made by a crash, with nothing in it yet.
        let begun = fs::metadata(path).map_or(0, |file| file.len()) >= HEADER_BYTES as u64;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        if !begun {
            file.set_len(0)?;
            file.write_all(&header)?;
            file.sync_all()?;
            if let Some(dir) = path.parent() {
                File::open(dir)?.sync_all()?;
            }
        }
        let read = KeptContents::read(path, &key, store_id)?;
        if file.metadata()?.len() != read.length {
            file.set_len(read.length)?;
            file.sync_all()?;
        }
        let KeptContents { length, last, .. } = read;
        Ok(Self { path: path.to_owned(), file, key, store_id, length, last, broken: false })
    }

    /// Adds entries, durably. On failure none is there.
    pub(crate) fn append(&mut self, entries: &[Bytes]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the journal of what is kept failed before; a restart reads it again"));
        }
        let (mut bytes, mut last) = (Vec::new(), self.last.clone());
        for entry in entries {
            if entry.len() > KEPT_ENTRY_BYTES_MAX {
                return Err(io::Error::other("an entry of the journal of what is kept is too long"));
            }
            let sealed = sealed(entry, &self.key, &last)?;
            let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&sealed);
            last = sealed[sealed.len() - TAG_BYTES..].to_vec();
        }
        let appended = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = appended {
            let taken_back = self.file.set_len(self.length).and_then(|()| self.file.sync_all());
            self.broken = taken_back.is_err();
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Everything that was added.
    pub(crate) fn entries(&self) -> Result<Vec<Bytes>, JournalFault> {
        Ok(KeptContents::read(&self.path, &self.key, self.store_id)?.entries)
    }

    /// Adds what another file of the same store holds and this one does not. Without such a file, nothing.
    pub(crate) fn take_over(&mut self, other: &Path) -> Result<(), JournalFault> {
        let theirs = match KeptContents::read(other, &self.key, self.store_id) {
            Err(JournalFault::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read?.entries,
        };
        let own: std::collections::HashSet<Bytes> = self.entries()?.into_iter().collect();
        let missing: Vec<Bytes> = theirs.into_iter().filter(|entry| !own.contains(entry)).collect();
        if missing.is_empty() { Ok(()) } else { Ok(self.append(&missing)?) }
    }

    /// Copies the file as it is now.
    pub(crate) fn copy(&self, to: &Path) -> io::Result<()> {
        fs::copy(&self.path, to)?;
        File::open(to)?.sync_all()
    }
}

/// Where entries are.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In memory, as everything else of that store.
    Memory(Vec<Bytes>),
    /// In a file.
    File(KeptFile),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MasterKey;

    const STORE: [u8; 16] = [3; 16];

    struct Place(tempfile::TempDir, MasterKey);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap(), MasterKey::from_bytes([5; 32]))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("kept")
        }

        fn open(&self) -> Result<KeptFile, JournalFault> {
            KeptFile::open(&self.path(), self.1.kept_key(), STORE)
        }

        fn filled(&self, entries: &[&'static str]) -> KeptFile {
            let mut file = self.open().unwrap();
            for entry in entries {
                file.append(&[Bytes::from_static(entry.as_bytes())]).unwrap();
            }
            file
        }
    }

    #[test]
    fn what_was_added_is_read_again_by_who_has_the_key() {
        let place = Place::new();
        place.filled(&["one", ""]);
        let file = place.filled(&["three"]);
        assert_eq!(file.entries().unwrap(), ["one", "", "three"]);
        let bytes = fs::read(place.path()).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"three"), "sealed");
        assert!(KeptFile::open(&place.path(), place.1.kept_key(), [4; 16]).is_err(), "of another store");
        let other = MasterKey::from_bytes([6; 32]).kept_key();
        assert!(KeptFile::open(&place.path(), other, STORE).is_err());
    }

    #[test]
    fn an_unfinished_end_is_cut_off_and_anything_else_is_refused() {
        let place = Place::new();
        place.filled(&["one", "two", "three"]);
        let whole = fs::read(place.path()).unwrap();
        let entry = |text: &str| LENGTH_BYTES + NONCE_LEN + text.len() + TAG_BYTES;
        let two = HEADER_BYTES + entry("one") + entry("two");
        for length in two..whole.len() {
            fs::write(place.path(), &whole[..length]).unwrap();
            let file = place.filled(&["four"]);
            assert_eq!(file.entries().unwrap(), ["one", "two", "four"], "{length} bytes");
        }
        for at in 0..two {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            fs::write(place.path(), &altered).unwrap();
            // A length that leads behind the end looks like an end that is not whole.
            let read = KeptContents::read(&place.path(), &place.1.kept_key(), STORE);
            assert!(read.is_err() || read.unwrap().entries.len() < 2, "byte {at}");
        }
        let (first, second) = (entry("one"), entry("two"));
        let (one, rest) = whole[HEADER_BYTES..].split_at(first);
        let (two, three) = rest.split_at(second);
        for order in [[two, one, three], [one, three, two], [two, three, b""]] {
            fs::write(place.path(), [&whole[..HEADER_BYTES], &order.concat()].concat()).unwrap();
            assert!(place.open().is_err());
        }
    }

    #[test]
    fn files_that_went_apart_are_brought_together() {
        let (one, two) = (Place::new(), Place::new());
        let mut file = one.filled(&["common"]);
        file.copy(&two.path()).unwrap();
        let mut other = two.filled(&["here"]);
        file.append(&[Bytes::from_static(b"there")]).unwrap();
        for _ in 0..2 {
            other.take_over(&one.path()).unwrap();
            assert_eq!(other.entries().unwrap(), ["common", "here", "there"]);
        }
        other.take_over(&one.0.path().join("nothing")).unwrap();
        assert_eq!(two.open().unwrap().entries().unwrap().len(), 3);
    }
}
