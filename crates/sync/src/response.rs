//! The answer as JSON text, written piece by piece.
//!
//! Most of an answer are events that are at hand as text, so objects are put together from text instead of from a
//! tree of values.

use serde::Serialize;
use wardroom_accounts::KeyCounts;

use crate::{DeviceLists, RoomSights, SyncToken};

/// Appends a value as JSON.
pub(crate) fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    #[expect(clippy::expect_used, reason = "strings, numbers, maps of those and checked JSON serialize into memory")]
    serde_json::to_writer(out, value).expect("plain values serialize");
}

/// A JSON object under construction.
#[derive(Debug, Default)]
pub(crate) struct Object(Vec<u8>);

impl Object {
    /// Nothing was added so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts a field; its value is to be appended.
    pub(crate) fn field(&mut self, name: &str) -> &mut Vec<u8> {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write_json(&mut self.0, &name);
        self.0.push(b':');
        &mut self.0
    }

    /// Adds a field.
    pub(crate) fn value(&mut self, name: &str, value: &impl Serialize) {
        write_json(self.field(name), value);
    }

    /// Adds a field whose value is at hand as JSON.
    pub(crate) fn raw(&mut self, name: &str, json: &[u8]) {
        self.field(name).extend_from_slice(json);
    }

    /// Adds a field with an object, unless that is empty.
    pub(crate) fn object(&mut self, name: &str, object: Self) {
        if !object.is_empty() {
            self.raw(name, &object.end());
        }
    }

    /// Adds `"name": {"events": [...]}`, unless there are none.
    pub(crate) fn events(&mut self, name: &str, events: Events) {
        if !events.is_empty() {
            self.all_events(name, events);
        }
    }

    /// Adds `"name": {"events": [...]}`, also where there are none: clients insist on the state of a room.
    pub(crate) fn all_events(&mut self, name: &str, events: Events) {
        let mut list = Self::default();
        list.raw("events", &events.end());
        self.raw(name, &list.end());
    }

    /// The JSON text.
    pub(crate) fn end(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.0
    }
}

/// A JSON array of events under construction.
#[derive(Debug, Default)]
pub(crate) struct Events(Vec<u8>);

impl Events {
    /// Nothing was added so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts an event; its JSON is to be appended.
    pub(crate) fn next(&mut self) -> &mut Vec<u8> {
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        &mut self.0
    }

    /// The JSON text of the one event that was added, if any was.
    pub(crate) fn only(mut self) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(0);
        Some(self.0)
    }

    /// The JSON text.
    pub(crate) fn end(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'[');
        }
        self.0.push(b']');
        self.0
    }
}

/// The rooms of an answer, by the user's membership.
#[derive(Debug, Default)]
pub(crate) struct RoomSections {
    pub(crate) join: Object,
    pub(crate) invite: Object,
    pub(crate) knock: Object,
    pub(crate) leave: Object,
}

/// What an answer tells.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) account_data: Events,
    pub(crate) presence: Events,
    /// There is presence that must not wait for other news.
    pub(crate) loud_presence: bool,
    pub(crate) rooms: RoomSections,
    /// What the rooms give away.
    pub(crate) sights: Vec<RoomSights>,
    pub(crate) to_device: Events,
    pub(crate) device_lists: DeviceLists,
    /// What is said of the device's keys is news.
    pub(crate) key_counts_changed: bool,
}

impl Body {
    /// There is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        let RoomSections { join, invite, knock, leave } = &self.rooms;
        self.account_data.is_empty()
            && self.to_device.is_empty()
            && self.device_lists.is_empty()
            && !self.key_counts_changed
            && !self.loud_presence
            && [join, invite, knock, leave].into_iter().all(Object::is_empty)
    }

    /// The answer.
    pub(crate) fn end(self, next_batch: SyncToken, keys: &KeyCounts) -> SyncResponse {
        let mut rooms = Object::default();
        rooms.object("join", self.rooms.join);
        rooms.object("invite", self.rooms.invite);
        rooms.object("knock", self.rooms.knock);
        rooms.object("leave", self.rooms.leave);
        let mut answer = Object::default();
        answer.value("next_batch", &next_batch.to_string());
        answer.events("account_data", self.account_data);
        answer.events("presence", self.presence);
        answer.object("rooms", rooms);
        answer.events("to_device", self.to_device);
        if !self.device_lists.is_empty() {
            answer.value("device_lists", &self.device_lists);
        }
        answer.value("device_one_time_keys_count", &keys.one_time);
        answer.value("device_unused_fallback_key_types", &keys.unused_fallback);
        SyncResponse { next_batch, body: answer.end(), sights: self.sights }
    }
}

/// An answer to a sync.
#[derive(Clone, Debug)]
pub struct SyncResponse {
    /// Where the next sync goes on.
    pub next_batch: SyncToken,
    /// The body, JSON as the specification has it.
    pub body: Vec<u8>,
    /// What it gives away of which room: to be recorded before it is given.
    pub sights: Vec<RoomSights>,
}

#[cfg(test)]
mod tests {
    use super::{Body, Events, Object};
    use crate::SyncToken;
    use wardroom_accounts::KeyCounts;
    use wardroom_store::Position;

    #[test]
    fn objects_and_lists_are_json() {
        assert_eq!(Object::default().end(), b"{}");
        assert_eq!(Events::default().end(), b"[]");
        assert_eq!(Events::default().only(), None);
        let mut one = Events::default();
        one.next().extend_from_slice(b"{}");
        assert_eq!(one.only().as_deref(), Some(&b"{}"[..]));
        let mut events = Events::default();
        events.next().extend_from_slice(b"1");
        events.next().extend_from_slice(b"2");
        let mut object = Object::default();
        object.value("a \"quoted\" name", &true);
        object.object("nothing", Object::default());
        object.events("none", Events::default());
        object.events("some", events);
        object.all_events("empty", Events::default());
        assert_eq!(object.end(), br#"{"a \"quoted\" name":true,"some":{"events":[1,2]},"empty":{"events":[]}}"#);
    }

    #[test]
    fn an_answer_with_nothing_to_tell_is_small() {
        let body = Body::default();
        assert!(body.is_empty());
        let answer = body.end(SyncToken::new(Position::new(3)), &KeyCounts::default());
        let json = r#"{"next_batch":"s3","device_one_time_keys_count":{},"device_unused_fallback_key_types":[]}"#;
        assert_eq!(String::from_utf8(answer.body).unwrap(), json);
    }
}
