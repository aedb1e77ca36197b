//! Rooms with a policy server.

use std::sync::{Arc, Mutex};

use wardroom_testkit::{
    Actor, Peer, Target, User, Value, json,
    peer::{Answer, Key},
    raw, v3,
};

use super::super::sites::{Site, join_via, sees};
use crate::{admin::admin_of, audit::records};

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

/// The signature that a server gives, as the policy server of a room, for an event of this peer's.
fn ask_to_sign(peer: &Peer, site: &Site, event: &Value) -> wardroom_testkit::Reply {
    peer.ask(&site.server, "POST", &raw("/_matrix/policy/v1/sign"), Some(event))
}

#[test]
fn a_server_is_the_policy_server_of_rooms_that_say_so() {
    let (site, other, peer) = (Site::start(), Site::named(), Peer::start());
    let (alice, carol, mallory) = (site.user("alice"), other.user("carol"), peer.user("mallory"));
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": VERSION }));
    join_via(&carol, &room, &site);
    peer.join(&site.server, &room, &peer.user("bob"));
    let said = |sender: &str, body: &str| peer.make(&room, sender, "m.room.message", None, &json!({ "body": body }));
    let bob = peer.user("bob");
    ask_to_sign(&peer, &site, &said(&bob, "before")).refused(404, "M_NOT_FOUND");

    let key = site.server.anonymous().get(raw("/.well-known/matrix/policy_server")).ok()["public_keys"].clone();
    let policy = json!({ "via": site.name(), "public_keys": key });
    let named = alice.set_state(&room, "m.room.policy", "", policy);
    sees(&carol, &room, &named);
    // What is sent here is signed here, and others ask for it.
    alice.say(&room, "from here");
    let sent = peer.until_pdu("the message", crate::SOON, |pdu| pdu["content"]["body"] == "from here");
    assert!(sent["signatures"][site.name()]["ed25519:policy_server"].is_string(), "{sent}");
    sees(&alice, &room, &carol.say(&room, "from there"));

    let good = said(&bob, "good");
    let signatures = ask_to_sign(&peer, &site, &good).ok();
    assert!(signatures[site.name()]["ed25519:policy_server"].is_string(), "{signatures}");
    let refusals = [
        (said(&mallory, "from outside"), 400, "M_FORBIDDEN"),
        (peer.make(&room, &bob, "m.room.topic", Some(""), &json!({ "topic": "mine" })), 400, "M_FORBIDDEN"),
        (peer.make(&room, &bob, "m.room.policy", Some(""), &json!({})), 400, "M_FORBIDDEN"),
        (json!({ "room_id": room, "type": "m.room.message" }), 400, "M_BAD_JSON"),
        (json!({ "type": "m.room.message" }), 400, "M_BAD_JSON"),
    ];
    for (event, status, errcode) in &refusals {
        ask_to_sign(&peer, &site, event).refused(*status, errcode);
    }
    let mut forged = said(&bob, "forged");
    forged["signatures"] = json!({ peer.name(): { "ed25519:other": "AAAA" } });
    ask_to_sign(&peer, &site, &forged).refused(403, "M_FORBIDDEN");
    let judged = records(&admin_of(&site.server), &[("act", "policy.sign"), ("room_id", &room)]);
    for (event, outcome) in [(peer.id_of(&room, &good), 0), (peer.id_of(&room, &refusals[0].0), 8)] {
        let of_it = judged.iter().find(|record| record["on"]["event"] == *event);
        assert_eq!(of_it.map(|record| &record["outcome"]), Some(&json!(outcome)), "{judged:?}");
    }
    // The room knows another key of it, or another policy server.
    let another = json!({ "via": site.name(), "public_keys": { "ed25519": Key::generate("policy_server").public() } });
    alice.set_state(&room, "m.room.policy", "", another);
    ask_to_sign(&peer, &site, &good).refused(404, "M_NOT_FOUND");
    let target = v3(&["rooms", &room, "send", "m.room.message", "txn"]);
    alice.put(target, json!({ "msgtype": "m.text", "body": "unsigned" })).refused(403, "M_FORBIDDEN");
}

#[test]
fn what_nobody_signed_is_judged_by_the_policy_server_itself() {
    let (site, peer) = (Site::start(), Peer::start());
    let alice = site.user("alice");
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": VERSION }));
    let bob = peer.user("bob");
    peer.join(&site.server, &room, &bob);
    let key = site.server.anonymous().get(raw("/.well-known/matrix/policy_server")).ok()["public_keys"].clone();
    alice.set_state(&room, "m.room.policy", "", json!({ "via": site.name(), "public_keys": key }));
    sees(&alice, &room, &peer.say(&site.server, &room, &bob, "unsigned"));
}
