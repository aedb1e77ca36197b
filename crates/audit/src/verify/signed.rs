//! The checkpoints of an export: their signatures, their chain, and what each says of the tree.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    CHECKPOINTS_FILE, Cosigned, Fault, KEY_FILE, Known, VerifyError, WITNESSES_FILE,
    files::{of_file, split_notes},
};
use crate::{Checkpoint, KeyKind, Note, NoteKey, tree::Hash};

/// What the tree must be at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// Which checkpoint says so; none where it is the one that is known.
    number: Option<usize>,
}

impl Point {
    pub(super) fn wrong(&self, why: &'static str) -> VerifyError {
        match self.number {
            Some(number) => VerifyError::Checkpoint { number, why },
            None => VerifyError::Known(why),
        }
    }

    /// The records since `from`, and all of their hashes, are others than the checkpoint's.
    pub(super) fn foreign(&self, from: u64) -> VerifyError {
        match self.number {
            Some(_) => VerifyError::Record { number: from, fault: Fault::Both },
            None => VerifyError::Known("it has another root at that size"),
        }
    }
}

/// What is signed.
pub(super) struct Signed {
    pub(super) key: NoteKey,
    pub(super) points: Vec<Point>,
    pub(super) count: u64,
    pub(super) witnesses: Vec<Cosigned>,
}

fn text(dir: &Path, file: &'static str) -> Result<String, VerifyError> {
    let bytes = of_file(file, fs::read(dir.join(file)))?;
    // What is no text has no signature either: it is named where it stands.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn key_line(file: &'static str, line: &str) -> Result<NoteKey, VerifyError> {
    NoteKey::parse(line).map_err(|_| VerifyError::Key { file, why: "there is no public key in it" })
}

/// The log's key.
fn key(dir: &Path, known: &Known) -> Result<NoteKey, VerifyError> {
    let wrong = |why| VerifyError::Key { file: KEY_FILE, why };
    let text = text(dir, KEY_FILE)?;
    let line = text.strip_suffix('\n').ok_or_else(|| wrong("there is no public key in it"))?;
    let key = key_line(KEY_FILE, line)?;
    match &known.key {
        Some(known) if *known != key => Err(wrong("it is not the key that is known")),
        _ if key.kind != KeyKind::Log => Err(wrong("it is the key of a witness")),
        _ => Ok(key),
    }
}

/// The keys of those who cosigned. Where keys of a name are known, others of that name are not believed.
fn witnesses(dir: &Path, known: &Known) -> Result<Vec<NoteKey>, VerifyError> {
    let mut keys = told_witnesses(dir)?;
    for key in &keys {
        if known.witnesses.iter().any(|other| other.name == key.name) && !known.witnesses.contains(key) {
            return Err(VerifyError::Key { file: WITNESSES_FILE, why: "it is not the key that is known" });
        }
    }
    keys.extend(known.witnesses.iter().filter(|key| !keys.contains(key)).cloned().collect::<Vec<_>>());
    Ok(keys)
}

fn told_witnesses(dir: &Path) -> Result<Vec<NoteKey>, VerifyError> {
    if !of_file(WITNESSES_FILE, dir.join(WITNESSES_FILE).try_exists())? {
        return Ok(Vec::new());
    }
    let wrong = |why| VerifyError::Key { file: WITNESSES_FILE, why };
    let text = text(dir, WITNESSES_FILE)?;
    let lines = text.strip_suffix('\n').ok_or_else(|| wrong("there is no public key in it"))?;
    let keys: Vec<NoteKey> = lines.split('\n').map(|line| key_line(WITNESSES_FILE, line)).collect::<Result<_, _>>()?;
    if keys.iter().all(|key| key.kind == KeyKind::Witness) { Ok(keys) } else { Err(wrong("it is the key of a log")) }
}

/// Reads and checks the checkpoints of a directory.
pub(super) fn points(dir: &Path, known: &Known) -> Result<Signed, VerifyError> {
    let key = key(dir, known)?;
    let witnesses = witnesses(dir, known)?;
    let wrong = |number, why| VerifyError::Checkpoint { number, why };
    let notes = split_notes(&text(dir, CHECKPOINTS_FILE)?).ok_or_else(|| wrong(0, "this is no file of checkpoints"))?;
    let (mut points, mut cosigned) = (Vec::<Point>::new(), BTreeMap::<String, Cosigned>::new());
    let mut previous = None;
    for (number, note) in notes.iter().enumerate() {
        let wrong = |why| wrong(number, why);
        let note = Note::parse(note).map_err(|_| wrong("this is no signed note"))?;
        let checkpoint = Checkpoint::checked(&note, &key).map_err(|_| wrong("the log's key did not sign it"))?;
        if checkpoint.previous != previous {
            return Err(wrong("it does not name the one before"));
        }
        if points.last().is_some_and(|last| last.size >= checkpoint.size) {
            return Err(wrong("it is not larger than the one before"));
        }
        let mut signers = vec![key.clone()];
        for witness in witnesses.iter().filter(|witness| note.names(witness)) {
            witness.check(&note).map_err(|_| wrong("the signature of a witness is wrong"))?;
            note_cosigned(&mut cosigned, witness, checkpoint.size, known);
            signers.push(witness.clone());
        }
        if !note.signed_only_by(&signers) {
            return Err(wrong("somebody signed it whose key is not known"));
        }
        previous = Some(checkpoint.hash());
        points.push(Point { size: checkpoint.size, root: checkpoint.root, number: Some(number) });
    }
    let count = points.len() as u64;
    if let Some(note) = &known.checkpoint {
        add_known(note, &key, &mut points)?;
    }
    Ok(Signed { key, points, count, witnesses: cosigned.into_values().collect() })
}

fn note_cosigned(cosigned: &mut BTreeMap<String, Cosigned>, by: &NoteKey, size: u64, known: &Known) {
    let first = || Cosigned { name: by.name.clone(), size, checkpoints: 0, known: known.witnesses.contains(by) };
    let entry = cosigned.entry(by.name.clone()).or_insert_with(first);
    (entry.size, entry.checkpoints) = (size, entry.checkpoints + 1);
}

/// Adds what the checkpoint that is known says.
fn add_known(note: &str, key: &NoteKey, points: &mut Vec<Point>) -> Result<(), VerifyError> {
    let note = Note::parse(note).map_err(|_| VerifyError::Known("this is no signed note"))?;
    let known = Checkpoint::checked(&note, key).map_err(|_| VerifyError::Known("the log's key did not sign it"))?;
    if points.last().is_none_or(|last| last.size < known.size) {
        return Err(VerifyError::Known("the log ends before it"));
    }
    let at = points.partition_point(|point| point.size < known.size);
    points.insert(at, Point { size: known.size, root: known.root, number: None });
    Ok(())
}
