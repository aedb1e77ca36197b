//! Tags of rooms: section "Room Tagging". They live in the room's account data as `m.tag`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{AccountError, Accounts, DataScope, UserNid};

/// Longest name of a tag, in bytes.
pub const TAG_BYTES_MAX: usize = 255;
/// Tags one user can give one room.
pub const TAGS_PER_ROOM_MAX: usize = 100;

const TAG_TYPE: &str = "m.tag";

/// Content of `m.tag`. What a tag says is passed through as the client wrote it.
#[derive(Default, Serialize, Deserialize)]
struct TagContent {
    #[serde(default)]
    tags: BTreeMap<String, Box<RawValue>>,
}

impl TagContent {
    /// Content that is not of the form counts as no tags: clients can write `m.tag` as account data too.
    fn from_json(content: Option<&str>) -> Self {
        content.and_then(|content| serde_json::from_str(content).ok()).unwrap_or_default()
    }

    fn into_json(self) -> Result<Option<String>, AccountError> {
        serde_json::to_string(&self).map(Some).map_err(|_| AccountError::Damaged("tags"))
    }
}

impl Accounts {
    /// The user's tags of a room: name and what the client stored with it, an object.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tags(&self, user: UserNid, room: u64) -> Result<BTreeMap<String, Box<RawValue>>, AccountError> {
        let content = self.account_data(user, DataScope::Room(room), TAG_TYPE).await?;
        Ok(TagContent::from_json(content.as_deref().map(RawValue::get)).tags)
    }

    /// Adds a tag, or changes what is stored with it.
    ///
    /// # Errors
    /// [`AccountError::Limit`], or the store's.
    pub async fn set_tag(&self, user: UserNid, room: u64, tag: &str, info: &RawValue) -> Result<(), AccountError> {
        if tag.len() > TAG_BYTES_MAX {
            return Err(AccountError::Limit { what: "The length of the tag, in bytes,", limit: TAG_BYTES_MAX });
        }
        self.change_account_data(user, DataScope::Room(room), TAG_TYPE, |old| {
            let mut content = TagContent::from_json(old);
            content.tags.insert(tag.to_owned(), info.to_owned());
            if content.tags.len() > TAGS_PER_ROOM_MAX {
                return Err(AccountError::Limit { what: "The number of tags of the room", limit: TAGS_PER_ROOM_MAX });
            }
            content.into_json()
        })
        .await?;
        Ok(())
    }

    /// Removes a tag; one that the room does not have is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_tag(&self, user: UserNid, room: u64, tag: &str) -> Result<(), AccountError> {
        self.change_account_data(user, DataScope::Room(room), TAG_TYPE, |old| {
            let mut content = TagContent::from_json(old);
            if content.tags.remove(tag).is_none() {
                return Ok(None);
            }
            content.into_json()
        })
        .await?;
        Ok(())
    }
}
