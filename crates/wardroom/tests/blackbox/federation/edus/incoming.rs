//! What a server may tell this one, and what it may not.

use wardroom_testkit::{
    Actor as _, Config, Server, User, Value, encode, events, json,
    peer::{Answer, Peer},
    raw, wait_until,
};

use crate::{
    BINARY, SOON,
    encryption::{KeyPair, device_keys, lists, upload},
};

/// A server, a room in it, its creator, and a scripted server with somebody in the room.
struct Meeting {
    server: Server,
    alice: User,
    room: String,
    peer: Peer,
    carol: String,
}

impl Meeting {
    fn new() -> Self {
        let server = Server::start_with(BINARY, Config::default().federating_as("127.0.0.1"));
        let alice = server.user("alice");
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "12" }));
        let peer = Peer::start();
        let carol = peer.user("carol");
        peer.join(&server, &room, &carol);
        Self { server, alice, room, peer, carol }
    }

    fn tell(&self, kind: &str, content: &Value) {
        self.peer.send(&self.server, &[], &[json!({ "edu_type": kind, "content": content })]).ok();
    }

    fn query(&self) -> Value {
        let target = raw("/_matrix/client/v3/keys/query");
        self.alice.post(target, json!({ "device_keys": { self.carol.as_str(): [] } })).ok()
    }

    fn changed(&self, sync: &Value) -> bool {
        events(&sync["device_lists"]["changed"]).iter().any(|user| user == self.carol.as_str())
    }

    /// The scripted server's list of carol's devices from now on.
    fn list(&self, stream_id: u64, devices: &[&str]) {
        let devices: Vec<Value> = devices.iter().map(|device| json!({ "device_id": device, "keys": {} })).collect();
        let body = json!({ "user_id": self.carol, "stream_id": stream_id, "devices": devices });
        self.peer.on("/user/devices/", move |_| Answer::ok(&body));
    }

    fn update(&self, stream_id: u64, prev_id: &[u64], device: &str, deleted: bool) {
        self.tell(
            "m.device_list_update",
            &json!({
                "user_id": self.carol, "device_id": device, "stream_id": stream_id, "prev_id": prev_id,
                "deleted": deleted, "keys": {}, "device_display_name": format!("name {stream_id}"),
            }),
        );
    }

    fn fetched(&self) -> usize {
        self.peer.asked("/user/devices/").len()
    }
}

fn devices(found: &Value, user: &str) -> Vec<String> {
    found["device_keys"][user].as_object().into_iter().flat_map(|devices| devices.keys().cloned()).collect()
}

#[test]
fn a_list_is_fetched_once_and_then_followed() {
    let meeting = Meeting::new();
    let mut follower = meeting.server.follow(&meeting.alice);
    meeting.list(1, &["A", "B"]);
    let found = meeting.query();
    assert_eq!(devices(&found, &meeting.carol), ["A", "B"], "{found}");
    follower.until("the list", SOON, |sync| meeting.changed(sync));
    let fetched = meeting.fetched();
    assert_eq!(fetched, 1);
    meeting.update(2, &[1], "C", false);
    follower.until("the third device", SOON, |sync| meeting.changed(sync));
    meeting.update(3, &[2], "A", true);
    follower.until("the end of the first", SOON, |sync| meeting.changed(sync));
    let found = meeting.query();
    assert_eq!(devices(&found, &meeting.carol), ["B", "C"], "{found}");
    let named = &found["device_keys"][&meeting.carol]["C"]["unsigned"]["device_display_name"];
    assert_eq!(named, "name 2");
    assert_eq!(meeting.fetched(), fetched, "nothing was missed, nothing is fetched");
}

#[test]
fn a_change_that_was_missed_is_found_out() {
    let meeting = Meeting::new();
    meeting.list(1, &["A"]);
    meeting.query();
    let mut follower = meeting.server.follow(&meeting.alice);
    meeting.list(5, &["A", "B", "C"]);
    // Of the changes 2 to 4 nobody told.
    meeting.update(5, &[4], "C", false);
    follower.until("all changes", SOON, |sync| meeting.changed(sync));
    wait_until("the list", SOON, || (devices(&meeting.query(), &meeting.carol) == ["A", "B", "C"]).then_some(()));
    assert_eq!(meeting.fetched(), 2);
}

#[test]
fn a_list_is_fetched_when_the_server_can_be_asked_again() {
    let meeting = Meeting::new();
    meeting.list(1, &["A"]);
    meeting.query();
    meeting.peer.on("/user/devices/", |_| Answer::error(500, "M_UNKNOWN"));
    meeting.update(7, &[6], "B", false);
    wait_until("it is asked", SOON, || (meeting.fetched() > 1).then_some(()));
    let found = meeting.query();
    assert_eq!(devices(&found, &meeting.carol), ["A"], "better an old list than none: {found}");
    meeting.list(7, &["A", "B"]);
    wait_until("the list", SOON, || (devices(&meeting.query(), &meeting.carol) == ["A", "B"]).then_some(()));
}

#[test]
fn a_server_speaks_for_its_own_users_alone() {
    let meeting = Meeting::new();
    let Meeting { server, alice, room, carol, .. } = &meeting;
    let bob = server.user("bob");
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    bob.join(room);
    let mut follower = server.follow(alice);
    let said = alice.say(room, "hello");
    meeting.tell("m.typing", &json!({ "room_id": room, "user_id": bob.id, "typing": true }));
    let receipt = |user: &str| json!({ user: { "data": { "ts": 5 }, "event_ids": [said] } });
    meeting.tell("m.receipt", &json!({ room.as_str(): { "m.read": receipt(&bob.id) } }));
    meeting.tell("m.presence", &json!({ "push": [{ "user_id": bob.id, "presence": "unavailable" }] }));
    let update = json!({ "user_id": bob.id, "device_id": bob.device, "stream_id": 1, "deleted": true });
    meeting.tell("m.device_list_update", &update);
    let message = json!({ "*": { "forged": true } });
    meeting.tell(
        "m.direct_to_device",
        &json!({
            "sender": bob.id, "type": "m.test", "message_id": "forged", "messages": { alice.id.as_str(): message },
        }),
    );
    // After all that, something true.
    meeting.tell("m.typing", &json!({ "room_id": room, "user_id": carol, "typing": true }));
    meeting.tell("m.receipt", &json!({ room.as_str(): { "m.read": receipt(carol) } }));
    let mut seen = Vec::new();
    follower.until("carol has read", SOON, |sync| {
        seen.push(sync.clone());
        sync["rooms"]["join"][room]["ephemeral"].to_string().contains("m.receipt")
    });
    for sync in &seen {
        let ephemeral = &sync["rooms"]["join"][room]["ephemeral"];
        assert!(!ephemeral.to_string().contains(&bob.id), "{sync:#}");
        assert!(!sync.to_string().contains("forged"), "{sync:#}");
        assert!(!lists(sync, "changed", &bob), "{sync:#}");
        assert!(!sync["presence"].to_string().contains("unavailable"), "{sync:#}");
    }
}

#[test]
fn a_message_is_delivered_once_however_often_it_comes() {
    let meeting = Meeting::new();
    let Meeting { server, alice, carol, .. } = &meeting;
    let mut follower = server.follow(alice);
    let message = |id: &str, number: u64| {
        let content = json!({ "n": number });
        json!({ "edu_type": "m.direct_to_device", "content": {
            "sender": carol, "type": "m.test", "message_id": id, "messages": { alice.id.as_str(): { "*": content } },
        } })
    };
    for _ in 0..3 {
        meeting.peer.send(server, &[], &[message("one", 1), message("one", 1)]).ok();
    }
    meeting.peer.send(server, &[], &[message("two", 2)]).ok();
    let mut numbers = Vec::new();
    follower.until("both", SOON, |sync| {
        numbers.extend(events(&sync["to_device"]["events"]).iter().map(|event| event["content"]["n"].clone()));
        numbers.contains(&json!(2))
    });
    assert_eq!(numbers, [json!(1), json!(2)]);
}

#[test]
fn what_is_wrong_takes_nothing_with_it() {
    let meeting = Meeting::new();
    let Meeting { server, room, carol, .. } = &meeting;
    let mut edus: Vec<Value> = [
        json!({}),
        json!({ "edu_type": "m.typing" }),
        json!({ "edu_type": "m.typing", "content": 5 }),
        json!({ "edu_type": "m.receipt", "content": { "not a room": [] } }),
        json!({ "edu_type": "m.presence", "content": { "push": [5, { "user_id": carol, "presence": "dancing" }] } }),
        json!({ "edu_type": "m.device_list_update", "content": { "user_id": carol, "stream_id": -1 } }),
        json!({ "edu_type": "m.direct_to_device", "content": {
            "sender": carol, "type": "t".repeat(300), "message_id": "1", "messages": {},
        } }),
        json!({ "edu_type": "m.direct_to_device", "content": {
            "sender": carol, "type": "m.test", "message_id": "2", "messages": { meeting.alice.id.as_str(): { "*": 5 } },
        } }),
        json!({ "edu_type": "org.example.unknown", "content": {} }),
    ]
    .to_vec();
    edus.push(json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": carol, "typing": true } }));
    let mut follower = server.follow(&meeting.alice);
    meeting.peer.send(server, &[], &edus).ok();
    follower.until("the last one", SOON, |sync| {
        sync["rooms"]["join"][room]["ephemeral"].to_string().contains(carol.as_str())
    });
}

#[test]
fn other_servers_see_what_is_theirs_to_see() {
    let meeting = Meeting::new();
    let Meeting { server, alice, peer, .. } = &meeting;
    let (master, own, others) = (KeyPair::of(10), KeyPair::of(11), KeyPair::of(12));
    use crate::encryption::{cross_signing_key, one_time_keys, signed_cross_signing_key};
    let body = json!({
        "master_key": cross_signing_key(alice, "master", &master),
        "self_signing_key": signed_cross_signing_key(alice, "self_signing", &own, &master),
        "user_signing_key": signed_cross_signing_key(alice, "user_signing", &others, &master),
    });
    alice.post(raw("/_matrix/client/v3/keys/device_signing/upload"), body).ok();
    let told = peer.until_edu("the identity", SOON, |edu| edu["edu_type"] == "m.signing_key_update");
    assert_eq!(told["content"]["user_id"], json!(alice.id));
    assert!(told["content"]["self_signing_key"].is_object(), "{told}");
    let keys = device_keys(alice, &KeyPair::of(1));
    upload(alice, json!({ "device_keys": keys, "one_time_keys": one_time_keys(0, 1) })).ok();
    let told = peer.until_edu("the device", SOON, |edu| edu["edu_type"] == "m.device_list_update");
    let content = &told["content"];
    assert_eq!((&content["device_id"], &content["keys"]["keys"]), (&json!(alice.device), &keys["keys"]));
    let stream_id = content["stream_id"].as_u64().unwrap();
    alice
        .put(raw(&format!("/_matrix/client/v3/devices/{}", encode(&alice.device))), json!({ "display_name": "x" }))
        .ok();
    let next = peer.until_edu("the name", SOON, |edu| {
        edu["edu_type"] == "m.device_list_update" && edu["content"]["stream_id"].as_u64() > Some(stream_id)
    });
    assert_eq!(next["content"]["prev_id"], json!([stream_id]));
    assert!(next["content"]["device_display_name"].is_null());

    let devices = raw(&format!("/_matrix/federation/v1/user/devices/{}", encode(&alice.id)));
    let answer = peer.ask(server, "GET", &devices, None).ok();
    assert_eq!((&answer["user_id"], &answer["stream_id"]), (&json!(alice.id), &next["content"]["stream_id"]));
    assert_eq!(answer["devices"][0]["keys"]["keys"], keys["keys"]);
    assert!(answer["devices"][0]["device_display_name"].is_null());
    assert!(answer["master_key"].is_object() && answer["self_signing_key"].is_object(), "{answer}");
    let nobody = raw(&format!("/_matrix/federation/v1/user/devices/{}", encode(&format!("@nobody:{}", server.name()))));
    peer.ask(server, "GET", &nobody, None).refused(404, "M_NOT_FOUND");

    let query = raw("/_matrix/federation/v1/user/keys/query");
    let body = json!({ "device_keys": { alice.id.as_str(): [], "@x:elsewhere.example": [] } });
    let answer = peer.ask(server, "POST", &query, Some(&body)).ok();
    assert_eq!(answer["device_keys"].as_object().unwrap().len(), 1);
    assert_eq!(answer["device_keys"][&alice.id][&alice.device]["keys"], keys["keys"]);
    assert!(answer["master_keys"][&alice.id].is_object() && answer["user_signing_keys"].is_null(), "{answer}");

    let claim = raw("/_matrix/federation/v1/user/keys/claim");
    let body = json!({ "one_time_keys": { alice.id.as_str(): { alice.device.as_str(): "signed_curve25519" } } });
    let answer = peer.ask(server, "POST", &claim, Some(&body)).ok();
    assert!(answer["one_time_keys"][&alice.id][&alice.device]["signed_curve25519:K000000"].is_object(), "{answer}");
    let answer = peer.ask(server, "POST", &claim, Some(&body)).ok();
    assert_eq!(answer["one_time_keys"], json!({}), "it was the only one");
}
