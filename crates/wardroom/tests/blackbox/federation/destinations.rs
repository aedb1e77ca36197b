//! What is sent to other servers, as they and administrators see it.

use wardroom_testkit::{
    Actor as _, Config, Listener, Peer, Server, User, Value, encode, json, peer::Answer, raw, unique, wait_until,
};

use super::sites::public_room;
use crate::{BINARY, SOON};

/// Where the metrics are: after the client's listener and that of other servers.
const METRICS: usize = 2;

struct Hospital {
    server: Server,
    admin: User,
    alice: User,
    room: String,
    peer: Peer,
}

impl Hospital {
    /// A server with a room in which a user of a scripted server is.
    fn start() -> Self {
        let metrics = Listener { serves: vec!["metrics".to_owned()], tls: None };
        let server = Server::start_with(BINARY, Config::default().federating_as("127.0.0.1").listener(metrics));
        let secret = "a shared secret of the tests";
        let admin = server.anonymous().register_with_secret(secret, &unique("admin"), true).ok();
        let admin = User::from_answer(server.http(), &admin, "correct horse battery staple");
        let alice = server.user("alice");
        let (room, peer) = (public_room(&alice, "11"), Peer::start());
        peer.join(&server, &room, &peer.user("bob"));
        Self { server, admin, alice, room, peer }
    }

    /// What an administrator sees of the scripted server.
    fn seen(&self) -> Value {
        self.look().ok()
    }

    fn look(&self) -> wardroom_testkit::Reply {
        self.admin.get(destinations(&format!("/{}", encode(self.peer.name()))))
    }

    fn arrives(&self, event: &str) {
        let (said, peer) = (event.to_owned(), &self.peer);
        wait_until("the event arrives", SOON, || {
            peer.pdus().iter().any(|pdu| pdu["content"]["body"] == said).then_some(())
        });
    }

    fn metrics(&self) -> String {
        let answer = self.server.ask_listener(METRICS, &raw("/metrics")).unwrap_or_else(|why| panic!("{}", why.0));
        String::from_utf8(answer.bytes).unwrap()
    }
}

fn destinations(rest: &str) -> wardroom_testkit::Target {
    raw(&format!("/_synapse/admin/v1/federation/destinations{rest}"))
}

#[test]
fn administrators_see_to_whom_is_sent_and_end_the_waiting() {
    let hospital = Hospital::start();
    let Hospital { admin, alice, room, peer, .. } = &hospital;
    alice.say(room, "one");
    hospital.arrives("one");
    let seen = wait_until("what was taken is noted", SOON, || {
        // Nothing was ever sent there until the first answer is noted.
        let seen = Some(hospital.look()).filter(|seen| seen.status == 200).map(|seen| seen.ok());
        seen.filter(|seen| seen["last_successful_stream_ordering"].is_u64())
    });
    assert_eq!(seen["destination"], peer.name());
    assert_eq!(
        (&seen["failure_ts"], &seen["retry_last_ts"], &seen["retry_interval"]),
        (&Value::Null, &json!(0), &json!(0))
    );
    let all = admin.get(destinations("").query("destination", peer.name()).query("order_by", "retry_last_ts")).ok();
    assert_eq!((&all["total"], &all["destinations"]), (&json!(1), &json!([hospital.seen()])));
    assert_eq!(all.get("next_token"), None);
    let rooms = admin.get(destinations(&format!("/{}/rooms", encode(peer.name())))).ok();
    assert_eq!((&rooms["total"], &rooms["rooms"][0]["room_id"]), (&json!(1), &json!(room)));
    assert_eq!(rooms["rooms"][0]["stream_ordering"], hospital.seen()["last_successful_stream_ordering"]);
    let reset = || destinations(&format!("/{}/reset_connection", encode(peer.name())));
    admin.post(reset(), json!({})).refused(400, "M_UNKNOWN");

    peer.on("/federation/v1/send/", |_| Answer::error(500, "M_UNKNOWN"));
    alice.say(room, "two");
    let failing = wait_until("the failure is noted", SOON, || {
        Some(hospital.seen()).filter(|seen| seen["retry_interval"].as_u64() > Some(0))
    });
    assert!(failing["failure_ts"].is_u64() && failing["retry_last_ts"].is_u64(), "{failing}");
    let metrics = hospital.metrics();
    let label = format!("destination=\"{}\"", peer.name());
    let waits = format!("wardroom_federation_destination_waiting{{{label},kind=\"event\"}} 1");
    assert!(metrics.contains(&waits), "{waits} is not in\n{metrics}");
    assert!(metrics.contains("wardroom_federation_destinations_failing 1"), "{metrics}");
    peer.honest();
    let again = admin.post(reset(), json!({}));
    assert!([200, 400].contains(&again.status), "{}", again.story());
    hospital.arrives("two");
    wait_until("it is well again", SOON, || hospital.seen()["failure_ts"].is_null().then_some(()));
}

#[test]
fn a_transaction_is_sent_again_as_it_was_until_it_is_taken() {
    let mut hospital = Hospital::start();
    let sends = "/federation/v1/send/";
    hospital.peer.on(sends, |_| Answer::error(502, "M_UNKNOWN"));
    let before = hospital.peer.asked(sends).len();
    hospital.alice.say(&hospital.room, "first");
    let attempts = |hospital: &Hospital| hospital.peer.asked(sends)[before..].to_vec();
    wait_until("it is tried twice", SOON, || (attempts(&hospital).len() >= 2).then_some(()));
    hospital.alice.say(&hospital.room, "second");
    hospital.server.kill9();
    hospital.server.start_again();
    let more = attempts(&hospital).len() + 1;
    wait_until("it is tried again", SOON, || (attempts(&hospital).len() >= more).then_some(()));
    let tried = attempts(&hospital);
    for attempt in &tried {
        assert_eq!((&attempt.path, attempt.json()), (&tried[0].path, tried[0].json()), "the same transaction");
    }
    hospital.peer.honest();
    hospital.arrives("second");
    let arrived: Vec<Value> = hospital.peer.pdus().iter().map(|pdu| pdu["content"]["body"].clone()).collect();
    let said: Vec<&Value> = arrived.iter().filter(|body| body.is_string()).collect();
    assert_eq!(said, [&json!("first"), &json!("second")], "once, and in order");
}

#[test]
fn destinations_are_for_administrators_and_requests_have_to_make_sense() {
    let hospital = Hospital::start();
    let Hospital { admin, alice, .. } = &hospital;
    alice.get(destinations("")).refused(403, "M_FORBIDDEN");
    hospital.server.anonymous().get(destinations("")).refused(401, "M_MISSING_TOKEN");
    for (name, value) in [("from", "-1"), ("limit", "ten"), ("dir", "up"), ("order_by", "name")] {
        admin.get(destinations("").query(name, value)).refused(400, "M_INVALID_PARAM");
    }
    for rest in ["/nobody.example", "/nobody.example/rooms"] {
        admin.get(destinations(rest)).refused(404, "M_NOT_FOUND");
    }
    admin.post(destinations("/nobody.example/reset_connection"), json!({})).refused(404, "M_NOT_FOUND");
    admin.get(destinations("/not%20a%20server")).refused(400, "M_INVALID_PARAM");
}
