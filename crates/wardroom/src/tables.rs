//! The catalogue: every table of every crate.

use wardroom_store::{Catalogue, CatalogueError, Hash16, Packed, Profile, Seal, Table, TableSpec};

use crate::identity::{IdentityRow, OldKeyRow};

/// What this server is: one row.
pub(crate) static IDENTITY: Table<(), Packed<IdentityRow>> =
    Table::new(0x0F00, "server_identity", Profile::Point, Seal::System);

/// Keys that this server used to sign with, by when they expired (milliseconds since 1970).
pub(crate) static OLD_KEYS: Table<u64, Packed<OldKeyRow>> =
    Table::new(0x0F01, "old_signing_keys", Profile::Scan, Seal::System);

/// The seed of the key with which this server signs as the policy server of rooms: one row.
pub(crate) static POLICY_KEY: Table<(), Packed<[u8; 32]>> =
    Table::new(0x0F02, "policy_server_key", Profile::Point, Seal::System);

/// Keyed hash of the configuration of the newest start: one row.
pub(crate) static CONFIGURED: Table<(), Packed<Hash16>> =
    Table::new(0x0F03, "server_configured", Profile::Point, Seal::System);

/// All tables. Ranges of ids: accounts 0x01.., rooms 0x02.., media 0x03.., push 0x04.., federation 0x05.., care 0x06.., provisioning
/// 0x07.., audit, atna and holds 0x08.., the binary itself 0x0F...
pub(crate) fn catalogue() -> Result<Catalogue, CatalogueError> {
    let own: [TableSpec; 4] = [*IDENTITY.spec(), *OLD_KEYS.spec(), *POLICY_KEY.spec(), *CONFIGURED.spec()];
    Catalogue::new(&[
        wardroom_accounts::TABLES,
        wardroom_rooms::TABLES,
        wardroom_media::TABLES,
        wardroom_push::TABLES,
        wardroom_federation::TABLES,
        wardroom_care::TABLES,
        wardroom_provisioning::TABLES,
        wardroom_audit::TABLES,
        wardroom_holds::TABLES,
        wardroom_atna::TABLES,
        &own,
    ])
}
