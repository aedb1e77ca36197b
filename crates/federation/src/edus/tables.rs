//! What this module keeps, table ids 0x0530 to 0x053F.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Packed, Position, Profile, Seal, Table};

/// Local user -> what other servers were told of the user's devices.
pub(crate) const TOLD_DEVICES: Table<u64, Packed<ToldRow>> =
    Table::new(0x0530, "told_devices", Profile::Point, Seal::System).compressed();
/// [`CURSOR_DEVICES`] -> the position up to which changes were told.
pub(crate) const CURSORS: Table<u8, Position> = Table::new(0x0531, "edu_cursors", Profile::Point, Seal::System);

/// The cursor of changes of local users' devices.
pub(super) const CURSOR_DEVICES: u8 = 1;
/// Domain of the keyed hashes by which this module recognises what was told.
pub(super) const DOMAIN_TOLD: u8 = 0x90;

/// What other servers were told of a user's devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldRow {
    /// The number of the newest change.
    pub(super) stream_id: u64,
    /// Hashes of devices that encrypt, by device id.
    pub(super) devices: BTreeMap<String, Hash16>,
    /// Hash of the cross-signing keys.
    pub(super) cross_signing: Option<Hash16>,
}

impl Default for ToldRow {
    /// Nothing was told; who asks before the first change is told to have everything up to this number.
    fn default() -> Self {
        Self { stream_id: 1, devices: BTreeMap::new(), cross_signing: None }
    }
}
