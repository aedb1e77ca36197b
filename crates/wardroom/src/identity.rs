//! Who this server is: its name and its signing key, kept sealed in the store from the first start on.

use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use wardroom_event::SigningKey;
use wardroom_store::{Batch, Packed, Store};
use zeroize::Zeroizing;

use crate::{tables::IDENTITY, wiring::StartError};

/// The stored row.
#[derive(Deserialize, Serialize)]
pub(crate) struct IdentityRow {
    server_name: String,
    key_version: String,
    seed: [u8; 32],
}

/// The signing key of this server: made on first start.
///
/// # Errors
/// [`StartError::OtherName`] when the store belongs to a server of another name: users, rooms and signatures bear the
/// name and cannot be renamed.
pub(crate) async fn signing_key(store: &Store, server_name: &ServerName) -> Result<SigningKey, StartError> {
    if let Some(Packed(row)) = store.latest().get(&IDENTITY, &()).await? {
        if row.server_name != *server_name.as_str() {
            let stored: OwnedServerName = row.server_name.as_str().try_into().map_err(|_| StartError::Identity)?;
            return Err(StartError::OtherName { stored, configured: server_name.to_owned() });
        }
        let seed = Zeroizing::new(row.seed);
        return SigningKey::from_seed(*seed, &row.key_version).map_err(|_| StartError::Identity);
    }
    let key = SigningKey::generate(&key_version()).map_err(|_| StartError::Identity)?;
    let version = key.key_id().key_name().to_string();
    let row = IdentityRow { server_name: server_name.to_string(), key_version: version, seed: key.seed() };
    let mut batch = Batch::default();
    batch.expect_absent(&IDENTITY, &());
    batch.put(&IDENTITY, &(), &Packed(row));
    store.commit(batch).await?;
    Ok(key)
}

/// A version that no earlier key of this name is likely to have had: servers forget keys, other servers do not.
fn key_version() -> String {
    format!("w_{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use wardroom_store::Store;

    use super::signing_key;
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
}
