//! Whether every row can be read: a value that was altered is none, and is named by its table.

use wardroom_store::{Key, Scan, Table, Value, View};

use super::PROBLEMS_MAX;
use crate::{
    reads::{LAST_READS, READ_MARKS, READERS, RECEIVED, ROWS, SWEPT},
    tables::{CHECKPOINTS, HOURS, INDEX, KEY, NUMBERED, PERIODS, STATE},
    witness::{COSIGNATURES, COSIGNERS, EVIDENCE, WATCHED, WITNESS_KEY},
};

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1_000;

/// Rows that cannot be read, of every table but those of records and their hashes, which are looked at one by one anyway.
pub(super) async fn problems(view: &View) -> Vec<String> {
    let mut problems = Vec::new();
    of(view, &NUMBERED, &mut problems).await;
    of(view, &STATE, &mut problems).await;
    of(view, &CHECKPOINTS, &mut problems).await;
    of(view, &KEY, &mut problems).await;
    of(view, &INDEX, &mut problems).await;
    of(view, &HOURS, &mut problems).await;
    of(view, &PERIODS, &mut problems).await;
    of(view, &ROWS, &mut problems).await;
    of(view, &RECEIVED, &mut problems).await;
    of(view, &READERS, &mut problems).await;
    of(view, &READ_MARKS, &mut problems).await;
    of(view, &LAST_READS, &mut problems).await;
    of(view, &SWEPT, &mut problems).await;
    of(view, &WITNESS_KEY, &mut problems).await;
    of(view, &WATCHED, &mut problems).await;
    of(view, &EVIDENCE, &mut problems).await;
    of(view, &COSIGNERS, &mut problems).await;
    of(view, &COSIGNATURES, &mut problems).await;
    problems
}

async fn of<K: Key + Clone, V: Value>(view: &View, table: &Table<K, V>, problems: &mut Vec<String>) {
    let (mut after, mut row) = (None::<K>, 0_u64);
    let name = table.spec().name;
    loop {
        let scan = || after.as_ref().map_or_else(Scan::all, |after| Scan::all().after(after)).limit(ROWS_AT_ONCE);
        let Ok(keys) = view.scan_keys(table, scan()).await else {
            problems.push(format!("the rows of {name} cannot be listed"));
            return;
        };
        if view.scan(table, scan()).await.is_err() {
            for (at, key) in keys.iter().enumerate() {
                if problems.len() < PROBLEMS_MAX && view.get(table, key).await.is_err() {
                    problems.push(format!("row {} of {name} was altered or cannot be read", row + at as u64));
                }
            }
        }
        row += keys.len() as u64;
        match keys.last() {
            Some(last) if keys.len() == ROWS_AT_ONCE => after = Some(last.clone()),
            _ => return,
        }
    }
}
