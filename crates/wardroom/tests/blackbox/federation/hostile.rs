//! What a hostile server sends: nothing of it crashes this server, blocks another room or partner, grows without bound, or
//! changes state that the rules forbid.

use std::{fs, sync::LazyLock, thread, time::Duration};

use wardroom_testkit::{
    Peer, Reply, User, Value, json,
    peer::{Answer, Key, now_ms, signing},
    text, unique, wait_until,
};

use super::sites::{Site, VERSIONS, public_room, sees};
use crate::SOON;

/// A server that the tests of this file share: hostility towards it must not matter to the others.
fn ward() -> &'static Site {
    static WARD: LazyLock<Site> = LazyLock::new(Site::start);
    &WARD
}

/// A hostile server with a user in a room of ours.
struct Intruder {
    peer: Peer,
    alice: User,
    room: String,
    mallory: String,
    version: &'static str,
}

impl Intruder {
    #[track_caller]
    fn enter(version: &'static str) -> Self {
        let alice = ward().user("alice");
        let room = public_room(&alice, version);
        let peer = Peer::start();
        let mallory = peer.user("mallory");
        peer.join(&ward().server, &room, &mallory);
        Self { peer, alice, room, mallory, version }
    }

    /// An event that nobody has yet and that is not signed.
    fn draft(&self, event_type: &str, state_key: Option<&str>, content: &Value) -> Value {
        self.peer.room(&self.room, |room| room.draft(&self.mallory, event_type, state_key, content))
    }

    fn message(&self, body: &str) -> Value {
        self.draft("m.room.message", None, &text(body))
    }

    fn sign(&self, mut event: Value) -> Value {
        self.peer.key().sign_event(self.peer.name(), &mut event, self.version);
        event
    }

    fn id(&self, event: &Value) -> String {
        signing::event_id(event, self.version)
    }

    /// Sends events and gives what the server says of the last.
    #[track_caller]
    fn send(&self, events: &[Value]) -> Value {
        let answer = self.peer.send(&ward().server, events, &[]).ok();
        answer["pdus"][self.id(events.last().unwrap())].clone()
    }

    /// An event that must not become part of the room, whatever is answered.
    #[track_caller]
    fn is_refused(&self, what: &str, event: &Value) {
        let before = ward().graph(&self.room);
        let reply = self.peer.send(&ward().server, std::slice::from_ref(event), &[]);
        assert!(reply.status == 200 || (400..500).contains(&reply.status), "{what}: {}", reply.story());
        self.all_is_well();
        assert_eq!(self.alice.try_event(&self.room, &self.id(event)).status, 404, "{what}: {event}");
        let after = ward().graph(&self.room);
        assert_eq!(state_of(before.as_ref()), state_of(after.as_ref()), "{what} changed the state");
    }

    /// The room takes what is right, afterwards.
    #[track_caller]
    fn all_is_well(&self) {
        self.peer.honest();
        let said = self.peer.say(&ward().server, &self.room, &self.mallory, "a harmless message");
        sees(&self.alice, &self.room, &said);
        let own = self.alice.say(&self.room, "and an answer");
        self.peer.until_pdu("the answer", SOON, |pdu| self.id(pdu) == own);
    }
}

fn state_of(graph: Option<&Value>) -> Option<(&Value, &Value)> {
    graph.map(|graph| (&graph["state_digest"], &graph["state_events"]))
}

/// Another server and another room are served meanwhile.
#[track_caller]
fn others_are_served() {
    let other = Intruder::enter("12");
    other.all_is_well();
}

/// Resident memory of the server in bytes.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", ward().server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

#[test]
fn bad_signatures_are_refused() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let name = intruder.peer.name().to_owned();

        let mut unsigned = intruder.sign(intruder.message("unsigned"));
        unsigned.as_object_mut().unwrap().remove("signatures");
        intruder.is_refused("no signatures", &unsigned);

        let mut empty = intruder.sign(intruder.message("empty"));
        empty["signatures"] = json!({});
        intruder.is_refused("empty signatures", &empty);

        let mut forged = intruder.message("forged");
        let mut key = Key::generate("scripted");
        key.sign_event(&name, &mut forged, version);
        intruder.is_refused("a signature by another key of the same id", &forged);

        let mut unknown = intruder.message("unknown");
        key = Key::generate("unknown");
        key.sign_event(&name, &mut unknown, version);
        intruder.is_refused("a signature by a key that the server does not have", &unknown);

        let mut foreign = intruder.message("by alice");
        foreign["sender"] = json!(intruder.alice.id);
        intruder.is_refused("an event in the name of a user of this server", &intruder.sign(foreign));

        let mut third = intruder.message("by a third");
        third["sender"] = json!("@somebody:third.example");
        intruder.is_refused("an event in the name of a user of a third server", &intruder.sign(third));

        for signatures in
            [json!([]), json!("x"), json!({ name.as_str(): "x" }), json!({ name.as_str(): { "ed25519:scripted": 1 } })]
        {
            let mut event = intruder.sign(intruder.message("strange"));
            event["signatures"] = signatures;
            intruder.is_refused("strange signatures", &event);
        }
    }
}

#[test]
fn an_event_with_a_wrong_hash_is_taken_without_what_was_forged() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let mut event = intruder.sign(intruder.message("the truth"));
        event["content"]["body"] = json!("a lie");
        let id = intruder.id(&event);
        intruder.send(std::slice::from_ref(&event));
        let seen = sees(&intruder.alice, &intruder.room, &id);
        assert_eq!(seen["content"], json!({}));
        intruder.peer.room(&intruder.room, |room| room.append(&event));
        intruder.all_is_well();
    }
}

#[test]
fn malformed_events_are_refused() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let nested = (0..300).fold(json!(1), |inner, _| json!([inner]));
        let tips = json!((0..21).map(|number| format!("$no{number}")).collect::<Vec<_>>());
        let changes: Vec<(&str, &str, Value)> = vec![
            ("over 64 KiB", "content", json!({ "body": "x".repeat(70_000) })),
            ("nested deeply", "content", json!({ "body": nested })),
            ("a float", "content", json!({ "number": 1.5 })),
            ("a huge integer", "content", json!({ "number": 9_007_199_254_740_993_u64 })),
            ("content that is no object", "content", json!("text")),
            ("a long type", "type", json!("x".repeat(300))),
            ("a type that is no string", "type", json!(1)),
            ("a long state key", "state_key", json!("x".repeat(300))),
            ("a state key that is no string", "state_key", json!({})),
            ("a long sender", "sender", json!(format!("@{}:{}", "x".repeat(300), intruder.peer.name()))),
            ("a negative depth", "depth", json!(-5)),
            ("a depth that is no number", "depth", json!("deep")),
            ("too many events before", "prev_events", tips.clone()),
            ("too many authorization events", "auth_events", tips),
            ("no list of events before", "prev_events", json!("x")),
            ("no events before", "prev_events", json!([])),
            ("no list of authorization events", "auth_events", json!({})),
            ("no authorization events", "auth_events", json!([])),
            ("hashes that are none", "hashes", json!("x")),
            ("a time that is none", "origin_server_ts", json!("yesterday")),
            ("another room", "room_id", json!("!elsewhere:third.example")),
            ("a room id that is none", "room_id", json!(5)),
        ];
        for (what, field, value) in changes {
            let mut event = intruder.message(what);
            event[field] = value;
            if what != "hashes that are none" {
                event = intruder.sign(event);
            } else {
                intruder.peer.key().add_signature(intruder.peer.name(), &mut event, version);
            }
            intruder.is_refused(what, &event);
        }
        for field in ["content", "type", "sender", "room_id", "depth", "prev_events", "auth_events", "origin_server_ts"]
        {
            let mut event = intruder.message("incomplete");
            event.as_object_mut().unwrap().remove(field);
            let event = intruder.sign(event);
            let reply = intruder.peer.send(&ward().server, std::slice::from_ref(&event), &[]);
            assert!(reply.status < 500, "without {field}: {}", reply.story());
            intruder.all_is_well();
            assert_eq!(intruder.alice.try_event(&intruder.room, &intruder.id(&event)).status, 404, "without {field}");
        }
    }
}

#[test]
fn transactions_that_are_too_large_are_refused_whole() {
    let intruder = Intruder::enter("12");
    let send = |pdus: &[Value], edus: &[Value]| -> Reply { intruder.peer.send(&ward().server, pdus, edus) };
    let event = intruder.sign(intruder.message("one of many"));
    send(&vec![event; 51], &[]).refused_somehow();
    let edu = json!({ "edu_type": "m.presence", "content": { "push": [] } });
    send(&[], &vec![edu; 101]).refused_somehow();
    for strange in [json!({}), json!(5), json!("x"), json!([]), Value::Null, json!({ "edu_type": 5 })] {
        let reply = send(&[], std::slice::from_ref(&strange));
        assert!(reply.status < 500, "{strange}: {}", reply.story());
        let reply = send(std::slice::from_ref(&strange), &[]);
        assert!(reply.status < 500, "{strange}: {}", reply.story());
    }
    intruder.all_is_well();
}

#[test]
fn an_endless_gap_costs_bounded_work() {
    const REQUESTS_MAX: usize = 500;
    let intruder = Intruder::enter("11");
    let memory = resident_bytes();
    // Whatever is asked for, there is one more before it.
    let endless = {
        let (mallory, room) = (intruder.mallory.clone(), intruder.room.clone());
        let (name, key) = (intruder.peer.name().to_owned(), intruder.peer.key().clone());
        let auth = intruder.message("x")["auth_events"].clone();
        move |prev: &str| {
            let mut event = json!({
                "type": "m.room.message", "sender": mallory, "room_id": room, "content": text("older"),
                "origin_server_ts": now_ms(), "depth": 500, "prev_events": [prev], "auth_events": auth,
            });
            key.sign_event(&name, &mut event, "11");
            event
        }
    };
    let nowhere = || format!("${}", unique("nowhere").replace(['.', '-'], "_"));
    let events: Vec<Value> = (0..20).map(|_| endless(&nowhere())).collect();
    let more = endless.clone();
    intruder.peer.on("/get_missing_events/", move |_| {
        let events: Vec<Value> =
            (0..20).map(|_| more(&format!("${}", unique("older").replace(['.', '-'], "_")))).collect();
        Answer::ok(&json!({ "events": events }))
    });
    intruder.peer.on("/backfill/", |_| Answer::ok(&json!({ "pdus": [] })));
    intruder.peer.on("/state", |_| Answer::error(404, "M_NOT_FOUND"));
    intruder.peer.on("/event/", |_| Answer::error(404, "M_NOT_FOUND"));
    intruder.peer.send(&ward().server, &events, &[]).ok();
    others_are_served();
    intruder.all_is_well();
    let asked = intruder.peer.asked("").len();
    assert!(asked < REQUESTS_MAX, "{asked} requests for events that do not exist");
    assert!(resident_bytes() < memory + 100 * 1_024 * 1_024, "memory grew from {memory} to {}", resident_bytes());
}

#[test]
fn answers_that_are_not_what_was_asked_for_are_no_cycle() {
    let intruder = Intruder::enter("12");
    let mut event = intruder.message("after something that does not exist");
    event["prev_events"] = json!(["$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
    let event = intruder.sign(event);
    let same = event.clone();
    intruder.peer.on("/get_missing_events/", move |_| Answer::ok(&json!({ "events": [same, same, same] })));
    let same = event.clone();
    intruder.peer.on("/event/", move |_| Answer::ok(&json!({ "pdus": [same] })));
    let same = event.clone();
    intruder.peer.on("/backfill/", move |_| Answer::ok(&json!({ "pdus": [same] })));
    intruder.peer.on("/state", |_| Answer::error(404, "M_NOT_FOUND"));
    intruder.peer.send(&ward().server, std::slice::from_ref(&event), &[]).ok();
    others_are_served();
    intruder.is_refused("an event after one that does not exist", &event);
}

#[test]
fn forged_authorization_events_do_not_authorise() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let levels = intruder.alice.state(&intruder.room, "m.room.power_levels", "");
        let mut more = levels.clone();
        more["users"][&intruder.mallory] = json!(99);
        let forged = intruder.sign(intruder.draft("m.room.power_levels", Some(""), &more));
        intruder.is_refused("power levels by somebody without power", &forged);

        // A topic that is authorised by them.
        let forged_id = intruder.peer.room(&intruder.room, |room| room.keep(&forged));
        let honest =
            intruder.peer.room(&intruder.room, |room| room.state_id("m.room.power_levels", "").unwrap().to_owned());
        let mut topic = intruder.draft("m.room.topic", Some(""), &json!({ "topic": "mine" }));
        let auth = topic["auth_events"].as_array_mut().unwrap();
        auth.retain(|id| *id != json!(honest));
        auth.push(json!(forged_id));
        intruder.is_refused("a topic authorised by refused power levels", &intruder.sign(topic));

        // One that leaves the power levels out.
        let mut topic = intruder.draft("m.room.topic", Some(""), &json!({ "topic": "mine" }));
        topic["auth_events"].as_array_mut().unwrap().retain(|id| *id != json!(honest));
        intruder.is_refused("a topic without power levels to authorise it", &intruder.sign(topic));

        // One that names everything twice, and one that names an event of another room.
        let mut topic = intruder.draft("m.room.topic", Some(""), &json!({ "topic": "mine" }));
        let auth = topic["auth_events"].as_array_mut().unwrap();
        auth.extend(auth.clone());
        intruder.is_refused("authorization events twice", &intruder.sign(topic));
        let elsewhere = intruder.peer.create_room(&intruder.mallory, version, "public");
        let foreign =
            intruder.peer.room(&elsewhere, |room| room.state_id("m.room.power_levels", "").unwrap().to_owned());
        let mut topic = intruder.draft("m.room.topic", Some(""), &json!({ "topic": "mine" }));
        let auth = topic["auth_events"].as_array_mut().unwrap();
        auth.retain(|id| *id != json!(honest));
        auth.push(json!(foreign));
        intruder.is_refused("power levels of another room", &intruder.sign(topic));
        assert_eq!(intruder.alice.state(&intruder.room, "m.room.power_levels", ""), levels);
        assert_eq!(intruder.alice.try_state(&intruder.room, "m.room.topic", "").status, 404);
    }
}

#[test]
fn a_lie_about_the_state_resets_nothing() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let alice = &intruder.alice;
        alice.set_state(&intruder.room, "m.room.name", "", json!({ "name": "Ward 7" }));
        let levels = alice.state(&intruder.room, "m.room.power_levels", "");
        let name = wait_until("the name arrives", SOON, || {
            intruder.peer.room(&intruder.room, |room| room.state_id("m.room.name", "").map(str::to_owned))
        });

        // An event after one that only the liar has, and a state before it that lacks nearly everything.
        let lost = intruder.sign(intruder.message("nobody ever gets this"));
        let mut event = intruder.message("after the lost one");
        event["prev_events"] = json!([intruder.id(&lost)]);
        let event = intruder.sign(event);
        let kept: Vec<String> = intruder.peer.room(&intruder.room, |room| {
            let wanted =
                [("m.room.create", ""), ("m.room.join_rules", ""), ("m.room.member", intruder.mallory.as_str())];
            wanted.iter().filter_map(|(kind, key)| room.state_id(kind, key)).map(str::to_owned).collect()
        });
        let (state, chain) = intruder.peer.room(&intruder.room, |room| (room.list(&kept), room.auth_chain(&kept)));
        let ids = json!({ "pdu_ids": kept, "auth_chain_ids": chain });
        let whole =
            json!({ "pdus": state, "auth_chain": intruder.peer.room(&intruder.room, |room| room.list(&chain)) });
        intruder.peer.on("/get_missing_events/", |_| Answer::ok(&json!({ "events": [] })));
        intruder.peer.on("/state/", move |_| Answer::ok(&whole));
        intruder.peer.on("/state_ids/", move |_| Answer::ok(&ids));
        let id = intruder.id(&lost);
        intruder.peer.script(move |asked| asked.segments().contains(&id).then(|| Answer::error(404, "M_NOT_FOUND")));
        intruder.send(std::slice::from_ref(&event));
        others_are_served();
        intruder.all_is_well();
        assert_eq!(alice.state(&intruder.room, "m.room.power_levels", ""), levels);
        assert_eq!(alice.state(&intruder.room, "m.room.name", "")["name"], "Ward 7");
        assert!(alice.is_in(&intruder.room));
        let graph = ward().graph(&intruder.room).unwrap();
        assert_eq!(graph["joined_members"], 2, "{graph}; the name was {name}");
    }
}

#[test]
fn a_server_that_the_room_bans_is_not_heard() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let (alice, room) = (&intruder.alice, &intruder.room);
        let host = "127.0.0.1";
        let denied = json!({ "allow": ["*"], "deny": [host], "allow_ip_literals": true });
        alice.set_state(room, "m.room.server_acl", "", denied);
        let event = intruder.sign(intruder.message("let me in"));
        let answer = intruder.send(std::slice::from_ref(&event));
        assert!(answer["error"].is_string(), "the refusal is said: {answer}");
        assert_eq!(alice.try_event(room, &intruder.id(&event)).status, 404);
        let target = wardroom_testkit::Target::federation_v1(&["make_join", room, &intruder.peer.user("eve")]);
        intruder.peer.ask(&ward().server, "GET", &target.query("ver", version), None).refused(403, "M_FORBIDDEN");
        let target = wardroom_testkit::Target::federation_v1(&["backfill", room]).query("limit", "10");
        let target = target.query("v", &intruder.peer.room(room, |room| room.extremities[0].clone()));
        intruder.peer.ask(&ward().server, "GET", &target, None).refused(403, "M_FORBIDDEN");
        others_are_served();
    }
}

#[test]
fn a_banned_user_does_not_come_back_through_the_past() {
    for version in VERSIONS {
        let intruder = Intruder::enter(version);
        let (alice, room) = (&intruder.alice, &intruder.room);
        let late = intruder.sign(intruder.message("sent before I knew of the ban"));
        let rejoin = intruder.sign(intruder.draft(
            "m.room.member",
            Some(&intruder.mallory),
            &json!({ "membership": "join", "displayname": "back" }),
        ));
        alice.on_member_id("ban", room, &intruder.mallory).ok();
        for event in [&late, &rejoin] {
            intruder.send(std::slice::from_ref(event));
            assert_eq!(alice.try_event(room, &intruder.id(event)).status, 404);
        }
        assert_eq!(alice.state(room, "m.room.member", &intruder.mallory)["membership"], "ban");
        let honest = Intruder::enter(version);
        honest.all_is_well();
    }
}

#[test]
fn ten_thousand_edus_leave_nothing_behind() {
    const TRANSACTIONS: u64 = 100;
    let intruder = Intruder::enter("12");
    let before = resident_bytes();
    for number in 0..TRANSACTIONS {
        let edus: Vec<Value> = (0..100_u64)
            .map(|index| {
                let user = intruder.peer.user(&format!("u{number}-{index}"));
                match index % 5 {
                    0 => json!({ "edu_type": "m.typing", "content": {
                        "room_id": format!("!r{index}:x.example"), "user_id": user, "typing": true } }),
                    1 => json!({ "edu_type": "m.presence", "content": { "push": [
                        { "user_id": user, "presence": "online", "last_active_ago": 1, "status_msg": "x".repeat(1_000) } ] } }),
                    2 => json!({ "edu_type": "m.receipt", "content": { intruder.room.as_str(): { "m.read": {
                        user: { "event_ids": ["$nothing"], "data": { "ts": 1 } } } } } }),
                    3 => json!({ "edu_type": "m.device_list_update", "content": {
                        "user_id": user, "device_id": "D", "stream_id": number, "prev_id": [] } }),
                    _ => json!({ "edu_type": "m.direct_to_device", "content": { "sender": user, "type": "m.x",
                        "message_id": unique("m"), "messages": { "@nobody:nowhere.example": { "*": {} } } } }),
                }
            })
            .collect();
        intruder.peer.send(&ward().server, &[], &edus).ok();
    }
    others_are_served();
    intruder.all_is_well();
    let after = resident_bytes();
    assert!(after < before + 64 * 1_024 * 1_024, "memory grew from {before} to {after} bytes");
}

#[test]
fn a_slow_room_does_not_hold_up_others() {
    let intruder = Intruder::enter("12");
    let mut event = intruder.message("after something that never comes");
    event["prev_events"] = json!(["$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
    let event = intruder.sign(event);
    for part in ["/get_missing_events/", "/state", "/event/", "/backfill/"] {
        intruder.peer.on(part, |_| Answer::drip(&json!({ "events": [], "pdus": [] }), Duration::from_secs(1)));
    }
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let body =
                json!({ "origin": intruder.peer.name(), "origin_server_ts": now_ms(), "pdus": [event], "edus": [] });
            let target = wardroom_testkit::Target::federation_v1(&["send", &unique("slow")]);
            drop(intruder.peer.try_ask(&ward().server, "PUT", &target, Some(&body)));
        });
        for _ in 0..3 {
            others_are_served();
        }
        // The room itself goes on too: its own users are not asked to wait.
        intruder.alice.say(&intruder.room, "we do not wait for that");
        sender.join().unwrap();
    });
    intruder.peer.honest();
}
