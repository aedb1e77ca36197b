//! `wardroom fsck`.

use std::fmt::Write as _;

use wardroom_clock::SystemClock;
use wardroom_rooms::fsck;

use super::{ConfigFile, Failure, print, runtime};
use crate::wiring::{self, StoreUse};

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    runtime()?.block_on(async {
        let store = wiring::open_store(&config, &SystemClock, StoreUse::Existing).await?;
        let report = fsck(&store).await;
        store.close().await;
        let report = report?;
        print(&format!("{} rooms and {} events were checked.\n", report.rooms, report.events))?;
        if report.problems.is_empty() {
            return Ok(());
        }
        let mut sentences = format!("{} problems were found:", report.problems.len());
        for problem in &report.problems {
            // Writing to a String does not fail.
            let _ = write!(sentences, "\n  {problem}");
        }
        Err(sentences.into())
    })
}
