//! The answers of a scripted server that nobody scripted.

use serde_json::{Value, json};

use super::{
    Inner,
    answer::{Answer, Asked},
    room::{PeerRoom, now_ms, strings},
};

/// How long the key document of a scripted server is good, in milliseconds.
const KEY_LIFETIME_MS: u64 = 24 * 60 * 60 * 1_000;

impl Inner {
    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        let segments = asked.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let answer = match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["_matrix", "key", "v2", "server", ..]) => Some(self.key_document()),
            ("GET", ["_matrix", "federation", "v1", "version"]) => {
                Some(json!({ "server": { "name": "scripted", "version": "1" } }))
            }
            ("PUT", ["_matrix", "federation", "v1", "send", _]) => Some(self.transaction(&asked.json())),
            ("PUT", ["_matrix", "federation", "v2", "invite", room, _]) => Some(self.invited(room, &asked.json())),
            ("GET", ["_matrix", "federation", "v1", "make_join", room, user]) => self.template(room, user, "join"),
            ("GET", ["_matrix", "federation", "v1", "make_leave", room, user]) => self.template(room, user, "leave"),
            ("GET", ["_matrix", "federation", "v1", "make_knock", room, user]) => self.template(room, user, "knock"),
            ("PUT", ["_matrix", "federation", "v2", "send_join", room, _]) => self.send_join(room, &asked.json()),
            ("PUT", ["_matrix", "federation", "v2", "send_leave", room, _]) => self.admit(room, &asked.json()),
            ("PUT", ["_matrix", "federation", "v1", "send_knock", room, _]) => self.admit(room, &asked.json()),
            ("GET", ["_matrix", "federation", "v1", "state", room]) => self.in_room(room, |room| state(room, asked)),
            ("GET", ["_matrix", "federation", "v1", "state_ids", room]) => {
                self.in_room(room, |room| state_ids(room, asked))
            }
            ("GET", ["_matrix", "federation", "v1", "event", id]) => self.event(id),
            ("GET", ["_matrix", "federation", "v1", "event_auth", room, id]) => self.in_room(room, |room| {
                let id = (*id).to_owned();
                Some(json!({ "auth_chain": room.list(&room.auth_chain([&id])) }))
            }),
            ("GET", ["_matrix", "federation", "v1", "backfill", room]) => self.in_room(room, |room| {
                let limit = asked.parameters("limit").first().and_then(|limit| limit.parse().ok()).unwrap_or(10);
                let from = asked.parameters("v");
                let from: Vec<&str> = from.iter().map(String::as_str).collect();
                let pdus = room.before(&from, limit);
                Some(json!({ "origin": self.name, "origin_server_ts": now_ms(), "pdus": pdus }))
            }),
            ("POST", ["_matrix", "federation", "v1", "get_missing_events", room]) => {
                self.in_room(room, |room| Some(missing_events(room, &asked.json())))
            }
            ("GET", ["_matrix", "federation", "v1", "query", "profile"]) => Some(json!({ "displayname": "Scripted" })),
            ("POST", ["_matrix", "federation", "v1", "user", "keys", "query"]) => Some(json!({ "device_keys": {} })),
            ("POST", ["_matrix", "federation", "v1", "user", "keys", "claim"]) => Some(json!({ "one_time_keys": {} })),
            ("GET", ["_matrix", "federation", "v1", "user", "devices", user]) => {
                Some(json!({ "user_id": user, "stream_id": 1, "devices": [] }))
            }
            _ => return Answer::error(404, "M_UNRECOGNIZED"),
        };
        answer.map_or_else(|| Answer::error(404, "M_NOT_FOUND"), |body| Answer::ok(&body))
    }

    /// The signed key document.
    pub(super) fn key_document(&self) -> Value {
        let mut document = json!({
            "server_name": self.name,
            "valid_until_ts": now_ms() + KEY_LIFETIME_MS,
            "verify_keys": { self.key.id.as_str(): { "key": self.key.public() } },
            "old_verify_keys": {},
        });
        self.key.sign_json(&self.name, &mut document);
        document
    }

    fn in_room<T>(&self, room: &str, work: impl FnOnce(&mut PeerRoom) -> Option<T>) -> Option<T> {
        work(self.rooms.lock().unwrap().get_mut(room)?)
    }

    /// Takes a transaction: everything in it is believed.
    fn transaction(&self, body: &Value) -> Value {
        let mut results = serde_json::Map::new();
        for pdu in body["pdus"].as_array().into_iter().flatten() {
            let id = pdu["room_id"].as_str().and_then(|room| self.in_room(room, |room| Some(room.append(pdu))));
            results.insert(id.unwrap_or_default(), json!({}));
            self.pdus.lock().unwrap().push(pdu.clone());
        }
        self.edus.lock().unwrap().extend(body["edus"].as_array().into_iter().flatten().cloned());
        json!({ "pdus": results })
    }

    fn invited(&self, room: &str, body: &Value) -> Value {
        let version = body["room_version"].as_str().unwrap_or("10");
        let mut event = body["event"].clone();
        self.key.add_signature(&self.name, &mut event, version);
        self.invites.lock().unwrap().push((room.to_owned(), body.clone()));
        json!({ "event": event })
    }

    fn template(&self, room: &str, user: &str, membership: &str) -> Option<Value> {
        self.in_room(room, |room| {
            let draft = room.draft(user, "m.room.member", Some(user), &json!({ "membership": membership }));
            Some(json!({ "room_version": room.version, "event": draft }))
        })
    }

    fn send_join(&self, room: &str, event: &Value) -> Option<Value> {
        self.in_room(room, |room| {
            let ids: Vec<String> = room.state.values().cloned().collect();
            let answer = json!({
                "origin": self.name,
                "event": event,
                "members_omitted": false,
                "state": room.list(&ids),
                "auth_chain": room.list(&room.auth_chain(&ids)),
            });
            room.append(event);
            Some(answer)
        })
    }

    /// Takes a leave or knock.
    fn admit(&self, room: &str, event: &Value) -> Option<Value> {
        self.in_room(room, |room| {
            room.append(event);
            Some(json!({ "knock_room_state": [] }))
        })
    }

    fn event(&self, id: &str) -> Option<Value> {
        let rooms = self.rooms.lock().unwrap();
        let (event, _) = rooms.values().find_map(|room| room.events.get(id))?;
        Some(json!({ "origin": self.name, "origin_server_ts": now_ms(), "pdus": [event] }))
    }
}

fn state(room: &PeerRoom, asked: &Asked) -> Option<Value> {
    let id = asked.parameters("event_id").into_iter().next()?;
    let ids: Vec<String> = room.state_before(&id).values().cloned().collect();
    Some(json!({ "pdus": room.list(&ids), "auth_chain": room.list(&room.auth_chain(&ids)) }))
}

fn state_ids(room: &PeerRoom, asked: &Asked) -> Option<Value> {
    let id = asked.parameters("event_id").into_iter().next()?;
    let ids: Vec<String> = room.state_before(&id).values().cloned().collect();
    Some(json!({ "pdu_ids": ids, "auth_chain_ids": room.auth_chain(&ids) }))
}

fn missing_events(room: &PeerRoom, body: &Value) -> Value {
    let limit = body["limit"].as_u64().unwrap_or(10);
    let (earliest, latest) = (strings(&body["earliest_events"]), strings(&body["latest_events"]));
    let mut open: Vec<&str> = latest.clone();
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    while !open.is_empty() && (found.len() as u64) < limit {
        let id = open.remove(0);
        let Some((event, _)) = room.events.get(id) else { continue };
        if !latest.contains(&id) {
            found.push(event.clone());
        }
        for prev in strings(&event["prev_events"]) {
            if !earliest.contains(&prev) && !seen.contains(&prev) {
                seen.push(prev);
                open.push(prev);
            }
        }
    }
    found.reverse();
    json!({ "events": found })
}
