//! Rooms. Paths and shapes are Synapse's, for the tools that exist.

mod block;
mod content;
mod delete;
mod history;
mod list;
mod people;

use crate::endpoint::Endpoints;

pub(crate) fn endpoints() -> Endpoints {
    list::endpoints()
        .merge(block::endpoints())
        .merge(delete::endpoints())
        .merge(people::endpoints())
        .merge(history::endpoints())
        .merge(content::endpoints())
}
