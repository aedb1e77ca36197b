//! Small numbers for what has a long name, and places in a timeline.
//!
//! The store's keys hold no names, so rooms, events, users and state keys are interned; these types keep the
//! kinds of number apart.

use std::{fmt, str::FromStr};

use ruma::events::{StateEventType, TimelineEventType};
use serde::{Deserialize, Serialize};
use wardroom_store::{CodecError, Key, KeyBuf, Position, WatchKey};

/// Interner namespace of user ids, shared with `accounts`.
pub const NS_USER: u8 = 1;
/// Interner namespace of room ids.
pub const NS_ROOM: u8 = 2;
/// Interner namespace of event ids.
pub const NS_EVENT: u8 = 3;
/// Interner namespace of state keys other than memberships.
pub const NS_SLOT: u8 = 4;

/// Interner namespace of server names.
pub const NS_SERVER: u8 = 5;

/// Kind of the [`WatchKey`] of a room: its timeline, receipts or typing moved.
pub const WATCH_ROOM: u8 = 1;
/// Kind of the [`WatchKey`] of a user: something for this user alone moved. Shared with `accounts`.
pub const WATCH_USER: u8 = 2;
/// The [`WatchKey`] of what has to reach other servers: events, under id 0.
pub const WATCH_OUTGOING: WatchKey = WatchKey { kind: 8, id: 0 };

/// Touched when what the gate decides by changed in some room.
pub const WATCH_POLICIES: WatchKey = WatchKey { kind: 9, id: 0 };

/// Watch key of rooms that guests have to leave.
pub(crate) const WATCH_GUESTS: WatchKey = WatchKey { kind: 11, id: 0 };
/// Watch key of events that are to be redacted with the one they relate to.
pub(crate) const WATCH_RELATED: WatchKey = WatchKey { kind: 13, id: 0 };
/// Kind of the [`WatchKey`] of a room's memberships: somebody joined, left, was invited or banned.
pub const WATCH_MEMBERS: u8 = 6;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number the interner gave.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl Key for $name {
            fn encode(&self, out: &mut KeyBuf) {
                self.0.encode(out);
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                u64::decode(input).map(Self)
            }
        }
    };
}

number! {
    /// A room.
    RoomNid
}
number! {
    /// An event.
    EventNid
}
number! {
    /// A user.
    UserNid
}
number! {
    /// A server.
    ServerNid
}
number! {
    /// A place in a room's state: an event type and a state key.
    ///
    /// Memberships are most of the state of a large room and their state key is a user, so their slot is the
    /// user's number with the top bit set and costs the interner nothing.
    Slot
}

impl RoomNid {
    /// What waiters of this room watch.
    pub const fn watch(self) -> WatchKey {
        WatchKey { kind: WATCH_ROOM, id: self.0 }
    }

    /// What says whether memberships of this room changed; whoever watches [`Self::watch`] need not watch it too.
    pub const fn members_watch(self) -> WatchKey {
        WatchKey { kind: WATCH_MEMBERS, id: self.0 }
    }
}

impl UserNid {
    /// What waiters of this user watch.
    pub const fn watch(self) -> WatchKey {
        WatchKey { kind: WATCH_USER, id: self.0 }
    }
}

impl Slot {
    const MEMBER_BIT: u64 = 1 << 63;

    /// The slot of a user's membership.
    pub const fn member(user: UserNid) -> Self {
        Self(user.0 | Self::MEMBER_BIT)
    }

    /// The user whose membership stands here, if this is a membership.
    pub const fn user(self) -> Option<UserNid> {
        if self.0 & Self::MEMBER_BIT == 0 { None } else { Some(UserNid(self.0 & !Self::MEMBER_BIT)) }
    }

    /// The name under which slots other than memberships are interned. NUL cannot stand in an event type that a
    /// client may name in a path, and where a peer forces one in, two names still differ.
    pub(crate) fn name(kind: &StateEventType, state_key: &str) -> String {
        let kind = kind.to_string();
        format!("{}:{kind}{state_key}", kind.len())
    }
}

/// True where the state event's slot is a membership.
pub(crate) fn is_member(kind: &TimelineEventType) -> bool {
    *kind == TimelineEventType::RoomMember
}

/// Place of an event in its room's timeline: the commit that brought it, and its index within that commit.
///
/// As a boundary it stands before the event at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Position of the commit on the one log.
    position: u64,
    /// Index within the commit.
    index: u16,
}

impl Place {
    /// Before everything.
    pub const FIRST: Self = Self { position: 0, index: 0 };
    /// After everything.
    pub const LAST: Self = Self { position: u64::MAX, index: u16::MAX };

    /// The place of the event with this index in the commit at `position`.
    pub const fn new(position: Position, index: u16) -> Self {
        Self { position: position.get(), index }
    }

    /// The boundary after everything that the commit at `position` brought.
    pub const fn after(position: Position) -> Self {
        Self { position: position.get().saturating_add(1), index: 0 }
    }

    /// The boundary right after the event at this place.
    pub const fn next(self) -> Self {
        if self.index == u16::MAX {
            Self { position: self.position.saturating_add(1), index: 0 }
        } else {
            Self { position: self.position, index: self.index + 1 }
        }
    }

    /// The last place before this one.
    pub const fn before(self) -> Self {
        if self.index > 0 {
            Self { position: self.position, index: self.index - 1 }
        } else {
            Self { position: self.position.saturating_sub(1), index: u16::MAX }
        }
    }

    /// Position of the commit.
    pub const fn position(self) -> Position {
        Position::new(self.position)
    }

    /// Index within the commit.
    pub const fn index(self) -> u16 {
        self.index
    }
}

/// A sync or pagination token is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token is not one that this server gave")]
pub struct BadToken;

/// `t<position>_<index>`, a boundary in a timeline.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}_{}", self.position, self.index)
    }
}

/// Accepts pagination tokens, and sync tokens as the boundary after what that sync has told: `s<position>`, with or
/// without `_<position>` for messages to devices, and `c<position>_...` of sliding sync.
impl FromStr for Place {
    type Err = BadToken;

    fn from_str(token: &str) -> Result<Self, BadToken> {
        if let Some(numbers) = token.strip_prefix('s') {
            let (position, to_device) = numbers.split_once('_').unwrap_or((numbers, "0"));
            number::<u64>(to_device)?;
            return Ok(Self::after(Position::new(number(position)?)));
        }
        if let Some((position, _)) = token.strip_prefix('c').and_then(|rest| rest.split_once('_')) {
            return Ok(Self::after(Position::new(number(position)?)));
        }
        let (position, index) = token.strip_prefix('t').and_then(|rest| rest.split_once('_')).ok_or(BadToken)?;
        Ok(Self { position: number(position)?, index: number(index)? })
    }
}

/// A number of a token: digits alone, where `parse` would take a sign as well.
pub(crate) fn number<N: FromStr>(digits: &str) -> Result<N, BadToken> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().map_err(|_| BadToken) } else { Err(BadToken) }
}

#[cfg(test)]
mod tests {
    use super::{BadToken, Place, Slot, UserNid};
    use proptest::prelude::*;
    use ruma::events::StateEventType;
    use wardroom_store::Position;

    proptest! {
        #[test]
        fn every_place_survives_the_client(position: u64, index: u16) {
            let place = Place::new(Position::new(position), index);
            prop_assert_eq!(place.to_string().parse(), Ok(place));
            prop_assert_eq!(format!("s{position}").parse(), Ok(Place::after(Position::new(position))));
        }

        #[test]
        fn what_is_taken_for_a_token_looks_like_one(text in "[st]?[-+ 0-9]{0,22}_?[-+0-9]{0,6}|\\PC{0,12}") {
            if text.parse::<Place>().is_ok() {
                let rest = text.trim_start_matches(['s', 't']);
                prop_assert!(rest.chars().all(|c| c.is_ascii_digit() || c == '_'), "{:?}", text);
            }
        }
    }

    #[test]
    fn tokens_survive_the_client() {
        let place = Place::new(Position::new(77), 3);
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("s77".parse(), Ok(Place::after(Position::new(77))));
        assert_eq!("s77_5".parse(), Ok(Place::after(Position::new(77))));
        assert_eq!("c77_1_2".parse(), Ok(Place::after(Position::new(77))));
        let junk = [
            "",
            "s",
            "s1_",
            "s1_2_3",
            "s-1",
            "s+1",
            "s1_+2",
            "t",
            "t1",
            "t+1_1",
            "t1_+1",
            "c77",
            "c-1_2_3",
            "t1_70000",
            "x1_1",
            "t1_1_1",
            "t99999999999999999999_0",
        ];
        for junk in junk {
            assert_eq!(junk.parse::<Place>(), Err(BadToken), "{junk}");
        }
    }

    #[test]
    fn slot_names_of_different_keys_differ() {
        let a = Slot::name(&StateEventType::from("a".to_owned()), "bc");
        let b = Slot::name(&StateEventType::from("ab".to_owned()), "c");
        assert_ne!(a, b);
        assert_eq!(Slot::member(UserNid::new(5)).user(), Some(UserNid::new(5)));
        assert_eq!(Slot::new(5).user(), None);
    }
}
