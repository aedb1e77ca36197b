//! `[rooms]`

use ruma::RoomVersionId;
use serde::{Deserialize, Serialize};
use wardroom_event::RoomVersion;

/// Rooms.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rooms {
    /// Version of new rooms.
    pub(crate) default_version: RoomVersionId,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: RoomVersionId::V12 }
    }
}

impl Rooms {
    pub(super) fn problems(&self) -> Option<String> {
        let known = RoomVersion::new(&self.default_version).is_some();
        (!known).then(|| format!("rooms.default_version: \"{}\" is not one of 6 to 12", self.default_version))
    }
}
