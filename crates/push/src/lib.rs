//! Push rules against events: what is unread, and what push gateways are told.

mod error;
mod facts;
mod paths;
mod rules;
mod tally;
mod unread;

pub use self::{
    error::PushError,
    paths::segments,
    tally::{Counts, Tally},
    unread::{UNREAD_SCAN_EVENTS_MAX, Unread, Whose},
};
