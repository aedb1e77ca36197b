//! Searching the text of events (specification, "Server Side Search").
//!
//! The writer of a room keeps, in the batch of an event with searchable text, one entry for each word of it. Keys name
//! words by a keyed hash of room and word: what stands in the store shows neither the words, nor which rooms share them.
//! Encrypted events have no text that this server sees, and rooms that are encrypted now are left out of every search.
//! A redaction takes the entries of its event away with the text.
//!
//! Words are found whole and in any case of their letters; stemming and parts of words are deliberately absent.

mod context;
mod find;
mod words;

use std::collections::BTreeMap;

use ruma::events::TimelineEventType;
use serde::{Deserialize, Serialize};
use wardroom_event::Pdu;
use wardroom_store::{Packed, Position, Profile, Seal, Store, Table};

pub use self::{
    context::{SEARCH_CONTEXT_MAX, SearchContext},
    find::{SEARCH_PAGE_MAX, SearchHit, SearchOrder, SearchPage, SearchQuery, SearchToken},
};
use crate::{
    error::RoomError,
    events::Stored,
    ids::{Place, RoomNid},
    writer::{KeyPlace, Writer},
};

/// Different words of one event that are found; those beyond are not.
const WORDS_PER_EVENT_MAX: usize = 1_000;
/// Domain of the keyed hash of a word.
const HASH_WORD: u8 = 0x23;

/// Events by the words of their text: (room, hash of the word, place of the event).
pub(crate) const SEARCH_WORDS: Table<(RoomNid, u64, Position, u16), Packed<Occurrence>> =
    Table::new(0x0228, "search_words", Profile::Scan, Seal::System);

/// A word in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occurrence {
    /// How often it stands there.
    count: u16,
    /// Words of the text.
    length: u16,
}

/// Text that is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchKey {
    /// `content.body` of messages.
    Body,
    /// `content.name` of room names.
    Name,
    /// `content.topic` of room topics.
    Topic,
}

/// The text of an event that is searched, and under which key; none for most events.
pub(crate) fn text_of(pdu: &Pdu) -> Option<(SearchKey, String)> {
    #[derive(Deserialize)]
    struct Message {
        body: String,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    #[derive(Deserialize)]
    struct Topic {
        #[serde(default)]
        topic: String,
        #[serde(rename = "m.topic")]
        rich: Option<RichTopic>,
    }
    #[derive(Deserialize)]
    struct RichTopic {
        #[serde(rename = "m.text", default)]
        texts: Vec<Representation>,
    }
    #[derive(Deserialize)]
    struct Representation {
        body: String,
        mimetype: Option<String>,
    }
    match (pdu.kind(), pdu.is_state()) {
        (TimelineEventType::RoomMessage, false) => {
            pdu.content_as::<Message>().ok().map(|content| (SearchKey::Body, content.body))
        }
        (TimelineEventType::RoomName, true) => {
            pdu.content_as::<Name>().ok().map(|content| (SearchKey::Name, content.name))
        }
        (TimelineEventType::RoomTopic, true) => {
            let content = pdu.content_as::<Topic>().ok()?;
            let is_plain = |text: &&Representation| text.mimetype.as_deref().is_none_or(|kind| kind == "text/plain");
            let rich = content.rich.iter().flat_map(|rich| &rich.texts).find(is_plain);
            let text = match rich {
                // The same text in both forms, as usual, counts once.
                Some(rich) if rich.body != content.topic => format!("{}\n{}", content.topic, rich.body),
                _ => content.topic,
            };
            Some((SearchKey::Topic, text))
        }
        _ => None,
    }
}

/// The hash under which a word of a room is kept.
fn word_hash(store: &Store, room: RoomNid, word: &str) -> u64 {
    let mut bytes = room.get().to_be_bytes().to_vec();
    bytes.extend_from_slice(word.as_bytes());
    let hash = store.keyed_hash(HASH_WORD, &bytes);
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The entries of an event's text.
pub(crate) fn occurrences(store: &Store, room: RoomNid, pdu: &Pdu) -> BTreeMap<u64, Occurrence> {
    let Some((_, text)) = text_of(pdu) else { return BTreeMap::new() };
    let (mut counts, mut length) = (BTreeMap::<String, u16>::new(), 0_u16);
    for word in words::words(&text) {
        length = length.saturating_add(1);
        if let Some(count) = counts.get_mut(&word) {
            *count = count.saturating_add(1);
        } else if counts.len() < WORDS_PER_EVENT_MAX {
            counts.insert(word, 1);
        }
    }
    counts.into_iter().map(|(word, count)| (word_hash(store, room, &word), Occurrence { count, length })).collect()
}

impl Writer {
    /// Enters the words of a new event, at this place.
    pub(crate) fn index_words(&mut self, pdu: &Pdu, at: KeyPlace) {
        let room = self.nid();
        for (word, occurrence) in occurrences(&self.engine.store, room, pdu) {
            self.batch.put(&SEARCH_WORDS, &(room, word, at.0, at.1), &Packed(occurrence));
        }
    }

    /// Takes away the words of an event that is being redacted.
    pub(crate) async fn forget_words(&mut self, target: &Stored) -> Result<(), RoomError> {
        let room = self.nid();
        let words = occurrences(&self.engine.store, room, &target.pdu);
        if words.is_empty() {
            return Ok(());
        }
        let Some((position, index)) = self.key_place(target.nid).await? else { return Ok(()) };
        for word in words.into_keys() {
            self.batch.delete(&SEARCH_WORDS, &(room, word, position, index));
        }
        Ok(())
    }
}

/// Counts the entries that an event should have and has not, for the check of a store; tells how many it should have.
pub(crate) async fn missing_words(
    store: &Store,
    room: RoomNid,
    place: Place,
    pdu: &Pdu,
) -> Result<(usize, usize), RoomError> {
    let expected = occurrences(store, room, pdu);
    let keys: Vec<_> = expected.keys().map(|word| (room, *word, place.position(), place.index())).collect();
    let found = store.latest().multi_get(&SEARCH_WORDS, &keys).await?;
    let differing = expected.values().zip(found).filter(|(expected, found)| Some(Packed(**expected)) != *found);
    Ok((differing.count(), keys.len()))
}

#[cfg(test)]
mod tests;
