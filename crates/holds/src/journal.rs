//! Holds beside the keys: what the store is told of them, so that a restore of an older copy of it loses none.
//!
//! A hold is written there before it is set in the store, a release after it was: what a crash parts leaves a hold more, never
//! one less. Where the two say different things of a hold, it is as far as the one says that is further.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wardroom_audit::{Act, AuditLog, Origin, Record, Who};
use wardroom_store::{Batch, Json, Scan, Store};

use crate::{
    error::HoldError,
    hold::{Hold, HoldId},
    service::{SERVICE, about},
    tables::{HOLDS, HoldKey, IN_FORCE},
};

/// Holds that are brought back in one commit, and read at a time.
const HOLDS_AT_ONCE: usize = 500;

/// What is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A hold, as it is from here on.
    Hold(Box<Hold>),
    /// This hold could not be set.
    NoHold(HoldId),
}

/// How far a hold is.
pub(crate) fn progress(hold: &Hold) -> u8 {
    match (hold.released_ts, &hold.release_requested_by) {
        (Some(_), _) => 2,
        (None, Some(_)) => 1,
        (None, None) => 0,
    }
}

/// Writes an entry, durably.
pub(crate) async fn write(store: &Store, entry: &Entry) -> Result<(), HoldError> {
    let json = serde_json::to_vec(entry).map_err(|_| HoldError::Damaged)?;
    Ok(store.keep(Bytes::from(json)).await?)
}

/// The holds of the journal, as far as they are.
pub(crate) async fn read(store: &Store) -> Result<BTreeMap<HoldId, Hold>, HoldError> {
    let mut holds: BTreeMap<HoldId, Hold> = BTreeMap::new();
    for entry in store.kept().await? {
        match serde_json::from_slice(&entry).map_err(|_| HoldError::Damaged)? {
            Entry::Hold(hold) => {
                let known = holds.get(&hold.id);
                if known.is_none_or(|known| progress(known) <= progress(&hold)) {
                    holds.insert(hold.id, *hold);
                }
            }
            Entry::NoHold(id) => drop(holds.remove(&id)),
        }
    }
    Ok(holds)
}

/// Brings holds and journal together. Each hold that was set or released since the copy of the store was made that is open
/// leaves a record; answers how many they were. For a store in which nobody deletes anything yet.
///
/// # Errors
/// When the store or the journal cannot be read or written.
pub async fn replay(store: &Store, audit: &AuditLog) -> Result<u64, HoldError> {
    let mut journal = read(store).await?;
    let mut scan = Scan::all().limit(HOLDS_AT_ONCE);
    let mut ahead = Vec::new();
    loop {
        let rows = store.latest().scan(&HOLDS, scan).await?;
        let Some((last, _)) = rows.last() else { break };
        scan = Scan::all().after(last).limit(HOLDS_AT_ONCE);
        for (_, Json(hold)) in rows {
            match journal.remove(&hold.id) {
                Some(noted) if progress(&noted) > progress(&hold) => ahead.push((Some(progress(&hold)), noted)),
                Some(noted) if progress(&noted) == progress(&hold) => {}
                // From before there was a journal, or a crash came before it was told.
                Some(_) | None => write(store, &Entry::Hold(Box::new(hold))).await?,
            }
        }
    }
    ahead.extend(journal.into_values().map(|hold| (None, hold)));
    let count = ahead.len() as u64;
    for page in ahead.chunks(HOLDS_AT_ONCE) {
        let mut batch = Batch::default();
        for (before, hold) in page {
            bring_back(&mut batch, audit, *before, hold);
        }
        store.commit(batch).await?;
    }
    if count > 0 {
        tracing::warn!(holds = count, "legal holds were set or released since the copy that was restored");
    }
    Ok(count)
}

fn bring_back(batch: &mut Batch, audit: &AuditLog, before: Option<u8>, hold: &Hold) {
    let key: HoldKey = hold.id.key();
    batch.put(&HOLDS, &key, &Json(hold.clone()));
    match hold.released_ts {
        None => batch.put(&IN_FORCE, &key, &()),
        Some(_) => batch.delete(&IN_FORCE, &key),
    }
    let note = |batch: &mut Batch, act, why: String| {
        let who = Who { service: Some(SERVICE.to_owned()), ..Who::default() };
        let record = Record::by(act, Origin { who, request: None });
        audit.add(batch, about(record, hold).detail("restored").why(why));
    };
    if before.is_none() {
        note(batch, Act::HoldSet, format!("{}: {}", hold.authority, hold.reason));
    }
    if progress(hold) > before.unwrap_or_default() {
        note(batch, Act::HoldRelease, hold.release_reason.clone().unwrap_or_default());
    }
}
