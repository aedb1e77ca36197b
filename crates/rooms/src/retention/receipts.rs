//! Receipts of purges: what went, signed by the server, so that it can be shown later that it did.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wardroom_store::{Json, Position, Scan};

use super::{Cause, Lifetime, PURGE_RECEIPTS};
use crate::{Engine, Rooms, error::RoomError, writer::Writer};

/// Receipts that one read returns at most.
pub const RECEIPTS_PAGE_MAX: usize = 1_000;

/// What one step of a purge did. Its signature is over the canonical JSON of everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeReceipt {
    /// `erasure` where they went because who sent them was erased; otherwise their time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Events that were purged.
    pub count: u64,
    /// When the first of them came to be, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ts: Option<u64>,
    /// When the server wrote this, in milliseconds since 1970.
    pub issued_ts: u64,
    /// Days (days since 1970) of whose arrivals the data key was destroyed.
    pub keys_destroyed: Vec<u32>,
    /// When the last of them came to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ts: Option<u64>,
    /// Root of the Merkle tree (RFC 9162, section 2.1) over the ids of the events in the order of their bytes, as
    /// hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merkle_root: Option<String>,
    /// The terms by which they went, in milliseconds.
    pub policy: super::Terms,
    /// The room.
    pub room_id: OwnedRoomId,
    /// The server.
    pub server_name: ruma::OwnedServerName,
    /// Ed25519 signature, unpadded Base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
    /// Which of this server's keys signed.
    pub signing_key: String,
}

/// The events of one step.
#[derive(Debug, Default)]
pub(super) struct Done {
    events: Vec<(OwnedEventId, u64)>,
}

impl Done {
    pub(super) fn note(&mut self, event: OwnedEventId, born_ms: u64) {
        self.events.push((event, born_ms));
    }

    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }

    /// The ids of the first and of the last.
    pub(super) fn ends(&self) -> (String, String) {
        let id = |event: Option<&(OwnedEventId, u64)>| event.map(|(id, _)| id.to_string()).unwrap_or_default();
        (id(self.events.first()), id(self.events.last()))
    }
}

fn leaf(id: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(id).finalize().into()
}

fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        leaves => {
            // The largest power of two that is smaller than their number.
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            Sha256::new().chain_update([1]).chain_update(root(left)).chain_update(root(right)).finalize().into()
        }
    }
}

fn merkle_root<'i>(ids: impl Iterator<Item = &'i str>) -> String {
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    let leaves: Vec<_> = ids.into_iter().map(|id| leaf(id.as_bytes())).collect();
    root(&leaves).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl PurgeReceipt {
    fn blank(engine: &Engine, room_id: OwnedRoomId, lifetime: Lifetime, now_ms: u64) -> Self {
        let min_ms = Some(lifetime.min_ms).filter(|ms| *ms > 0);
        Self {
            cause: None,
            count: 0,
            first_ts: None,
            issued_ts: now_ms,
            keys_destroyed: Vec::new(),
            last_ts: None,
            merkle_root: None,
            policy: super::Terms { max_ms: lifetime.max_ms, min_ms },
            room_id,
            signing_key: engine.key.key_id().to_string(),
            server_name: engine.server_name.clone(),
            signature: String::new(),
        }
    }

    pub(super) fn of_events(
        engine: &Engine,
        room: OwnedRoomId,
        lifetime: Lifetime,
        (done, cause): (&Done, &Cause),
        now_ms: u64,
    ) -> Self {
        let times = || done.events.iter().map(|(_, born_ms)| *born_ms);
        let receipt = Self {
            cause: matches!(cause, Cause::Erasure(_)).then(|| "erasure".to_owned()),
            count: done.count(),
            first_ts: times().min(),
            last_ts: times().max(),
            merkle_root: Some(merkle_root(done.events.iter().map(|(id, _)| id.as_str()))),
            ..Self::blank(engine, room, lifetime, now_ms)
        };
        receipt.signed(engine)
    }

    pub(super) fn of_keys(engine: &Engine, room: OwnedRoomId, lifetime: Lifetime, days: Vec<u32>, now_ms: u64) -> Self {
        Self { keys_destroyed: days, ..Self::blank(engine, room, lifetime, now_ms) }.signed(engine)
    }

    /// What is signed: the fields stand in the order of their names, without blanks.
    fn signed_json(&self) -> Vec<u8> {
        let unsigned = serde_json::to_value(Self { signature: String::new(), ..self.clone() });
        unsigned.map(|value| value.to_string().into_bytes()).unwrap_or_default()
    }

    fn signed(mut self, engine: &Engine) -> Self {
        self.signature = STANDARD_NO_PAD.encode(engine.key.sign(&self.signed_json()));
        self
    }
}

impl Writer {
    pub(super) fn put_receipt(&mut self, receipt: &PurgeReceipt) {
        self.batch.put(&PURGE_RECEIPTS, &(receipt.issued_ts, Position::COMMIT), &Json(receipt.clone()));
    }
}

impl Rooms {
    /// Receipts of purges, newest first: those before a time (in milliseconds since 1970) where one is given, at most
    /// [`RECEIPTS_PAGE_MAX`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn purge_receipts(&self, before_ms: Option<u64>, limit: usize) -> Result<Vec<PurgeReceipt>, RoomError> {
        let scan = match before_ms {
            Some(before_ms) => Scan::all().before(&(before_ms, Position::new(0))),
            None => Scan::all(),
        };
        let scan = scan.reverse().limit(limit.min(RECEIPTS_PAGE_MAX));
        let rows = self.engine.store.latest().scan(&PURGE_RECEIPTS, scan).await?;
        Ok(rows.into_iter().map(|(_, Json(receipt))| receipt).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{leaf, merkle_root, root};

    #[test]
    fn the_tree_is_that_of_the_standard() {
        let leaves: Vec<_> = ["a", "b", "c"].iter().map(|id| leaf(id.as_bytes())).collect();
        let left = root(&leaves[..2]);
        assert_eq!(root(&leaves), root(&[left, leaves[2]]), "two to the left, one to the right");
        assert_ne!(root(&leaves[..1]), root(&leaves[..2]));
        assert_eq!(merkle_root(["b", "a"].into_iter()), merkle_root(["a", "b"].into_iter()));
    }
}
