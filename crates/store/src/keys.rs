//! The master key outside, data keys inside.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf, hmac, rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{CodecError, Key, KeyBuf, sealing::Unsealable};

/// Length of every key.
const KEY_BYTES: usize = 32;
/// Id of the wrapping key.
pub(crate) const WRAPPING_KEY_ID: u32 = 0;

/// The key that everything else is wrapped with. It lives outside the store.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; KEY_BYTES]);

/// The text is no master key.
#[derive(Debug, Clone, Eq, PartialEq, thiserror::Error)]
#[error("a master key is 32 bytes in base64")]
pub struct MasterKeyError;

impl MasterKey {
    /// The key of these bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads 32 bytes of padded base64; white space around them is ignored.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn from_base64(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).map_err(|_| MasterKeyError)?);
        bytes.as_slice().try_into().map(Self).map_err(|_| MasterKeyError)
    }

    /// The key as base64, for the file it is kept in.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(self.0))
    }

    /// A new random key.
    #[expect(clippy::expect_used, reason = "a system without randomness must not make keys")]
    pub fn generate() -> Self {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(bytes)
    }

    #[expect(clippy::expect_used, reason = "the requested length is a constant that HKDF allows")]
    pub(crate) fn wrapping_key(&self) -> DataKey {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"wardroom-store").extract(&self.0);
        let key = root.expand(&[b"wrapping key 1"], &AES_256_GCM).expect("32 bytes are within HKDF's limit");
        DataKey(Arc::new(OpenedKey { id: WRAPPING_KEY_ID, key: LessSafeKey::new(UnboundKey::from(key)) }))
    }

    /// The key of what is kept beside the keys.
    #[expect(clippy::expect_used, reason = "the requested length is a constant that HKDF allows")]
    pub(crate) fn kept_key(&self) -> LessSafeKey {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"wardroom-store").extract(&self.0);
        let key = root.expand(&[b"kept journal 1"], &AES_256_GCM).expect("32 bytes are within HKDF's limit");
        LessSafeKey::new(UnboundKey::from(key))
    }

    /// The key of the MACs of the shred journal.
    #[expect(clippy::expect_used, reason = "the requested length is a constant that HKDF allows")]
    pub(crate) fn journal_key(&self) -> hmac::Key {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"wardroom-store").extract(&self.0);
        hmac::Key::from(root.expand(&[b"shred journal 1"], hmac::HMAC_SHA256).expect("HKDF allows 32 bytes"))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// What a data key belongs to, in the writer's numbers: for instance a kind for room contents, the room and the day.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// What `a` and `b` mean.
    pub kind: u8,
    /// First coordinate.
    pub a: u64,
    /// Second coordinate.
    pub b: u64,
}

impl Key for Scope {
    fn encode(&self, out: &mut KeyBuf) {
        (self.kind, self.a, self.b).encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let (kind, a, b) = Key::decode(input)?;
        Ok(Self { kind, a, b })
    }
}

struct OpenedKey {
    id: u32,
    key: LessSafeKey,
}

/// A data key, ready to seal values. Cheap to clone.
#[derive(Clone)]
pub struct DataKey(Arc<OpenedKey>);

impl DataKey {
    pub(crate) fn new(id: u32, material: &[u8; KEY_BYTES]) -> Result<Self, Unsealable> {
        let key = UnboundKey::new(&AES_256_GCM, material).map_err(|_| Unsealable)?;
        Ok(Self(Arc::new(OpenedKey { id, key: LessSafeKey::new(key) })))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    pub(crate) fn cipher(&self) -> &LessSafeKey {
        &self.0.key
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id())
    }
}

/// What a data key is for.
#[derive(Debug, Copy, Clone, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Index,
    System { created_unix_seconds: u64 },
    Scope(Scope),
}

/// A data key at rest.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
pub(crate) struct KeyRecord {
    #[zeroize(skip)]
    pub(crate) purpose: Purpose,
    pub(crate) material: [u8; KEY_BYTES],
}

impl KeyRecord {
    pub(crate) fn random(purpose: Purpose) -> Result<Self, Unsealable> {
        let mut material = [0; KEY_BYTES];
        rand::fill(&mut material).map_err(|_| Unsealable)?;
        Ok(Self { purpose, material })
    }
}
