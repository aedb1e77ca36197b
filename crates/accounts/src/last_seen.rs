//! When and from where devices were seen: noted at most every few minutes per device, many devices in one commit, and
//! never waited for by a request.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use wardroom_store::{Batch, Packed, ReadError};

use crate::{
    AccountError, Accounts, Inner, Session, UserNid,
    tables::{DEVICES, DEVICES_SEEN, DeviceKey, DeviceRow, SeenRow, TokenPair},
};

/// A device is noted again after this time at the earliest.
const SEEN_INTERVAL_MS: u64 = 5 * 60 * 1_000;
/// Notes are collected for this long before they are written together.
const SEEN_COLLECT: Duration = Duration::from_secs(10);
/// Notes that wait to be written; beyond that a device is noted at its next interval.
const SEEN_PENDING_MAX: usize = 20_000;
/// Devices written in one commit.
const SEEN_PER_COMMIT: usize = 1_000;

/// Notes that are not in the store yet.
#[derive(Default)]
pub(crate) struct LastSeen(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    seen: HashMap<DeviceKey, SeenRow>,
    /// A task will write them.
    scheduled: bool,
}

impl LastSeen {
    /// What is known about the device beyond the store.
    pub(crate) fn pending(&self, key: &DeviceKey) -> Option<SeenRow> {
        self.0.lock().seen.get(key).cloned()
    }
}

impl Accounts {
    /// Notes that a client asked for something now: because somebody `uses` it, or by itself. Costs two atomic
    /// operations when it was noted recently.
    pub fn note_seen(&self, session: &Session, ip: Option<IpAddr>, uses: bool) {
        let now_ms = self.now_ms();
        if uses {
            session.used_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
        let noted_ms = session.noted_seen_ms.load(Ordering::Relaxed);
        // After a restart only what was noted is known: of short times of idleness more has to be.
        let idle_ms = self.0.settings.tokens.idle_ms;
        let interval_ms = idle_ms.map_or(SEEN_INTERVAL_MS, |idle_ms| SEEN_INTERVAL_MS.min(idle_ms / 4));
        if noted_ms != 0 && now_ms.saturating_sub(noted_ms) < interval_ms {
            return;
        }
        session.noted_seen_ms.store(now_ms.max(1), Ordering::Relaxed);
        let mut pending = self.0.last_seen.0.lock();
        if pending.seen.len() >= SEEN_PENDING_MAX {
            return;
        }
        let used_ms = session.used_ms.load(Ordering::Relaxed);
        pending.seen.insert(session.device_key, SeenRow { at_ms: now_ms, ip, used_ms });
        if !pending.scheduled
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            pending.scheduled = true;
            // Weak: a waiting note does not keep a stopped server's store open.
            runtime.spawn(write_later(Arc::downgrade(&self.0)));
        }
    }

    /// When somebody used a device last, in milliseconds since the epoch.
    pub(crate) async fn used_ms(&self, key: &DeviceKey, device: &DeviceRow) -> Result<u64, ReadError> {
        if self.0.settings.tokens.idle_ms.is_none() {
            return Ok(device.signed_in_ms);
        }
        let noted = match self.0.last_seen.pending(key) {
            Some(seen) => Some(seen),
            None => self.0.store.latest().get(&DEVICES_SEEN, key).await?.map(|Packed(seen)| seen),
        };
        let of_pair = |pair: &TokenPair| Some(self.0.sessions.get(&pair.access)?.used_ms.load(Ordering::Relaxed));
        let in_memory = device.pairs().filter_map(of_pair).max();
        let noted_ms = noted.map_or(0, |seen| seen.used_ms);
        Ok(device.signed_in_ms.max(noted_ms).max(in_memory.unwrap_or(0)))
    }

    /// Writes what was noted. To be called when the server stops; otherwise it happens by itself.
    ///
    /// # Errors
    /// When the store fails; the notes are lost then, which only makes "last seen" older.
    pub async fn flush_seen(&self) -> Result<(), AccountError> {
        let seen: Vec<(DeviceKey, SeenRow)> = {
            let mut pending = self.0.last_seen.0.lock();
            pending.scheduled = false;
            pending.seen.drain().collect()
        };
        for chunk in seen.chunks(SEEN_PER_COMMIT) {
            let keys: Vec<DeviceKey> = chunk.iter().map(|(key, _)| *key).collect();
            let devices = self.0.store.latest().multi_get(&DEVICES, &keys).await?;
            let mut batch = Batch::default();
            for ((key, row), device) in chunk.iter().zip(devices) {
                // A device deleted meanwhile leaves no trace. One deleted at this very moment leaves a row that nobody
                // reads until a device of the same id overwrites it.
                if device.is_some() {
                    let person = self.person_key(UserNid::new(key.0)).await?;
                    batch.put_sealed(&DEVICES_SEEN, key, &Packed(row.clone()), &person);
                }
            }
            if !batch.is_empty() {
                self.0.store.commit(batch).await?;
            }
        }
        Ok(())
    }
}

async fn write_later(inner: Weak<Inner>) {
    tokio::time::sleep(SEEN_COLLECT).await;
    if let Some(inner) = inner.upgrade()
        && let Err(error) = Accounts(inner).flush_seen().await
    {
        tracing::warn!(%error, "could not note when devices were last seen");
    }
}
