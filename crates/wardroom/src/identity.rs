//! Who this server is: its name and its signing key, kept sealed in the store from the first start on.

use ruma::{OwnedServerName, OwnedServerSigningKeyId, ServerName};
use serde::{Deserialize, Serialize};
use wardroom_event::SigningKey;
use wardroom_federation::OldKey;
use wardroom_store::{Batch, Packed, SCAN_LIMIT_DEFAULT, Scan, Store};
use zeroize::Zeroizing;

use crate::{
    tables::{IDENTITY, OLD_KEYS, POLICY_KEY},
    wiring::StartError,
};

/// Version of the key of every policy server (server-server API, section "Policy Servers").
const POLICY_KEY_VERSION: &str = "policy_server";

/// The stored row.
#[derive(Deserialize, Serialize)]
pub(crate) struct IdentityRow {
    server_name: String,
    key_version: String,
    seed: [u8; 32],
}

/// A key that was replaced. Its secret is gone.
#[derive(Deserialize, Serialize)]
pub(crate) struct OldKeyRow {
    key_version: String,
    public_key: [u8; 32],
}

/// The signing key of this server: made on first start.
///
/// # Errors
/// [`StartError::OtherName`] when the store belongs to a server of another name: users, rooms and signatures bear the
/// name and cannot be renamed.
pub(crate) async fn signing_key(store: &Store, server_name: &ServerName) -> Result<SigningKey, StartError> {
    if let Some(Packed(row)) = store.latest().get(&IDENTITY, &()).await? {
        return key_of(&row, server_name);
    }
    let (key, row) = new_key(server_name)?;
    let mut batch = Batch::default();
    batch.expect_absent(&IDENTITY, &());
    batch.put(&IDENTITY, &(), &Packed(row));
    store.commit(batch).await?;
    Ok(key)
}

fn key_of(row: &IdentityRow, server_name: &ServerName) -> Result<SigningKey, StartError> {
    if row.server_name != *server_name.as_str() {
        let stored: OwnedServerName = row.server_name.as_str().try_into().map_err(|_| StartError::Identity)?;
        return Err(StartError::OtherName { stored, configured: server_name.to_owned() });
    }
    let seed = Zeroizing::new(row.seed);
    SigningKey::from_seed(*seed, &row.key_version).map_err(|_| StartError::Identity)
}

fn new_key(server_name: &ServerName) -> Result<(SigningKey, IdentityRow), StartError> {
    let key = SigningKey::generate(&key_version()).map_err(|_| StartError::Identity)?;
    let version = key.key_id().key_name().to_string();
    let row = IdentityRow { server_name: server_name.to_string(), key_version: version, seed: key.seed() };
    Ok((key, row))
}

/// The key with which this server signs as the policy server of rooms: another than the one that it signs with as a
/// server, so that rooms can stop to trust the one without the other. Made on first start.
pub(crate) async fn policy_key(store: &Store) -> Result<SigningKey, StartError> {
    let seed = match store.latest().get(&POLICY_KEY, &()).await? {
        Some(Packed(seed)) => Zeroizing::new(seed),
        None => {
            let made = SigningKey::generate(POLICY_KEY_VERSION).map_err(|_| StartError::Identity)?;
            let mut batch = Batch::default();
            batch.expect_absent(&POLICY_KEY, &());
            batch.put(&POLICY_KEY, &(), &Packed(made.seed()));
            store.commit(batch).await?;
            Zeroizing::new(made.seed())
        }
    };
    SigningKey::from_seed(*seed, POLICY_KEY_VERSION).map_err(|_| StartError::Identity)
}

/// The ids of two keys.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) old: OwnedServerSigningKeyId,
    pub(crate) new: OwnedServerSigningKeyId,
}

/// Replaces the signing key, and remembers the public half of the old one with the moment from which it does not count.
pub(crate) async fn rotate(store: &Store, server_name: &ServerName, now_ms: u64) -> Result<Rotated, StartError> {
    let Some((Packed(row), version)) = store.latest().get_versioned(&IDENTITY, &()).await? else {
        return Err(StartError::Identity);
    };
    let old = key_of(&row, server_name)?;
    let (key, row) = new_key(server_name)?;
    let old_row = OldKeyRow { key_version: old.key_id().key_name().to_string(), public_key: old.public_key() };
    let mut batch = Batch::default();
    batch.expect_version(&IDENTITY, &(), Some(version));
    batch.expect_absent(&OLD_KEYS, &now_ms);
    batch.put(&IDENTITY, &(), &Packed(row));
    batch.put(&OLD_KEYS, &now_ms, &Packed(old_row));
    store.commit(batch).await?;
    Ok(Rotated { old: old.key_id().clone(), new: key.key_id().clone() })
}

/// The keys that were replaced, the newest ones of them.
pub(crate) async fn old_keys(store: &Store) -> Result<Vec<OldKey>, StartError> {
    let rows = store.latest().scan(&OLD_KEYS, Scan::all().reverse().limit(SCAN_LIMIT_DEFAULT)).await?;
    let read = |(expired_ts, Packed(row)): (u64, Packed<OldKeyRow>)| {
        let key_id = format!("ed25519:{}", row.key_version);
        let key_id = OwnedServerSigningKeyId::try_from(key_id).map_err(|_| StartError::Identity)?;
        Ok(OldKey { key_id, key: row.public_key, expired_ts })
    };
    rows.into_iter().map(read).collect()
}

/// A version that no earlier key of this name is likely to have had: servers forget keys, other servers do not.
fn key_version() -> String {
    format!("w_{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use wardroom_store::Store;

    use super::{old_keys, rotate, signing_key};
    use crate::{tables::catalogue, wiring::StartError};

    #[tokio::test]
    async fn the_key_is_made_once_and_bound_to_the_name() {
        let store = Store::in_memory(catalogue().unwrap());
        let first = signing_key(&store, server_name!("a.example")).await.unwrap();
        let second = signing_key(&store, server_name!("a.example")).await.unwrap();
        assert_eq!(first.public_key(), second.public_key());
        assert_eq!(first.key_id(), second.key_id());
        let other = signing_key(&store, server_name!("b.example")).await;
        assert!(matches!(other, Err(StartError::OtherName { .. })));
    }

    #[tokio::test]
    async fn a_replaced_key_is_remembered_without_its_secret() {
        let store = Store::in_memory(catalogue().unwrap());
        let name = server_name!("a.example");
        assert!(rotate(&store, name, 1).await.is_err(), "there is no key yet");
        let first = signing_key(&store, name).await.unwrap();
        assert!(rotate(&store, server_name!("b.example"), 1).await.is_err());
        rotate(&store, name, 1_000).await.unwrap();
        let second = signing_key(&store, name).await.unwrap();
        assert_ne!(first.public_key(), second.public_key());
        let rotated = rotate(&store, name, 2_000).await.unwrap();
        assert_eq!(rotated.old, *second.key_id());
        assert_eq!(signing_key(&store, name).await.unwrap().key_id(), &*rotated.new);
        let old = old_keys(&store).await.unwrap();
        let shown: Vec<_> = old.iter().map(|old| (old.key_id.clone(), old.key, old.expired_ts)).collect();
        let expected = [(second, 2_000), (first, 1_000)].map(|(key, ts)| (key.key_id().clone(), key.public_key(), ts));
        assert_eq!(shown, expected);
    }
}
