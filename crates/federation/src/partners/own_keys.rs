//! The keys of this server, as it publishes them.

use std::sync::Arc;

use parking_lot::Mutex;
use ruma::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, OwnedServerName, OwnedServerSigningKeyId, UInt,
    api::federation::discovery::{OldVerifyKey, ServerSigningKeys, VerifyKey},
    serde::{Base64, Raw},
    signatures::sign_json,
};
use wardroom_clock::SharedClock;
use wardroom_event::{PublicKey, PublicKeys, SigningKey};

/// For how long the keys are said to be good: other servers ask again after that, so this bounds for how long a stolen
/// key is believed after it was replaced.
const VALID_MS: u64 = 24 * 60 * 60 * 1_000;

/// A key that this server used to sign with.
#[derive(Clone, Debug)]
pub struct OldKey {
    /// Its id.
    pub key_id: OwnedServerSigningKeyId,
    /// Its public half.
    pub key: [u8; 32],
    /// When it was last used, in milliseconds since 1970.
    pub expired_ts: u64,
}

/// The keys of this server.
#[derive(Debug)]
pub(crate) struct OwnKeys {
    pub(crate) server_name: OwnedServerName,
    pub(crate) signing_key: Arc<SigningKey>,
    old: Vec<OldKey>,
    clock: SharedClock,
    /// The signed document and when it was made.
    document: Mutex<Option<(u64, Raw<ServerSigningKeys>)>>,
}

impl OwnKeys {
    pub(crate) fn new(
        server_name: OwnedServerName,
        signing_key: Arc<SigningKey>,
        old: Vec<OldKey>,
        clock: SharedClock,
    ) -> Self {
        Self { server_name, signing_key, old, clock, document: Mutex::new(None) }
    }

    /// The signed document, good for half a day at least.
    pub(crate) fn document(&self) -> Result<Raw<ServerSigningKeys>, String> {
        let now_ms = self.clock.now_ms();
        let mut kept = self.document.lock();
        if let Some((made_ms, document)) = &*kept
            && (*made_ms..made_ms.saturating_add(VALID_MS / 2)).contains(&now_ms)
        {
            return Ok(document.clone());
        }
        let document = self.make(now_ms)?;
        *kept = Some((now_ms, document.clone()));
        Ok(document)
    }

    fn make(&self, now_ms: u64) -> Result<Raw<ServerSigningKeys>, String> {
        let ts = |ms: u64| MilliSecondsSinceUnixEpoch(UInt::new_saturating(ms));
        let mut keys = ServerSigningKeys::new(self.server_name.clone(), ts(now_ms.saturating_add(VALID_MS)));
        let current = VerifyKey::new(Base64::new(self.signing_key.public_key().to_vec()));
        keys.verify_keys.insert(self.signing_key.key_id().clone(), current);
        for old in &self.old {
            let key = OldVerifyKey::new(ts(old.expired_ts), Base64::new(old.key.to_vec()));
            keys.old_verify_keys.insert(old.key_id.clone(), key);
        }
        let json = serde_json::to_vec(&keys).map_err(|error| error.to_string())?;
        self.sign(&json)
    }

    /// Adds this server's signature to a document.
    pub(crate) fn sign(&self, json: &[u8]) -> Result<Raw<ServerSigningKeys>, String> {
        let mut object: CanonicalJsonObject = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        sign_json(self.server_name.as_str(), self.signing_key.pair(), &mut object)
            .map_err(|error| error.to_string())?;
        Raw::from_json_string(serde_json::to_string(&object).map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())
    }

    /// Adds them to the keys that events are checked with.
    pub(crate) fn add_to(&self, keys: &mut PublicKeys) {
        let mut add = |id: &OwnedServerSigningKeyId, key, valid_until_ts| {
            keys.insert(self.server_name.clone(), id.clone(), PublicKey { key, valid_until_ts });
        };
        for old in &self.old {
            add(&old.key_id, old.key, old.expired_ts);
        }
        add(self.signing_key.key_id(), self.signing_key.public_key(), u64::MAX);
    }
}
