//! A room as the scripted server knows it. It believes whatever it hears: judging is what is tested.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::signing::{Key, event_id};

/// Event ids by type and state key.
pub type State = BTreeMap<(String, String), String>;

/// A room as a scripted server knows it.
#[derive(Clone, Debug)]
pub struct PeerRoom {
    /// The room id.
    pub id: String,
    /// The room version.
    pub version: String,
    /// Events by their id, with the state before them where it is known.
    pub events: BTreeMap<String, (Value, Option<Arc<State>>)>,
    /// Ids of the events in the order in which they came.
    pub order: Vec<String>,
    /// The current state: the newest event for each type and state key.
    pub state: Arc<State>,
    /// Events that no other one follows.
    pub extremities: Vec<String>,
}

impl PeerRoom {
    /// An empty room.
    pub fn new(id: &str, version: &str) -> Self {
        Self {
            id: id.to_owned(),
            version: version.to_owned(),
            events: BTreeMap::new(),
            order: Vec::new(),
            state: Arc::default(),
            extremities: Vec::new(),
        }
    }

    /// A new event at the end of the room, without hash and signature.
    pub fn draft(&self, sender: &str, event_type: &str, state_key: Option<&str>, content: &Value) -> Value {
        let depth = self.extremities.iter().filter_map(|id| self.events[id].0["depth"].as_u64()).max().unwrap_or(0);
        let mut event = json!({
            "type": event_type,
            "sender": sender,
            "content": content,
            "origin_server_ts": now_ms(),
            "prev_events": self.extremities,
            "depth": depth + 1,
        });
        if let Some(state_key) = state_key {
            event["state_key"] = json!(state_key);
        }
        if event_type != "m.room.create" || self.version != "12" {
            event["room_id"] = json!(self.id);
        }
        event["auth_events"] = json!(self.auth_events(&event));
        event
    }

    /// The authorization events that the current state has for an event.
    pub fn auth_events(&self, event: &Value) -> Vec<String> {
        let sender = event["sender"].as_str().unwrap_or_default();
        if event["type"] == "m.room.create" {
            return Vec::new();
        }
        let mut wanted = vec![("m.room.power_levels", ""), ("m.room.member", sender)];
        if self.version != "12" {
            wanted.push(("m.room.create", ""));
        }
        if event["type"] == "m.room.member" {
            wanted.push(("m.room.member", event["state_key"].as_str().unwrap_or_default()));
            if let Some(authoriser) = event["content"]["join_authorised_via_users_server"].as_str() {
                wanted.push(("m.room.member", authoriser));
            }
            if matches!(event["content"]["membership"].as_str(), Some("join" | "invite" | "knock")) {
                wanted.push(("m.room.join_rules", ""));
            }
        }
        let ids = wanted.into_iter().filter_map(|(event_type, key)| self.state_id(event_type, key));
        ids.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Makes, signs and appends an event.
    pub fn make(
        &mut self,
        (server, key): (&str, &Key),
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Value {
        let mut event = self.draft(sender, event_type, state_key, content);
        key.sign_event(server, &mut event, &self.version);
        if self.id.is_empty() {
            // Room version 12: the room is named after its create event.
            self.id = event_id(&event, &self.version).replacen('$', "!", 1);
        }
        self.append(&event);
        event
    }

    /// As [`PeerRoom::append`], without remembering the state before the event, which large rooms have no memory for.
    pub fn append_bare(&mut self, event: &Value) -> String {
        let id = self.keep(event);
        self.extremities = vec![id.clone()];
        self.order.push(id.clone());
        if let (Some(event_type), Some(key)) = (event["type"].as_str(), event["state_key"].as_str()) {
            Arc::make_mut(&mut self.state).insert((event_type.to_owned(), key.to_owned()), id.clone());
        }
        id
    }

    /// Puts a signed event at the end and gives its id.
    pub fn append(&mut self, event: &Value) -> String {
        let id = event_id(event, &self.version);
        if self.order.contains(&id) {
            return id;
        }
        let followed: Vec<&str> = strings(&event["prev_events"]);
        self.extremities.retain(|extremity| !followed.contains(&extremity.as_str()));
        self.extremities.push(id.clone());
        self.events.insert(id.clone(), (event.clone(), Some(Arc::clone(&self.state))));
        self.order.push(id.clone());
        if let (Some(event_type), Some(key)) = (event["type"].as_str(), event["state_key"].as_str()) {
            Arc::make_mut(&mut self.state).insert((event_type.to_owned(), key.to_owned()), id.clone());
        }
        id
    }

    /// Keeps an event without a place in the graph.
    pub fn keep(&mut self, event: &Value) -> String {
        let id = event_id(event, &self.version);
        self.events.entry(id.clone()).or_insert_with(|| (event.clone(), None));
        id
    }

    /// The id of the current state event.
    pub fn state_id(&self, event_type: &str, state_key: &str) -> Option<&str> {
        self.state.get(&(event_type.to_owned(), state_key.to_owned())).map(String::as_str)
    }

    /// The event with an id.
    ///
    /// # Panics
    /// When it is not here.
    #[track_caller]
    pub fn event(&self, id: &str) -> &Value {
        let known = self.events.get(id);
        &known.unwrap_or_else(|| panic!("{id} is not in the room {}", self.id)).0
    }

    /// The state before an event; the current one when it is not known.
    pub fn state_before(&self, id: &str) -> &State {
        self.events.get(id).and_then(|(_, state)| state.as_deref()).unwrap_or(&self.state)
    }

    /// Ids of the whole authorization chain of events, without themselves.
    pub fn auth_chain<'a>(&self, of: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        let mut chain = BTreeSet::new();
        let mut open: Vec<String> = of.into_iter().cloned().collect();
        while let Some(id) = open.pop() {
            let Some((event, _)) = self.events.get(&id) else { continue };
            for named in strings(&event["auth_events"]) {
                if chain.insert(named.to_owned()) {
                    open.push(named.to_owned());
                }
            }
        }
        chain
    }

    /// Events by ids, without those that are not here.
    pub fn list<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
        ids.into_iter().filter_map(|id| self.events.get(id)).map(|(event, _)| event.clone()).collect()
    }

    /// Up to `limit` events at and before some, newest first, along `prev_events`.
    pub fn before(&self, from: &[&str], limit: usize) -> Vec<Value> {
        let mut open: BTreeSet<&str> = from.iter().copied().collect();
        let mut found = Vec::new();
        for id in self.order.iter().rev() {
            if open.contains(id.as_str()) && found.len() < limit {
                let event = &self.events[id].0;
                open.extend(strings(&event["prev_events"]));
                found.push(event.clone());
            }
        }
        found
    }
}

/// The strings of a JSON array.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|items| items.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "another server has a clock of its own")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("not in this age")
}
