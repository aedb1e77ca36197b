//! The room versions that exist here, and their rules as data.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

/// A supported room version, with its rules at hand. Copying it copies a pointer.
///
/// Versions 1 to 5 do not exist here: their events are not canonical JSON. [Room versions][spec].
///
/// [spec]: https://spec.matrix.org/v1.19/rooms/
#[derive(Clone, Copy)]
pub struct RoomVersion(&'static Entry);

struct Entry {
    number: u8,
    id: RoomVersionId,
    rules: RoomVersionRules,
}

static ENTRIES: [Entry; 7] = [
    Entry { number: 6, id: RoomVersionId::V6, rules: RoomVersionRules::V6 },
    Entry { number: 7, id: RoomVersionId::V7, rules: RoomVersionRules::V7 },
    Entry { number: 8, id: RoomVersionId::V8, rules: RoomVersionRules::V8 },
    Entry { number: 9, id: RoomVersionId::V9, rules: RoomVersionRules::V9 },
    Entry { number: 10, id: RoomVersionId::V10, rules: RoomVersionRules::V10 },
    Entry { number: 11, id: RoomVersionId::V11, rules: RoomVersionRules::V11 },
    Entry { number: 12, id: RoomVersionId::V12, rules: RoomVersionRules::V12 },
];

impl RoomVersion {
    /// Room version 6.
    pub const V6: Self = Self(&ENTRIES[0]);
    /// Room version 7: knocking.
    pub const V7: Self = Self(&ENTRIES[1]);
    /// Room version 8: restricted joins.
    pub const V8: Self = Self(&ENTRIES[2]);
    /// Room version 9: redaction keeps what restricted joins need.
    pub const V9: Self = Self(&ENTRIES[3]);
    /// Room version 10: integer power levels, knock-restricted joins.
    pub const V10: Self = Self(&ENTRIES[4]);
    /// Room version 11: `redacts` in the content, new redaction rules.
    pub const V11: Self = Self(&ENTRIES[5]);
    /// Room version 12: room ids from the create event, privileged creators, state resolution 2.1.
    pub const V12: Self = Self(&ENTRIES[6]);

    /// Every supported version, oldest first.
    pub const ALL: [Self; 7] = [Self::V6, Self::V7, Self::V8, Self::V9, Self::V10, Self::V11, Self::V12];

    /// The handle of a version; `None` for those that are unknown or not supported.
    pub fn new(id: &RoomVersionId) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.id() == id)
    }

    /// The version's identifier.
    pub fn id(self) -> &'static RoomVersionId {
        &self.0.id
    }

    /// The version as it is written in `room_version`.
    pub fn as_str(self) -> &'static str {
        self.0.id.as_str()
    }

    /// How events of this version are formatted, hashed, redacted, authorized and resolved.
    pub fn rules(self) -> &'static RoomVersionRules {
        &self.0.rules
    }
}

impl FromStr for RoomVersion {
    type Err = UnsupportedRoomVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(UnsupportedRoomVersion)
    }
}

/// The room version is unknown, or one of 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unsupported room version")]
pub struct UnsupportedRoomVersion;

impl fmt::Debug for RoomVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomVersion({})", self.as_str())
    }
}

impl fmt::Display for RoomVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for RoomVersion {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for RoomVersion {}

impl Hash for RoomVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.number.hash(state);
    }
}

impl PartialOrd for RoomVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RoomVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.number.cmp(&other.0.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_supported_versions_only() {
        for version in RoomVersion::ALL {
            assert_eq!(RoomVersion::new(version.id()), Some(version));
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        for unsupported in ["", "0", "1", "2", "3", "4", "5", "13", "011", "org.matrix.msc2870"] {
            assert_eq!(unsupported.parse::<RoomVersion>(), Err(UnsupportedRoomVersion));
            if let Ok(id) = RoomVersionId::try_from(unsupported) {
                assert_eq!(RoomVersion::new(&id), None);
            }
        }
        assert!(RoomVersion::V9 < RoomVersion::V10);
    }
}
