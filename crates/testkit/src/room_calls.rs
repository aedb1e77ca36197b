//! A user's calls on rooms. Those that most tests use only to get somewhere give the value and panic when refused;
//! those that start with `try_` give the answer.

use serde_json::{Value, json};

use crate::{
    Actor, User, events,
    http::{Reply, v3},
    unique,
};

/// How many pages a walk through a room's history may take.
const PAGES_MAX: usize = 10_000;
/// Events a page of such a walk asks for.
const PAGE_EVENTS: &str = "100";

impl User {
    /// Creates a room and gives its id.
    #[track_caller]
    pub fn create_room(&self, body: Value) -> String {
        let answer = self.try_create_room(body).ok();
        answer["room_id"].as_str().unwrap_or_else(|| panic!("createRoom gives a room_id: {answer}")).to_owned()
    }

    /// Creates a room that anybody may join, with these members.
    #[track_caller]
    pub fn create_public_room(&self, members: &[&Self]) -> String {
        let room = self.create_room(json!({ "preset": "public_chat" }));
        for member in members {
            member.join(&room);
        }
        room
    }

    /// `POST /createRoom`.
    #[track_caller]
    pub fn try_create_room(&self, body: Value) -> Reply {
        self.post(v3(&["createRoom"]), body)
    }

    /// Joins by room id or alias.
    #[track_caller]
    pub fn join(&self, room: &str) {
        self.try_join(room).ok();
    }

    /// `POST /join/{roomIdOrAlias}`.
    #[track_caller]
    pub fn try_join(&self, room: &str) -> Reply {
        self.post(v3(&["join", room]), json!({}))
    }

    /// `POST /knock/{roomIdOrAlias}`.
    #[track_caller]
    pub fn try_knock(&self, room: &str) -> Reply {
        self.post(v3(&["knock", room]), json!({}))
    }

    /// Invites a user.
    #[track_caller]
    pub fn invite(&self, room: &str, user: &Self) {
        self.on_member("invite", room, user).ok();
    }

    /// `POST /rooms/{roomId}/{action}` on a member: `invite`, `kick`, `ban` or `unban`.
    #[track_caller]
    pub fn on_member(&self, action: &str, room: &str, user: &Self) -> Reply {
        self.on_member_id(action, room, &user.id)
    }

    /// As [`User::on_member`], for a user of any server.
    #[track_caller]
    pub fn on_member_id(&self, action: &str, room: &str, user: &str) -> Reply {
        self.post(v3(&["rooms", room, action]), json!({ "user_id": user }))
    }

    /// Leaves a room, or rejects an invite.
    #[track_caller]
    pub fn leave(&self, room: &str) {
        self.post(v3(&["rooms", room, "leave"]), json!({})).ok();
    }

    /// `POST /rooms/{roomId}/forget`.
    #[track_caller]
    pub fn try_forget(&self, room: &str) -> Reply {
        self.post(v3(&["rooms", room, "forget"]), json!({}))
    }

    /// Sends a text message and gives its event id.
    #[track_caller]
    pub fn say(&self, room: &str, body: &str) -> String {
        sent(&self.try_send(room, "m.room.message", &unique("txn"), crate::text(body)))
    }

    /// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`.
    #[track_caller]
    pub fn try_send(&self, room: &str, event_type: &str, txn: &str, content: Value) -> Reply {
        self.put(v3(&["rooms", room, "send", event_type, txn]), content)
    }

    /// Sets room state and gives the event id.
    #[track_caller]
    pub fn set_state(&self, room: &str, event_type: &str, state_key: &str, content: Value) -> String {
        sent(&self.try_set_state(room, event_type, state_key, content))
    }

    /// `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`.
    #[track_caller]
    pub fn try_set_state(&self, room: &str, event_type: &str, state_key: &str, content: Value) -> Reply {
        self.put(v3(&["rooms", room, "state", event_type, state_key]), content)
    }

    /// The content of a state event.
    #[track_caller]
    pub fn state(&self, room: &str, event_type: &str, state_key: &str) -> Value {
        self.try_state(room, event_type, state_key).ok()
    }

    /// `GET /rooms/{roomId}/state/{eventType}/{stateKey}`.
    #[track_caller]
    pub fn try_state(&self, room: &str, event_type: &str, state_key: &str) -> Reply {
        self.get(v3(&["rooms", room, "state", event_type, state_key]))
    }

    /// Changes the power levels' content.
    #[track_caller]
    pub fn change_power_levels(&self, room: &str, change: impl FnOnce(&mut Value)) {
        let mut content = self.state(room, "m.room.power_levels", "");
        change(&mut content);
        self.set_state(room, "m.room.power_levels", "", content);
    }

    /// Redacts an event and gives the redaction's id.
    #[track_caller]
    pub fn redact(&self, room: &str, event_id: &str) -> String {
        sent(&self.try_redact(room, event_id, &unique("txn")))
    }

    /// `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`.
    #[track_caller]
    pub fn try_redact(&self, room: &str, event_id: &str, txn: &str) -> Reply {
        self.put(v3(&["rooms", room, "redact", event_id, txn]), json!({ "reason": "a test" }))
    }

    /// `GET /rooms/{roomId}/event/{eventId}`.
    #[track_caller]
    pub fn try_event(&self, room: &str, event_id: &str) -> Reply {
        self.get(v3(&["rooms", room, "event", event_id]))
    }

    /// One page of `GET /rooms/{roomId}/messages`.
    #[track_caller]
    pub fn try_messages(&self, room: &str, dir: &str, from: Option<&str>, limit: &str) -> Reply {
        let mut target = v3(&["rooms", room, "messages"]).query("dir", dir).query("limit", limit);
        if let Some(from) = from {
            target = target.query("from", from);
        }
        self.get(target)
    }

    /// The whole history that this user may read, oldest first, read backwards page by page.
    #[track_caller]
    pub fn history(&self, room: &str) -> Vec<Value> {
        let mut history = self.walk(room, "b", |_| false);
        history.reverse();
        history
    }

    /// The newest history down to (and without) an event, oldest first.
    #[track_caller]
    pub fn history_after(&self, room: &str, event_id: &str) -> Vec<Value> {
        let mut history = self.walk(room, "b", |event| event["event_id"] == event_id);
        history.reverse();
        history
    }

    /// Every event that `/messages` gives in one direction, in the order it gives them, up to (and without) the
    /// first that `enough` accepts.
    #[track_caller]
    pub fn walk(&self, room: &str, dir: &str, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let (mut walked, mut from) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let page = self.try_messages(room, dir, from.as_deref(), PAGE_EVENTS).ok();
            for event in events(&page["chunk"]) {
                if enough(event) {
                    return walked;
                }
                walked.push(event.clone());
            }
            match page["end"].as_str() {
                Some(end) if from.as_deref() == Some(end) => panic!("/messages went from {end} to {end}: {page}"),
                Some(end) => from = Some(end.to_owned()),
                None => return walked,
            }
        }
        panic!("{room} has no end after {PAGES_MAX} pages");
    }

    /// The user ids of a room's members with a membership.
    #[track_caller]
    pub fn members(&self, room: &str, membership: &str) -> Vec<String> {
        let answer = self.get(v3(&["rooms", room, "members"]).query("membership", membership)).ok();
        let mut ids: Vec<String> = events(&answer["chunk"])
            .iter()
            .filter_map(|event| event["state_key"].as_str())
            .map(str::to_owned)
            .collect();
        ids.sort();
        ids
    }

    /// Whether this user has joined a room.
    #[track_caller]
    pub fn is_in(&self, room: &str) -> bool {
        let answer = self.get(v3(&["joined_rooms"])).ok();
        answer["joined_rooms"].as_array().is_some_and(|rooms| rooms.iter().any(|joined| joined == room))
    }
}

#[track_caller]
fn sent(reply: &Reply) -> String {
    let answer = reply.ok();
    answer["event_id"].as_str().unwrap_or_else(|| panic!("an event_id is missing: {}", reply.story())).to_owned()
}
