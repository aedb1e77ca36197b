//! Reads and refusals: what comes again and again, and leaves one record for each five minutes.
//!
//! Who reads a room is asked about all the time, so reads are gathered in windows: one for each act, asker and object. What
//! somebody received for the first time within a window is a row of its own, durable before the answer leaves
//! ([`AuditLog::read`]); what was received before costs nothing. When the window is over, one batch takes its rows away and
//! writes the record and the evidence of what reached which device (`evidence`). Windows that were open when the server
//! died are closed when the trail is opened again.
//!
//! Rows of one window are numbered in memory; those of many who are answered at the same moment are one commit (`gather`).

mod closing;
mod evidence;
mod expiry;
mod gather;
mod window;

pub use self::evidence::{Delivery, ReadMark};
pub(crate) use self::{
    evidence::{LAST_READS, READ_MARKS, READERS, RECEIVED},
    expiry::SWEPT,
    gather::Gathering,
    window::{ROWS, Windows},
};

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use wardroom_store::{Batch, Packed};

use self::window::{OTHERS, Row, Unseen, Window};
use crate::{
    Act, AuditLog, Outcome, Record,
    error::AuditError,
    log::Inner,
    origin::{self, Origin},
};

/// One thing that was received: an event, as far as it has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight<'a> {
    /// The event's number.
    pub number: u64,
    /// The event's id.
    pub id: &'a str,
}

impl<'a> Sight<'a> {
    /// An event without a number: one that another server told of. It is no evidence of what a device received.
    pub fn unnumbered(id: &'a str) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Self { number: OTHERS | hasher.finish(), id }
    }
}

/// What an answer gives to whoever asked for it.
#[derive(Clone, Copy, Debug)]
pub struct ReadOf<'a> {
    /// [`Act::RoomRead`] or [`Act::MediaRead`].
    pub act: Act,
    /// The id of the room, or the `mxc` URI.
    pub object: &'a str,
    /// By which endpoint: a word of the product's own.
    pub endpoint: &'static str,
    /// Events of the answer, in its order.
    pub events: &'a [Sight<'a>],
    /// How much else is in it that has no id: members by name, the file itself.
    pub others: u64,
}

impl AuditLog {
    /// Records what the current request is about to receive, durably, unless the settings say that answers need not wait for
    /// that. Nothing is written where all of it was received in the same window before. Where it cannot be written and the settings say that work goes on, this succeeds.
    ///
    /// # Errors
    /// When it cannot be written, and without a record there is to be no answer.
    pub async fn read(&self, reads: &[ReadOf<'_>]) -> Result<(), AuditError> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let (batch, news) = origin::inspect(|origin| inner.note_reads(origin, reads));
        inner.settle_together(batch, news).await
    }

    /// As [`AuditLog::read`], for what goes to somebody outside of any request: a push to a device.
    ///
    /// # Errors
    /// As [`AuditLog::read`].
    pub async fn read_as(&self, origin: &Origin, reads: &[ReadOf<'_>]) -> Result<(), AuditError> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let (batch, news) = inner.note_reads(origin, reads);
        inner.settle_together(batch, news).await
    }

    /// Records that somebody was refused, durably and at once. The same again within five minutes is counted, and the count
    /// is a second record when they are over. After a crash it may be too low, by less than half.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub async fn denied(&self, record: Record) -> Result<(), AuditError> {
        self.repeated(record.outcome(Outcome::Serious)).await
    }

    /// As [`AuditLog::denied`], for whatever else anybody can make happen as often as they like: it is recorded at once, and
    /// the same again within five minutes is counted. The same is what differs in neither act, outcome, object nor user;
    /// where no user is known, nor address.
    ///
    /// # Errors
    /// As [`AuditLog::write`].
    pub async fn repeated(&self, record: Record) -> Result<(), AuditError> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let now_ms = inner.now_ms();
        let Some(window) = inner.windows.of_record(&record, now_ms) else { return self.write(record).await };
        let mut batch = Batch::default();
        let head = window.head();
        let mut row = Row { at_ms: now_ms, ..Row::default() };
        match &head {
            None => {
                let Some(count) = window.count_one(now_ms) else { return Ok(()) };
                row.count = count;
            }
            Some(_) => {
                inner.turn_key().await?;
                inner.add(&mut batch, record);
            }
        }
        row.head = head;
        batch.put(&ROWS, &(window.id, window.next_row()), &Packed(row));
        inner.settle(batch, vec![News { window, numbers: Vec::new() }]).await
    }
}

/// What becomes known of a window when its row is durable.
struct News {
    window: Arc<Window>,
    numbers: Vec<u64>,
}

impl Inner {
    /// The rows of what is new in these reads.
    fn note_reads(&self, origin: &Origin, reads: &[ReadOf<'_>]) -> (Batch, Vec<News>) {
        let (mut batch, mut news) = (Batch::default(), Vec::new());
        let at_ms = self.now_ms();
        for read in reads.iter().filter(|read| !read.events.is_empty() || read.others > 0) {
            let window = self.windows.of_read(origin, read, at_ms);
            let Unseen { numbers, others } = window.unseen(read, &self.windows);
            if numbers.is_empty() {
                continue;
            }
            let mut new = read.events.iter().filter(|event| numbers.binary_search(&event.number).is_ok());
            let first = new.next().map(|event| event.id.to_owned());
            let last = new.next_back().map(|event| event.id.to_owned()).or_else(|| first.clone());
            let count = numbers.len() - usize::from(others > 0);
            let count = u64::try_from(count).unwrap_or(u64::MAX).saturating_add(others);
            let events: Vec<u64> = numbers.iter().copied().filter(|number| *number < OTHERS).collect();
            let endpoint = read.endpoint.to_owned();
            let row = Row { head: window.head(), at_ms, endpoint, count, first, last, events };
            batch.put(&ROWS, &(window.id, window.next_row()), &Packed(row));
            news.push(News { window, numbers });
        }
        (batch, news)
    }

    /// Makes rows durable; then what they say is known.
    async fn settle(&self, batch: Batch, news: Vec<News>) -> Result<(), AuditError> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.store.commit(batch).await;
        if written.is_ok() {
            for News { window, numbers } in news {
                self.windows.remember(&window, numbers);
            }
        }
        self.or_go_on(written.map(drop).map_err(AuditError::from))
    }
}

#[cfg(test)]
mod tests;
