//! What is kept of exports and feeds, table ids 0x0820 to 0x083F.

use wardroom_store::{Packed, Profile, Seal, Table, TableSpec};

use crate::{exports::ExportRow, feeds::FeedRow};

/// Exports, by their ids.
pub(crate) const EXPORTS: Table<[u8; 16], Packed<ExportRow>> =
    Table::new(0x0820, "audit_exports", Profile::Point, Seal::System);

/// How far each destination of the trail is, by the hash of its name.
pub(crate) const FEEDS: Table<[u8; 16], Packed<FeedRow>> =
    Table::new(0x0821, "audit_feeds", Profile::Point, Seal::System);

/// The tables of exports and feeds, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[*EXPORTS.spec(), *FEEDS.spec()];
