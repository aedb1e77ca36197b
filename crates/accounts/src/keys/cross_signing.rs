//! Cross-signing keys: `POST /keys/device_signing/upload`, and their part of `POST /keys/query`.

use std::fmt;

use ruma::{DeviceId, UserId, encryption::CrossSigningKey};
use serde_json::{Value, value::RawValue};
use wardroom_store::{Batch, Packed, Position, Scan};

use super::{
    key_json::{Object, is_public_key, is_signed, object, set_signatures, signatures_of, signed_part, stored, text},
    tables::{CROSS_SIGNING_KEYS, CrossSigningRow, DEVICE_KEYS, MASTER_SIGNATURES, SIGNED_USERS},
};
use crate::{
    AccountError, Accounts, Session, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::DEVICES,
};

/// Largest cross-signing key, in bytes of JSON.
pub const CROSS_SIGNING_KEY_BYTES_MAX: usize = 64 * 1_024;

/// What a cross-signing key is for. The numbers stand in keys of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Master = 0,
    SelfSigning = 1,
    UserSigning = 2,
}

impl Usage {
    pub(super) const ALL: [Self; 3] = [Self::Master, Self::SelfSigning, Self::UserSigning];

    /// The name of the field in requests.
    const fn field(self) -> &'static str {
        match self {
            Self::Master => "master_key",
            Self::SelfSigning => "self_signing_key",
            Self::UserSigning => "user_signing_key",
        }
    }

    /// The name in `usage`.
    const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }
}

/// What a client wants to publish.
#[derive(Clone, Default)]
pub struct CrossSigningUpload {
    /// The user's identity.
    pub master: Option<Box<RawValue>>,
    /// Signs the user's devices.
    pub self_signing: Option<Box<RawValue>>,
    /// Signs other users' identities.
    pub user_signing: Option<Box<RawValue>>,
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossSigningOutcome {
    /// The keys are published.
    Done,
    /// They would replace or complete keys that are there: the user has to prove who they are first. Nothing changed.
    NeedsAuthentication,
}

/// The cross-signing keys of a user that somebody may see.
#[derive(Clone, Default)]
pub struct CrossSigningKeys {
    /// The user's identity.
    pub master: Option<Box<RawValue>>,
    /// Signs the user's devices.
    pub self_signing: Option<Box<RawValue>>,
    /// Signs other users' identities; only its owner sees it.
    pub user_signing: Option<Box<RawValue>>,
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

opaque!(CrossSigningUpload, CrossSigningKeys);

/// A key of the right form.
pub(super) struct Checked {
    usage: Usage,
    pub(super) public_key: String,
    pub(super) object: Object,
}

/// A user's cross-signing keys as they are stored, by [`Usage`].
pub(super) struct StoredKeys([Option<(CrossSigningRow, Position)>; 3]);

impl StoredKeys {
    pub(super) fn get(&self, usage: Usage) -> Option<&CrossSigningRow> {
        self.0[usage as usize].as_ref().map(|(row, _)| row)
    }

    pub(super) fn version(&self, usage: Usage) -> Option<Position> {
        self.0[usage as usize].as_ref().map(|(_, version)| *version)
    }
}

impl Accounts {
    /// Publishes cross-signing keys. Those that take the place of others, or come to a master key that is there, need
    /// `authenticated`.
    ///
    /// A new master key ends the keys that the old one signed, unless they come with it.
    ///
    /// # Errors
    /// [`AccountError::Malformed`], [`AccountError::Invalid`], [`AccountError::Limit`],
    /// [`AccountError::InvalidSignature`], [`AccountError::NoMasterKey`], [`AccountError::KeyIdInUse`], or the store's.
    pub async fn upload_cross_signing(
        &self,
        session: &Session,
        upload: &CrossSigningUpload,
        authenticated: bool,
    ) -> Result<CrossSigningOutcome, AccountError> {
        let new = checked(&session.user, upload)?;
        let _lock = self.0.key_locks.lock(session.nid).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let old = self.stored_cross_signing(session.nid).await?;
            let is_same = |key: &Checked| {
                old.get(key.usage).is_some_and(|row| {
                    row.public_key == key.public_key
                        && stored(&row.json).is_ok_and(|old| signed_part(&old) == signed_part(&key.object))
                })
            };
            if new.iter().all(is_same) {
                return Ok(CrossSigningOutcome::Done);
            }
            // Without a master key in the request, what comes to the stored one is new just as well.
            if old.get(Usage::Master).is_some() && !authenticated {
                return Ok(CrossSigningOutcome::NeedsAuthentication);
            }
            let mut batch = Batch::default();
            self.put_cross_signing(&mut batch, session, &new, &old).await?;
            self.record_change(&mut batch, &session.user, "cross-signing keys");
            self.announce_devices(&mut batch, session.nid).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(CrossSigningOutcome::Done);
            }
        }
        Err(AccountError::Contended)
    }

    async fn put_cross_signing(
        &self,
        batch: &mut Batch,
        session: &Session,
        new: &[Checked],
        old: &StoredKeys,
    ) -> Result<(), AccountError> {
        let user = session.nid.get();
        let new_master = new.iter().find(|key| key.usage == Usage::Master);
        let old_master = old.get(Usage::Master).map(|row| row.public_key.as_str());
        let master = new_master.map(|key| key.public_key.as_str()).or(old_master).ok_or(AccountError::NoMasterKey)?;
        for usage in Usage::ALL {
            batch.expect_version(&CROSS_SIGNING_KEYS, &(user, usage as u8), old.version(usage));
        }
        if old_master != Some(master) {
            for usage in Usage::ALL {
                batch.delete(&CROSS_SIGNING_KEYS, &(user, usage as u8));
            }
            self.end_signatures_of(batch, session.nid).await?;
        }
        for Checked { usage, public_key, object } in new {
            // A device of this name would be mistaken for the key: their ids share a namespace.
            let device = self.device_key(session.nid, <&DeviceId>::from(public_key.as_str()));
            batch.expect_absent(&DEVICES, &device);
            if self.0.store.latest().get(&DEVICES, &device).await?.is_some() {
                return Err(AccountError::KeyIdInUse);
            }
            let given = signatures_of(object, &session.user);
            let signatures = if *usage == Usage::Master {
                self.true_device_signatures(session, object, given).await?
            } else {
                let key_id = format!("ed25519:{master}");
                let signature = given.get(&key_id).filter(|signature| is_signed(object, master, signature));
                let signature = signature.ok_or(AccountError::InvalidSignature(usage.field()))?;
                Object::from_iter([(key_id, signature.clone())])
            };
            let mut kept = signed_part(object);
            set_signatures(&mut kept, &session.user, signatures);
            let row = CrossSigningRow { public_key: public_key.clone(), json: text(&kept) };
            batch.put(&CROSS_SIGNING_KEYS, &(user, *usage as u8), &Packed(row));
        }
        Ok(())
    }

    /// Those signatures that devices of the user made.
    async fn true_device_signatures(
        &self,
        session: &Session,
        object: &Object,
        given: Object,
    ) -> Result<Object, AccountError> {
        let mut kept = Object::new();
        for (key_id, signature) in given {
            if let Some(key) = self.device_signing_key(&session.user, session.nid, &key_id).await?
                && is_signed(object, &key, &signature)
            {
                kept.insert(key_id, signature);
            }
        }
        Ok(kept)
    }

    /// The ed25519 key of a user's device, by the id of the key.
    pub(super) async fn device_signing_key(
        &self,
        user: &UserId,
        nid: UserNid,
        key_id: &str,
    ) -> Result<Option<String>, AccountError> {
        let Some(device) = key_id.strip_prefix("ed25519:") else { return Ok(None) };
        let Some(device) = self.device_ref(user, <&DeviceId>::from(device)).await? else { return Ok(None) };
        debug_assert_eq!(device.user, nid);
        let Some(Packed(row)) = self.0.store.latest().get(&DEVICE_KEYS, &device.key()).await? else { return Ok(None) };
        let keys = stored(&row.json)?;
        Ok(keys.get("keys").and_then(|keys| keys.get(key_id)).and_then(Value::as_str).map(str::to_owned))
    }

    pub(super) async fn stored_cross_signing(&self, user: UserNid) -> Result<StoredKeys, AccountError> {
        let view = self.0.store.latest();
        let mut found = StoredKeys([None, None, None]);
        for usage in Usage::ALL {
            let row = view.get_versioned(&CROSS_SIGNING_KEYS, &(user.get(), usage as u8)).await?;
            found.0[usage as usize] = row.map(|(Packed(row), version)| (row, version));
        }
        Ok(found)
    }

    /// Whether a device of this name would be mistaken for a cross-signing key of the user.
    pub(crate) async fn is_cross_signing_key(&self, user: UserNid, device: &DeviceId) -> Result<bool, AccountError> {
        if !is_public_key(device.as_str()) {
            return Ok(false);
        }
        let found = self.stored_cross_signing(user).await?;
        Ok(Usage::ALL.iter().any(|usage| found.get(*usage).is_some_and(|row| row.public_key == device.as_str())))
    }

    /// The cross-signing keys of a user that the asker may see, with the asker's own signature.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cross_signing_keys(&self, asker: &Session, user: &UserId) -> Result<CrossSigningKeys, AccountError> {
        let mut seen = CrossSigningKeys::default();
        let Some(nid) = self.user_nid(user).await? else { return Ok(seen) };
        let found = self.stored_cross_signing(nid).await?;
        if let Some(master) = found.get(Usage::Master) {
            let mut object = stored(&master.json)?;
            let signature = self.0.store.latest().get(&MASTER_SIGNATURES, &(nid.get(), asker.nid.get())).await?;
            if let Some(Packed(by)) = signature.filter(|Packed(by)| by.signed == master.public_key) {
                let signatures = object.entry("signatures").or_insert_with(|| Value::Object(Object::new()));
                if let Some(signatures) = signatures.as_object_mut() {
                    let own = Object::from_iter([(by.key_id, Value::String(by.signature))]);
                    signatures.insert(asker.user.as_str().to_owned(), Value::Object(own));
                }
            }
            seen.master = Some(raw(text(&object))?);
        }
        seen.self_signing = found.get(Usage::SelfSigning).map(|row| raw(row.json.clone())).transpose()?;
        if nid == asker.nid {
            seen.user_signing = found.get(Usage::UserSigning).map(|row| raw(row.json.clone())).transpose()?;
        }
        Ok(seen)
    }

    /// The cross-signing keys of a user that anybody may see, with the user's own signatures.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn public_cross_signing_keys(&self, user: &UserId) -> Result<CrossSigningKeys, AccountError> {
        let mut seen = CrossSigningKeys::default();
        let Some(nid) = self.user_nid(user).await? else { return Ok(seen) };
        let found = self.stored_cross_signing(nid).await?;
        seen.master = found.get(Usage::Master).map(|row| raw(row.json.clone())).transpose()?;
        seen.self_signing = found.get(Usage::SelfSigning).map(|row| raw(row.json.clone())).transpose()?;
        Ok(seen)
    }

    /// Adds the end of the signatures of a user's master key by others to the batch.
    pub(super) async fn end_signatures_of(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        let scan = Scan::prefix(&user.get());
        for (key, _, version) in self.0.store.latest().scan_versioned(&MASTER_SIGNATURES, scan).await? {
            batch.delete(&MASTER_SIGNATURES, &key);
            batch.delete(&SIGNED_USERS, &(key.1, version, key.0));
        }
        Ok(())
    }

    /// Adds the end of all signatures by and of a user to the batch.
    pub(super) async fn end_signatures(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        self.end_signatures_of(batch, user).await?;
        for key in self.0.store.latest().scan_keys(&SIGNED_USERS, Scan::prefix(&user.get())).await? {
            batch.delete(&MASTER_SIGNATURES, &(key.2, key.0));
            batch.delete(&SIGNED_USERS, &key);
        }
        Ok(())
    }
}

fn raw(json: String) -> Result<Box<RawValue>, AccountError> {
    RawValue::from_string(json).map_err(|_| AccountError::Damaged("cross-signing key"))
}

fn checked(user: &UserId, upload: &CrossSigningUpload) -> Result<Vec<Checked>, AccountError> {
    let keys = [&upload.master, &upload.self_signing, &upload.user_signing];
    Usage::ALL
        .into_iter()
        .zip(keys)
        .filter_map(|(usage, key)| key.as_deref().map(|key| checked_key(user, usage, key)))
        .collect()
}

pub(super) fn checked_key(user: &UserId, usage: Usage, json: &RawValue) -> Result<Checked, AccountError> {
    let field = usage.field();
    if json.get().len() > CROSS_SIGNING_KEY_BYTES_MAX {
        let what = "The size of a cross-signing key, in bytes,";
        return Err(AccountError::Limit { what, limit: CROSS_SIGNING_KEY_BYTES_MAX });
    }
    let object = object(field, json.get())?;
    let typed: CrossSigningKey = serde_json::from_str(json.get())
        .map_err(|error| AccountError::Malformed { field, problem: error.to_string() })?;
    let wrong = |problem| Err(AccountError::Invalid { field, problem });
    if typed.user_id != user {
        return wrong("user_id is not who uploads the key");
    }
    if !typed.usage.iter().any(|given| given.as_str() == usage.name()) {
        return wrong("usage does not name what the key is for");
    }
    let mut keys = typed.keys.iter();
    let (Some((key_id, public_key)), None) = (keys.next(), keys.next()) else {
        return wrong("keys must have exactly one entry");
    };
    if key_id.as_str().strip_prefix("ed25519:") != Some(public_key.as_str()) {
        return wrong("keys must have the public key under the id ed25519:<public key>");
    }
    if !is_public_key(public_key) {
        return wrong("keys must have an ed25519 public key in unpadded base64");
    }
    Ok(Checked { usage, public_key: public_key.clone(), object })
}
