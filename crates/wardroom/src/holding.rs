//! Legal holds: how they are opened, and what ends them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_holds::{HoldError, HoldSettings, Holds};
use wardroom_store::Store;

use crate::config::Config;

/// The holds as the configuration wants them.
pub(crate) async fn open(
    config: &Config,
    store: &Store,
    clock: &SharedClock,
    audit: &AuditLog,
) -> Result<Holds, HoldError> {
    let settings = HoldSettings { release_needs_two: config.retention.hold_release_needs_two };
    Holds::open(store.clone(), Arc::clone(clock), audit.clone(), settings).await
}

/// Starts what ends holds whose time is over.
pub(crate) fn start(holds: &Holds, stopping: &CancellationToken) {
    tokio::spawn(stopping.clone().run_until_cancelled_owned(holds.clone().run()));
}
