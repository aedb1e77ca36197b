//! A byte of a row of each table is altered on the disk.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use rocksdb::{DB, IteratorMode, Options as DbOptions};
use wardroom_clock::ManualClock;
use wardroom_store::{Batch, Catalogue, DATABASE_DIR, MasterKey, Options, Packed, Store};

use super::fsck;
use crate::{
    Act, AuditLog, AuditSettings, Looked, Origin, ReadMark, ReadOf, Record, Sight, TABLES, Who, log::PERIOD_MS,
    origin::scope, reads::SWEPT,
};

const SERVER: &str = "a.example";
/// The column families of a store.
const FAMILIES: [&str; 5] = ["default", "point", "scan", "churn", "blob"];

async fn open(dir: &Path) -> Store {
    let master = MasterKey::from_base64("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
    Store::open(dir, &master, Catalogue::new(&[TABLES]).unwrap(), Options::default()).await.unwrap()
}

/// A trail with rows in every table.
async fn fill(dir: &Path) {
    let store = open(dir).await;
    let clock = Arc::new(ManualClock::new(2_000 * PERIOD_MS));
    let log = AuditLog::open(store.clone(), clock.clone(), AuditSettings::new(SERVER)).await.unwrap();
    let who = Who { user: Some("@a:a.example".to_owned()), device: Some("D".to_owned()), ..Who::default() };
    let origin = Origin { who, request: None };
    let mut batch = Batch::default();
    for _ in 0..300 {
        log.add(&mut batch, Record::by(Act::EventSend, origin.clone()).room("!r"));
    }
    log.mark_read(&mut batch, ReadMark { room: 1, user: 1, thread: 0, place: (1, 0) }, 5);
    store.commit(batch).await.unwrap();
    for number in [1, 2] {
        let events = [Sight { number, id: "$e" }];
        let read = ReadOf { act: Act::RoomRead, object: "!r", endpoint: "sync", events: &events, others: 0 };
        scope(origin.clone(), log.read(&[read])).await.unwrap();
        if number == 1 {
            log.finish_windows().await.unwrap();
        }
    }
    log.catch_up().await.unwrap();
    log.inner().unwrap().checkpoint(true).await.unwrap();
    // Its own witness, which works as well as any, and sees it forked.
    let shown = log.show(None).await.unwrap().unwrap();
    let Looked::Cosigned(said) = log.look_at(SERVER, &shown, None).await.unwrap() else { panic!("it is new") };
    log.take_cosignature(SERVER, &said, None).await.unwrap();
    let other = crate::NoteSigner::new(crate::origin_of(SERVER), &[1; 32]);
    let shown = crate::Shown {
        key: other.key().to_string(),
        checkpoint: other.sign(said_text(&shown)).to_string(),
        proof: vec![],
    };
    assert!(matches!(log.look_at(SERVER, &shown, None).await.unwrap(), Looked::Faulty(_)));
    let mut batch = Batch::default();
    batch.put(&SWEPT, &(), &Packed(Default::default()));
    store.commit(batch).await.unwrap();
    store.close().await;
}

fn said_text(shown: &crate::Shown) -> String {
    crate::Note::parse(&shown.checkpoint).unwrap().text
}

fn database(dir: &Path) -> DB {
    DB::open_cf(&DbOptions::default(), dir.join(DATABASE_DIR), FAMILIES).unwrap()
}

/// The first row of each table of the trail: its column family and key.
fn rows(dir: &Path) -> BTreeMap<u16, (&'static str, Vec<u8>)> {
    let (db, mut rows) = (database(dir), BTreeMap::new());
    for family in FAMILIES {
        let handle = db.cf_handle(family).unwrap();
        for row in db.iterator_cf(handle, IteratorMode::Start) {
            let key = row.unwrap().0.to_vec();
            let table = u16::from_be_bytes([key[0], key[1]]);
            if TABLES.iter().any(|spec| spec.id == table) {
                rows.entry(table).or_insert((family, key));
            }
        }
    }
    rows
}

/// Changes the last byte of a row.
fn alter(dir: &Path, (family, key): &(&'static str, Vec<u8>)) {
    let db = database(dir);
    let handle = db.cf_handle(family).unwrap();
    let mut value = db.get_cf(handle, key).unwrap().unwrap();
    *value.last_mut().unwrap() ^= 1;
    db.put_cf(handle, key, value).unwrap();
}

#[tokio::test]
async fn a_flipped_byte_in_any_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).await;
    let rows = rows(dir.path());
    let missing: Vec<&str> = TABLES.iter().filter(|spec| !rows.contains_key(&spec.id)).map(|spec| spec.name).collect();
    assert_eq!(missing, Vec::<&str>::new(), "tables without a row");
    let check = async || {
        let store = open(dir.path()).await;
        let report = fsck(&store, SERVER).await.unwrap();
        store.close().await;
        report.problems
    };
    assert_eq!(check().await, Vec::<String>::new());
    for spec in TABLES {
        alter(dir.path(), &rows[&spec.id]);
        let problems = check().await;
        // Records and their hashes are named by the number of the record.
        let named = match spec.name {
            "audit_records" => "record 0 of the audit trail is missing or cannot be read".to_owned(),
            "audit_tiles" => "hashes of the audit trail from record 0 on cannot be read".to_owned(),
            name => format!("row 0 of {name} was altered or cannot be read"),
        };
        assert!(problems.contains(&named), "{}: {problems:?}", spec.name);
        alter(dir.path(), &rows[&spec.id]);
        assert_eq!(check().await, Vec::<String>::new(), "{}", spec.name);
    }
}
