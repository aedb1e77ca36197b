//! Media that the events of a room name. In encrypted rooms nobody but their members can tell.

use std::collections::BTreeSet;

use ruma::RoomId;
use serde_json::Value;

use crate::{Rooms, error::RoomError, ids::Place, timeline::TimelineRange};

/// Events of one room, the newest, that are looked at.
pub const MEDIA_EVENTS_MAX: usize = 200_000;
/// Events read at a time.
const PAGE_EVENTS: usize = 500;
/// Where in a content an `mxc://` URI may stand.
const PLACES: [&str; 7] = [
    "/url",
    "/file/url",
    "/avatar_url",
    "/info/thumbnail_url",
    "/info/thumbnail_file/url",
    "/m.new_content/url",
    "/m.new_content/info/thumbnail_url",
];

impl Rooms {
    /// The `mxc://` URIs in the newest [`MEDIA_EVENTS_MAX`] events of a room, each once. Ungated: for administrators.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room; when the store fails.
    pub async fn media_in(&self, room: &RoomId) -> Result<BTreeSet<String>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        let (mut found, mut to, mut looked_at) = (BTreeSet::new(), view.end, 0);
        while looked_at < MEDIA_EVENTS_MAX {
            let range = TimelineRange { from: Place::FIRST, to, backwards: true, limit: PAGE_EVENTS };
            let items = self.timeline(view.nid, range).await?;
            let Some(last) = items.last() else { break };
            to = last.place;
            looked_at += items.len();
            for item in &items {
                let Ok(content) = item.event.pdu.content_as::<Value>() else { continue };
                let named = PLACES.iter().filter_map(|place| content.pointer(place)?.as_str());
                found.extend(named.filter(|url| url.starts_with("mxc://")).map(str::to_owned));
            }
            tokio::task::consume_budget().await;
        }
        Ok(found)
    }
}
