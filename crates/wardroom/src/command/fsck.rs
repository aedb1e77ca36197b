//! `wardroom fsck`.

use std::fmt::Write as _;

use wardroom_clock::SystemClock;
use wardroom_holds::HoldsReport;
use wardroom_rooms::fsck;

use super::{ConfigFile, Failure, print, runtime};
use crate::wiring::{self, StoreUse};

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    runtime()?.block_on(async {
        let store = wiring::open_store(&config, &SystemClock, StoreUse::Existing).await?;
        let report = fsck(&store).await;
        let audit = wardroom_audit::fsck(&store, config.server_name.as_str()).await;
        let holds = wardroom_holds::fsck(&store).await;
        store.close().await;
        let (report, audit, holds) = (report?, audit?, holds?);
        print(&format!("{} rooms and {} events were checked.\n", report.rooms, report.events))?;
        print(&format!("{} audit records and {} checkpoints were checked.\n", audit.records, audit.checkpoints))?;
        let HoldsReport { holds, in_force, waiting, problems: of_holds } = holds;
        print(&format!("{holds} legal holds were checked, of which {in_force} are in force.\n"))?;
        if waiting > 0 {
            print(&format!("{waiting} legal holds are brought up to their journal at the next start.\n"))?;
        }
        let problems: Vec<String> = report.problems.into_iter().chain(audit.problems).chain(of_holds).collect();
        if problems.is_empty() {
            return Ok(());
        }
        let mut sentences = format!("{} problems were found:", problems.len());
        for problem in &problems {
            // Writing to a String does not fail.
            let _ = write!(sentences, "\n  {problem}");
        }
        Err(sentences.into())
    })
}
