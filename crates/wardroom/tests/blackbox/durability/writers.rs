//! Writers that remember what the server acknowledged, and check that it kept it.

use std::sync::mpsc::Sender;

use wardroom_testkit::{Actor, Body, Reply, User, Value, json, text, v3};

/// What a writer sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Messages,
    State,
}

/// How many state keys a state writer goes round.
const STATE_KEYS: u64 = 3;

/// One request of a writer: its number, and the event id when it was acknowledged.
#[derive(Debug)]
struct Sent {
    number: u64,
    event_id: Option<String>,
}

/// Sends one event after another to one room, each after the acknowledgement of the one before.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) user: User,
    pub(super) room: String,
    kind: Kind,
    next: u64,
    /// What was sent since the last check.
    unchecked: Vec<Sent>,
}

impl Writer {
    pub(super) fn new(user: User, room: &str, kind: Kind) -> Self {
        Self { user, room: room.to_owned(), kind, next: 0, unchecked: Vec::new() }
    }

    fn state_key(number: u64) -> String {
        format!("bed-{}", number % STATE_KEYS)
    }

    /// One request, as it is and as it would be repeated. `None`: no answer came.
    fn request(&self, number: u64) -> Option<Reply> {
        let mut content = text("a bed is free");
        content["number"] = json!(number);
        let target = match self.kind {
            Kind::Messages => v3(&["rooms", &self.room, "send", "m.room.message", &format!("crash-{number}")]),
            Kind::State => v3(&["rooms", &self.room, "state", "example.bed", &Self::state_key(number)]),
        };
        let method = "PUT".parse().unwrap();
        self.user.http().try_request(&method, &target, self.user.token(), Body::Json(content)).ok()
    }

    /// Writes until the server is gone, telling each acknowledgement.
    pub(super) fn write(&mut self, acknowledged: &Sender<()>) {
        loop {
            let number = self.next;
            self.next += 1;
            let event_id = self.request(number).map(|reply| event_id(&reply));
            let gone = event_id.is_none();
            self.unchecked.push(Sent { number, event_id });
            if gone || acknowledged.send(()).is_err() {
                return;
            }
        }
    }

    /// After a restart: repeats the newest acknowledged message and the one whose answer never came.
    pub(super) fn retry(&mut self) {
        if matches!(self.kind, Kind::State) {
            // A state event has no transaction id: whether the unanswered one is there is for the check to see.
            return;
        }
        if let Some(acknowledged) = self.unchecked.iter().rfind(|sent| sent.event_id.is_some()) {
            let again = event_id(&self.request(acknowledged.number).expect("the server is back"));
            assert_eq!(
                Some(&again),
                acknowledged.event_id.as_ref(),
                "a retry of an acknowledged message is a new event"
            );
        }
        let unanswered = self.unchecked.iter().position(|sent| sent.event_id.is_none());
        if let Some(unanswered) = unanswered {
            let reply = self.request(self.unchecked[unanswered].number).expect("the server is back");
            self.unchecked[unanswered].event_id = Some(event_id(&reply));
        }
    }

    /// Checks the room's new history: this writer's events, once each, in order; only an unanswered state event may
    /// be missing. Forgets what was checked.
    pub(super) fn check(&mut self, new_history: &[Value], seed: u64) {
        let mut seen = new_history
            .iter()
            .filter(|event| event["sender"] == self.user.id.as_str() && event["content"]["number"].is_u64())
            .map(|event| (event["content"]["number"].as_u64().unwrap(), event["event_id"].as_str().unwrap()))
            .peekable();
        for sent in self.unchecked.drain(..) {
            match (&sent.event_id, seen.peek()) {
                (Some(event_id), found) => {
                    assert_eq!(
                        found,
                        Some(&(sent.number, event_id.as_str())),
                        "seed {seed}: {:?} of {}",
                        self.kind,
                        self.user.id
                    );
                    seen.next();
                }
                (None, Some((number, _))) if *number == sent.number => {
                    seen.next();
                }
                (None, _) => {}
            }
        }
        assert_eq!(seen.next(), None, "seed {seed}: {:?} of {}: an event too many", self.kind, self.user.id);
    }

    /// Checks that the current state is the last state event of the history.
    pub(super) fn check_state(&self, history: &[Value]) {
        if matches!(self.kind, Kind::Messages) {
            return;
        }
        for key in (0..STATE_KEYS).map(Self::state_key) {
            let last =
                history.iter().rev().find(|event| event["type"] == "example.bed" && event["state_key"] == key.as_str());
            let current = self.user.try_state(&self.room, "example.bed", &key);
            match last {
                Some(event) => assert_eq!(current.ok(), event["content"]),
                None => drop(current.refused(404, "M_NOT_FOUND")),
            }
        }
    }
}

#[track_caller]
fn event_id(reply: &Reply) -> String {
    reply.ok()["event_id"].as_str().expect("an event id").to_owned()
}

/// Joins and leaves a room in turns, and creates rooms: changes that touch more than one index at once.
#[derive(Debug)]
pub(super) struct Wanderer {
    user: User,
    room: String,
    inside: bool,
    /// Whether the last change was not answered: then either is right.
    unsure: bool,
    created: Vec<String>,
}

impl Wanderer {
    pub(super) fn new(user: User, room: &str) -> Self {
        Self { user, room: room.to_owned(), inside: false, unsure: false, created: Vec::new() }
    }

    fn post(&self, segments: &[&str], body: Value) -> Option<Reply> {
        let method = "POST".parse().unwrap();
        self.user.http().try_request(&method, &v3(segments), self.user.token(), Body::Json(body)).ok()
    }

    pub(super) fn wander(&mut self, acknowledged: &Sender<()>) {
        loop {
            let action = if self.inside { "leave" } else { "join" };
            let Some(reply) = self.post(&["rooms", &self.room, action], json!({})) else {
                self.unsure = true;
                return;
            };
            reply.ok();
            self.inside = !self.inside;
            let Some(reply) = self.post(&["createRoom"], json!({ "name": "Wandering" })) else { return };
            self.created.push(reply.ok()["room_id"].as_str().expect("a room id").to_owned());
            if acknowledged.send(()).is_err() {
                return;
            }
        }
    }

    /// Checks membership and created rooms after a restart, and settles what was not answered.
    pub(super) fn check(&mut self, witness: &User, seed: u64) {
        let inside = self.user.is_in(&self.room);
        assert!(self.unsure || inside == self.inside, "seed {seed}: the last join or leave was lost");
        assert_eq!(
            witness.members(&self.room, "join").contains(&self.user.id),
            inside,
            "seed {seed}: state and index differ"
        );
        self.inside = inside;
        self.unsure = false;
        for room in self.created.drain(..) {
            assert_eq!(self.user.state(&room, "m.room.name", "")["name"], "Wandering", "seed {seed}");
            assert!(self.user.is_in(&room), "seed {seed}: {room} was created and is not joined");
        }
    }
}
