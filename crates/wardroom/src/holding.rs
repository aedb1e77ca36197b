//! Legal holds: how they are opened.

use std::sync::Arc;

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
