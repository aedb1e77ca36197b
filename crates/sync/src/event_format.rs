//! Events as clients get them, formatted once for all who get them.
//!
//! Most of an event is the same text for everybody in the room; only a few fields of `unsigned` are the reader's own.
//! The common part is kept as text, and the reader's own fields are written behind it.

use std::sync::{Arc, Weak};

use quick_cache::{Weighter, sync::Cache};
use ruma::{UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{ClientFormat, Pdu, write_client_json};
use wardroom_rooms::{EventNid, Membership, Stored, TimelineItem, Viewer};

use crate::{
    SyncError,
    hearing::Hearing,
    response::{Events, write_json},
    rooms::Room,
};

/// Bytes of formatted events kept in memory: those that are being told right now.
const FORMATTED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Mean size of a formatted event, from which the cache sizes its tables.
const FORMATTED_MEAN_BYTES: u64 = 700;
/// What an entry costs besides its text, about.
const FORMATTED_OVERHEAD_BYTES: u64 = 200;

/// The part of an event that is the same for all its readers.
#[derive(Debug)]
struct Formatted {
    /// What was formatted. A redacted event is another one.
    of: Weak<Stored>,
    /// The event as a JSON object, with neither `unsigned` nor the closing brace.
    event: Vec<u8>,
    /// Fields of `unsigned`, each with a comma before it.
    unsigned: Vec<u8>,
}

/// Formatted events by number; those of timelines, which tell what they replaced, apart from those of states.
#[derive(Debug)]
pub(crate) struct FormattedEvents(Cache<(EventNid, bool), Arc<Formatted>, ByBytes>);

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<(EventNid, bool), Arc<Formatted>> for ByBytes {
    fn weight(&self, _: &(EventNid, bool), formatted: &Arc<Formatted>) -> u64 {
        let bytes = formatted.event.len() + formatted.unsigned.len();
        FORMATTED_OVERHEAD_BYTES + u64::try_from(bytes).unwrap_or(u64::MAX / 2)
    }
}

impl Default for FormattedEvents {
    fn default() -> Self {
        let entries = usize::try_from(FORMATTED_BYTES_MAX / FORMATTED_MEAN_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, FORMATTED_BYTES_MAX, ByBytes))
    }
}

impl FormattedEvents {
    fn get(&self, stored: &Arc<Stored>, in_timeline: bool) -> Option<Arc<Formatted>> {
        let found = self.0.get(&(stored.nid, in_timeline))?;
        std::ptr::eq(found.of.as_ptr(), Arc::as_ptr(stored)).then_some(found)
    }

    /// Formats an event; `replaced` is what it replaced in the state.
    fn format(&self, stored: &Arc<Stored>, in_timeline: bool, replaced: Option<&Stored>) -> Arc<Formatted> {
        let mut event = text(&stored.pdu);
        event.pop();
        let mut unsigned = Vec::new();
        if let Some(replaced) = replaced {
            unsigned.extend_from_slice(b",\"prev_content\":");
            unsigned.extend_from_slice(replaced.pdu.content().get().as_bytes());
            unsigned.extend_from_slice(b",\"replaces_state\":");
            write_json(&mut unsigned, &replaced.pdu.event_id());
        }
        if let Some(redaction) = &stored.redacted_because {
            unsigned.extend_from_slice(b",\"redacted_because\":");
            unsigned.extend_from_slice(&text(redaction));
            unsigned.extend_from_slice(b",\"redacted_by\":");
            write_json(&mut unsigned, &redaction.event_id());
        }
        let formatted = Arc::new(Formatted { of: Arc::downgrade(stored), event, unsigned });
        self.0.insert((stored.nid, in_timeline), Arc::clone(&formatted));
        formatted
    }
}

/// The event in client format, without `unsigned` and, as its room is known, without `room_id`.
fn text(pdu: &Pdu) -> Vec<u8> {
    let mut text = Vec::with_capacity(pdu.json().len());
    write_client_json(pdu, &ClientFormat::default(), &mut text);
    text
}

/// The event as servers exchange it, and its id, which no client could work out.
fn write_federated(out: &mut Vec<u8>, pdu: &Pdu) {
    out.extend_from_slice(b"{\"event_id\":");
    write_json(out, &pdu.event_id());
    let fields = pdu.json().strip_prefix(b"{").unwrap_or(b"}");
    if fields != b"}" {
        out.push(b',');
    }
    out.extend_from_slice(fields);
}

/// What of an event is its reader's own.
#[derive(Debug, Default)]
struct Own<'a> {
    /// Milliseconds since the event was sent.
    age_ms: u64,
    /// The reader's membership at the event, the changes by the event included.
    membership: Option<&'a str>,
    /// The transaction id that the reader's device gave it.
    transaction_id: Option<String>,
    /// What of its children is told with it: the reader does not see all of them.
    relations: Option<Box<RawJsonValue>>,
}

fn write_event(out: &mut Vec<u8>, formatted: &Formatted, own: &Own<'_>) {
    out.extend_from_slice(&formatted.event);
    out.extend_from_slice(b",\"unsigned\":{\"age\":");
    write_json(out, &own.age_ms);
    if let Some(membership) = own.membership {
        out.extend_from_slice(b",\"membership\":");
        write_json(out, &membership);
    }
    out.extend_from_slice(&formatted.unsigned);
    if let Some(relations) = &own.relations {
        out.extend_from_slice(b",\"m.relations\":");
        out.extend_from_slice(relations.get().as_bytes());
    }
    if let Some(transaction_id) = &own.transaction_id {
        out.extend_from_slice(b",\"transaction_id\":");
        write_json(out, transaction_id);
    }
    out.extend_from_slice(b"}}");
}

const fn name(membership: Membership) -> &'static str {
    match membership {
        Membership::Join => "join",
        Membership::Invite => "invite",
        Membership::Knock => "knock",
        Membership::Leave => "leave",
        Membership::Ban => "ban",
    }
}

impl Hearing<'_> {
    /// Tells an event of a room's state.
    pub(crate) fn tell_state_event(&self, events: &mut Events, stored: &Arc<Stored>) {
        if self.filter.federation_format {
            write_federated(events.next(), &stored.pdu);
            return;
        }
        let formatted = &self.syncer.formatted;
        let formatted = formatted.get(stored, false).unwrap_or_else(|| formatted.format(stored, false, None));
        self.tell(events, &formatted, &Own { age_ms: self.age_ms(stored), ..Own::default() });
    }

    /// Tells an event of a room's timeline.
    pub(crate) async fn tell_timeline_event(
        &self,
        events: &mut Events,
        room: &Room<'_>,
        item: &TimelineItem,
    ) -> Result<(), SyncError> {
        let stored = &item.event;
        if self.filter.federation_format {
            write_federated(events.next(), &stored.pdu);
            return Ok(());
        }
        let formatted = match self.syncer.formatted.get(stored, true) {
            Some(formatted) => formatted,
            None => self.syncer.formatted.format(stored, true, self.replaced(room, item).await?.as_deref()),
        };
        let own = Own {
            age_ms: self.age_ms(stored),
            membership: Some(self.membership_at(room, item).await?),
            transaction_id: self.transaction_id(stored).await?,
            relations: self.relations(room, stored).await?,
        };
        self.tell(events, &formatted, &own);
        Ok(())
    }

    /// The event's bundled aggregations, `m.relations`. An event without children costs a look-up in memory.
    async fn relations(&self, room: &Room<'_>, stored: &Arc<Stored>) -> Result<Option<Box<RawJsonValue>>, SyncError> {
        let Some(reader) = &room.reader else { return Ok(None) };
        let ignores = |user: &UserId| self.ignored.contains(user);
        let ignores: Option<&(dyn Fn(&UserId) -> bool + Send + Sync)> =
            if self.ignored.is_empty() { None } else { Some(&ignores) };
        let (viewer, events) = (Viewer { actor: self.actor(), ignores }, std::slice::from_ref(stored));
        let mut bundles = self.syncer.rooms.bundles(viewer, room.view, reader, events, false).await?;
        Ok(bundles.pop().flatten())
    }

    fn tell(&self, events: &mut Events, formatted: &Formatted, own: &Own<'_>) {
        match &self.filter.fields {
            None => write_event(events.next(), formatted, own),
            Some(fields) => {
                let mut event = Vec::new();
                write_event(&mut event, formatted, own);
                events.next().extend_from_slice(&fields.select(event));
            }
        }
    }

    fn age_ms(&self, stored: &Stored) -> u64 {
        self.now_ms.saturating_sub(stored.pdu.origin_server_ts())
    }

    /// The state event that this one replaced.
    async fn replaced(&self, room: &Room<'_>, item: &TimelineItem) -> Result<Option<Arc<Stored>>, SyncError> {
        let Some(state_key) = item.event.pdu.state_key() else { return Ok(None) };
        let kind = StateEventType::from(item.event.pdu.kind().to_string());
        Ok(self.syncer.rooms.state_event(room.view.nid, item.state_before, &kind, state_key).await?)
    }

    /// The user's membership at an event, the change by the event included; `leave` where there is none.
    async fn membership_at(&self, room: &Room<'_>, item: &TimelineItem) -> Result<&'static str, SyncError> {
        if item.place >= room.entry.place {
            return Ok(name(room.entry.membership));
        }
        let pdu = &item.event.pdu;
        if let Some(own) = pdu.membership().filter(|_| pdu.state_key() == Some(self.session.user.as_str())) {
            return Ok(name(Membership::from(&own)));
        }
        let member = self.own_member_event(room.view.nid, item.state_before).await?;
        let membership = member.and_then(|member| member.pdu.membership());
        Ok(membership.map_or("leave", |membership| name(Membership::from(&membership))))
    }

    /// The transaction id of an event that the listening device sent.
    async fn transaction_id(&self, stored: &Stored) -> Result<Option<String>, SyncError> {
        #[derive(Deserialize)]
        struct Event {
            unsigned: Unsigned,
        }
        #[derive(Deserialize)]
        struct Unsigned {
            transaction_id: Option<String>,
        }
        if stored.pdu.sender() != self.session.user || stored.pdu.is_state() {
            return Ok(None);
        }
        let event = self.syncer.rooms.client_event(self.actor(), stored, false).await?;
        let event = serde_json::from_str::<Event>(event.get());
        Ok(event.ok().and_then(|event| event.unsigned.transaction_id))
    }
}
