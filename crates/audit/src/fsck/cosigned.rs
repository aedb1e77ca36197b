//! Whether cosignatures are those of the checkpoints that they stand at.

use wardroom_store::{Packed, Scan, View};

use super::PROBLEMS_MAX;
use crate::{
    note::{Note, NoteKey},
    tables::CHECKPOINTS,
    witness::{COSIGNATURES, COSIGNERS},
};

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1_000;

/// Cosignatures that no key of their server made. Rows that cannot be read are named elsewhere.
pub(super) async fn problems(view: &View) -> Vec<String> {
    let cosigners = view.scan(&COSIGNERS, Scan::all()).await.unwrap_or_default();
    let keys = |server: &str| -> Vec<NoteKey> {
        let of = cosigners.iter().map(|(_, Packed(cosigner))| cosigner).filter(|cosigner| cosigner.server == server);
        let keys = of.flat_map(|cosigner| cosigner.past_keys.iter().chain(&cosigner.key));
        keys.filter_map(|key| NoteKey::parse(key).ok()).collect()
    };
    let (mut problems, mut after) = (Vec::new(), None);
    loop {
        let scan = after.map_or_else(Scan::all, |after| Scan::all().after(&after)).limit(ROWS_AT_ONCE);
        let rows = view.scan(&COSIGNATURES, scan).await.unwrap_or_default();
        after = rows.last().filter(|_| rows.len() == ROWS_AT_ONCE).map(|(key, _)| *key);
        for ((size, _), Packed(row)) in rows {
            let note = view.get(&CHECKPOINTS, &size).await.ok().flatten();
            let note = note.and_then(|note| Note::parse(&note).ok()).and_then(|mut note| {
                note.add(&row.line).ok()?;
                Some(note)
            });
            let good = note.is_some_and(|note| keys(&row.server).iter().any(|key| key.check(&note).is_ok()));
            if !good && problems.len() < PROBLEMS_MAX {
                problems.push(format!(
                    "what {} cosigned is not the checkpoint of the audit trail at {size} records",
                    row.server
                ));
            }
        }
        if after.is_none() {
            return problems;
        }
    }
}
