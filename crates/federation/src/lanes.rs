//! A few requests per server at the same time, so that a slow one does not take the places of the others.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Open = Arc<Mutex<HashMap<OwnedServerName, Arc<Semaphore>>>>;

/// Lanes, each there as long as somebody is in it or waits for it.
#[derive(Debug)]
pub(crate) struct Lanes {
    open: Open,
    wide: usize,
}

/// A place in a lane; free again when dropped.
#[derive(Debug)]
pub(crate) struct Lane {
    open: Open,
    server: OwnedServerName,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Lanes for so many requests each.
    pub(crate) fn new(wide: usize) -> Self {
        Self { open: Open::default(), wide }
    }

    /// Waits for a place in a server's lane.
    pub(crate) async fn enter(&self, server: &ServerName) -> Lane {
        let lane = {
            let mut open = self.open.lock();
            Arc::clone(open.entry(server.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.wide))))
        };
        // Made before waiting: who gives up waiting leaves no lane behind.
        let mut place = Lane { open: Arc::clone(&self.open), server: server.to_owned(), permit: None };
        // It is never closed.
        place.permit = lane.acquire_owned().await.ok();
        place
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut open = self.open.lock();
        // Who waits or has a place has a reference of its own, taken under this lock.
        if open.get(&self.server).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            open.remove(&self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ruma::server_name;

    use super::Lanes;

    #[tokio::test]
    async fn a_full_lane_holds_up_nobody_elsewhere_and_nothing_stays() {
        let lanes = Lanes::new(2);
        let (slow, fast) = (server_name!("slow.example"), server_name!("fast.example"));
        let taken = (lanes.enter(slow).await, lanes.enter(slow).await);
        let third = tokio::time::timeout(Duration::from_millis(10), lanes.enter(slow));
        assert!(third.await.is_err());
        drop(lanes.enter(fast).await);
        drop(taken.0);
        drop(lanes.enter(slow).await);
        drop(taken.1);
        assert!(lanes.open.lock().is_empty());
    }
}
