//! Rooms with a policy server.

use std::sync::{Arc, Mutex};

use wardroom_testkit::{
    Actor, Peer, Target, User, Value, json,
    peer::{Answer, Key},
    v3,
};

use super::super::sites::{Site, sees};

const VERSION: &str = "11";

/// What a policy server that a test plays thinks of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Signs,
    Refuses,
    Fails,
    SignsWithAnotherKey,
}

/// A room with a policy server, which signs all but spam.
struct Guarded {
    site: Site,
    peer: Peer,
    alice: User,
    room: String,
    key: Key,
    mood: Arc<Mutex<Mood>>,
}

impl Guarded {
    fn start() -> Self {
        let (site, peer) = (Site::start(), Peer::start());
        let alice = site.user("alice");
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": VERSION }));
        let key = Key::generate("policy_server");
        let mood = Arc::new(Mutex::new(Mood::Signs));
        let (name, signs, now) = (peer.name().to_owned(), key.clone(), Arc::clone(&mood));
        peer.on("/_matrix/policy/v1/sign", move |asked| {
            let key = match *now.lock().unwrap() {
                Mood::Signs => signs.clone(),
                Mood::SignsWithAnotherKey => Key::generate("policy_server"),
                Mood::Refuses => {
                    return Answer::json(400, &json!({ "errcode": "M_FORBIDDEN", "error": "This is spam" }));
                }
                Mood::Fails => return Answer::error(500, "M_UNKNOWN"),
            };
            let mut event = asked.json();
            event["signatures"] = json!({});
            key.add_signature(&name, &mut event, VERSION);
            Answer::ok(&event["signatures"])
        });
        let guarded = Self { site, peer, alice, room, key, mood };
        let public = guarded.key.public();
        let policy = json!({ "via": guarded.peer.name(), "public_keys": { "ed25519": public } });
        guarded.alice.set_state(&guarded.room, "m.room.policy", "", policy);
        guarded
    }

    fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.peer.asked("/policy/v1/sign").len()
    }

    fn try_say(&self, body: &str) -> wardroom_testkit::Reply {
        let target = v3(&["rooms", &self.room, "send", "m.room.message", &wardroom_testkit::unique("txn")]);
        self.alice.put(target, json!({ "msgtype": "m.text", "body": body }))
    }
}

#[test]
fn a_policy_server_signs_what_is_sent() {
    let guarded = Guarded::start();
    let Guarded { site, peer, alice, room, .. } = &guarded;
    // Nobody of it is in the room yet, so it is none.
    alice.say(room, "unguarded");
    assert_eq!(guarded.asked(), 0);
    peer.join(&site.server, room, &peer.user("policy"));
    let said = alice.say(room, "guarded");
    let sent = peer.until_pdu("the message", crate::SOON, |pdu| pdu["content"]["body"] == "guarded");
    assert!(sent["signatures"][peer.name()]["ed25519:policy_server"].is_string(), "{sent}");
    assert_eq!(peer.id_of(room, &sent), said);
    assert!(guarded.asked() > 0);

    guarded.mood(Mood::Refuses);
    let refused = guarded.try_say("buy this");
    assert_eq!(refused.refused(403, "M_FORBIDDEN")["error"], "This is spam");
    let topic = json!({ "topic": "spam" });
    alice.put(v3(&["rooms", room, "state", "m.room.topic", ""]), topic).refused(403, "M_FORBIDDEN");
    for mood in [Mood::Fails, Mood::SignsWithAnotherKey] {
        guarded.mood(mood);
        guarded.try_say("unsure").refused(502, "M_UNKNOWN");
    }
    // Whoever may can do without it: that it is not asked about.
    guarded.mood(Mood::Refuses);
    alice.set_state(room, "m.room.policy", "", json!({}));
    alice.say(room, "unguarded again");
    let bodies: Vec<Value> = alice.history(room).iter().map(|event| event["content"]["body"].clone()).collect();
    for never in ["buy this", "unsure"] {
        assert!(!bodies.contains(&json!(never)), "{bodies:?}");
    }
}

#[test]
fn what_a_policy_server_has_not_signed_is_not_shown() {
    let guarded = Guarded::start();
    let Guarded { site, peer, alice, room, key, .. } = &guarded;
    let bob = peer.user("bob");
    peer.join(&site.server, room, &bob);
    guarded.mood(Mood::Refuses);
    let said =
        |body: &str| peer.make(room, &bob, "m.room.message", None, &json!({ "msgtype": "m.text", "body": body }));
    let spam = said("spam");
    peer.send(&site.server, std::slice::from_ref(&spam), &[]).ok();
    let mut good = said("signed");
    key.add_signature(peer.name(), &mut good, VERSION);
    peer.send(&site.server, std::slice::from_ref(&good), &[]).ok();
    sees(alice, room, &peer.id_of(room, &good));
    assert_eq!(alice.try_event(room, &peer.id_of(room, &spam)).status, 404);
    // One without its signature that it signs when it is asked.
    guarded.mood(Mood::Signs);
    let late = said("late");
    peer.send(&site.server, std::slice::from_ref(&late), &[]).ok();
    sees(alice, room, &peer.id_of(room, &late));
    let graph = site.graph(room).unwrap();
    assert!(graph["extremities"].is_array(), "{graph}");
    let target = Target::federation_v1(&["version"]);
    peer.ask(&site.server, "GET", &target, None).ok();
}
