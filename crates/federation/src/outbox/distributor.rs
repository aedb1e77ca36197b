//! Takes over what the rooms want to be sent, into a queue for each server.

use std::{collections::HashMap, time::Duration};

use ruma::OwnedServerName;
use tokio::time::sleep;
use wardroom_rooms::{NS_SERVER, Place, WATCH_OUTGOING};
use wardroom_store::{Batch, Packed};

use super::{
    Inner,
    tables::{EVENTS, event_key},
};
use crate::FederationError;

/// Events that are read at once.
const ENTRIES_PER_READ: usize = 200;
/// Rows after which a batch is committed.
const ROWS_PER_COMMIT_MAX: usize = 5_000;
/// How long to wait after a failure of the store; doubled while it lasts.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(60);

impl Inner {
    /// Distributes for as long as it is polled.
    pub(super) async fn distribute(&self) {
        let mut outgoing = self.store.watches().waiter([WATCH_OUTGOING]);
        let mut cursor = Place::FIRST;
        let mut pause = FAILURE_PAUSE;
        loop {
            match self.take_over(&mut cursor).await {
                Ok(()) => {
                    pause = FAILURE_PAUSE;
                    tokio::select! {
                        () = outgoing.changed() => {}
                        () = self.distribution.notified() => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "events for other servers could not be queued; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(FAILURE_PAUSE_MAX);
                }
            }
        }
    }

    /// Takes over what there is. The cursor only says where nothing is left.
    pub(super) async fn take_over(&self, cursor: &mut Place) -> Result<(), FederationError> {
        loop {
            let page = self.source.outgoing(*cursor, self.store.position(), ENTRIES_PER_READ).await?;
            let full = page.len() == ENTRIES_PER_READ;
            let (mut batch, mut rows) = (Batch::default(), 0);
            let mut queued: HashMap<OwnedServerName, u64> = HashMap::new();
            for entry in &page {
                for server in entry.servers.iter().filter(|server| **server != self.server_name) {
                    let nid = self.store.interner().intern(&mut batch, NS_SERVER, server.as_str()).await?;
                    batch.put(&EVENTS, &event_key(nid, entry.place), &Packed((entry.room, entry.event)));
                    *queued.entry(server.clone()).or_default() += 1;
                    rows += 1;
                }
                self.source.taken_over(&mut batch, entry);
                let is_last = page.last() == Some(entry);
                if rows >= ROWS_PER_COMMIT_MAX || is_last {
                    self.store.commit(std::mem::take(&mut batch)).await?;
                    *cursor = entry.place.next();
                    let now_ms = self.clock.now_ms();
                    for (server, events) in queued.drain() {
                        self.lanes.added(&server, events, 0, now_ms);
                    }
                    rows = 0;
                }
            }
            if !full {
                return Ok(());
            }
        }
    }
}
