//! Who may be in which room, by role (`/_wardroom/admin/v1`): policies of rooms, roles of users, where
//! they come from, and looking again.

mod alarms;
mod attestations;
mod bindings;
mod emergencies;
mod mappings;
mod policy;
mod policy_history;
mod review;
mod roles;
mod sources;
mod templates;

use crate::endpoint::Endpoints;

pub(crate) fn endpoints() -> Endpoints {
    policy::endpoints()
        .merge(policy_history::endpoints())
        .merge(bindings::endpoints())
        .merge(roles::endpoints())
        .merge(mappings::endpoints())
        .merge(templates::endpoints())
        .merge(review::endpoints())
        .merge(alarms::endpoints())
        .merge(sources::endpoints())
        .merge(attestations::endpoints())
        .merge(emergencies::endpoints())
}
