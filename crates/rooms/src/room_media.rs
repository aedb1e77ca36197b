//! Media that the events of a room name. In encrypted rooms nobody but their members can tell.
//!
//! What is named only in rooms with a policy is for those who may read one of them. Which rooms name a content is noted
//! when an event names it: the first always, a further one if the sender may read one of those before. So nobody opens a
//! content to themselves by naming it somewhere else.

use std::collections::BTreeSet;

use ruma::{RoomId, ServerName};
use serde_json::Value;
use wardroom_event::Pdu;
use wardroom_store::{Hash16, Profile, Scan, Seal, Table};

use crate::{
    Action, Actor, Engine, Rooms,
    error::RoomError,
    ids::{NS_USER, Place, RoomNid, UserNid},
    timeline::TimelineRange,
    writer::Writer,
};

/// (hash of an `mxc://` URI, room whose events name it) -> ().
pub(crate) static MEDIA_ROOMS: Table<(Hash16, RoomNid), ()> =
    Table::new(0x0275, "media_rooms", Profile::Scan, Seal::System);

/// Domain of the hashes of `mxc://` URIs.
pub(crate) const HASH_MEDIA: u8 = 0x24;
/// Rooms that are noted for one content.
const ROOMS_PER_MEDIA_MAX: usize = 100;
/// Types of events whose media are everybody's: profiles' pictures, and stickers.
const FREE_TYPES: [&str; 2] = ["m.room.member", "m.sticker"];

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
            found.extend(items.iter().flat_map(|item| named_by(&item.event.pdu)));
            tokio::task::consume_budget().await;
        }
        Ok(found)
    }

    /// Whether somebody may see a content, by the rooms that name it: always, unless all of them have a policy. `None` is
    /// somebody who is not signed in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn may_see_media(&self, actor: Option<Actor<'_>>, uri: &str) -> Result<bool, RoomError> {
        let rooms = self.engine.rooms_of_media(uri).await?;
        if rooms.is_empty() || self.engine.is_open(&rooms).await? {
            return Ok(true);
        }
        match actor {
            Some(actor) => self.engine.reads_one_of(actor, &rooms).await,
            None => Ok(false),
        }
    }

    /// As [`Rooms::may_see_media`], for another server: one of its users has to be in one of the rooms.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn server_may_see_media(&self, server: &ServerName, uri: &str) -> Result<bool, RoomError> {
        let rooms = self.engine.rooms_of_media(uri).await?;
        if rooms.is_empty() || self.engine.is_open(&rooms).await? {
            return Ok(true);
        }
        for room in rooms {
            if self.servers(room).await?.iter().any(|there| *there == *server) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Engine {
    pub(crate) async fn rooms_of_media(&self, uri: &str) -> Result<Vec<RoomNid>, RoomError> {
        let scan = Scan::prefix(&self.store.keyed_hash(HASH_MEDIA, uri.as_bytes())).limit(ROOMS_PER_MEDIA_MAX);
        let keys = self.store.latest().scan_keys(&MEDIA_ROOMS, scan).await?;
        Ok(keys.into_iter().map(|(_, room)| room).collect())
    }

    /// Whether one of these rooms has no policy. One that is gone opens nothing.
    pub(crate) async fn is_open(&self, rooms: &[RoomNid]) -> Result<bool, RoomError> {
        for room in rooms {
            if let Ok(room) = self.room(*room).await
                && room.view().policy.is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn reads_one_of(&self, actor: Actor<'_>, rooms: &[RoomNid]) -> Result<bool, RoomError> {
        for room in rooms {
            let Ok(room) = self.room(*room).await else { continue };
            match self.permit(actor, &room.view(), Action::Read).await {
                Ok(_) => return Ok(true),
                Err(RoomError::Forbidden(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl Writer {
    /// Notes which media an event of the timeline names.
    pub(crate) async fn note_media(&mut self, pdu: &Pdu) -> Result<(), RoomError> {
        if !pdu.json().windows(6).any(|part| part == b"mxc://") {
            return Ok(());
        }
        for uri in named_by(pdu) {
            let engine = &self.engine;
            let rooms = engine.rooms_of_media(&uri).await?;
            if rooms.contains(&self.nid()) || rooms.len() >= ROOMS_PER_MEDIA_MAX {
                continue;
            }
            let passes_on = rooms.is_empty() || {
                let nid = engine.store.interner().lookup(NS_USER, pdu.sender().as_str()).await?.map(UserNid::new);
                let actor = nid.map(|nid| Actor { user: pdu.sender(), nid, device: None, guest: false });
                match actor {
                    Some(actor) => engine.reads_one_of(actor, &rooms).await?,
                    None => false,
                }
            };
            if passes_on {
                let hash = engine.store.keyed_hash(HASH_MEDIA, uri.as_bytes());
                self.batch.put(&MEDIA_ROOMS, &(hash, self.nid()), &());
            }
        }
        Ok(())
    }
}

/// The `mxc://` URIs in the content of an event.
fn named_by(pdu: &Pdu) -> BTreeSet<String> {
    if FREE_TYPES.contains(&&*pdu.kind().to_string()) {
        return BTreeSet::new();
    }
    let Ok(content) = pdu.content_as::<Value>() else { return BTreeSet::new() };
    let named = PLACES.iter().filter_map(|place| content.pointer(place)?.as_str());
    named.filter(|url| url.starts_with("mxc://")).map(str::to_owned).collect()
}
