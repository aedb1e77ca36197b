//! Who may be in which room, by role (`/_wardroom/admin/v1`): policies of rooms, roles of users, and looking again.

mod alarms;
mod bindings;
mod emergencies;
mod policy;
mod review;
mod roles;

use crate::endpoint::Endpoints;

pub(crate) fn endpoints() -> Endpoints {
    policy::endpoints()
        .merge(bindings::endpoints())
        .merge(roles::endpoints())
        .merge(review::endpoints())
        .merge(alarms::endpoints())
        .merge(emergencies::endpoints())
}
