//! Where delayed events are kept (ids 0x0240 to 0x024F).

use wardroom_store::{Hash16, Packed, Profile, Seal, Table};

use super::DelayedRecord;
use crate::ids::UserNid;

/// Hash of the delay id to the event, sealed under a key of the room and the day it was scheduled.
pub(crate) const DELAYED_EVENTS: Table<Hash16, Packed<DelayedRecord>> =
    Table::new(0x0240, "delayed_events", Profile::Churn, Seal::Scoped).compressed();
/// (when it is due, event) of those that wait.
pub(crate) const DELAYED_DUE: Table<(u64, Hash16), ()> =
    Table::new(0x0241, "delayed_events_due", Profile::Churn, Seal::System);
/// (user, false while it waits, when it is due or was finalised, event).
pub(crate) const DELAYED_BY_USER: Table<(UserNid, bool, u64, Hash16), ()> =
    Table::new(0x0242, "delayed_events_by_user", Profile::Churn, Seal::System);
/// (when it was finalised, event) to its user.
pub(crate) const DELAYED_FINAL: Table<(u64, Hash16), Packed<UserNid>> =
    Table::new(0x0243, "delayed_events_final", Profile::Churn, Seal::System);
/// Hash of the transaction that scheduled it to the event.
pub(crate) const DELAYED_TRANSACTIONS: Table<Hash16, Packed<Hash16>> =
    Table::new(0x0244, "delayed_events_transactions", Profile::Churn, Seal::System);
