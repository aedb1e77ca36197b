//! A scripted server: another homeserver with a key of its own, which answers as a test says, signs what a test says,
//! and remembers what it was asked. It can keep rooms for others to join and take part in rooms of others.

mod answer;
mod room;
mod serve;
pub mod signing;
pub(crate) mod tls_server;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::to_bytes, extract::Request};
use serde_json::{Value, json};

use self::{answer::Script, signing::canonical, tls_server::TlsServer};
pub use self::{
    answer::{Answer, Asked},
    room::{PeerRoom, State, now_ms},
    signing::Key,
};
use crate::{
    Server,
    http::{Reply, Target, Unreachable},
    tls::trusting_client,
    wait_until,
};

/// Bytes of a request's body that a scripted server reads.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer to a scripted server may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// A scripted server. Clones are the same server; it ends with the last one.
#[derive(Clone, Debug)]
pub struct Peer {
    inner: Arc<Inner>,
    client: reqwest::Client,
    _server: Arc<TlsServer>,
}

struct Inner {
    name: String,
    key: Key,
    scripts: Mutex<Vec<Script>>,
    asked: Mutex<Vec<Asked>>,
    rooms: Mutex<BTreeMap<String, PeerRoom>>,
    pdus: Mutex<Vec<Value>>,
    edus: Mutex<Vec<Value>>,
    invites: Mutex<Vec<(String, Value)>>,
    transactions: AtomicU64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Peer {
    /// Starts a server, which is called `127.0.0.1:PORT`.
    pub fn start() -> Self {
        let socket = TlsServer::bind();
        let name = socket.local_addr().expect("a bound socket has an address").to_string();
        let inner = Arc::new(Inner {
            name,
            key: Key::generate("scripted"),
            scripts: Mutex::default(),
            asked: Mutex::default(),
            rooms: Mutex::default(),
            pdus: Mutex::default(),
            edus: Mutex::default(),
            invites: Mutex::default(),
            transactions: AtomicU64::new(now_ms()),
        });
        let served = Arc::clone(&inner);
        let router = Router::new().fallback(move |request: Request| {
            let inner = Arc::clone(&served);
            async move {
                let (head, body) = request.into_parts();
                let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
                let asked = Asked {
                    method: head.method.to_string(),
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    authorization: header("authorization").unwrap_or_default().to_owned(),
                    bytes: to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default(),
                };
                inner.asked.lock().unwrap().push(asked.clone());
                let scripts = inner.scripts.lock().unwrap().clone();
                let scripted = scripts.iter().rev().find_map(|script| script(&asked));
                scripted.unwrap_or_else(|| inner.answer(&asked)).into_response().await
            }
        });
        let server = Arc::new(TlsServer::start(socket, router));
        Self { inner, client: trusting_client(), _server: server }
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The signing key.
    pub fn key(&self) -> &Key {
        &self.inner.key
    }

    /// The id of a user of this server.
    pub fn user(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.inner.name)
    }

    /// The key document, as this server gives it out.
    pub fn key_document(&self) -> Value {
        self.inner.key_document()
    }

    /// Answers from now on as a script says, which is asked before older ones; `None` leaves a request to those, and in
    /// the end to what an honest server answers.
    pub fn script(&self, script: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) {
        self.inner.scripts.lock().unwrap().push(Arc::new(script));
    }

    /// Answers requests whose path contains a text as a script says.
    pub fn on(&self, path_part: &str, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        let part = path_part.to_owned();
        self.script(move |asked| asked.path.contains(&part).then(|| answer(asked)));
    }

    /// Forgets all scripts.
    pub fn honest(&self) {
        self.inner.scripts.lock().unwrap().clear();
    }

    /// Every request so far whose path contains a text.
    pub fn asked(&self, path_part: &str) -> Vec<Asked> {
        let asked = self.inner.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path.contains(path_part)).cloned().collect()
    }

    /// Events that were sent to this server, in the order in which they came, with repetitions.
    pub fn pdus(&self) -> Vec<Value> {
        self.inner.pdus.lock().unwrap().clone()
    }

    /// What else was sent to this server.
    pub fn edus(&self) -> Vec<Value> {
        self.inner.edus.lock().unwrap().clone()
    }

    /// Invites so far: the room and the request's body.
    pub fn invites(&self) -> Vec<(String, Value)> {
        self.inner.invites.lock().unwrap().clone()
    }

    /// The first event sent to this server that meets a condition, once it came.
    #[track_caller]
    pub fn until_pdu(&self, what: &str, limit: Duration, condition: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, limit, || self.inner.pdus.lock().unwrap().iter().find(|pdu| condition(pdu)).cloned())
    }

    /// The first other thing sent to this server that meets a condition, once it came.
    #[track_caller]
    pub fn until_edu(&self, what: &str, limit: Duration, condition: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, limit, || self.inner.edus.lock().unwrap().iter().find(|edu| condition(edu)).cloned())
    }

    /// Asks a server for something, signed.
    #[track_caller]
    pub fn ask(&self, server: &Server, method: &str, target: &Target, body: Option<&Value>) -> Reply {
        match self.try_ask(server, method, target, body) {
            Ok(reply) => reply,
            Err(Unreachable(why)) => panic!("no answer to {why}"),
        }
    }

    /// As [`Peer::ask`].
    ///
    /// # Errors
    /// `Unreachable` when no whole answer came.
    pub fn try_ask(
        &self,
        server: &Server,
        method: &str,
        target: &Target,
        body: Option<&Value>,
    ) -> Result<Reply, Unreachable> {
        let header = self.authorization(server.name(), method, target, body);
        self.ask_with(server, method, target, body, &header)
    }

    /// Asks with an `Authorization` header of the test's own; without one if it is empty.
    ///
    /// # Errors
    /// `Unreachable` when no whole answer came.
    pub fn ask_with(
        &self,
        server: &Server,
        method: &str,
        target: &Target,
        body: Option<&Value>,
        authorization: &str,
    ) -> Result<Reply, Unreachable> {
        let url = format!("https://{}{}", server.name(), target.as_str());
        let parsed = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(parsed, url).timeout(REQUEST_LIMIT);
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        server.http().send(request, format!("{method} {}", target.as_str()))
    }

    /// The `Authorization` header of a request to a server.
    pub fn authorization(&self, destination: &str, method: &str, target: &Target, body: Option<&Value>) -> String {
        let mut signed = json!({
            "method": method,
            "uri": target.as_str(),
            "origin": self.name(),
            "destination": destination,
        });
        if let Some(body) = body {
            signed["content"] = body.clone();
        }
        let signature = self.key().sign(&canonical(&signed));
        let (origin, key) = (self.name(), &self.key().id);
        format!("X-Matrix origin=\"{origin}\",destination=\"{destination}\",key=\"{key}\",sig=\"{signature}\"")
    }

    /// Sends a transaction of events and others.
    #[track_caller]
    pub fn send(&self, server: &Server, pdus: &[Value], edus: &[Value]) -> Reply {
        let number = self.inner.transactions.fetch_add(1, Ordering::Relaxed);
        self.send_as(server, &number.to_string(), pdus, edus)
    }

    /// Sends a transaction under an id.
    #[track_caller]
    pub fn send_as(&self, server: &Server, transaction: &str, pdus: &[Value], edus: &[Value]) -> Reply {
        let body = json!({ "origin": self.name(), "origin_server_ts": now_ms(), "pdus": pdus, "edus": edus });
        self.ask(server, "PUT", &Target::federation_v1(&["send", transaction]), Some(&body))
    }

    /// Works on a room that this server knows.
    ///
    /// # Panics
    /// When it does not know the room.
    #[track_caller]
    pub fn room<T>(&self, room: &str, work: impl FnOnce(&mut PeerRoom) -> T) -> T {
        let mut rooms = self.inner.rooms.lock().unwrap();
        work(rooms.get_mut(room).unwrap_or_else(|| panic!("the room {room} is not here")))
    }

    /// Keeps a room that a test made itself.
    pub fn keep_room(&self, room: PeerRoom) {
        self.inner.rooms.lock().unwrap().insert(room.id.clone(), room);
    }

    /// Makes a room with its creator in it, and gives its id.
    pub fn create_room(&self, creator: &str, version: &str, join_rule: &str) -> String {
        let id = if version == "12" { String::new() } else { format!("!{}:{}", crate::unique("room"), self.name()) };
        let mut room = PeerRoom::new(&id, version);
        let signer = (self.name(), self.key());
        // Two rooms that are made in one millisecond are two: in version 12 the id is a hash of this.
        let mut create = json!({ "room_version": version, "org.example.room": crate::unique("room") });
        if version == "10" {
            create["creator"] = json!(creator);
        }
        room.make(signer, creator, "m.room.create", Some(""), &create);
        room.make(signer, creator, "m.room.member", Some(creator), &json!({ "membership": "join" }));
        let users = if version == "12" { json!({}) } else { json!({ creator: 100 }) };
        room.make(signer, creator, "m.room.power_levels", Some(""), &json!({ "users": users }));
        room.make(signer, creator, "m.room.join_rules", Some(""), &json!({ "join_rule": join_rule }));
        let shared = json!({ "history_visibility": "shared" });
        room.make(signer, creator, "m.room.history_visibility", Some(""), &shared);
        let id = room.id.clone();
        self.keep_room(room);
        id
    }

    /// Makes and signs an event at the end of a room, without sending it.
    #[track_caller]
    pub fn make(&self, room: &str, sender: &str, event_type: &str, state_key: Option<&str>, content: &Value) -> Value {
        self.room(room, |room| room.make((self.name(), self.key()), sender, event_type, state_key, content))
    }

    /// The id of an event in a room.
    #[track_caller]
    pub fn id_of(&self, room: &str, event: &Value) -> String {
        signing::event_id(event, &self.room(room, |room| room.version.clone()))
    }

    /// Says something in a room and sends it to a server. Gives the event's id.
    #[track_caller]
    pub fn say(&self, server: &Server, room: &str, sender: &str, body: &str) -> String {
        let event = self.make(room, sender, "m.room.message", None, &crate::text(body));
        let id = self.id_of(room, &event);
        let answer = self.send(server, &[event], &[]).ok();
        assert_eq!(answer["pdus"][&id], json!({}), "the event was not taken: {answer}");
        id
    }

    /// Joins a user of this server to a room of another.
    #[track_caller]
    pub fn join(&self, server: &Server, room: &str, user: &str) {
        let mut target = Target::federation_v1(&["make_join", room, user]);
        for version in ["10", "11", "12"] {
            target = target.query("ver", version);
        }
        let template = self.ask(server, "GET", &target, None).ok();
        let version = template["room_version"].as_str().expect("a template has a version").to_owned();
        let mut event = template["event"].clone();
        event["origin_server_ts"] = json!(now_ms());
        self.key().sign_event(self.name(), &mut event, &version);
        let id = signing::event_id(&event, &version);
        let answer = self.ask(server, "PUT", &Target::federation_v2(&["send_join", room, &id]), Some(&event)).ok();
        let mut known = PeerRoom::new(room, &version);
        for event in ["auth_chain", "state"].iter().flat_map(|part| answer[*part].as_array().into_iter().flatten()) {
            known.keep(event);
        }
        let state = answer["state"].as_array().into_iter().flatten().map(|event| {
            let key = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            ((key("type"), key("state_key")), signing::event_id(event, &version))
        });
        known.state = Arc::new(state.collect());
        // With the signature of a server that authorised the join, if it added one.
        known.append(answer.get("event").unwrap_or(&event));
        self.keep_room(known);
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Peer, signing::canonical};
    use crate::{Value, json};

    #[test]
    fn a_scripted_server_answers_and_remembers() {
        let peer = Peer::start();
        let get = |path: &str| -> (u16, Value) {
            let url = format!("https://{}{path}", peer.name());
            crate::http::runtime().block_on(async {
                let response = peer.client.get(url).send().await.unwrap();
                let status = response.status().as_u16();
                (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
            })
        };
        let (status, keys) = get("/_matrix/key/v2/server");
        assert_eq!((status, &keys["server_name"]), (200, &json!(peer.name())));
        assert_eq!(keys["signatures"][peer.name()][&peer.key().id], {
            let unsigned = super::signing::without(&keys, &["signatures"]);
            json!(peer.key().sign(&canonical(&unsigned)))
        });

        for version in ["10", "11", "12"] {
            let (alice, bob) = (peer.user("alice"), peer.user("bob"));
            let room = peer.create_room(&alice, version, "public");
            let (status, template) = get(&format!("/_matrix/federation/v1/make_join/{room}/{bob}"));
            assert_eq!((status, &template["room_version"]), (200, &json!(version)));
            assert_eq!(template["event"]["prev_events"].as_array().unwrap().len(), 1);
            let tip = peer.room(&room, |room| room.extremities[0].clone());
            let (_, before) = get(&format!("/_matrix/federation/v1/backfill/{room}?v={tip}&limit=3"));
            assert_eq!(before["pdus"].as_array().unwrap().len(), 3);
            let (_, ids) = get(&format!("/_matrix/federation/v1/state_ids/{room}?event_id={tip}"));
            assert_eq!(ids["pdu_ids"].as_array().unwrap().len(), 4);
        }

        peer.on("/version", |_| Answer::error(418, "M_TEAPOT"));
        assert_eq!(get("/_matrix/federation/v1/version").0, 418);
        peer.honest();
        assert_eq!(get("/_matrix/federation/v1/version").0, 200);
        assert_eq!(peer.asked("/version").len(), 2);
    }
}
