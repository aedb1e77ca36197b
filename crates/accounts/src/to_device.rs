//! Messages to devices: section "Send-to-Device messaging".
//!
//! Each device has an inbox in the order of arrival, keyed by position. A sync tells what came behind its token; what is
//! not behind the token of a sync was delivered by an earlier one and is deleted. So each message is told until the
//! client has shown that it has it, and after that never again.

mod across_servers;
mod inbox_sizes;

use std::{collections::BTreeMap, fmt, sync::Arc};

use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use wardroom_store::{Batch, Packed, Position, Scan};

pub use self::across_servers::{OutgoingToDevice, WATCH_OUTGOING};
use self::inbox_sizes::InboxSize;
pub(crate) use self::{
    across_servers::{OUTGOING, RECEIVED},
    inbox_sizes::InboxSizes,
};
use crate::{
    AccountError, Accounts, DeviceRef, Session,
    device_lists::next,
    error::{CONFLICT_ROUNDS_MAX, settled},
    keys::tables::{INBOXES, TO_DEVICE_TRANSACTIONS},
    tables::{DEVICES, DeviceKey, domain},
};

/// Largest content of a message, in bytes of JSON; events of rooms may be as large.
pub const TO_DEVICE_CONTENT_BYTES_MAX: usize = 64 * 1_024;
/// Longest type of a message, in bytes.
pub const TO_DEVICE_TYPE_BYTES_MAX: usize = 255;
/// Bytes that one request may put into inboxes, `*` counted for each device.
pub const TO_DEVICE_REQUEST_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Messages that wait in one inbox. Beyond it the oldest are dropped: a device that was away for so long asks for the
/// keys it lacks, while one that loses the newest messages could not take part in what happens now.
pub const INBOX_MESSAGES_MAX: u64 = 10_000;
/// Bytes that wait in one inbox; beyond it the oldest messages are dropped.
pub const INBOX_BYTES_MAX: u64 = 32 * 1_024 * 1_024;

/// Messages that are dropped at a time, so that a full inbox is not trimmed for each new one.
const INBOX_TRIM_MESSAGES: usize = 500;
/// Messages that are looked at to measure an inbox: senders at the same moment may each add one beyond the limit.
const INBOX_SCAN_MAX: usize = 20_000;
/// Messages that are deleted at a time.
const FORGET_PAGE: usize = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Days, other than the present one, in which a transaction id is recognised.
const TRANSACTION_DAYS: u32 = 1;

/// Which devices of a user a message is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToDeviceTarget {
    /// All devices of the user that are not named beside it.
    AllDevices,
    /// This one.
    Device(OwnedDeviceId),
}

/// What one request sends: contents by user and device.
pub type ToDeviceMessages = BTreeMap<OwnedUserId, BTreeMap<ToDeviceTarget, Box<RawValue>>>;

/// A message that waits for a device.
#[derive(Clone)]
pub struct ToDeviceEvent {
    /// When it came. A device gets at most one message under a position.
    pub position: Position,
    /// `{"content":…,"sender":…,"type":…}`.
    pub json: Vec<u8>,
}

impl fmt::Debug for ToDeviceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToDeviceEvent").field("position", &self.position).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Event<'a> {
    content: &'a RawValue,
    sender: &'a UserId,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// A device that gets a message, with the version of its row.
struct Recipient {
    key: DeviceKey,
    version: Position,
    device: DeviceRef,
    json: Arc<Vec<u8>>,
}

impl Accounts {
    /// Sends messages from a device, all or none of them. With a transaction id that the device used before for this
    /// type, nothing is sent. Devices and users that do not exist are passed over, and so are those of other servers where
    /// this one speaks to none.
    ///
    /// # Errors
    /// [`AccountError::Limit`], [`AccountError::Invalid`] when a content is not an object, or the store's.
    pub async fn send_to_device(
        &self,
        sender: &Session,
        event_type: &str,
        transaction: &str,
        messages: &ToDeviceMessages,
    ) -> Result<(), AccountError> {
        check(event_type, messages)?;
        let name = format!("{}:{event_type}{transaction}", event_type.len());
        let name = [&sender.device_nid.to_be_bytes()[..], name.as_bytes()].concat();
        let hash = self.0.store.keyed_hash(domain::TO_DEVICE_TRANSACTION, &name);
        let today = self.today();
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let view = self.0.store.latest();
            for day in today.saturating_sub(TRANSACTION_DAYS)..=today {
                if view.get(&TO_DEVICE_TRANSACTIONS, &(day, hash)).await?.is_some() {
                    return Ok(());
                }
            }
            let mut batch = Batch::default();
            batch.expect_absent(&TO_DEVICE_TRANSACTIONS, &(today, hash));
            batch.put(&TO_DEVICE_TRANSACTIONS, &(today, hash), &());
            let recipients = self.recipients(&sender.user, event_type, messages).await?;
            self.deliver(&mut batch, &recipients).await?;
            self.send_away(&mut batch, &sender.user, event_type, messages)?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// What came for a device in (after, up_to], oldest first, at most `limit` messages.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn to_device_events(
        &self,
        device_nid: u64,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<ToDeviceEvent>, AccountError> {
        if up_to <= after {
            return Ok(Vec::new());
        }
        let scan = Scan::range(&(device_nid, next(after)), &(device_nid, next(up_to))).limit(limit);
        let found = self.0.store.latest().scan(&INBOXES, scan).await?;
        Ok(found.into_iter().map(|((_, position, _), json)| ToDeviceEvent { position, json }).collect())
    }

    /// Deletes what was delivered to a device: everything up to a position.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_to_device(&self, device_nid: u64, up_to: Position) -> Result<(), AccountError> {
        let size = match self.0.inboxes.get(device_nid) {
            Some(size) => size,
            None => self.measure(device_nid).await?,
        };
        if size.messages == 0 {
            return Ok(());
        }
        loop {
            let scan = Scan::range(&(device_nid, Position::ZERO), &(device_nid, next(up_to))).limit(FORGET_PAGE);
            let delivered = self.0.store.latest().scan_keys(&INBOXES, scan).await?;
            if delivered.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for key in &delivered {
                batch.delete(&INBOXES, key);
            }
            self.0.inboxes.end_on_commit(&mut batch, device_nid);
            self.0.store.commit(batch).await?;
            if delivered.len() < FORGET_PAGE {
                return Ok(());
            }
        }
    }

    /// Drops the transaction ids of days gone by; retries come within minutes, and two days are kept. Those of other
    /// servers are kept longer.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_to_device_transactions(&self) -> Result<(), AccountError> {
        let first_kept = self.today().saturating_sub(TRANSACTION_DAYS);
        let scan = Scan::all().before(&first_kept).limit(1);
        while let Some((day, _)) = self.0.store.latest().scan_keys(&TO_DEVICE_TRANSACTIONS, scan.clone()).await?.pop() {
            let mut batch = Batch::default();
            batch.delete_prefix(&TO_DEVICE_TRANSACTIONS, &day);
            self.0.store.commit(batch).await?;
        }
        self.forget_received().await
    }

    /// Adds the end of a device's inbox to the batch.
    pub(crate) fn end_inbox(&self, batch: &mut Batch, device_nid: u64) {
        batch.delete_prefix(&INBOXES, &device_nid);
        self.0.inboxes.end_on_commit(batch, device_nid);
    }

    fn today(&self) -> u32 {
        u32::try_from(self.now_ms() / DAY_MS).unwrap_or(u32::MAX)
    }

    /// The devices that get something, each once.
    async fn recipients(
        &self,
        sender: &UserId,
        event_type: &str,
        messages: &ToDeviceMessages,
    ) -> Result<Vec<Recipient>, AccountError> {
        let view = self.0.store.latest();
        let mut recipients: Vec<Recipient> = Vec::new();
        let mut bytes = 0;
        for (user, contents) in messages {
            if !self.is_local(user) {
                continue;
            }
            let Some(user) = self.user_nid(user).await? else { continue };
            let found = recipients.len();
            // `Device` sorts behind `AllDevices`: who is named gets what is meant for them alone.
            for (target, content) in contents.iter().rev() {
                let json = Arc::new(event(content, sender, event_type)?);
                let rows = match target {
                    ToDeviceTarget::Device(id) => {
                        let key = self.device_key(user, id);
                        let row = view.get_versioned(&DEVICES, &key).await?;
                        row.into_iter().map(|(row, version)| (key, row, version)).collect()
                    }
                    ToDeviceTarget::AllDevices => view.scan_versioned(&DEVICES, Scan::prefix(&user.get())).await?,
                };
                for (key, Packed(row), version) in rows {
                    if recipients[found..].iter().any(|recipient| recipient.key == key) {
                        continue;
                    }
                    bytes += json.len();
                    if bytes > TO_DEVICE_REQUEST_BYTES_MAX {
                        let what = "The size of all messages of the request, in bytes,";
                        return Err(AccountError::Limit { what, limit: TO_DEVICE_REQUEST_BYTES_MAX });
                    }
                    let device = DeviceRef { user, nid: row.nid };
                    recipients.push(Recipient { key, version, device, json: json.clone() });
                }
            }
        }
        Ok(recipients)
    }

    /// Adds messages to the batch. It expects the devices as they were read: one that is deleted at the same moment
    /// must not leave messages behind.
    async fn deliver(&self, batch: &mut Batch, recipients: &[Recipient]) -> Result<(), AccountError> {
        for Recipient { key, version, device, json } in recipients {
            let added = u32::try_from(json.len()).unwrap_or(u32::MAX);
            batch.expect_version(&DEVICES, key, Some(*version));
            self.make_room(batch, device.nid, u64::from(added)).await?;
            let person = self.person_key(device.user).await?;
            batch.put_sealed(&INBOXES, &(device.nid, Position::COMMIT, added), &**json, &person);
            batch.touch(device.watch_key());
            self.0.inboxes.add_on_commit(batch, device.nid, u64::from(added));
        }
        Ok(())
    }

    /// Drops the oldest messages of an inbox that cannot take another one.
    async fn make_room(&self, batch: &mut Batch, device_nid: u64, added: u64) -> Result<(), AccountError> {
        let size = match self.0.inboxes.get(device_nid) {
            Some(size) => size,
            None => self.measure(device_nid).await?,
        };
        let (mut messages, mut bytes) = (size.messages + 1, size.bytes + added);
        if messages <= INBOX_MESSAGES_MAX && bytes <= INBOX_BYTES_MAX {
            return Ok(());
        }
        let scan = Scan::prefix(&device_nid).limit(INBOX_SCAN_MAX);
        let mut dropped = 0_usize;
        for key in self.0.store.latest().scan_keys(&INBOXES, scan).await? {
            if dropped >= INBOX_TRIM_MESSAGES && messages <= INBOX_MESSAGES_MAX && bytes <= INBOX_BYTES_MAX {
                break;
            }
            messages = messages.saturating_sub(1);
            bytes = bytes.saturating_sub(u64::from(key.2));
            dropped += 1;
            batch.delete(&INBOXES, &key);
        }
        self.0.inboxes.end_on_commit(batch, device_nid);
        tracing::warn!(device = device_nid, dropped, "an inbox is full: its oldest messages are dropped");
        Ok(())
    }

    async fn measure(&self, device_nid: u64) -> Result<InboxSize, AccountError> {
        let before = self.0.inboxes.before_read(device_nid);
        let scan = Scan::prefix(&device_nid).limit(INBOX_SCAN_MAX);
        let keys = self.0.store.latest().scan_keys(&INBOXES, scan).await?;
        let bytes = keys.iter().map(|(_, _, bytes)| u64::from(*bytes)).sum();
        let size = InboxSize { messages: keys.len() as u64, bytes };
        self.0.inboxes.insert(device_nid, size, before);
        Ok(size)
    }
}

fn check(event_type: &str, messages: &ToDeviceMessages) -> Result<(), AccountError> {
    if event_type.len() > TO_DEVICE_TYPE_BYTES_MAX {
        let what = "The length of the type, in bytes,";
        return Err(AccountError::Limit { what, limit: TO_DEVICE_TYPE_BYTES_MAX });
    }
    for content in messages.values().flat_map(BTreeMap::values) {
        // A `RawValue` has no white space around it.
        if !content.get().starts_with('{') {
            return Err(AccountError::Invalid { field: "messages", problem: "a content is not a JSON object" });
        }
        if content.get().len() > TO_DEVICE_CONTENT_BYTES_MAX {
            let what = "The size of a message to a device, in bytes,";
            return Err(AccountError::Limit { what, limit: TO_DEVICE_CONTENT_BYTES_MAX });
        }
    }
    Ok(())
}

fn event(content: &RawValue, sender: &UserId, kind: &str) -> Result<Vec<u8>, AccountError> {
    serde_json::to_vec(&Event { content, sender, kind }).map_err(|_| AccountError::Damaged("message to a device"))
}
