//! Contents of EDUs. Those that come are read leniently: a server may leave out what is of no use to it, and one wrong
//! entry must not take the others with it.

use std::collections::BTreeMap;

use ruma::{
    OwnedEventId, OwnedRoomId, OwnedTransactionId, OwnedUserId, RoomId, UInt, UserId, events::receipt::ReceiptThread,
    presence::PresenceState, to_device::DeviceIdOrAllDevices,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An EDU before its content is read.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope {
    pub(super) edu_type: String,
    pub(super) content: Box<RawValue>,
}

/// `m.receipt` that comes: room, kind, user.
pub(super) type Receipts = BTreeMap<OwnedRoomId, BTreeMap<String, BTreeMap<OwnedUserId, Box<RawValue>>>>;

#[derive(Debug, Deserialize)]
pub(super) struct ReceiptEntry {
    #[serde(default)]
    pub(super) data: ReceiptData,
    pub(super) event_ids: Vec<OwnedEventId>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ReceiptData {
    pub(super) ts: Option<UInt>,
    #[serde(default)]
    pub(super) thread_id: ReceiptThread,
}

/// `m.presence` that comes.
#[derive(Debug, Deserialize)]
pub(super) struct PresencePush {
    pub(super) push: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PresenceEntry {
    pub(super) user_id: OwnedUserId,
    pub(super) presence: PresenceState,
    pub(super) status_msg: Option<String>,
    pub(super) last_active_ago: Option<UInt>,
    #[serde(default)]
    pub(super) currently_active: bool,
}

/// `m.direct_to_device` that comes.
#[derive(Debug, Deserialize)]
pub(super) struct DirectToDevice {
    pub(super) sender: OwnedUserId,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) message_id: OwnedTransactionId,
    pub(super) messages: BTreeMap<OwnedUserId, BTreeMap<DeviceIdOrAllDevices, Box<RawValue>>>,
}

/// `m.receipt` that goes.
#[derive(Debug, Serialize)]
pub(super) struct OutgoingReceipt<'a>(pub(super) BTreeMap<&'a RoomId, OutgoingKind<'a>>);

#[derive(Debug, Serialize)]
pub(super) struct OutgoingKind<'a> {
    #[serde(rename = "m.read")]
    pub(super) read: BTreeMap<&'a UserId, OutgoingEntry<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutgoingEntry<'a> {
    pub(super) data: OutgoingData<'a>,
    pub(super) event_ids: [&'a OwnedEventId; 1],
}

#[derive(Debug, Serialize)]
pub(super) struct OutgoingData<'a> {
    pub(super) ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread_id: Option<&'a str>,
}

/// `m.presence` that goes.
#[derive(Debug, Serialize)]
pub(super) struct OutgoingPresence<'a> {
    pub(super) push: [OutgoingPresenceEntry<'a>; 1],
}

#[derive(Debug, Serialize)]
pub(super) struct OutgoingPresenceEntry<'a> {
    pub(super) user_id: &'a UserId,
    pub(super) presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_msg: Option<&'a str>,
    pub(super) last_active_ago: u64,
    pub(super) currently_active: bool,
}

/// `m.device_list_update` that goes. What the user calls the device is nobody's business elsewhere and stays here.
#[derive(Debug, Serialize)]
pub(super) struct OutgoingDeviceUpdate<'a> {
    pub(super) user_id: &'a UserId,
    pub(super) device_id: &'a str,
    pub(super) stream_id: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) prev_id: Vec<u64>,
    pub(super) deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keys: Option<&'a RawValue>,
}

/// `m.signing_key_update` that goes.
#[derive(Debug, Serialize)]
pub(super) struct OutgoingSigningKeys<'a> {
    pub(super) user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) master_key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) self_signing_key: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use ruma::events::receipt::ReceiptThread;

    use super::{PresenceEntry, ReceiptEntry};

    #[test]
    fn what_may_be_left_out_may_be_left_out() {
        let entry: PresenceEntry = serde_json::from_str(r#"{"user_id":"@a:b.c","presence":"online"}"#).unwrap();
        assert!(!entry.currently_active && entry.last_active_ago.is_none());
        let entry: ReceiptEntry = serde_json::from_str(r#"{"event_ids":["$a"]}"#).unwrap();
        assert_eq!((entry.data.ts, entry.data.thread_id), (None, ReceiptThread::Unthreaded));
        let entry: ReceiptEntry =
            serde_json::from_str(r#"{"data":{"ts":5,"thread_id":"main"},"event_ids":["$a"]}"#).unwrap();
        assert_eq!(entry.data.thread_id, ReceiptThread::Main);
    }
}
