//! What reached which device, and what was read: evidence for as long as the trail is kept.
//!
//! A device that received events in a window gets one row for each block of event numbers, with runs of numbers and when
//! they were received; what it had received before is left out. So an event costs a device a few bytes, once, and who
//! received an event stands in one range.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Hash16, Packed, Profile, Scan, Seal, Table};

use super::window::{ROWS, Row};
use crate::{AuditLog, Record, error::AuditError, log::Inner, origin::Who};

/// Events of one block: offsets within it fit into a byte.
const BLOCK_EVENTS: u64 = 256;
/// Domain of the keyed hashes of devices.
const DEVICE_DOMAIN: u8 = 0x81;
/// Domain of the keyed hashes of rooms and users.
const NAME_DOMAIN: u8 = 0x82;
/// How far behind it may be when a device last received something, a day in milliseconds.
pub(super) const SEEN_MS: u64 = 24 * 60 * 60 * 1_000;
/// Rows that are read at a time.
const ROWS_AT_ONCE: usize = 10_000;
/// Users of whom one answer tells when they read an event.
const READ_BY_MAX: usize = 10_000;

/// Events of a block that a device received in a window, as (block, device, window).
pub(crate) const RECEIVED: Table<(u64, Hash16, u64), Packed<Received>> =
    Table::new(0x0811, "audit_received", Profile::Scan, Seal::System);
/// Who a device is: user and device, and when it last received something, in milliseconds since 1970 (to a day).
pub(crate) const READERS: Table<Hash16, Packed<(String, Option<String>, u64)>> =
    Table::new(0x0812, "audit_readers", Profile::Point, Seal::System);
/// When somebody said to have read up to an event, as (room, user, thread, position and index of the event's place).
pub(crate) const READ_MARKS: Table<(u64, u64, u64, u64, u16), u64> =
    Table::new(0x0813, "audit_read_marks", Profile::Scan, Seal::System);

/// When somebody last read a room, in milliseconds since 1970, as (room, user).
pub(crate) const LAST_READS: Table<(Hash16, Hash16), u64> =
    Table::new(0x0814, "audit_last_reads", Profile::Point, Seal::System);

/// Events of one block that a device received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Received {
    /// When the first of them was received, in milliseconds since 1970.
    since_ms: u64,
    /// Runs: offset of the first event within the block, how many follow it, and how much later than the first of all.
    runs: Vec<(u8, u8, u64)>,
}

/// A device that received an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The user.
    pub user: String,
    /// The device; none where it is not known which.
    pub device: Option<String>,
    /// When the first answer with the event was ready, in milliseconds since 1970.
    pub at_ms: u64,
}

/// A public read receipt, as it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The room's number.
    pub room: u64,
    /// The user's number.
    pub user: u64,
    /// What part of the room it is about, as a number of the receipt's own kind.
    pub thread: u64,
    /// Where the event stands: position and index.
    pub place: (u64, u16),
}

impl AuditLog {
    /// Adds to the batch that moves a receipt that it was moved at this time.
    pub fn mark_read(&self, batch: &mut Batch, mark: ReadMark, at_ms: u64) {
        if self.inner().is_some() {
            let ReadMark { room, user, thread, place: (position, index) } = mark;
            batch.put(&READ_MARKS, &(room, user, thread, position, index), &at_ms);
        }
    }

    /// When users first said to have read an event or one behind it, in any of these threads: numbers of users, and
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_by(&self, room: u64, threads: &[u64], place: (u64, u16)) -> Result<Vec<(u64, u64)>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let (store, mut found) = (inner.store.latest(), Vec::new());
        let mut scan = Scan::prefix(&room).limit(1);
        while let Some((_, user, ..)) = store.scan_keys(&READ_MARKS, scan).await?.pop() {
            let mut first = None::<u64>;
            for thread in threads {
                // Receipts only move on: the first place is that of the first time.
                let behind =
                    Scan::prefix(&(room, user, *thread)).from(&(room, user, *thread, place.0, place.1)).limit(1);
                let mark = store.scan(&READ_MARKS, behind).await?.pop().map(|(_, at_ms)| at_ms);
                first = first.into_iter().chain(mark).min();
            }
            found.extend(first.map(|at_ms| (user, at_ms)));
            if found.len() >= READ_BY_MAX {
                break;
            }
            scan = Scan::prefix(&room).after(&(room, user, u64::MAX, u64::MAX, u16::MAX)).limit(1);
        }
        Ok(found)
    }

    /// When a user last read a room, in milliseconds since 1970; what is not five minutes old may not count yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn last_read(&self, room: &str, user: &str) -> Result<Option<u64>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(None) };
        Ok(inner.store.latest().get(&LAST_READS, &(inner.name_hash(room), inner.name_hash(user))).await?)
    }

    /// The devices that received the event with this number, each with the first time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliveries(&self, event: u64) -> Result<Vec<Delivery>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let mut found: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
        let mut note = |who: (String, Option<String>), at_ms: u64| {
            found.entry(who).and_modify(|first| *first = at_ms.min(*first)).or_insert(at_ms);
        };
        {
            // What is closed meanwhile would be seen neither here nor there.
            let _alone = inner.windows.turn.lock().await;
            for id in inner.windows.ids() {
                if let Some((who, at_ms)) = inner.received_in(id, event).await? {
                    note(who, at_ms);
                }
            }
        }
        for (device, at_ms) in inner.received_before(event).await? {
            if let Some(Packed((user, device, _))) = inner.store.latest().get(&READERS, &device).await? {
                note((user, device), at_ms);
            }
        }
        Ok(found.into_iter().map(|((user, device), at_ms)| Delivery { user, device, at_ms }).collect())
    }
}

impl Inner {
    /// Who received an event in a window that is open.
    async fn received_in(&self, id: u64, event: u64) -> Result<Option<((String, Option<String>), u64)>, AuditError> {
        let rows = self.store.latest().scan(&ROWS, Scan::prefix(&id)).await?;
        let first = rows.iter().find(|(_, Packed(row))| row.events.binary_search(&event).is_ok());
        let Some((_, Packed(Row { at_ms, .. }))) = first else { return Ok(None) };
        let head = rows.iter().find_map(|(_, Packed(row))| row.head.as_deref());
        let head = head.and_then(|head| serde_json::from_str::<Record>(head).ok());
        Ok(head.and_then(|head| Some(((head.who.user?, head.who.device), *at_ms))))
    }

    /// Which devices received an event in windows that were closed.
    async fn received_before(&self, event: u64) -> Result<Vec<(Hash16, u64)>, AuditError> {
        let (block, offset) = place_of(event);
        let (mut found, mut scan) = (Vec::new(), Scan::prefix(&block).limit(ROWS_AT_ONCE));
        loop {
            let rows = self.store.latest().scan(&RECEIVED, scan).await?;
            let last = rows.last().filter(|_| rows.len() == ROWS_AT_ONCE).map(|(key, _)| *key);
            for ((_, device, _), Packed(received)) in rows {
                found.extend(received.at(offset).map(|at_ms| (device, at_ms)));
            }
            let Some(last) = last else { return Ok(found) };
            scan = Scan::prefix(&block).after(&last).limit(ROWS_AT_ONCE);
        }
    }

    fn name_hash(&self, name: &str) -> Hash16 {
        self.store.keyed_hash(NAME_DOMAIN, name.as_bytes())
    }

    /// Adds what a window brought to a device for the first time, and when that was.
    pub(super) async fn add_evidence<'a>(
        &self,
        batch: &mut Batch,
        window: u64,
        (who, room): (&Who, Option<&str>),
        rows: impl Iterator<Item = &'a Row> + Clone,
    ) -> Result<(), AuditError> {
        let Some(user) = &who.user else { return Ok(()) };
        if let (Some(room), Some(until_ms)) = (room, rows.clone().map(|row| row.at_ms).max()) {
            batch.put(&LAST_READS, &(self.name_hash(room), self.name_hash(user)), &until_ms);
        }
        let mut blocks: BTreeMap<u64, BTreeMap<u8, u64>> = BTreeMap::new();
        for row in rows {
            for event in &row.events {
                let (block, offset) = place_of(*event);
                blocks.entry(block).or_default().entry(offset).or_insert(row.at_ms);
            }
        }
        if blocks.is_empty() {
            return Ok(());
        }
        let named = format!("{user}\0{}", who.device.as_deref().unwrap_or_default());
        let device = self.store.keyed_hash(DEVICE_DOMAIN, named.as_bytes());
        let seen_ms = blocks.values().flat_map(BTreeMap::values).copied().max().unwrap_or_default();
        let known = self.store.latest().get(&READERS, &device).await?;
        if known.is_none_or(|Packed((_, _, known_ms))| known_ms.saturating_add(SEEN_MS) <= seen_ms) {
            batch.put(&READERS, &device, &Packed((user.clone(), who.device.clone(), seen_ms)));
        }
        for (block, mut events) in blocks {
            for (_, Packed(known)) in self.store.latest().scan(&RECEIVED, Scan::prefix(&(block, device))).await? {
                events.retain(|offset, _| known.at(*offset).is_none());
            }
            if !events.is_empty() {
                batch.put(&RECEIVED, &(block, device, window), &Packed(Received::of(&events)));
            }
        }
        Ok(())
    }
}

/// The block of an event, and its place there.
fn place_of(event: u64) -> (u64, u8) {
    (event / BLOCK_EVENTS, u8::try_from(event % BLOCK_EVENTS).unwrap_or(u8::MAX))
}

impl Received {
    fn of(events: &BTreeMap<u8, u64>) -> Self {
        let since_ms = events.values().copied().min().unwrap_or_default();
        let mut runs: Vec<(u8, u8, u64)> = Vec::new();
        for (offset, at_ms) in events {
            let later = at_ms.saturating_sub(since_ms);
            match runs.last_mut() {
                Some((first, more, then))
                    if *then == later && first.saturating_add(*more).checked_add(1) == Some(*offset) =>
                {
                    *more += 1;
                }
                _ => runs.push((*offset, 0, later)),
            }
        }
        Self { since_ms, runs }
    }

    /// When the last of them was received.
    pub(super) fn last_ms(&self) -> u64 {
        let later = self.runs.iter().map(|(.., later)| *later).max().unwrap_or_default();
        self.since_ms.saturating_add(later)
    }

    /// When the event with this offset was received.
    fn at(&self, offset: u8) -> Option<u64> {
        let run = self.runs.iter().find(|(first, more, _)| (*first..=first.saturating_add(*more)).contains(&offset));
        run.map(|(.., later)| self.since_ms.saturating_add(*later))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Received;

    proptest! {
        #[test]
        fn what_was_received_is_found_again(events in prop::collection::btree_map(any::<u8>(), 5_u64..9, 0..256)) {
            let received = Received::of(&events);
            for offset in 0..=u8::MAX {
                prop_assert_eq!(received.at(offset), events.get(&offset).copied());
            }
        }
    }

    #[test]
    fn what_came_together_is_one_run() {
        let events: BTreeMap<u8, u64> = (0..=u8::MAX).map(|offset| (offset, 7)).collect();
        assert_eq!(Received::of(&events).runs, [(0, 255, 0)]);
    }
}
