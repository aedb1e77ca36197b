//! What this crate keeps in the store, table ids 0x0700 to 0x070F. Keys hold numbers and keyed hashes only.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wardroom_store::{Hash16, Json, Packed, Profile, Seal, Table, TableSpec};

/// Domain of the keyed hashes of names.
pub(crate) const NAME_DOMAIN: u8 = 0x70;

/// A user or a group as the directory knows it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct ResourceRow {
    /// As the schema reads them; members of groups are in [`MEMBERS`].
    pub(crate) attributes: Map<String, Value>,
    /// The number of the user of this server; 0 for groups.
    pub(crate) user: u64,
    pub(crate) created_ms: u64,
    pub(crate) modified_ms: u64,
    /// Counts the changes.
    pub(crate) revision: u64,
}

/// What the directory has to do with a user of this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct OwnerRow {
    /// The resource that the user belongs to; none once it was deleted.
    pub(crate) resource: Option<u64>,
    /// The account is locked because the directory says so, and not by an administrator.
    pub(crate) locked_here: bool,
}

/// (kind, id) -> the resource.
pub(crate) const RESOURCES: Table<(u8, u64), Json<ResourceRow>> =
    Table::new(0x0700, "scim_resources", Profile::Scan, Seal::System).compressed();

/// Hash of kind, attribute and name -> the resource that has it.
pub(crate) const NAMES: Table<Hash16, u64> = Table::new(0x0701, "scim_names", Profile::Point, Seal::System);

/// (group, member), both resources.
pub(crate) const MEMBERS: Table<(u64, u64), ()> = Table::new(0x0702, "scim_members", Profile::Scan, Seal::System);

/// (member, group), both resources: the other way round.
pub(crate) const MEMBER_OF: Table<(u64, u64), ()> = Table::new(0x0703, "scim_member_of", Profile::Scan, Seal::System);

/// User of this server -> what the directory has to do with them.
pub(crate) const OWNERS: Table<u64, Packed<OwnerRow>> = Table::new(0x0704, "scim_owners", Profile::Point, Seal::System);

/// (user of this server, what): what follows from a change and is not done yet.
pub(crate) const DUE: Table<(u64, u8), ()> = Table::new(0x0705, "scim_due", Profile::Churn, Seal::System);

/// Every table of this crate.
pub const TABLES: &[TableSpec] =
    &[*RESOURCES.spec(), *NAMES.spec(), *MEMBERS.spec(), *MEMBER_OF.spec(), *OWNERS.spec(), *DUE.spec()];
