//! Signatures between keys: `POST /keys/signatures/upload`.
//!
//! A user's self-signing key signs their devices, their devices sign their master key, and their user-signing key signs
//! the master keys of others. Only true signatures are kept, and of a key those alone that somebody may see.

use std::collections::BTreeMap;

use ruma::{DeviceId, OwnedUserId, UserId};
use serde_json::{Value, value::RawValue};
use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, Packed, Position};

use super::{
    cross_signing::{StoredKeys, Usage},
    key_json::{Object, is_signed, object, set_signatures, signatures_of, signed_part, stored, text},
    tables::{
        CROSS_SIGNING_KEYS, CrossSigningRow, DEVICE_KEYS, DeviceKeysRow, MASTER_SIGNATURES, SIGNED_USERS, SignatureRow,
    },
};
use crate::{
    AccountError, Accounts, DeviceRef, Session,
    error::{CONFLICT_ROUNDS_MAX, settled},
};

/// Keys that one request may sign.
pub const SIGNATURES_PER_REQUEST_MAX: usize = 2_000;

/// Why a signature was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFailure {
    /// The user has no such device or master key.
    #[error("The user has no such key.")]
    UnknownKey,
    /// The signed object is not the key that is known.
    #[error("The signed object is not the key that was uploaded.")]
    OtherKey,
    /// There is no signature by a key that may sign this one, or it is wrong.
    #[error("There is no valid signature of the key.")]
    InvalidSignature,
}

/// What became of each key: `Ok(None)` is for those that change nothing.
type Signed<T> = Result<Option<T>, SignatureFailure>;

impl Accounts {
    /// Keeps signatures, by the user and the id of the key that is signed: a device's id or a master key's public key.
    /// What fails is told and does not keep the rest from being done.
    ///
    /// # Errors
    /// [`AccountError::Limit`], or the store's.
    pub async fn upload_signatures(
        &self,
        session: &Session,
        signed: &BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>,
    ) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, SignatureFailure>>, AccountError> {
        if signed.values().map(BTreeMap::len).sum::<usize>() > SIGNATURES_PER_REQUEST_MAX {
            let what = "The number of signed keys";
            return Err(AccountError::Limit { what, limit: SIGNATURES_PER_REQUEST_MAX });
        }
        let _lock = self.0.key_locks.lock(session.nid).await;
        let mut failures = BTreeMap::new();
        for (user, keys) in signed {
            let failed = if *user == session.user {
                self.sign_own(session, keys).await?
            } else {
                self.sign_other(session, user, keys).await?
            };
            if !failed.is_empty() {
                failures.insert(user.clone(), failed);
            }
        }
        Ok(failures)
    }

    async fn sign_own(
        &self,
        session: &Session,
        keys: &BTreeMap<String, Box<RawValue>>,
    ) -> Result<BTreeMap<String, SignatureFailure>, AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut failures = BTreeMap::new();
            let mut batch = Batch::default();
            let known = self.stored_cross_signing(session.nid).await?;
            for (id, json) in keys {
                let Ok(given) = object("signed key", json.get()) else {
                    failures.insert(id.clone(), SignatureFailure::OtherKey);
                    continue;
                };
                let master = known.get(Usage::Master).filter(|row| row.public_key == *id);
                let done = match master {
                    Some(master) => self.sign_own_master(&mut batch, session, master, &given).await?,
                    None => self.sign_device(&mut batch, session, id, &known, &given).await?,
                };
                if let Err(failure) = done {
                    failures.insert(id.clone(), failure);
                }
            }
            if batch.is_empty() {
                return Ok(failures);
            }
            known.expect(&mut batch, session);
            self.announce_devices(&mut batch, session.nid).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(failures);
            }
        }
        Err(AccountError::Contended)
    }

    /// Signs a device of the user with their self-signing key.
    async fn sign_device(
        &self,
        batch: &mut Batch,
        session: &Session,
        id: &str,
        known: &StoredKeys,
        given: &Object,
    ) -> Result<Signed<()>, AccountError> {
        let Some(device) = self.device_ref(&session.user, <&DeviceId>::from(id)).await? else {
            return Ok(Err(SignatureFailure::UnknownKey));
        };
        let found = self.0.store.latest().get_versioned(&DEVICE_KEYS, &device.key()).await?;
        let Some((Packed(row), version)) = found else { return Ok(Err(SignatureFailure::UnknownKey)) };
        let old = stored(&row.json)?;
        if signed_part(&old) != signed_part(given) {
            return Ok(Err(SignatureFailure::OtherKey));
        }
        let Some(signer) = known.get(Usage::SelfSigning) else { return Ok(Err(SignatureFailure::InvalidSignature)) };
        let signer_id = format!("ed25519:{}", signer.public_key);
        let signature = signatures_of(given, &session.user).remove(&signer_id);
        let Some(signature) = signature.filter(|signature| is_signed(given, &signer.public_key, signature)) else {
            return Ok(Err(SignatureFailure::InvalidSignature));
        };
        let mut signatures = signatures_of(&old, &session.user);
        if signatures.get(&signer_id) == Some(&signature) {
            return Ok(Ok(None));
        }
        // Signatures of self-signing keys that were replaced are of no use.
        let own_id = format!("ed25519:{id}");
        signatures.retain(|key_id, _| *key_id == own_id);
        signatures.insert(signer_id, signature);
        self.put_signed_device(batch, session, device, old, signatures, version);
        self.record(batch, Record::of(Act::DeviceVerify).user(session.user.as_str()).device(id).detail("device"));
        Ok(Ok(Some(())))
    }

    fn put_signed_device(
        &self,
        batch: &mut Batch,
        session: &Session,
        device: DeviceRef,
        mut object: Object,
        signatures: Object,
        version: Position,
    ) {
        set_signatures(&mut object, &session.user, signatures);
        batch.expect_version(&DEVICE_KEYS, &device.key(), Some(version));
        batch.put(&DEVICE_KEYS, &device.key(), &Packed(DeviceKeysRow { json: text(&object) }));
    }

    /// Signs the user's master key with keys of their devices.
    async fn sign_own_master(
        &self,
        batch: &mut Batch,
        session: &Session,
        master: &CrossSigningRow,
        given: &Object,
    ) -> Result<Signed<()>, AccountError> {
        let old = stored(&master.json)?;
        if signed_part(&old) != signed_part(given) {
            return Ok(Err(SignatureFailure::OtherKey));
        }
        let known = signatures_of(&old, &session.user);
        let mut kept = Object::new();
        for (key_id, signature) in &known {
            // Of devices that are gone nobody can check them.
            if self.device_signing_key(&session.user, session.nid, key_id).await?.is_some() {
                kept.insert(key_id.clone(), signature.clone());
            }
        }
        let mut is_new = false;
        let given_signatures = signatures_of(given, &session.user);
        for (key_id, signature) in &given_signatures {
            if known.get(key_id) == Some(signature) {
                continue;
            }
            let key = self.device_signing_key(&session.user, session.nid, key_id).await?;
            if !key.is_some_and(|key| is_signed(given, &key, signature)) {
                return Ok(Err(SignatureFailure::InvalidSignature));
            }
            kept.insert(key_id.clone(), signature.clone());
            is_new = true;
        }
        if given_signatures.is_empty() {
            return Ok(Err(SignatureFailure::InvalidSignature));
        }
        if !is_new {
            return Ok(Ok(None));
        }
        let mut object = old;
        set_signatures(&mut object, &session.user, kept);
        let row = CrossSigningRow { public_key: master.public_key.clone(), json: text(&object) };
        batch.put(&CROSS_SIGNING_KEYS, &(session.nid.get(), Usage::Master as u8), &Packed(row));
        self.record(batch, Record::of(Act::DeviceVerify).user(session.user.as_str()).detail("master key"));
        Ok(Ok(Some(())))
    }

    /// Signs another user's master key with the user-signing key.
    async fn sign_other(
        &self,
        session: &Session,
        user: &UserId,
        keys: &BTreeMap<String, Box<RawValue>>,
    ) -> Result<BTreeMap<String, SignatureFailure>, AccountError> {
        let mut failures = BTreeMap::new();
        for (id, json) in keys {
            let done = match object("signed key", json.get()) {
                Ok(given) => self.sign_other_master(session, user, id, &given).await?,
                Err(_) => Err(SignatureFailure::OtherKey),
            };
            if let Err(failure) = done {
                failures.insert(id.clone(), failure);
            }
        }
        Ok(failures)
    }

    async fn sign_other_master(
        &self,
        session: &Session,
        user: &UserId,
        id: &str,
        given: &Object,
    ) -> Result<Signed<()>, AccountError> {
        let Some(target) = self.user_nid(user).await? else { return Ok(Err(SignatureFailure::UnknownKey)) };
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let theirs = self.stored_cross_signing(target).await?;
            let Some(master) = theirs.get(Usage::Master).filter(|row| row.public_key == id) else {
                return Ok(Err(SignatureFailure::UnknownKey));
            };
            if signed_part(&stored(&master.json)?) != signed_part(given) {
                return Ok(Err(SignatureFailure::OtherKey));
            }
            let own = self.stored_cross_signing(session.nid).await?;
            let Some(signer) = own.get(Usage::UserSigning) else { return Ok(Err(SignatureFailure::InvalidSignature)) };
            let key_id = format!("ed25519:{}", signer.public_key);
            let signatures = signatures_of(given, &session.user);
            let signature = signatures.get(&key_id).filter(|signature| is_signed(given, &signer.public_key, signature));
            let Some(signature) = signature.and_then(Value::as_str) else {
                return Ok(Err(SignatureFailure::InvalidSignature));
            };
            let key = (target.get(), session.nid.get());
            let before = self.0.store.latest().get_versioned(&MASTER_SIGNATURES, &key).await?;
            let mut batch = Batch::default();
            theirs.expect_master(&mut batch, target);
            own.expect(&mut batch, session);
            batch.expect_version(&MASTER_SIGNATURES, &key, before.as_ref().map(|(_, version)| *version));
            if let Some((Packed(row), version)) = before {
                if row.signed == id && row.key_id == key_id && row.signature == signature {
                    return Ok(Ok(None));
                }
                batch.delete(&SIGNED_USERS, &(key.1, version, key.0));
            }
            let row = SignatureRow { signed: id.to_owned(), key_id, signature: signature.to_owned() };
            batch.put(&MASTER_SIGNATURES, &key, &Packed(row));
            batch.put(&SIGNED_USERS, &(key.1, Position::COMMIT, key.0), &());
            batch.touch(session.nid.watch_key());
            self.record(&mut batch, Record::of(Act::DeviceVerify).user(user.as_str()).detail("user"));
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(Ok(Some(())));
            }
        }
        Err(AccountError::Contended)
    }
}

impl StoredKeys {
    /// The commit fails unless all keys are as they were read.
    fn expect(&self, batch: &mut Batch, session: &Session) {
        for usage in Usage::ALL {
            batch.expect_version(&CROSS_SIGNING_KEYS, &(session.nid.get(), usage as u8), self.version(usage));
        }
    }

    /// The same for the master key alone.
    fn expect_master(&self, batch: &mut Batch, user: crate::UserNid) {
        batch.expect_version(&CROSS_SIGNING_KEYS, &(user.get(), Usage::Master as u8), self.version(Usage::Master));
    }
}
