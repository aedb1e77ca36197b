//! Push rules against events: what is unread, and what push gateways are told.
//!
//! The way of a notification: an event commits and stands in the log of all rooms. The [`Push`] service follows that log,
//! puts each event to the rules of the room's members who have pushers, and writes what notifies into a queue for each
//! pusher, in one batch with its cursor. Workers deliver the queues. Invariants:
//!
//! - Nothing that notifies is lost by a crash, and only what was on its way at that moment is sent again.
//! - Each pusher gets its notifications in the order of the events. One that fails is tried again ever more rarely and
//!   holds up no other.
//! - What is no longer to be told when its turn comes (read, redacted, the user gone, too old) is not told.
//! - An event is put once to rules that many users share, not once for each user.
//! - Counts of what is unread are lazy: for users who have no pusher and do not ask, nothing is counted.
//!
//! Deliberately absent: HTTP handlers, and e-mail.

mod audience;
mod badge;
mod error;
mod facts;
mod follower;
mod gateway;
mod history;
mod kept;
mod lanes;
mod message;
mod names;
mod paths;
mod queue;
mod rules;
mod service;
mod settings;
mod tables;
mod tally;
#[cfg(test)]
mod tests;
mod unread;
mod worker;

pub use self::{
    error::PushError,
    history::{NOTIFICATIONS_PAGE_MAX, Notification, Notifications, Only},
    paths::segments,
    service::{Push, PushStats},
    settings::{BadgeCounts, Settings},
    tables::TABLES,
    tally::{Counts, Tally},
    unread::{UNREAD_SCAN_EVENTS_MAX, Unread, Whose},
};
