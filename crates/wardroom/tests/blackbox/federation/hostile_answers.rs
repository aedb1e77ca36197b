//! What a hostile server answers when it is asked: joins, keys, profiles.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use wardroom_testkit::{
    Actor as _, Peer, Reply, Target, User, Value, json,
    peer::{Answer, Key, now_ms, signing},
    unique, v3,
};

use super::sites::{Site, VERSIONS, sees};

/// A server that the tests of this file share.
fn ward() -> &'static Site {
    static WARD: LazyLock<Site> = LazyLock::new(Site::start);
    &WARD
}

/// No answer of a partner may keep a user waiting longer.
const PATIENCE: Duration = Duration::from_secs(50);

#[track_caller]
fn try_join(user: &User, room: &str, peer: &Peer) -> Reply {
    user.post(v3(&["join", room]).query("server_name", peer.name()).query("via", peer.name()), json!({}))
}

/// What a lying server does to its answer to `send_join`.
type Lie = fn(&Peer, &str, &mut Value);

/// The honest answer to `send_join`, as `lie` changes it.
fn lie_to_joins(peer: &Peer, room: &str, lie: Lie) {
    let (teller, room) = (peer.clone(), room.to_owned());
    peer.on("/send_join/", move |asked| {
        let state = teller.room(&room, |room| {
            let ids: Vec<String> = room.state.values().cloned().collect();
            json!({
                "origin": teller.name(), "event": asked.json(), "members_omitted": false, "state": room.list(&ids),
                "auth_chain": room.list(&room.auth_chain(&ids)),
            })
        });
        let mut answer = state;
        lie(&teller, &room, &mut answer);
        Answer::ok(&answer)
    });
}

fn without_type(answer: &mut Value, event_type: &str) {
    for part in ["state", "auth_chain"] {
        answer[part].as_array_mut().unwrap().retain(|event| event["type"] != event_type);
    }
}

fn change_type(answer: &mut Value, event_type: &str, change: impl Fn(&mut Value)) {
    for part in ["state", "auth_chain"] {
        for event in answer[part].as_array_mut().unwrap().iter_mut().filter(|event| event["type"] == event_type) {
            change(event);
        }
    }
}

const LIES: [(&str, Lie); 11] = [
    ("nothing at all", |_, _, answer| *answer = json!({})),
    ("no state", |_, _, answer| answer["state"] = json!([])),
    ("no create event", |_, _, answer| without_type(answer, "m.room.create")),
    ("no join rules", |_, _, answer| without_type(answer, "m.room.join_rules")),
    ("no member who could have invited or created", |_, _, answer| without_type(answer, "m.room.member")),
    ("unsigned power levels", |_, _, answer| {
        change_type(answer, "m.room.power_levels", |event| event["signatures"] = json!({}));
    }),
    ("a create event of another room", |peer, room, answer| {
        let version = peer.room(room, |room| room.version.clone());
        let other = peer.create_room(&peer.user("owner"), &version, "public");
        let create = peer.room(&other, |room| room.event(room.state_id("m.room.create", "").unwrap()).clone());
        change_type(answer, "m.room.create", |event| *event = create.clone());
    }),
    ("a member who lets in a user of this server that never asked", |peer, room, answer| {
        let victim = format!("@victim:{}", ward().name());
        let mut event = peer
            .room(room, |room| room.draft(&victim, "m.room.member", Some(&victim), &json!({ "membership": "join" })));
        let version = peer.room(room, |room| room.version.clone());
        peer.key().sign_event(peer.name(), &mut event, &version);
        answer["state"].as_array_mut().unwrap().push(event);
    }),
    ("things that are no events", |_, _, answer| {
        answer["state"].as_array_mut().unwrap().extend([json!(5), json!({}), json!([]), json!("x"), Value::Null]);
    }),
    ("events of another room", |peer, room, answer| {
        let version = peer.room(room, |room| room.version.clone());
        let other = peer.create_room(&peer.user("owner"), &version, "public");
        let events = peer.room(&other, |room| room.list(&room.order));
        answer["state"].as_array_mut().unwrap().extend(events.clone());
        answer["auth_chain"].as_array_mut().unwrap().extend(events);
    }),
    ("a state that the room's rules forbid", |peer, room, answer| {
        let eve = peer.user("eve");
        let (mut levels, version) = peer.room(room, |room| {
            let users = json!({ "users": { eve.as_str(): 100 } });
            (room.draft(&eve, "m.room.power_levels", Some(""), &users), room.version.clone())
        });
        peer.key().sign_event(peer.name(), &mut levels, &version);
        without_type(answer, "m.room.power_levels");
        answer["state"].as_array_mut().unwrap().push(levels);
    }),
];

#[test]
fn joins_are_safe_against_lies() {
    for version in VERSIONS {
        for (what, lie) in LIES {
            let peer = Peer::start();
            let owner = peer.user("owner");
            let room = peer.create_room(&owner, version, "public");
            let alice = ward().user("alice");
            lie_to_joins(&peer, &room, lie);
            let reply = try_join(&alice, &room, &peer);
            assert!(
                reply.status == 200 || reply.status == 502 || (400..500).contains(&reply.status),
                "{what}: {}",
                reply.story()
            );
            if reply.status == 200 {
                // What could be left out was left out: nothing that is not allowed is part of the state.
                let levels = alice.try_state(&room, "m.room.power_levels", "");
                if levels.status == 200 {
                    assert_eq!(levels.json()["users"][peer.user("eve")], Value::Null, "{what}");
                }
                let victim = format!("@victim:{}", ward().name());
                assert_eq!(alice.try_state(&room, "m.room.member", &victim).status, 404, "{what}");
                let create = alice.state(&room, "m.room.create", "");
                assert_eq!(create["room_version"], version, "{what}");
            } else {
                assert!(!alice.is_in(&room), "{what}");
            }
            // An honest join is possible afterwards.
            peer.honest();
            try_join(&alice, &room, &peer).ok();
            let said = peer.say(&ward().server, &room, &owner, "welcome");
            sees(&alice, &room, &said);
        }
    }
}

#[test]
fn a_room_of_version_12_has_the_id_of_its_create_event() {
    let peer = Peer::start();
    let owner = peer.user("owner");
    let real = peer.create_room(&owner, "12", "public");
    let alice = ward().user("alice");
    // The same room under an id that somebody else's create event could have.
    let mut copy = peer.room(&real, |room| room.clone());
    copy.id = format!("!{}", "B".repeat(43));
    let false_id = copy.id.clone();
    peer.keep_room(copy);
    let reply = try_join(&alice, &false_id, &peer);
    assert!(reply.status >= 400 && reply.status != 500, "{}", reply.story());
    assert!(!alice.is_in(&false_id));
    try_join(&alice, &real, &peer).ok();
}

#[test]
fn a_template_that_is_somebody_elses_is_not_signed() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("another type", |event| event["type"] = json!("m.room.power_levels")),
        ("another sender", |event| event["sender"] = json!("@somebody:else.example")),
        ("another state key", |event| event["state_key"] = json!("@somebody:else.example")),
        ("another membership", |event| event["content"]["membership"] = json!("leave")),
        ("another room", |event| event["room_id"] = json!("!other:else.example")),
        ("no object", |event| *event = json!("x")),
    ];
    for version in VERSIONS {
        for (what, change) in changes {
            let peer = Peer::start();
            let room = peer.create_room(&peer.user("owner"), version, "public");
            let alice = ward().user("alice");
            let (teller, id, user) = (peer.clone(), room.clone(), alice.id.clone());
            peer.on("/make_join/", move |_| {
                let draft = teller.room(&id, |room| {
                    room.draft(&user, "m.room.member", Some(&user), &json!({ "membership": "join" }))
                });
                let mut template = json!({ "room_version": version, "event": draft });
                change(&mut template["event"]);
                Answer::ok(&template)
            });
            let reply = try_join(&alice, &room, &peer);
            // Either the template is refused, or what matters is put right before it is signed.
            for sent in peer.asked("/send_join/") {
                let event = sent.json();
                assert_eq!(event["type"], "m.room.member", "{what}");
                assert_eq!(event["sender"], json!(alice.id), "{what}");
                assert_eq!(event["state_key"], json!(alice.id), "{what}");
                assert_eq!(event["content"]["membership"], "join", "{what}");
                assert_eq!(event["room_id"], json!(room), "{what}");
            }
            assert!(reply.status != 500, "{what}: {}", reply.story());
        }
    }
}

#[test]
fn answers_without_end_end() {
    let peer = Peer::start();
    let alice = ward().user("alice");
    let ask = |name: &str| alice.get(v3(&["profile", &peer.user(name)]));
    type Script = fn(&str) -> Answer;
    let scripts: [(&str, Script); 5] = [
        ("a byte a second", |_| Answer::drip(&json!({ "displayname": "x".repeat(1_000) }), Duration::from_secs(1))),
        ("two gigabytes", |_| Answer::repeated(vec![b' '; 64 * 1_024], 32 * 1_024)),
        ("redirects in a circle", |name| {
            Answer::redirect(&format!("https://{name}/_matrix/federation/v1/query/profile"))
        }),
        ("redirects to elsewhere", |_| Answer::redirect("http://169.254.169.254/latest/meta-data")),
        ("not JSON", |_| Answer::bytes(200, "text/html", b"<html>".to_vec())),
    ];
    for (what, script) in scripts {
        let name = peer.name().to_owned();
        peer.on("/query/profile", move |_| script(&name));
        let started = Instant::now();
        let reply = ask("x");
        assert!(reply.status >= 400 && reply.status != 500, "{what}: {}", reply.story());
        assert!(started.elapsed() < PATIENCE, "{what}: {:?}", started.elapsed());
        assert!(peer.asked("/query/profile").len() < 20, "{what}: asked again and again");
    }
    let other = Peer::start();
    let room = other.create_room(&other.user("owner"), "12", "public");
    try_join(&alice, &room, &other).ok();
}

/// The key document of `peer`, changed and signed again.
fn document(peer: &Peer, change: impl FnOnce(&mut Value)) -> Value {
    let mut document = signing::without(&peer.key_document(), &["signatures"]);
    change(&mut document);
    peer.key().sign_json(peer.name(), &mut document);
    document
}

#[test]
fn keys_are_believed_of_their_own_server_only() {
    let honest = Peer::start();
    let target = Target::federation_v1(&["query", "profile"]).query("user_id", &ward().user("x").id);
    honest.ask(&ward().server, "GET", &target, None).ok();

    let victim = honest.name().to_owned();
    type Document = Box<dyn Fn(&Peer) -> Value>;
    let liars: [(&str, Document); 5] = [
        (
            "a document of another server",
            Box::new(move |peer| document(peer, |doc| doc["server_name"] = json!(victim))),
        ),
        ("an unsigned document", Box::new(|peer| signing::without(&peer.key_document(), &["signatures"]))),
        (
            "a document that ended",
            Box::new(|peer| document(peer, |doc| doc["valid_until_ts"] = json!(now_ms() - 1_000))),
        ),
        (
            "a key of another kind",
            Box::new(|peer| {
                document(peer, |doc| {
                    doc["verify_keys"] = json!({ "rsa:1": { "key": "AAAA" } });
                })
            }),
        ),
        (
            "a document signed by another key",
            Box::new(|peer| {
                let mut document = signing::without(&peer.key_document(), &["signatures"]);
                Key::generate("scripted").sign_json(peer.name(), &mut document);
                document
            }),
        ),
    ];
    for (what, lie) in liars {
        let peer = Peer::start();
        let document = lie(&peer);
        peer.on("/_matrix/key/v2/", move |_| Answer::ok(&document));
        peer.ask(&ward().server, "GET", &target, None).refused_somehow();
        assert!(peer.asked("/_matrix/key/v2/").len() < 10, "{what}: asked for keys again and again");
        honest.ask(&ward().server, "GET", &target, None).ok();
    }
}

#[test]
fn requests_that_are_not_signed_as_they_should_be_are_refused() {
    let peer = Peer::start();
    let user = ward().user("x").id;
    let target = Target::federation_v1(&["query", "profile"]).query("user_id", &user);
    let other = Target::federation_v1(&["query", "profile"]).query("user_id", "@y:elsewhere.example");
    let server = &ward().server;
    let good = peer.authorization(server.name(), "GET", &target, None);
    peer.ask_with(server, "GET", &target, None, &good).unwrap().ok();
    let origin = format!("origin=\"{}\"", peer.name());
    let bad = [
        ("none", String::new()),
        ("of another request", peer.authorization(server.name(), "GET", &other, None)),
        ("of another method", peer.authorization(server.name(), "PUT", &target, None)),
        ("for another server", peer.authorization("elsewhere.example", "GET", &target, None)),
        ("of another origin", good.replace(&origin, "origin=\"elsewhere.invalid\"")),
        ("in our own name", good.replace(&origin, &format!("origin=\"{}\"", server.name()))),
        ("with another key", good.replace("ed25519:scripted", "ed25519:other")),
        ("cut off", good[..good.len() - 10].to_owned()),
        ("a token", "Bearer abc".to_owned()),
        ("nothing behind the scheme", "X-Matrix ".to_owned()),
        ("long", format!("X-Matrix {}", "a=\"b\",".repeat(1_000))),
    ];
    for (what, header) in bad {
        let reply = peer.ask_with(server, "GET", &target, None, &header).unwrap();
        assert!((400..500).contains(&reply.status), "{what}: {}", reply.story());
        assert!(reply.json()["errcode"].is_string(), "{what}: {}", reply.story());
    }
    let body = json!({ "origin": peer.name(), "origin_server_ts": now_ms(), "pdus": [], "edus": [] });
    let target = Target::federation_v1(&["send", &unique("txn")]);
    let header = peer.authorization(server.name(), "PUT", &target, Some(&body));
    let changed = json!({ "origin": peer.name(), "origin_server_ts": 5, "pdus": [], "edus": [] });
    let reply = peer.ask_with(server, "PUT", &target, Some(&changed), &header).unwrap();
    assert_eq!(reply.status, 401, "{}", reply.story());
}
