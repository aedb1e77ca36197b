//! The tables of holds (ids 0x0840 to 0x084F).

use wardroom_store::{Json, Profile, Seal, Table, TableSpec};

use crate::hold::Hold;

/// The two halves of a hold's id; ids are in the order in which holds were set.
pub(crate) type HoldKey = (u64, u64);

/// Every hold that was ever set.
pub(crate) const HOLDS: Table<HoldKey, Json<Hold>> = Table::new(0x0840, "holds", Profile::Scan, Seal::System);
/// Those that are in force.
pub(crate) const IN_FORCE: Table<HoldKey, ()> = Table::new(0x0841, "holds_in_force", Profile::Scan, Seal::System);

/// The tables of holds, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[*HOLDS.spec(), *IN_FORCE.spec()];
