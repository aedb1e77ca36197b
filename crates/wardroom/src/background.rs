//! Work that no request waits for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use wardroom_rooms::Rooms;
use wardroom_sync::Syncer;

/// How often what has expired is dropped.
const UPKEEP_PERIOD: Duration = Duration::from_secs(60 * 60);

/// Starts what runs as long as the server does.
pub(crate) fn start(rooms: &Rooms, sync: &Syncer, stopping: &CancellationToken) {
    tokio::spawn(stopping.clone().run_until_cancelled_owned(rooms.run_typing()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(rooms.run_delayed()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(sync.run_presence()));
    tokio::spawn(stopping.clone().run_until_cancelled_owned(upkeep(rooms.clone())));
}

async fn upkeep(rooms: Rooms) {
    let mut period = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        period.tick().await;
        if let Err(error) = rooms.forget_transactions().await {
            warn!(%error, "transaction ids of past days could not be dropped");
        }
        if let Err(error) = rooms.forget_delayed().await {
            warn!(%error, "what became of old delayed events could not be dropped");
        }
    }
}
