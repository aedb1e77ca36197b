//! Messages between devices of different servers: section "Send-to-device messaging" of the server-server API.
//!
//! What is for other servers is written in the batch that sends the rest, cut into pieces that fit an EDU, and waits
//! here until whoever speaks to other servers takes it over. What comes from them is recognised by server and message
//! id, so that it is delivered once however often it comes.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ruma::{OwnedServerName, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wardroom_store::{Batch, Hash16, Packed, Position, Profile, Scan, Seal, Table, WatchKey};

use super::{ToDeviceMessages, ToDeviceTarget, check};
use crate::{
    AccountError, Accounts,
    error::{CONFLICT_ROUNDS_MAX, settled},
    secret::random_bytes,
    tables::domain,
};

/// Kind of the watch key, of id 0, that says "something waits to be sent to other servers".
pub const WATCH_OUTGOING: u8 = 8;
/// Bytes of contents that one EDU carries, unless a single content is larger.
const EDU_CONTENTS_BYTES_MAX: usize = 48 * 1_024;
/// Days, other than the present one, in which a message id of another server is recognised. A server may try for weeks
/// to deliver what it has no answer for.
const RECEIVED_DAYS: u32 = 35;
/// Longest message id that the specification allows is 32 code points; longer ones are taken up to this many bytes.
const MESSAGE_ID_BYTES_MAX: usize = 255;
/// Random bytes in a message id: 22 characters of text.
const MESSAGE_ID_RANDOM_BYTES: usize = 16;

/// (position, index) -> [`OutgoingRow`].
pub(crate) const OUTGOING: Table<(Position, u32), Packed<OutgoingRow>> =
    Table::new(0x0173, "to_device_outgoing", Profile::Churn, Seal::System).compressed();
/// (day of arrival, hash of server and message id).
pub(crate) const RECEIVED: Table<(u32, Hash16), ()> =
    Table::new(0x0174, "to_device_received", Profile::Churn, Seal::System);

/// An EDU for another server at rest.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OutgoingRow {
    server: String,
    /// `content` of an `m.direct_to_device` EDU as JSON.
    content: String,
}

/// Messages for devices of one other server.
#[derive(Clone)]
pub struct OutgoingToDevice {
    key: (Position, u32),
    /// The server.
    pub server: OwnedServerName,
    /// `content` of an `m.direct_to_device` EDU.
    pub content: Box<RawValue>,
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(OutgoingRow, OutgoingToDevice);

/// Contents by user and device.
type Contents<'a> = BTreeMap<&'a UserId, BTreeMap<&'a str, &'a RawValue>>;

#[derive(Serialize)]
struct EduContent<'a> {
    sender: &'a UserId,
    #[serde(rename = "type")]
    kind: &'a str,
    message_id: &'a str,
    messages: &'a Contents<'a>,
}

/// What to touch for what waits to be sent to other servers.
pub(super) const fn outgoing_watch() -> WatchKey {
    WatchKey { kind: WATCH_OUTGOING, id: 0 }
}

impl Accounts {
    /// Adds what is for devices of other servers to the batch; nothing where this one speaks to none.
    pub(super) fn send_away(
        &self,
        batch: &mut Batch,
        sender: &UserId,
        event_type: &str,
        messages: &ToDeviceMessages,
    ) -> Result<(), AccountError> {
        if !self.0.settings.federation {
            return Ok(());
        }
        let mut by_server: BTreeMap<&ServerName, Vec<(&UserId, &str, &RawValue)>> = BTreeMap::new();
        for (user, contents) in messages.iter().filter(|(user, _)| !self.is_local(user)) {
            let of_server = by_server.entry(user.server_name()).or_default();
            for (target, content) in contents {
                let device = match target {
                    ToDeviceTarget::AllDevices => "*",
                    ToDeviceTarget::Device(id) => id.as_str(),
                };
                of_server.push((user, device, content));
            }
        }
        let mut index = 0;
        for (server, contents) in by_server {
            let mut rest = contents.as_slice();
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(piece_len(rest));
                rest = left;
                let mut messages = Contents::new();
                for (user, device, content) in piece {
                    messages.entry(user).or_default().insert(device, content);
                }
                let message_id = BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<MESSAGE_ID_RANDOM_BYTES>());
                let content = EduContent { sender, kind: event_type, message_id: &message_id, messages: &messages };
                let content =
                    serde_json::to_string(&content).map_err(|_| AccountError::Damaged("message to a device"))?;
                let row = OutgoingRow { server: server.to_string(), content };
                batch.put(&OUTGOING, &(Position::COMMIT, index), &Packed(row));
                index += 1;
            }
        }
        if index > 0 {
            batch.touch(outgoing_watch());
        }
        Ok(())
    }

    /// Messages that wait to be handed to other servers, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outgoing_to_device(&self, limit: usize) -> Result<Vec<OutgoingToDevice>, AccountError> {
        let rows = self.0.store.latest().scan(&OUTGOING, Scan::all().limit(limit)).await?;
        let damaged = || AccountError::Damaged("outgoing message to a device");
        rows.into_iter()
            .map(|(key, Packed(row))| {
                let server = ServerName::parse(row.server.as_str()).map_err(|_| damaged())?;
                let content = RawValue::from_string(row.content).map_err(|_| damaged())?;
                Ok(OutgoingToDevice { key, server, content })
            })
            .collect()
    }

    /// Drops a message of [`Self::outgoing_to_device`] in the batch that takes it over.
    pub fn handed_over(&self, batch: &mut Batch, message: &OutgoingToDevice) {
        batch.delete(&OUTGOING, &message.key);
    }

    /// Delivers messages that another server sends, once. Devices and users that do not exist are passed over, and so
    /// are users of other servers.
    ///
    /// # Errors
    /// [`AccountError::Limit`] and [`AccountError::Invalid`] for what is never delivered; or the store's.
    pub async fn receive_to_device(
        &self,
        origin: &ServerName,
        sender: &UserId,
        event_type: &str,
        message_id: &str,
        messages: &ToDeviceMessages,
    ) -> Result<(), AccountError> {
        check(event_type, messages)?;
        if message_id.len() > MESSAGE_ID_BYTES_MAX {
            let what = "The length of message_id, in bytes,";
            return Err(AccountError::Limit { what, limit: MESSAGE_ID_BYTES_MAX });
        }
        let name = format!("{}:{origin}{message_id}", origin.as_str().len());
        let hash = self.0.store.keyed_hash(domain::TO_DEVICE_RECEIVED, name.as_bytes());
        let today = self.today();
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let days: Vec<_> = (today.saturating_sub(RECEIVED_DAYS)..=today).map(|day| (day, hash)).collect();
            if self.0.store.latest().multi_get(&RECEIVED, &days).await?.iter().any(Option::is_some) {
                return Ok(());
            }
            let mut batch = Batch::default();
            batch.expect_absent(&RECEIVED, &(today, hash));
            batch.put(&RECEIVED, &(today, hash), &());
            let recipients = self.recipients(sender, event_type, messages).await?;
            self.deliver(&mut batch, &recipients).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Drops the message ids of other servers that are too old to come again.
    pub(super) async fn forget_received(&self) -> Result<(), AccountError> {
        let scan = Scan::all().before(&self.today().saturating_sub(RECEIVED_DAYS)).limit(1);
        while let Some((day, _)) = self.0.store.latest().scan_keys(&RECEIVED, scan.clone()).await?.pop() {
            let mut batch = Batch::default();
            batch.delete_prefix(&RECEIVED, &day);
            self.0.store.commit(batch).await?;
        }
        Ok(())
    }
}

/// How many contents go into the next EDU, at least one.
fn piece_len(contents: &[(&UserId, &str, &RawValue)]) -> usize {
    let mut bytes = 0;
    let fits = |(user, device, content): &&(&UserId, &str, &RawValue)| {
        bytes += user.as_str().len() + device.len() + content.get().len();
        bytes <= EDU_CONTENTS_BYTES_MAX
    };
    contents.iter().take_while(fits).count().max(1)
}
