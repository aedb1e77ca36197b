//! The files of an export.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::VerifyError;
use crate::tree::Hash;

/// The log's public key.
pub const KEY_FILE: &str = "key";
/// All checkpoints, signed notes with an empty line between them.
pub const CHECKPOINTS_FILE: &str = "checkpoints";
/// The hashes of all records, 32 bytes each.
pub const LEAVES_FILE: &str = "leaves";
/// The public keys of witnesses, one a line.
pub const WITNESSES_FILE: &str = "witnesses";
/// Records in a file.
pub const RECORDS_PER_FILE: u64 = 100_000;
/// Longest record that is read, in bytes.
const RECORD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Hashes around a record that are looked at to say what is wrong with it, on each side.
const NEAR: u64 = 10_000;

/// Name of the file that begins with the record of this number.
pub fn records_file(first: u64) -> String {
    format!("records-{first:012}.ndjson")
}

/// The files of records in a directory: the number of the first record of each, in their order.
///
/// # Errors
/// When the directory cannot be read.
pub fn records_files(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("records-")?.strip_suffix(".ndjson"));
        firsts.extend(
            number.and_then(|number| number.parse::<u64>().ok()).filter(|first| *records_file(*first) == *name),
        );
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// The notes of a file of checkpoints; none where it is not such a file to the last byte.
pub fn split_notes(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&str> = text.strip_suffix('\n')?.split("\n\n").collect();
    let (pairs, rest) = parts.as_chunks::<2>();
    let notes = pairs.iter().map(|[text, signatures]| format!("{text}\n\n{signatures}\n"));
    rest.is_empty().then(|| notes.collect())
}

/// A file, or the name of the one that cannot be read.
pub(super) fn of_file<T>(file: &str, read: io::Result<T>) -> Result<T, VerifyError> {
    read.map_err(|source| VerifyError::File { file: file.to_owned(), source })
}

/// The exported hashes.
#[derive(Debug)]
pub(super) struct Leaves {
    file: BufReader<File>,
    read: u64,
}

impl Leaves {
    pub(super) fn open(dir: &Path) -> Result<Self, VerifyError> {
        let file = of_file(LEAVES_FILE, File::open(dir.join(LEAVES_FILE)))?;
        Ok(Self { file: BufReader::with_capacity(1 << 16, file), read: 0 })
    }

    /// The next hash.
    pub(super) fn next(&mut self) -> Result<Option<Hash>, VerifyError> {
        let mut hash = Hash::default();
        match self.file.read_exact(&mut hash) {
            Ok(()) => {
                self.read += 1;
                Ok(Some(hash))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => of_file(LEAVES_FILE, Err(error)),
        }
    }

    /// The number of the next hash, if there is any of it, whole or not.
    pub(super) fn end(&mut self) -> Result<Option<u64>, VerifyError> {
        let rest = of_file(LEAVES_FILE, self.file.fill_buf())?;
        Ok((!rest.is_empty()).then_some(self.read))
    }

    /// The hashes around a record, with the numbers of theirs. What is read next is undefined then.
    pub(super) fn near(&mut self, number: u64) -> Result<Vec<(u64, Hash)>, VerifyError> {
        let first = number.saturating_sub(NEAR);
        of_file(LEAVES_FILE, self.file.seek(SeekFrom::Start(first.saturating_mul(32))))?;
        let mut near = Vec::new();
        for number in first..number.saturating_add(NEAR) {
            let Some(hash) = self.next()? else { break };
            near.push((number, hash));
        }
        Ok(near)
    }
}

/// The exported records, file after file.
#[derive(Debug)]
pub(super) struct Lines {
    dir: PathBuf,
    /// First numbers of the files.
    files: Vec<u64>,
    /// The file that is read, and how many were begun.
    file: Option<BufReader<File>>,
    begun: usize,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(super) fn open(dir: &Path) -> Result<Self, VerifyError> {
        let files = of_file("the directory", records_files(dir))?;
        let number = files.first().copied().unwrap_or(u64::MAX);
        Ok(Self { dir: dir.to_owned(), files, file: None, begun: 0, line: Vec::new(), number })
    }

    /// The number of the first record that was not deleted.
    pub(super) fn first(&self) -> u64 {
        self.files.first().copied().unwrap_or(u64::MAX)
    }

    /// The next record, without its line break, and its number; none behind the last, or where the next file does not continue
    /// the one before.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, VerifyError> {
        loop {
            if self.file.is_none() {
                let Some(first) = self.files.get(self.begun).copied().filter(|first| *first == self.number) else {
                    return Ok(None);
                };
                let name = records_file(first);
                let file = of_file(&name, File::open(self.dir.join(&name)))?;
                (self.file, self.begun) = (Some(BufReader::with_capacity(1 << 18, file)), self.begun + 1);
            }
            let Some(file) = &mut self.file else { return Ok(None) };
            self.line.clear();
            let read = file.by_ref().take(RECORD_BYTES_MAX).read_until(b'\n', &mut self.line);
            if of_file("records", read)? == 0 {
                self.file = None;
                continue;
            }
            // A record without its line break is another than the one that was exported.
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
            } else {
                self.line.push(b' ');
            }
            let number = self.number;
            self.number += 1;
            return Ok(Some((number, &self.line)));
        }
    }

    /// What stands in the place behind this one. What is read next is undefined then.
    pub(super) fn behind(&mut self, number: u64) -> Result<Option<Vec<u8>>, VerifyError> {
        let mut again = Self::open(&self.dir)?;
        again.begun = again.files.iter().rposition(|first| *first <= number).unwrap_or_default();
        again.number = again.files.get(again.begun).copied().unwrap_or(u64::MAX);
        while let Some((at, line)) = again.next()? {
            if at == number + 1 {
                return Ok(Some(line.to_vec()));
            }
        }
        Ok(None)
    }
}
