//! `[rooms]`

use ruma::{RoomVersionId, events::room::history_visibility::HistoryVisibility};
use serde::{Deserialize, Serialize};
use wardroom_event::RoomVersion;

/// Rooms.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rooms {
    /// Version of new rooms.
    pub(crate) default_version: RoomVersionId,
    /// Who reads the history of new rooms that are not public, where whoever makes them does not say.
    pub(crate) private_history: History,
}

/// From when on somebody reads the history of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum History {
    /// From the beginning, as the specification's presets have it.
    Shared,
    /// From when they were invited.
    Invited,
    /// From when they joined.
    Joined,
}

impl From<History> for HistoryVisibility {
    fn from(history: History) -> Self {
        match history {
            History::Shared => Self::Shared,
            History::Invited => Self::Invited,
            History::Joined => Self::Joined,
        }
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: RoomVersionId::V12, private_history: History::Shared }
    }
}

impl Rooms {
    pub(super) fn problems(&self) -> Option<String> {
        let known = RoomVersion::new(&self.default_version).is_some();
        (!known).then(|| format!("rooms.default_version: \"{}\" is not one of 6 to 12", self.default_version))
    }
}
