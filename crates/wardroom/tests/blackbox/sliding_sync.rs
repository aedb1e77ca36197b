//! Simplified sliding sync (MSC4186).

mod bad_input;
mod connections;
mod encryption;
mod extensions;
mod filters;
mod membership;
mod rooms;
mod state;
mod waiting;
mod windows;

use std::time::{Duration, Instant};

use wardroom_testkit::{Actor, Reply, User, Value, events, json, raw, unique};

/// How long one long poll waits; a condition that comes true later is seen by the next poll.
const POLL: Duration = Duration::from_secs(5);

/// A connection of a device: remembers `pos` and what is asked for.
#[derive(Clone)]
struct Connection<'a> {
    user: &'a User,
    /// Its name among those of the device, where the body does not say.
    conn_id: String,
    body: Value,
    pos: Option<String>,
}

impl<'a> Connection<'a> {
    fn new(user: &'a User, body: Value) -> Self {
        Self { user, conn_id: unique("c"), body, pos: None }
    }

    /// One list named `all`, of all rooms.
    fn of_all(user: &'a User) -> Self {
        Self::new(user, json!({ "lists": { "all": all(99, 10) } }))
    }

    /// One request, as it is answered; `pos` stays.
    #[track_caller]
    fn ask(&self, timeout: Duration) -> Reply {
        let mut target = raw("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync");
        target = target.query("timeout", &timeout.as_millis().to_string());
        if let Some(pos) = &self.pos {
            target = target.query("pos", pos);
        }
        let mut body = self.body.clone();
        if body["conn_id"].is_null() {
            body["conn_id"] = json!(self.conn_id);
        }
        self.user.post(target, body)
    }

    /// The next answer, without waiting.
    #[track_caller]
    fn next(&mut self) -> Value {
        self.poll(Duration::ZERO)
    }

    /// The next answer of a long poll.
    #[track_caller]
    fn poll(&mut self, timeout: Duration) -> Value {
        let answer = self.ask(timeout).ok();
        self.pos = Some(answer["pos"].as_str().unwrap_or_else(|| panic!("an answer has pos: {answer}")).to_owned());
        answer
    }

    /// Long polls until an answer meets a condition, and gives that answer.
    #[track_caller]
    fn until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let answer = self.poll(deadline.saturating_duration_since(Instant::now()).min(POLL));
            if condition(&answer) {
                return answer;
            }
            seen.push(answer);
            assert!(Instant::now() < deadline, "{what}: not within {limit:?}; answers were {seen:#?}");
        }
    }

    /// Asks for something else from now on.
    fn ask_for(&mut self, body: Value) {
        self.body = body;
    }
}

/// A list of the newest rooms up to an index, with a few state events.
fn all(last: u64, timeline_limit: u64) -> Value {
    json!({ "ranges": [[0, last]], "timeline_limit": timeline_limit, "required_state": [["m.room.name", ""], ["m.room.topic", ""]] })
}

/// A room of an answer; `Value::Null` when it is not told.
fn room<'a>(answer: &'a Value, room: &str) -> &'a Value {
    &answer["rooms"][room]
}

/// The ids of the rooms of an answer, in no order.
fn told(answer: &Value) -> Vec<String> {
    let mut ids: Vec<_> = answer["rooms"].as_object().map(|rooms| rooms.keys().cloned().collect()).unwrap_or_default();
    ids.sort();
    ids
}

fn sorted(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}

/// The state that a room of an answer has, as (type, state key).
fn state(answer: &Value, id: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut state: Vec<_> = events(&room(answer, id)["required_state"])
        .iter()
        .map(|event| (text(&event["type"]), text(&event["state_key"])))
        .collect();
    state.sort();
    state
}

/// The state keys of the memberships among the state of a room of an answer.
fn members(answer: &Value, id: &str) -> Vec<String> {
    let members = state(answer, id).into_iter().filter(|(kind, _)| kind == "m.room.member");
    members.map(|(_, state_key)| state_key).collect()
}
