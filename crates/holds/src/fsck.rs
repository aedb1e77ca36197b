//! Checking the holds of a store: each row, the index of those in force, and the journal beside the keys.

use wardroom_store::{Json, Scan, Store};

use crate::{
    error::HoldError,
    hold::{Hold, HoldId},
    journal::{progress, read},
    tables::{HOLDS, HoldKey, IN_FORCE},
};

/// Rows read at a time.
const ROWS_PER_PAGE: usize = 1_000;

/// What a check of the holds found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldsReport {
    /// Holds that were ever set.
    pub holds: u64,
    /// Those of them that are in force.
    pub in_force: u64,
    /// Those of which the journal knows more or less than the store, as after a crash or a restore: the next start brings the
    /// two together.
    pub waiting: u64,
    /// What does not agree, in words that name holds by their ids only.
    pub problems: Vec<String>,
}

/// Reads every hold and compares what is written twice. Changes nothing.
///
/// # Errors
/// Where the store cannot be read at all; rows that cannot be read are problems of the report.
pub async fn fsck(store: &Store) -> Result<HoldsReport, HoldError> {
    let mut report = HoldsReport::default();
    let mut journal = match read(store).await {
        Ok(journal) => Some(journal),
        Err(error) => {
            report.problems.push(format!("the journal of holds beside the keys: {error}"));
            None
        }
    };
    for key in keys(store, false).await? {
        report.holds += 1;
        let id = HoldId::of_key(key);
        let hold = match store.latest().get(&HOLDS, &key).await {
            Ok(Some(Json(hold))) if hold.id == id => hold,
            Ok(_) | Err(_) => {
                report.problems.push(format!("hold {id}: its row cannot be read"));
                continue;
            }
        };
        let in_force = store.latest().get(&IN_FORCE, &key).await?.is_some();
        report.in_force += u64::from(in_force);
        if in_force == hold.released_ts.is_some() {
            let what =
                if in_force { "was released, and is among those in force" } else { "is not among those in force" };
            report.problems.push(format!("hold {id} {what}"));
        }
        match journal.as_mut().map(|journal| journal.remove(&id)) {
            Some(Some(noted)) if terms(&noted) != terms(&hold) => {
                report.problems.push(format!("hold {id}: the journal beside the keys has another one"));
            }
            Some(Some(noted)) => report.waiting += u64::from(progress(&noted) != progress(&hold)),
            Some(None) => report.waiting += 1,
            None => {}
        }
    }
    report.waiting += journal.map_or(0, |journal| journal.len() as u64);
    for key in keys(store, true).await? {
        if store.latest().scan_keys(&HOLDS, Scan::prefix(&key)).await?.is_empty() {
            report.problems.push(format!("hold {} is in force, and nothing is known of it", HoldId::of_key(key)));
        }
    }
    Ok(report)
}

/// What never changes of a hold.
fn terms(hold: &Hold) -> (&crate::Scope, &str, &str, &ruma::UserId, u64, Option<u64>) {
    (&hold.scope, &hold.reason, &hold.authority, &hold.created_by, hold.created_ts, hold.expires_ts)
}

async fn keys(store: &Store, in_force: bool) -> Result<Vec<HoldKey>, HoldError> {
    let (mut all, mut scan) = (Vec::new(), Scan::all().limit(ROWS_PER_PAGE));
    loop {
        let page = match in_force {
            true => store.latest().scan_keys(&IN_FORCE, scan).await?,
            false => store.latest().scan_keys(&HOLDS, scan).await?,
        };
        let Some(last) = page.last().copied() else { return Ok(all) };
        all.extend(page);
        scan = Scan::all().after(&last).limit(ROWS_PER_PAGE);
    }
}
