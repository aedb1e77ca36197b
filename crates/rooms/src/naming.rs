//! What events that are whole name, as far as it has to end with them: media, and the Megolm sessions of encrypted events.
//!
//! An event has its rows from when it is kept until it is pruned, redacted or destroyed. With each row that goes, what it
//! named is left for whoever ends things that nobody names any more (see [`crate::leavings`]), in the same batch.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use wardroom_event::Pdu;
use wardroom_store::{Batch, Hash16, Profile, Scan, Seal, Table};

use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid},
    leavings::Leaving,
    room_media::HASH_MEDIA,
    writer::Writer,
};

/// (hash of an `mxc://` URI, room, event that names it) -> 1 if the event is state, else 0.
pub(crate) static NAMED: Table<(Hash16, RoomNid, EventNid), u64> =
    Table::new(0x0282, "named_media", Profile::Scan, Seal::System);
/// (room, hash of what is named, event) -> the `mxc://` URI, or nothing for a Megolm session.
pub(crate) static NAMED_IN_ROOM: Table<(RoomNid, Hash16, EventNid), String> =
    Table::new(0x0283, "named_in_room", Profile::Scan, Seal::System);

/// Domain of the hashes of Megolm sessions.
const HASH_SESSION: u8 = 0x25;
/// Longest session id that is kept in backups, in bytes.
const SESSION_ID_BYTES_MAX: usize = 255;
/// Events that name one media, of which is looked whether one is state. One that more events name is taken for one.
const NAMING_MAX: usize = 1_000;
/// Rows of a room that is destroyed, read at a time.
const PAGE_ROWS: usize = 1_000;
/// What every URI of a media begins with.
const SCHEME: &str = "mxc://";

/// What names a media in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaUse {
    /// No event that is whole.
    Nothing,
    /// Message events.
    Messages,
    /// State events, such as avatars of rooms and members.
    State,
}

impl Engine {
    pub(crate) fn session_hash(&self, room: RoomNid, session: &str) -> Hash16 {
        self.store.keyed_hash(HASH_SESSION, format!("{}/{session}", room.get()).as_bytes())
    }

    /// Whether an event of the room that is whole is encrypted with this session.
    pub(crate) async fn is_session_live(&self, room: RoomNid, session: &str) -> Result<bool, RoomError> {
        let scan = Scan::prefix(&(room, self.session_hash(room, session))).limit(1);
        Ok(!self.store.latest().scan_keys(&NAMED_IN_ROOM, scan).await?.is_empty())
    }

    /// Takes away what an event names, and leaves it for whoever ends it. The event must be given as it was.
    pub(crate) fn forget_named(&self, batch: &mut Batch, room: RoomNid, event: &Stored) {
        let nid = event.nid;
        for uri in media_of(&event.pdu) {
            let hash = self.store.keyed_hash(HASH_MEDIA, uri.as_bytes());
            batch.delete(&NAMED, &(hash, room, nid));
            batch.delete(&NAMED_IN_ROOM, &(room, hash, nid));
            self.leave(batch, hash, Leaving::Media { uri });
        }
        if let Some(session) = session_of(&event.pdu) {
            let hash = self.session_hash(room, &session);
            batch.delete(&NAMED_IN_ROOM, &(room, hash, nid));
            self.leave(batch, hash, Leaving::Session { room, session, received_ms: event.received_ms });
        }
    }

    /// Takes away what the events of a room that is destroyed name, a page of it; answers whether there is more.
    pub(crate) async fn unname_room(&self, room: RoomNid) -> Result<bool, RoomError> {
        let rows = self.store.latest().scan(&NAMED_IN_ROOM, Scan::prefix(&room).limit(PAGE_ROWS)).await?;
        let mut batch = Batch::default();
        for (key, uri) in &rows {
            batch.delete(&NAMED_IN_ROOM, key);
            if !uri.is_empty() {
                batch.delete(&NAMED, &(key.1, room, key.2));
                self.leave(&mut batch, key.1, Leaving::Media { uri: uri.clone() });
            }
        }
        if !rows.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(rows.len() == PAGE_ROWS)
    }
}

impl Rooms {
    /// What names a media in the clear, in whatever room of this server.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn media_use(&self, uri: &str) -> Result<MediaUse, RoomError> {
        let engine = &self.engine;
        let scan = Scan::prefix(&engine.store.keyed_hash(HASH_MEDIA, uri.as_bytes())).limit(NAMING_MAX);
        let rows = engine.store.latest().scan(&NAMED, scan).await?;
        Ok(match rows.iter().any(|(_, state)| *state == 1) || rows.len() == NAMING_MAX {
            true => MediaUse::State,
            false if rows.is_empty() => MediaUse::Nothing,
            false => MediaUse::Messages,
        })
    }
}

impl Writer {
    /// Notes what an event that is whole names.
    pub(crate) fn note_named(&mut self, event: &Stored) {
        let (room, nid) = (self.nid(), event.nid);
        for uri in media_of(&event.pdu) {
            let hash = self.engine.store.keyed_hash(HASH_MEDIA, uri.as_bytes());
            self.batch.put(&NAMED, &(hash, room, nid), &u64::from(event.pdu.is_state()));
            self.batch.put(&NAMED_IN_ROOM, &(room, hash, nid), &uri);
        }
        if let Some(session) = session_of(&event.pdu) {
            let hash = self.engine.session_hash(room, &session);
            self.batch.put(&NAMED_IN_ROOM, &(room, hash, nid), &String::new());
        }
    }

    /// Takes away what an event names: from here on it is not whole any more. It must be given as it was.
    pub(crate) fn forget_named(&mut self, event: &Stored) {
        let (engine, room) = (Arc::clone(&self.engine), self.nid());
        engine.forget_named(&mut self.batch, room, event);
    }
}

/// The media that an event names, wherever in its content, each once.
fn media_of(pdu: &Pdu) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if pdu.json().windows(SCHEME.len()).any(|part| part == SCHEME.as_bytes())
        && let Ok(content) = pdu.content_as::<Value>()
    {
        collect(&content, &mut found);
    }
    found
}

/// Adds the URIs in the texts of a value. How deep values are nested is limited where they are parsed.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => found.extend(uris_in(text).map(str::to_owned)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The URIs of media in a text, also in the middle of it, as in the HTML of a message.
fn uris_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(SCHEME).filter_map(|(start, _)| {
        let rest = &text[start + SCHEME.len()..];
        let (server, id) = rest.split_once('/')?;
        let is_server = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        let length = id.bytes().take_while(is_id).count();
        let named = !server.is_empty() && server.bytes().all(is_server) && length > 0;
        named.then(|| &text[start..start + SCHEME.len() + server.len() + 1 + length])
    })
}

/// The Megolm session that an event is encrypted with.
fn session_of(pdu: &Pdu) -> Option<String> {
    if pdu.kind().to_string() != "m.room.encrypted" || pdu.is_state() {
        return None;
    }
    let content: Value = pdu.content_as().ok()?;
    let session = content.get("session_id")?.as_str()?;
    (!session.is_empty() && session.len() <= SESSION_ID_BYTES_MAX).then(|| session.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{collect, uris_in};

    #[test]
    fn media_are_found_wherever_they_are_named() {
        let content = json!({
            "url": "mxc://a.example/plain", "info": { "thumbnail_file": { "url": "mxc://a.example/thumb" } },
            "images": { "smile": { "url": "mxc://b.example:8448/smile_1-x" }, "list": ["mxc://[::1]:80/six"] },
            "formatted_body": "<img src=\"mxc://a.example/inline\"> and <img src='mxc://c.example/two?x=1#y'>",
            "body": "mxc:// mxc:///nobody mxc://a.example/ mxc://a b/c https://a.example/mxc:/x",
            "mxc://a.example/key": 1, "same": "mxc://a.example/plain",
        });
        let mut found = BTreeSet::new();
        collect(&content, &mut found);
        let expected = [
            "mxc://[::1]:80/six",
            "mxc://a.example/inline",
            "mxc://a.example/plain",
            "mxc://a.example/thumb",
            "mxc://b.example:8448/smile_1-x",
            "mxc://c.example/two",
        ];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert_eq!(uris_in("mxc://mxc://a.example/x").collect::<Vec<_>>(), ["mxc://a.example/x"]);
    }
}
