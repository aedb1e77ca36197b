//! A small room engine: builds real, signed, authorized events on a current state.

use std::{collections::HashMap, sync::Arc};

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId,
    events::{StateEventType, TimelineEventType},
    owned_room_id, server_name,
};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_event::{
    Draft, Pdu, Rejection, RoomVersion, SigningKey, StateMap, auth_types, authorize, check_standalone,
};

pub(crate) const ALICE: &str = "@alice:one.example";
pub(crate) const BOB: &str = "@bob:one.example";
pub(crate) const CAROL: &str = "@carol:one.example";
pub(crate) const DAVE: &str = "@dave:two.example";

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed([7; 32], "a_1").unwrap()
}

pub(crate) fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

/// A room as one server sees it. Clone it to fork its history.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) version: RoomVersion,
    pub(crate) state: StateMap,
    pub(crate) events: HashMap<OwnedEventId, Arc<Pdu>>,
    pub(crate) create: Arc<Pdu>,
    last: OwnedEventId,
    ts: u64,
}

impl Room {
    /// Created and joined by Alice, with these extra fields in the create event.
    pub(crate) fn with_create(version: RoomVersion, extra: &Value) -> Self {
        let mut content = json!({"room_version": version.as_str()});
        if !version.rules().authorization.use_room_create_sender {
            content["creator"] = json!(ALICE);
        }
        for (field, value) in extra.as_object().unwrap() {
            content[field] = value.clone();
        }
        let own_id = version.rules().authorization.room_create_event_id_as_room_id;
        let create = Draft {
            room_id: (!own_id).then(|| owned_room_id!("!room:one.example")),
            sender: user(ALICE),
            kind: TimelineEventType::RoomCreate,
            state_key: Some(String::new()),
            content: to_raw_value(&content).unwrap(),
            redacts: None,
            prev_events: vec![],
            auth_events: vec![],
            depth: 1,
            origin_server_ts: 1_000_000,
        };
        let create = Arc::new(create.sign(version, server_name!("one.example"), &key()).unwrap());
        let mut room = Self {
            version,
            state: StateMap::new(),
            events: HashMap::new(),
            last: create.event_id().to_owned(),
            create: Arc::clone(&create),
            ts: 1_000_000,
        };
        check_standalone(&create, |id| room.event(id)).unwrap();
        room.apply(&create);
        room.member(ALICE, ALICE, "join").unwrap();
        room
    }

    /// A public room of Alice, with power levels and Bob in it.
    pub(crate) fn public(version: RoomVersion, levels: &Value) -> Self {
        let mut room = Self::with_create(version, &json!({}));
        room.state(ALICE, "m.room.power_levels", "", levels.clone()).unwrap();
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "public"})).unwrap();
        room.member(BOB, BOB, "join").unwrap();
        room
    }

    pub(crate) fn room_id(&self) -> OwnedRoomId {
        self.create.room_id().to_owned()
    }

    pub(crate) fn event(&self, id: &EventId) -> Option<Arc<Pdu>> {
        self.events.get(id).cloned()
    }

    pub(crate) fn current(&self, kind: &StateEventType, state_key: &str) -> Option<Arc<Pdu>> {
        self.state.get(&(kind.clone(), state_key.to_owned())).and_then(|id| self.event(id))
    }

    /// The current event of a type with an empty state key.
    pub(crate) fn id_of(&self, kind: &str) -> Option<OwnedEventId> {
        self.state.get(&(kind.into(), String::new())).cloned()
    }

    /// Later events are this much later.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.ts += ms;
    }

    pub(crate) fn draft(&self, sender: &str, kind: &str, state_key: Option<&str>, content: &Value) -> Draft {
        let kind = TimelineEventType::from(kind);
        let content = to_raw_value(content).unwrap();
        let types = auth_types(self.version, &kind, &user(sender), state_key, &content).unwrap_or_default();
        Draft {
            room_id: Some(self.room_id()),
            sender: user(sender),
            kind,
            state_key: state_key.map(str::to_owned),
            content,
            redacts: None,
            prev_events: vec![self.last.clone()],
            auth_events: types.iter().filter_map(|key| self.state.get(key)).cloned().collect(),
            depth: u64::try_from(self.events.len()).unwrap() + 1,
            origin_server_ts: self.ts,
        }
    }

    pub(crate) fn sign(&self, draft: Draft) -> Pdu {
        let server = draft.sender.server_name().to_owned();
        draft.sign(self.version, &server, &key()).unwrap()
    }

    /// Checks an event as a server does on receipt, by itself and on the current state.
    pub(crate) fn check(&self, pdu: &Pdu) -> Result<(), Rejection> {
        check_standalone(pdu, |id| self.event(id))?;
        authorize(pdu, |kind, state_key| self.current(kind, state_key))
    }

    pub(crate) fn apply(&mut self, pdu: &Arc<Pdu>) {
        if let Some(state_key) = pdu.state_key() {
            let key = (StateEventType::from(pdu.kind().to_string()), state_key.to_owned());
            self.state.insert(key, pdu.event_id().to_owned());
        }
        self.last = pdu.event_id().to_owned();
        self.ts += 1000;
        self.events.insert(pdu.event_id().to_owned(), Arc::clone(pdu));
    }

    fn send(&mut self, draft: Draft) -> Result<Arc<Pdu>, Rejection> {
        let pdu = Arc::new(self.sign(draft));
        self.check(&pdu)?;
        self.apply(&pdu);
        Ok(pdu)
    }

    pub(crate) fn state(
        &mut self,
        sender: &str,
        kind: &str,
        state_key: &str,
        content: impl Into<Value>,
    ) -> Result<Arc<Pdu>, Rejection> {
        self.send(self.draft(sender, kind, Some(state_key), &content.into()))
    }

    pub(crate) fn message(&mut self, sender: &str) -> Result<Arc<Pdu>, Rejection> {
        self.send(self.draft(sender, "m.room.message", None, &json!({"msgtype": "m.text", "body": "hello"})))
    }

    pub(crate) fn member(&mut self, sender: &str, target: &str, membership: &str) -> Result<Arc<Pdu>, Rejection> {
        self.state(sender, "m.room.member", target, json!({"membership": membership}))
    }

    /// Whatever of this and another view of the room: the events of both, to resolve their states.
    pub(crate) fn know(&mut self, other: &Self) {
        self.events.extend(other.events.iter().map(|(id, pdu)| (id.clone(), Arc::clone(pdu))));
    }
}
