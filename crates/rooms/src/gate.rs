//! The one gate: every action of a user on a room, read or write, is put to it.
//!
//! `rooms` declares the question; who answers is given to [`crate::Rooms`] at start. [`StandardGate`] answers by the
//! specification alone. The authorization rules of the room version are no part of it: they bind every server and
//! are checked besides.

use std::{any::Any, fmt, sync::Arc};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use ruma::{RoomAliasId, UserId, events::StateEventType};
use serde_json::value::RawValue as RawJsonValue;

use wardroom_store::Hash16;

use crate::{
    events::Stored, ids::RoomNid, retention::Terms, room::RoomView, tables::Membership, visibility::Visibility,
};

/// What a user wants to do with a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Make a room; the room is the one in the making.
    Create,
    /// Become a member.
    Join,
    /// Ask to become a member.
    Knock,
    /// End one's membership, invitation or knock.
    Leave,
    /// Ask somebody in.
    Invite(&'a UserId),
    /// Remove somebody.
    Kick(&'a UserId),
    /// Keep somebody out.
    Ban(&'a UserId),
    /// Let somebody in again.
    Unban(&'a UserId),
    /// Send an event of this type; a state event where there is a state key.
    Send {
        /// Event type.
        kind: &'a str,
        /// State key of a state event.
        state_key: Option<&'a str>,
    },
    /// Strip an event of its content.
    Redact,
    /// Read events, state or members. What of the history is visible is decided event by event besides.
    Read,
    /// See what the room is (name, topic, number of members), as those may who could join it. Whether the room lets them
    /// is decided besides.
    Glimpse,
    /// Tell the server's administrators of the room, or of something in it.
    Report,
    /// Tell others what one has read, or that one is typing.
    Signal,
    /// Give the room a name in the directory, or take it.
    Name,
}

/// What the gate knows of who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The user's membership now.
    pub membership: Option<Membership>,
    /// Whether the user was ever joined.
    pub was_joined: bool,
}

/// A room in the making.
#[derive(Clone, Copy, Debug)]
pub struct RoomBirth<'a> {
    /// Who makes it.
    pub creator: &'a UserId,
    /// Its type (specification, section "Types").
    pub room_type: Option<&'a str>,
    /// The alias that it gets at once.
    pub alias: Option<&'a RoomAliasId>,
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go ahead.
    Allow,
    /// No; the sentence may be shown to the asker.
    Deny(String),
}

/// What a gate has read out of the state event that it decides by. It is the gate's own; rooms carry it along.
pub type Policy = Arc<dyn Any + Send + Sync>;

/// Decides over every action on a room.
pub trait Gate: fmt::Debug + Send + Sync + 'static {
    /// May this user do this in this room?
    fn may(&self, asker: &Asker<'_>, action: Action<'_>, room: &RoomView) -> Verdict;

    /// Finds out what is not known yet of a user who wants into a room, is wanted there, or does something in it from another
    /// server: before [`Gate::may`] is asked, and while no room waits. Ends within seconds.
    fn prepare<'a>(&'a self, _user: &'a UserId, _room: &'a RoomView) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    /// Type of the state event, with an empty state key, by which this gate decides besides what the specification
    /// says. Most gates have none.
    fn policy_type(&self) -> Option<&StateEventType> {
        None
    }

    /// Reads that event as a room has it now, once for each change; none where it says nothing.
    fn read_policy(&self, _event: &Stored) -> Option<Policy> {
        None
    }

    /// The content of that event with which a new room begins, whatever its maker asks for; none where the gate leaves
    /// it to them.
    ///
    /// # Errors
    /// A sentence for the maker, who may not make such a room.
    fn policy_for(&self, _birth: &RoomBirth<'_>) -> Result<Option<Box<RawJsonValue>>, String> {
        Ok(None)
    }

    /// The template by which [`Gate::policy_for`] decides, if there is one for such a room.
    fn template_for(&self, _birth: &RoomBirth<'_>) -> Option<Hash16> {
        None
    }

    /// What a template says now of how long events of the rooms are kept that were made by it.
    fn terms_of_template(&self, _template: Hash16) -> Option<Terms> {
        None
    }

    /// Whether this server can let a user of another server into a room, which that server asks it for.
    fn lets_in(&self, _user: &UserId, _room: &RoomView) -> bool {
        true
    }

    /// The user that acts for the server in rooms with that event, if this gate has one.
    fn own_user(&self) -> Option<&UserId> {
        None
    }

    /// Whether somebody may come into a room without an invitation by what this gate knows of them, where the room's join
    /// rule has the condition [`ROLE_CONDITION`](crate::ROLE_CONDITION). Most gates let nobody in that way.
    fn admits_by_role(&self, _user: &UserId, _room: &RoomView) -> bool {
        false
    }

    /// Whether this server decides who is in a room. Every change of a membership there is noted, for somebody to look at
    /// ([`Rooms::arrivals`](crate::Rooms::arrivals)).
    fn keeps_members(&self, _room: RoomNid) -> bool {
        false
    }

    /// Whether that event may be sent from here with this content.
    ///
    /// # Errors
    /// A sentence that names the field at fault.
    fn check_policy(&self, _content: &RawJsonValue) -> Result<(), String> {
        Ok(())
    }
}

/// The specification's own rules, and no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardGate;

impl Gate for StandardGate {
    fn may(&self, asker: &Asker<'_>, action: Action<'_>, room: &RoomView) -> Verdict {
        let joined = asker.membership == Some(Membership::Join);
        let allowed = match action {
            Action::Read => joined || asker.was_joined || room.visibility == Visibility::WorldReadable,
            Action::Signal | Action::Name | Action::Send { .. } | Action::Redact => joined,
            Action::Create
            | Action::Glimpse
            | Action::Report
            | Action::Join
            | Action::Knock
            | Action::Leave
            | Action::Invite(_)
            | Action::Kick(_)
            | Action::Ban(_)
            | Action::Unban(_) => true,
        };
        if allowed { Verdict::Allow } else { Verdict::Deny("You are not in this room.".to_owned()) }
    }
}
