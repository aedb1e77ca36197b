//! Rooms. Paths and shapes are Synapse's, for the tools that exist.

mod block;
mod delete;
mod list;
mod people;

use crate::endpoint::Endpoints;

pub(crate) fn endpoints() -> Endpoints {
    list::endpoints().merge(block::endpoints()).merge(delete::endpoints()).merge(people::endpoints())
}
