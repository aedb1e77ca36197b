//! The queues of pushers.

use wardroom_rooms::{Place, UserNid};
use wardroom_store::{Batch, Packed, Scan, Store};

use crate::{
    PushError,
    tables::{PusherNid, QUEUE, QueueRow, STATES, StateRow, queue_key},
};

/// Notifications that wait for one pusher. Of more, the newest are kept: after an outage nobody wants a storm.
pub(crate) const BACKLOG_KEPT: usize = 20;
/// From so many on, those beyond [`BACKLOG_KEPT`] are dropped also of a pusher that does not fail.
pub(crate) const BACKLOG_MAX: usize = 200;
/// Rows looked at in one turn of a pusher.
pub(crate) const ROWS_PER_TURN: usize = 1_000;

/// One thing in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) place: Place,
    pub(crate) row: QueueRow,
}

/// Reads and writes queues.
#[derive(Clone, Debug)]
pub(crate) struct Queue(pub(crate) Store);

impl Queue {
    /// What waits for a pusher, oldest first.
    pub(crate) async fn waiting(&self, pusher: PusherNid) -> Result<Vec<Queued>, PushError> {
        let rows = self.0.latest().scan(&QUEUE, Scan::prefix(&pusher).limit(ROWS_PER_TURN)).await?;
        let queued = rows
            .into_iter()
            .map(|((_, position, index), Packed(row))| Queued { place: Place::new(position, index), row });
        Ok(queued.collect())
    }

    /// How a pusher fares.
    pub(crate) async fn state(&self, pusher: PusherNid) -> Result<StateRow, PushError> {
        Ok(self.0.latest().get(&STATES, &pusher).await?.map(|Packed(row)| row).unwrap_or_default())
    }

    /// Drops all that is known of a pusher which is no more.
    pub(crate) async fn forget(&self, pusher: PusherNid) -> Result<(), PushError> {
        loop {
            let keys = self.0.latest().scan_keys(&QUEUE, Scan::prefix(&pusher).limit(ROWS_PER_TURN)).await?;
            let mut batch = Batch::default();
            keys.iter().for_each(|key| batch.delete(&QUEUE, key));
            if keys.len() < ROWS_PER_TURN {
                batch.delete(&STATES, &pusher);
                self.0.commit(batch).await?;
                return Ok(());
            }
            self.0.commit(batch).await?;
        }
    }

    /// Adds the removal of things that were told, or are not to be told any more, to a batch.
    pub(crate) fn remove(batch: &mut Batch, pusher: PusherNid, places: &[Place]) {
        places.iter().for_each(|place| batch.delete(&QUEUE, &queue_key(pusher, *place)));
    }

    /// Drops the oldest of a failing pusher's queue beyond what is kept.
    pub(crate) async fn shorten(&self, pusher: PusherNid) -> Result<(), PushError> {
        let newest = Scan::prefix(&pusher).reverse().limit(BACKLOG_KEPT);
        let newest = self.0.latest().scan_keys(&QUEUE, newest).await?;
        let Some(oldest_kept) = newest.last() else { return Ok(()) };
        let older = Scan::prefix(&pusher).before(oldest_kept).limit(ROWS_PER_TURN);
        let older = self.0.latest().scan_keys(&QUEUE, older).await?;
        let mut batch = Batch::default();
        older.iter().for_each(|key| batch.delete(&QUEUE, key));
        if !older.is_empty() {
            self.0.commit(batch).await?;
        }
        Ok(())
    }

    /// Every pusher that something waits for, with its user.
    pub(crate) async fn with_something(&self) -> Result<Vec<(PusherNid, UserNid)>, PushError> {
        let (mut found, mut scan) = (Vec::new(), Scan::all());
        while let Some(((pusher, ..), Packed(row))) = self.0.latest().scan(&QUEUE, scan.limit(1)).await?.pop() {
            found.push((pusher, row.user));
            let Some(next) = pusher.checked_add(1) else { break };
            scan = Scan::all().from(&next);
        }
        Ok(found)
    }

    /// Every pusher of which a state is kept.
    pub(crate) async fn with_state(&self) -> Result<Vec<PusherNid>, PushError> {
        let (mut found, mut scan) = (Vec::new(), Scan::all().limit(ROWS_PER_TURN));
        loop {
            let page = self.0.latest().scan_keys(&STATES, scan).await?;
            found.extend_from_slice(&page);
            match page.last() {
                Some(last) if page.len() == ROWS_PER_TURN => scan = Scan::all().after(last).limit(ROWS_PER_TURN),
                _ => return Ok(found),
            }
        }
    }
}
