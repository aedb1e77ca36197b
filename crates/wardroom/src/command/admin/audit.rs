//! `wardroom admin audit`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use wardroom_audit::{
    Checkpoint, Note,
    verify::{
        CHECKPOINTS_FILE, KEY_FILE, LEAVES_FILE, RECORDS_PER_FILE, WITNESSES_FILE, records_file, records_files,
        split_notes,
    },
};

use super::{
    AdminError, Answer,
    client::{Ask, Server},
    shown::field,
};

/// Records that are asked for at once.
const RECORDS_AT_ONCE: u64 = 10_000;
/// Checkpoints that are asked for again at the next export: witnesses cosign the newest ones.
const COSIGNED_LATE_MAX: usize = 100;
/// Bytes of a hash.
const HASH_BYTES: u64 = 32;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Writes the audit records that are covered by a checkpoint into a directory, and what proves them; goes on where it
    /// stopped.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The directory; made if it is not there.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// A path of the trail's API.
fn ask(of: &'static str) -> Ask<'static> {
    Ask::get(&["_wardroom", "admin", "v1", "audit", of])
}

impl AuditCommand {
    pub(super) async fn run(&self, server: &Server) -> Result<Answer, AdminError> {
        let Self::Export(Export { dir }) = self;
        fs::create_dir_all(dir).map_err(|error| AdminError::usage(format!("{}: {error}", dir.display())))?;
        let (size, first) = checkpoints(server, dir).await?;
        leaves(server, dir, size).await?;
        let records = records(server, dir, first, size).await?;
        let sentence = format!("{size} records are in {}, {records} of them new.", dir.display());
        Ok(Answer::sentence(&sentence, json!({ "records": size, "new": records })))
    }
}

fn lost<T>(result: io::Result<T>) -> Result<T, AdminError> {
    result.map_err(AdminError::Lost)
}

fn odd(what: &str) -> AdminError {
    AdminError::Refused(format!("the server answers {what}"))
}

/// A file at whose end something is added.
fn appended(path: &Path) -> Result<File, AdminError> {
    lost(OpenOptions::new().create(true).append(true).open(path))
}

/// The size that a checkpoint is of.
fn size_of(note: &str) -> Option<u64> {
    Checkpoint::of_text(&Note::parse(note).ok()?.text).ok().map(|checkpoint| checkpoint.size)
}

/// Writes the keys of the log and of those who cosigned, which are asked for behind what they signed.
async fn keys(server: &Server, dir: &Path) -> Result<(), AdminError> {
    let answer = server.ask(ask("key")).await?;
    lost(fs::write(dir.join(KEY_FILE), format!("{}\n", field(&answer, "key"))))?;
    let witnesses = answer.get("witnesses").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let witnesses: String = witnesses.map(|key| format!("{key}\n")).collect();
    if witnesses.is_empty() { Ok(()) } else { lost(fs::write(dir.join(WITNESSES_FILE), witnesses)) }
}

/// Writes the keys and the checkpoints that are not there yet; the size of the newest, and the first record that is kept.
async fn checkpoints(server: &Server, dir: &Path) -> Result<(u64, u64), AdminError> {
    let path = dir.join(CHECKPOINTS_FILE);
    let written = if path.exists() { lost(fs::read_to_string(&path))? } else { String::new() };
    let mut notes = split_notes(&written).ok_or_else(|| {
        AdminError::usage(format!("{}: is no file of checkpoints; begin with an empty directory", path.display()))
    })?;
    // The newest ones may have been cosigned since they were written.
    notes.truncate(notes.len().saturating_sub(COSIGNED_LATE_MAX));
    let mut size = notes.last().and_then(|note| size_of(note)).unwrap_or_default();
    loop {
        let page = ask("checkpoints").with("after", size.to_string()).with("limit", "1000");
        let page = server.ask(page).await?;
        let found = page.get("checkpoints").and_then(Value::as_array).cloned().unwrap_or_default();
        for note in found.iter().filter_map(Value::as_str) {
            size = size_of(note).filter(|newer| *newer > size).ok_or_else(|| odd("a wrong checkpoint"))?;
            notes.push(note.to_owned());
        }
        if page.get("next").is_none_or(Value::is_null) || found.is_empty() {
            keys(server, dir).await?;
            // In place of the old file only when it is whole.
            let part = dir.join(".checkpoints.part");
            lost(fs::write(&part, notes.join("\n")))?;
            lost(fs::rename(&part, &path))?;
            let first = page.get("first_record").and_then(Value::as_u64).unwrap_or_default();
            return Ok((size, first));
        }
    }
}

/// Writes the hashes that are not there yet.
async fn leaves(server: &Server, dir: &Path, size: u64) -> Result<(), AdminError> {
    let mut file = appended(&dir.join(LEAVES_FILE))?;
    let bytes = lost(file.metadata())?.len();
    let mut written = bytes / HASH_BYTES;
    // Half a hash is left of an export that was interrupted.
    lost(file.set_len(written * HASH_BYTES))?;
    while written < size {
        let limit = (size - written).min(RECORDS_AT_ONCE);
        let page = ask("leaves").with("from", written.to_string()).with("limit", limit.to_string());
        let hashes = server.bytes(page).await?;
        if hashes.len() as u64 != limit * HASH_BYTES {
            return Err(odd("with other hashes than were asked for"));
        }
        lost(file.write_all(&hashes))?;
        written += limit;
    }
    lost(file.sync_all())
}

/// Writes the records that are not there yet; how many.
async fn records(server: &Server, dir: &Path, first: u64, size: u64) -> Result<u64, AdminError> {
    let mut next = resume(dir)?.unwrap_or(first);
    let start = next;
    while next < size {
        let path = dir.join(records_file(file_of(dir, next)?));
        let mut file = appended(&path)?;
        let room = RECORDS_PER_FILE - next % RECORDS_PER_FILE;
        let limit = (size - next).min(RECORDS_AT_ONCE).min(room);
        let page = ask("log").with("from", next.to_string()).with("limit", limit.to_string());
        let lines = server.bytes(page).await?;
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        if count != limit || lines.last() != Some(&b'\n') {
            return Err(odd(
                "with other records than were asked for: some may have been deleted since the last export",
            ));
        }
        lost(file.write_all(&lines))?;
        lost(file.sync_data())?;
        next += limit;
    }
    Ok(next.saturating_sub(start))
}

/// The first number of the file that a record belongs to.
fn file_of(dir: &Path, number: u64) -> Result<u64, AdminError> {
    let whole = number / RECORDS_PER_FILE * RECORDS_PER_FILE;
    let last = lost(records_files(dir))?.last().copied();
    Ok(last.filter(|last| *last >= whole).unwrap_or(number))
}

/// The number behind the last record in a directory; none where there is none.
fn resume(dir: &Path) -> Result<Option<u64>, AdminError> {
    let Some(first) = lost(records_files(dir))?.last().copied() else { return Ok(None) };
    let path = dir.join(records_file(first));
    let mut file = BufReader::new(lost(File::open(&path))?);
    let (mut count, mut whole, mut line) = (0, 0, Vec::new());
    while lost(file.read_until(b'\n', &mut line))? > 0 {
        if line.last() == Some(&b'\n') {
            (count, whole) = (count + 1, whole + line.len() as u64);
        }
        line.clear();
    }
    // Half a record is left of an export that was interrupted.
    lost(appended(&path)?.set_len(whole))?;
    Ok(Some(first + count))
}
