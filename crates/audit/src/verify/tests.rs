//! Directories in which something is changed.

use std::{fs, path::Path, sync::Arc};

use proptest::prelude::*;
use wardroom_clock::ManualClock;
use wardroom_store::{Batch, Catalogue, Store};

use super::{
    CHECKPOINTS_FILE, Cosigned, Fault, KEY_FILE, Known, LEAVES_FILE, Verified, VerifyError, WITNESSES_FILE,
    records_file, verify,
};
use crate::{Act, AuditLog, AuditSettings, KeyKind, Note, NoteSigner, Origin, Record, TABLES, log::PERIOD_MS};

const YEARS_MS: u64 = 6 * 366 * 24 * 60 * 60 * 1_000;

async fn add(log: &AuditLog, store: &Store, count: usize) {
    let mut batch = Batch::default();
    for number in 0..count {
        log.add(&mut batch, Record::by(Act::EventSend, Origin::default()).room("!r").event(format!("$e{number}")));
    }
    store.commit(batch).await.unwrap();
    log.catch_up().await.unwrap();
}

/// A directory of a trail of 1,300 records, cosigned, and of 40 that are deleted when `old`.
fn export(dir: &Path, old: bool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(2_000 * PERIOD_MS));
        let log = AuditLog::open(store.clone(), clock.clone(), AuditSettings::new("a.example")).await.unwrap();
        if old {
            add(&log, &store, 40).await;
            clock.advance_ms(YEARS_MS + PERIOD_MS);
        }
        add(&log, &store, 1_259).await;
        if old {
            assert_eq!(log.expire().await.unwrap(), 40);
        }
        log.end().await.unwrap();
        let (size, first) = log.extent().await.unwrap();
        let mut lines = Vec::new();
        while first + (lines.len() as u64) < size {
            let part = log.lines(first + lines.len() as u64, size, 1_000).await.unwrap();
            lines.extend(part.into_iter().map(|(_, line)| String::from_utf8(line.to_vec()).unwrap()));
        }
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        fs::write(dir.join(records_file(first)), text(&lines[..700])).unwrap();
        fs::write(dir.join(records_file(first + 700)), text(&lines[700..])).unwrap();
        fs::write(dir.join(LEAVES_FILE), log.leaves(0, usize::MAX).await.unwrap().concat()).unwrap();
        fs::write(dir.join(KEY_FILE), format!("{}\n", log.key().unwrap())).unwrap();
        let witness = NoteSigner::new("b.example/wardroom/witness".to_owned(), &[9; 32]);
        fs::write(dir.join(WITNESSES_FILE), format!("{}\n", witness.key().for_kind(KeyKind::Witness))).unwrap();
        let notes = log.checkpoints(None, 10).await.unwrap().into_iter().map(|(_, note)| {
            let mut note = Note::parse(&note).unwrap();
            note.add(&witness.cosign(&note.text, 5)).unwrap();
            note.to_string()
        });
        fs::write(dir.join(CHECKPOINTS_FILE), notes.collect::<Vec<_>>().join("\n")).unwrap();
        lines
    })
}

fn checked(dir: &Path) -> Result<Verified, VerifyError> {
    verify(dir, &Known::default())
}

fn number_of(result: Result<Verified, VerifyError>) -> (u64, Fault) {
    match result {
        Err(VerifyError::Record { number, fault }) => (number, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_as_it_was_exported_is_good() {
    for old in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let lines = export(dir.path(), old);
        let verified = checked(dir.path()).unwrap();
        assert_eq!(verified.deleted, if old { 40 } else { 0 });
        assert_eq!(verified.records, verified.deleted + lines.len() as u64);
        assert_eq!(
            (verified.checkpoints, verified.witnesses),
            (
                2,
                vec![Cosigned {
                    name: "b.example/wardroom/witness".to_owned(),
                    size: verified.records,
                    checkpoints: 2,
                    known: false
                }]
            )
        );
    }
}

#[test]
fn what_is_known_is_continued_or_not() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    export(dir.path(), false);
    export(other.path(), false);
    let key = fs::read_to_string(dir.path().join(KEY_FILE)).unwrap();
    let key = crate::NoteKey::parse(key.trim()).unwrap();
    let notes = fs::read_to_string(dir.path().join(CHECKPOINTS_FILE)).unwrap();
    let first = super::split_notes(&notes).unwrap().remove(0);
    let known = Known { key: Some(key), checkpoint: Some(first), witnesses: Vec::new() };
    assert_eq!(verify(dir.path(), &known).unwrap().checkpoints, 2);
    assert!(matches!(verify(other.path(), &known), Err(VerifyError::Key { .. })));
    assert!(matches!(verify(other.path(), &Known { key: None, ..known }), Err(VerifyError::Known(_))));
}

#[test]
fn witnesses_are_checked_against_the_keys_that_are_known() {
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), false);
    let witness =
        |seed| NoteSigner::new("b.example/wardroom/witness".to_owned(), &[seed; 32]).key().for_kind(KeyKind::Witness);
    let known = |seed| Known { witnesses: vec![witness(seed)], ..Known::default() };
    let verified = verify(dir.path(), &known(9)).unwrap();
    assert!(verified.witnesses[0].known);
    assert!(matches!(verify(dir.path(), &known(8)), Err(VerifyError::Key { file: WITNESSES_FILE, .. })));
    fs::remove_file(dir.path().join(WITNESSES_FILE)).unwrap();
    assert_eq!(verify(dir.path(), &known(9)).unwrap(), verified);
    assert!(matches!(checked(dir.path()), Err(VerifyError::Checkpoint { .. })));
    assert!(matches!(verify(dir.path(), &known(8)), Err(VerifyError::Checkpoint { .. })));
}

#[test]
fn the_first_bad_record_is_named_and_what_is_wrong_with_it() {
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = export(dir.path(), false);
        change(&mut lines);
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        fs::write(dir.path().join(records_file(0)), text(&lines[..700])).unwrap();
        fs::write(dir.path().join(records_file(700)), text(&lines[700..])).unwrap();
        number_of(checked(dir.path()))
    };
    assert_eq!(changed(&|lines| lines[3] = lines[3].replace("!r", "!s")), (3, Fault::Changed));
    assert_eq!(changed(&|lines| lines[1_200] = lines[1_200].replacen(':', ": ", 1)), (1_200, Fault::Form));
    assert_eq!(changed(&|lines| lines[5] = "{".to_owned()), (5, Fault::Json));
    assert_eq!(changed(&|lines| drop(lines.remove(900))), (900, Fault::Missing));
    assert_eq!(changed(&|lines| drop(lines.remove(999))), (999, Fault::Missing));
    assert_eq!(changed(&|lines| drop(lines.pop())), (1_259, Fault::Missing));
    assert_eq!(changed(&|lines| lines.swap(40, 41)), (40, Fault::Order));
    assert_eq!(changed(&|lines| lines.insert(40, "{}".to_owned())), (40, Fault::Added));
    assert_eq!(changed(&|lines| lines.push("{}".to_owned())), (1_260, Fault::Beyond));
}

#[test]
fn a_rewritten_log_needs_the_key() {
    // Records, hashes and tree agree with each other, but not with what was signed.
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    export(dir.path(), false);
    export(other.path(), false);
    for file in [records_file(0), records_file(700), LEAVES_FILE.to_owned()] {
        fs::copy(other.path().join(&file), dir.path().join(&file)).unwrap();
    }
    assert_eq!(number_of(checked(dir.path())), (0, Fault::Both));
    fs::copy(other.path().join(CHECKPOINTS_FILE), dir.path().join(CHECKPOINTS_FILE)).unwrap();
    assert!(matches!(checked(dir.path()), Err(VerifyError::Checkpoint { number: 0, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn a_flipped_bit_anywhere_is_found_and_named(file in 0..6_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8, old: bool) {
        let dir = tempfile::tempdir().unwrap();
        let lines = export(dir.path(), old);
        let first = if old { 40 } else { 0 };
        let files = [records_file(first), records_file(first + 700), LEAVES_FILE.to_owned(), CHECKPOINTS_FILE.to_owned(), KEY_FILE.to_owned(), WITNESSES_FILE.to_owned()];
        let path = dir.path().join(&files[file]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        let number = match file {
            0 | 1 => bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + first + if file == 1 { 700 } else { 0 },
            _ => at as u64 / 32,
        };
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let result = checked(dir.path());
        match file {
            0 | 1 => prop_assert_eq!(number_of(result).0, number),
            // Of a deleted record there is nothing that could say which of the hashes was changed.
            2 if number < first => prop_assert_eq!(number_of(result), (0, Fault::Both)),
            2 => prop_assert_eq!(number_of(result), (number, Fault::Hash)),
            3 => prop_assert!(matches!(result, Err(VerifyError::Checkpoint { .. })), "{:?}", result),
            _ => prop_assert!(matches!(result, Err(VerifyError::Key { .. } | VerifyError::Checkpoint { .. } | VerifyError::File { .. })), "{:?}", result),
        }
        prop_assert!(!lines.is_empty());
    }
}
