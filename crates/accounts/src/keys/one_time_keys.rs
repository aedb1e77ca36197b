//! Giving out one-time keys: `POST /keys/claim`.

use std::fmt;

use ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use wardroom_store::{Batch, Packed, Position, Scan};

use super::{
    DeviceRef,
    tables::{FALLBACK_KEYS, FallbackKeyRow, GIVEN_KEYS, KEY_STATE, ONE_TIME_KEYS, OneTimeKeyRow, WAITING_KEYS},
};
use crate::{
    AccountError, Accounts,
    error::{CONFLICT_ROUNDS_MAX, settled},
};

/// Devices from which keys are claimed at the same time: their commits share the disk's work.
const CLAIMS_AT_ONCE: usize = 64;

/// A key that was given out.
#[derive(Clone)]
pub struct ClaimedKey {
    /// Whose key it is.
    pub user: OwnedUserId,
    /// Of which device.
    pub device: OwnedDeviceId,
    /// `<algorithm>:<name>`.
    pub id: String,
    /// The key: a string or a signed object.
    pub key: Box<RawValue>,
}

impl fmt::Debug for ClaimedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedKey").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Gives out one key for each wish (user, device, algorithm): a one-time key that nobody else gets or got, the
    /// oldest first, or the device's fallback key. Where there is neither, or no such device, the wish is passed over.
    ///
    /// # Errors
    /// When the store fails. Some keys may have been given to nobody then.
    pub async fn claim_keys(
        &self,
        wishes: Vec<(OwnedUserId, OwnedDeviceId, String)>,
    ) -> Result<Vec<ClaimedKey>, AccountError> {
        let mut claimed = Vec::with_capacity(wishes.len());
        let mut claims: JoinSet<Result<Option<ClaimedKey>, AccountError>> = JoinSet::new();
        for (user, device, algorithm) in wishes {
            if claims.len() >= CLAIMS_AT_ONCE
                && let Some(claim) = claims.join_next().await
            {
                claimed.extend(claim.map_err(|_| AccountError::Stopped)??);
            }
            let accounts = self.clone();
            claims.spawn(async move {
                let Some(owner) = accounts.device_ref(&user, &device).await? else { return Ok(None) };
                let found = accounts.claim_key(owner, &algorithm).await?;
                Ok(found.map(|(id, key)| ClaimedKey { user, device, id, key }))
            });
        }
        while let Some(claim) = claims.join_next().await {
            claimed.extend(claim.map_err(|_| AccountError::Stopped)??);
        }
        Ok(claimed)
    }

    /// Id and key.
    async fn claim_key(
        &self,
        device: DeviceRef,
        algorithm: &str,
    ) -> Result<Option<(String, Box<RawValue>)>, AccountError> {
        let (user, nid) = device.key();
        let algorithm_hash = self.algorithm_hash(algorithm);
        let _lock = self.0.key_locks.lock(device.user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let view = self.0.store.latest();
            let state = view.get_versioned(&KEY_STATE, &device.key()).await?;
            let Some((Packed(mut state), version)) = state else { return Ok(None) };
            let mut batch = Batch::default();
            batch.expect_version(&KEY_STATE, &device.key(), Some(version));
            let scan = Scan::prefix(&(user, nid, algorithm_hash)).limit(1);
            let given = if let Some(order) = view.scan_keys(&WAITING_KEYS, scan).await?.pop() {
                let row = (user, nid, order.4);
                let found = view.get(&ONE_TIME_KEYS, &row).await?;
                // Between the two looks somebody else may have been faster; the state says so at the latest.
                let Some(Packed(OneTimeKeyRow::Waiting { id, json })) = found else { continue };
                let content = self.content_hash(&json);
                batch.put(&ONE_TIME_KEYS, &row, &Packed(OneTimeKeyRow::Given { content }));
                batch.delete(&WAITING_KEYS, &order);
                batch.put(&GIVEN_KEYS, &(user, nid, Position::COMMIT, order.4), &());
                let left = state.one_time.get(algorithm).copied().unwrap_or_default().saturating_sub(1);
                if left == 0 {
                    state.one_time.remove(algorithm);
                } else {
                    state.one_time.insert(algorithm.to_owned(), left);
                }
                (id, json)
            } else {
                let row = (user, nid, algorithm_hash);
                let Some(Packed(fallback)) = view.get(&FALLBACK_KEYS, &row).await? else { return Ok(None) };
                let (id, json) = (fallback.id.clone(), fallback.json.clone());
                if fallback.used {
                    return raw(id, json).map(Some);
                }
                batch.put(&FALLBACK_KEYS, &row, &Packed(FallbackKeyRow { used: true, ..fallback }));
                state.unused_fallback.remove(algorithm);
                (id, json)
            };
            batch.put(&KEY_STATE, &device.key(), &Packed(state));
            batch.touch(device.watch_key());
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return raw(given.0, given.1).map(Some);
            }
        }
        Err(AccountError::Contended)
    }
}

fn raw(id: String, json: String) -> Result<(String, Box<RawValue>), AccountError> {
    let key = RawValue::from_string(json).map_err(|_| AccountError::Damaged("one-time key"))?;
    Ok((id, key))
}
