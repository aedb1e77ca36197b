//! Which configuration is in force: the audit trail hears of each start with another one than before.

use wardroom_audit::{Act, AuditLog, Record};
use wardroom_store::{Batch, Hash16, Packed, Store};

use crate::{config::Config, tables::CONFIGURED, wiring::StartError};

/// Domain of the keyed hash of a configuration: secrets are in it, so that a change of one counts, and nobody without the
/// store's key can try what they are.
const HASH_CONFIG: u8 = 0xF0;

fn hex(hash: Hash16) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

/// Records that the configuration is another one than at the start before, if it is.
///
/// # Errors
/// When the store fails.
pub(crate) async fn note(config: &Config, store: &Store, audit: &AuditLog) -> Result<(), StartError> {
    let text = serde_json::to_vec(config).unwrap_or_default();
    let new = store.keyed_hash(HASH_CONFIG, &text);
    let old = store.latest().get(&CONFIGURED, &()).await?.map(|Packed(old)| old);
    if old == Some(new) {
        return Ok(());
    }
    let record = Record::of(Act::ServerConfig).detail("configuration").new(hex(new));
    let mut batch = Batch::default();
    batch.put(&CONFIGURED, &(), &Packed(new));
    audit.add(&mut batch, old.map(|old| record.clone().old(hex(old))).unwrap_or(record));
    store.commit(batch).await?;
    Ok(())
}
