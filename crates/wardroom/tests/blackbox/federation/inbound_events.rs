//! What other servers read of rooms of ours, and what they do not get to read.

use std::{collections::BTreeSet, sync::LazyLock};

use wardroom_testkit::{Actor, Peer, Reply, Target, User, Value, json, peer::signing, unique, v3};

use super::sites::{Site, VERSIONS, public_room};

/// A server that the tests of this file share.
fn ward() -> &'static Site {
    static WARD: LazyLock<Site> = LazyLock::new(Site::start);
    &WARD
}

/// A room of ours that a user of another server has joined.
struct Shared {
    alice: User,
    peer: Peer,
    bob: String,
    room: String,
    version: &'static str,
}

impl Shared {
    fn get(&self, target: Target) -> Reply {
        self.peer.ask(&ward().server, "GET", &target, None)
    }

    fn post(&self, target: Target, body: &Value) -> Reply {
        self.peer.ask(&ward().server, "POST", &target, Some(body))
    }

    fn ids(&self, events: &Value) -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| signing::event_id(event, self.version)).collect()
    }

    #[track_caller]
    fn backfill(&self, from: &str, limit: usize) -> Vec<Value> {
        let target = Target::federation_v1(&["backfill", &self.room]).query("v", from);
        let answer = self.get(target.query("limit", &limit.to_string())).ok();
        assert_eq!(answer["origin"], ward().name());
        assert!(answer["origin_server_ts"].is_u64());
        answer["pdus"].as_array().unwrap().clone()
    }
}

#[track_caller]
fn shared(version: &'static str, before_join: impl FnOnce(&User, &str)) -> Shared {
    let (alice, peer) = (ward().user("alice"), Peer::start());
    let room = public_room(&alice, version);
    before_join(&alice, &room);
    let bob = peer.user("bob");
    peer.join(&ward().server, &room, &bob);
    Shared { alice, peer, bob, room, version }
}

#[test]
fn history_is_told_along_the_graph() {
    for version in VERSIONS {
        let mut said = Vec::new();
        let shared = shared(version, |alice, room| said.extend((0..5).map(|n| alice.say(room, &n.to_string()))));
        let pdus = shared.backfill(&said[4], 100);
        let ids = shared.ids(&json!(pdus));
        assert_eq!(&ids[..5], &said.iter().rev().cloned().collect::<Vec<_>>()[..], "newest first");
        assert_eq!(pdus.last().unwrap()["type"], "m.room.create");
        assert_eq!(shared.ids(&json!(shared.backfill(&said[4], 2))), [said[4].clone(), said[3].clone()]);
        assert!(shared.backfill("$0000000000000000000000000000000000000000000", 10).is_empty());

        let missing = |body: Value| {
            let target = Target::federation_v1(&["get_missing_events", &shared.room]);
            shared.ids(&shared.post(target, &body).ok()["events"])
        };
        let between = json!({ "earliest_events": [said[1]], "latest_events": [said[4]] });
        assert_eq!(missing(between), said[2..4]);
        let few = json!({ "earliest_events": [], "latest_events": [said[4]], "limit": 2 });
        assert_eq!(missing(few), said[2..4]);
        let depth = pdus[1]["depth"].clone();
        let deep = json!({ "earliest_events": [], "latest_events": [said[4]], "min_depth": depth });
        assert_eq!(missing(deep), said[3..4]);
        assert!(missing(json!({})).is_empty());

        let answer = shared.get(Target::federation_v1(&["event", &said[2]])).ok();
        assert_eq!(shared.ids(&answer["pdus"]), [said[2].clone()]);
        assert_eq!(answer["pdus"][0]["content"]["body"], "2");
        shared.get(Target::federation_v1(&["event", "$unknown"])).refused(404, "M_NOT_FOUND");

        let near = |ts: u64, dir: &str| {
            let target = Target::federation_v1(&["timestamp_to_event", &shared.room]);
            shared.get(target.query("ts", &ts.to_string()).query("dir", dir))
        };
        let ts = pdus[4]["origin_server_ts"].as_u64().unwrap();
        let found = near(ts, "f").ok();
        assert_eq!(found["origin_server_ts"].as_u64(), Some(ts));
        assert!(said.contains(&found["event_id"].as_str().unwrap().to_owned()));
        near(0, "b").refused(404, "M_NOT_FOUND");
    }
}

#[test]
fn states_are_told_with_what_authorises_them() {
    for version in VERSIONS {
        let shared = shared(version, |alice, room| drop(alice.say(room, "hello")));
        let join = shared.peer.room(&shared.room, |room| room.extremities[0].clone());
        let at = |endpoint: &str, event: &str| {
            shared.get(Target::federation_v1(&[endpoint, &shared.room]).query("event_id", event))
        };
        let (state, ids) = (at("state", &join).ok(), at("state_ids", &join).ok());
        let set = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<_>>();
        let listed = |list: &Value| list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        assert_eq!(set(shared.ids(&state["pdus"])), listed(&ids["pdu_ids"]));
        assert_eq!(set(shared.ids(&state["auth_chain"])), listed(&ids["auth_chain_ids"]));
        assert!(!shared.ids(&state["pdus"]).contains(&join), "before the event");
        let later = shared.alice.say(&shared.room, "later");
        assert!(shared.ids(&at("state", &later).ok()["pdus"]).contains(&join));

        let other = shared.alice.create_room(json!({ "room_version": version }));
        let private = shared.alice.say(&other, "private");
        at("state", &private).refused(404, "M_NOT_FOUND");
        at("state_ids", &private).refused(404, "M_NOT_FOUND");
        shared.get(Target::federation_v1(&["event_auth", &shared.room, &private])).refused(404, "M_NOT_FOUND");
        assert!(shared.backfill(&private, 10).is_empty());
        shared.get(Target::federation_v1(&["event", &private])).refused(403, "M_FORBIDDEN");
        assert_eq!(shared.get(Target::federation_v1(&["state", &shared.room])).status, 400);

        let chain = shared.get(Target::federation_v1(&["event_auth", &shared.room, &later])).ok();
        let chain = set(shared.ids(&chain["auth_chain"]));
        let event = shared.get(Target::federation_v1(&["event", &later])).ok();
        let named: BTreeSet<String> = listed(&event["pdus"][0]["auth_events"]);
        assert!(named.is_subset(&chain) && !chain.contains(&later));
    }
}

#[test]
fn what_a_server_may_not_see_it_gets_redacted() {
    for version in VERSIONS {
        let mut secret = String::new();
        let shared = shared(version, |alice, room| {
            alice.set_state(room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" }));
            secret = alice.say(room, "secret");
        });
        let open = shared.alice.say(&shared.room, "open");
        let pdus = shared.backfill(&open, 100);
        let find = |id: &str| pdus.iter().find(|pdu| signing::event_id(pdu, version) == id).unwrap();
        assert_eq!(find(&open)["content"]["body"], "open");
        assert_eq!(find(&secret)["content"], json!({}), "the id is the same, the content is not there");
        let alone = shared.get(Target::federation_v1(&["event", &secret])).ok();
        assert_eq!(alone["pdus"][0]["content"], json!({}));
        let body = json!({ "earliest_events": [], "latest_events": [open], "limit": 50 });
        let missing = shared.post(Target::federation_v1(&["get_missing_events", &shared.room]), &body).ok();
        assert!(!missing.to_string().contains("secret\""), "{missing}");
    }
}

#[test]
fn what_an_erased_user_sent_is_redacted_for_other_servers() {
    let shared = shared("12", |_, _| {});
    let carol = ward().user("carol");
    carol.join(&shared.room);
    let event = carol.say(&shared.room, "forget me");
    let ask = || shared.get(Target::federation_v1(&["event", &event])).ok()["pdus"][0].clone();
    assert_eq!(ask()["content"]["body"], "forget me");
    carol.with_password_stage("POST", &v3(&["account", "deactivate"]), json!({ "erase": true })).ok();
    assert_eq!(ask()["content"], json!({}));
    assert_eq!(signing::event_id(&ask(), shared.version), event);
}

/// Asks for everything that a server may ask of a room, and is refused.
#[track_caller]
fn all_refused(shared: &Shared, server: &Peer, event: &str) {
    let room = &*shared.room;
    let at = |endpoint: &str| Target::federation_v1(&[endpoint, room]);
    let gets = [
        at("state").query("event_id", event),
        at("state_ids").query("event_id", event),
        at("backfill").query("v", event).query("limit", "10"),
        at("timestamp_to_event").query("ts", "1").query("dir", "f"),
        Target::federation_v1(&["event_auth", room, event]),
        Target::federation_v1(&["event", event]),
    ];
    for target in &gets {
        server.ask(&ward().server, "GET", target, None).refused(403, "M_FORBIDDEN");
    }
    let missing = server.ask(&ward().server, "POST", &at("get_missing_events"), Some(&json!({})));
    missing.refused(403, "M_FORBIDDEN");
}

#[test]
fn strangers_read_nothing_unless_everybody_may() {
    let shared = shared("12", |_, _| {});
    let event = shared.alice.say(&shared.room, "hello");
    let stranger = Peer::start();
    all_refused(&shared, &stranger, &event);
    let open = json!({ "history_visibility": "world_readable" });
    shared.alice.set_state(&shared.room, "m.room.history_visibility", "", open);
    let event = shared.alice.say(&shared.room, "to the world");
    let target = Target::federation_v1(&["event", &event]);
    let answer = stranger.ask(&ward().server, "GET", &target, None).ok();
    assert_eq!(answer["pdus"][0]["content"]["body"], "to the world");
}

#[test]
fn servers_that_the_room_does_not_admit_are_refused_everything() {
    for version in VERSIONS {
        let shared = shared(version, |_, _| {});
        let event = shared.alice.say(&shared.room, "hello");
        let message = shared.peer.make(&shared.room, &shared.bob, "m.room.message", None, &wardroom_testkit::text("x"));
        // Names in the list have no port.
        let acl = json!({ "allow": ["*"], "deny": ["127.0.0.1"], "allow_ip_literals": true });
        shared.alice.set_state(&shared.room, "m.room.server_acl", "", acl);
        all_refused(&shared, &shared.peer, &event);
        let room = &*shared.room;
        for action in ["make_join", "make_leave", "make_knock"] {
            let target = Target::federation_v1(&[action, room, &shared.bob]).query("ver", version);
            shared.get(target).refused(403, "M_FORBIDDEN");
        }
        for (endpoint, membership) in [("send_join", "join"), ("send_leave", "leave"), ("send_knock", "knock")] {
            let content = json!({ "membership": membership });
            let event = shared.peer.make(room, &shared.bob, "m.room.member", Some(&shared.bob), &content);
            let id = shared.peer.id_of(room, &event);
            let target = match endpoint {
                "send_knock" => Target::federation_v1(&[endpoint, room, &id]),
                _ => Target::federation_v2(&[endpoint, room, &id]),
            };
            shared.peer.ask(&ward().server, "PUT", &target, Some(&event)).refused(403, "M_FORBIDDEN");
        }
        let carol = ward().user("carol");
        let content = json!({ "membership": "invite" });
        let invite = shared.peer.make(room, &shared.bob, "m.room.member", Some(&carol.id), &content);
        let target = Target::federation_v2(&["invite", room, &shared.peer.id_of(room, &invite)]);
        let body = json!({ "room_version": version, "event": invite, "invite_room_state": [] });
        shared.peer.ask(&ward().server, "PUT", &target, Some(&body)).refused(403, "M_FORBIDDEN");
        let id = shared.peer.id_of(room, &message);
        let answer = shared.peer.send(&ward().server, &[message], &[]).ok();
        assert!(answer["pdus"][&id]["error"].is_string(), "{answer}");
        assert_eq!(shared.alice.try_event(room, &id).status, 404);
    }
}

#[test]
fn the_directory_is_shown_to_other_servers() {
    let (alice, peer) = (ward().user("alice"), Peer::start());
    let (name, localpart) = (unique("Ward"), unique("ward"));
    let room = alice.create_room(json!({
        "preset": "public_chat", "visibility": "public", "name": name, "room_alias_name": localpart,
    }));
    let rooms = Target::federation_v1(&["publicRooms"]);
    let listed = peer.ask(&ward().server, "GET", &rooms, None).ok();
    assert!(listed["chunk"].as_array().unwrap().iter().any(|chunk| chunk["room_id"] == room), "{listed}");
    let filter = json!({ "filter": { "generic_search_term": name }, "limit": 10 });
    let found = peer.ask(&ward().server, "POST", &rooms, Some(&filter)).ok();
    assert_eq!(found["chunk"].as_array().unwrap().len(), 1);
    assert_eq!(found["chunk"][0]["name"], name);

    let alias = format!("#{localpart}:{}", ward().name());
    let ask = |alias: &str| {
        let target = Target::federation_v1(&["query", "directory"]).query("room_alias", alias);
        peer.ask(&ward().server, "GET", &target, None)
    };
    assert_eq!(ask(&alias).ok(), json!({ "room_id": room, "servers": [ward().name()] }));
    ask(&format!("#nothing:{}", ward().name())).refused(404, "M_NOT_FOUND");
    ask("#ward:example.org").refused(404, "M_NOT_FOUND");
    peer.join(&ward().server, &room, &peer.user("bob"));
    assert_eq!(ask(&alias).ok()["servers"], json!([ward().name(), peer.name()]));
}

#[test]
fn a_space_is_told_as_far_as_a_server_may_know_it() {
    let (alice, peer) = (ward().user("alice"), Peer::start());
    let space = alice.create_room(json!({
        "preset": "public_chat", "creation_content": { "type": "m.space" }, "name": "Hospital",
    }));
    let open = public_room(&alice, "12");
    let private = alice.create_room(json!({ "preset": "private_chat" }));
    for child in [&open, &private, "!elsewhere:example.org"] {
        alice.set_state(&space, "m.space.child", child, json!({ "via": [ward().name()] }));
    }
    let ask = |room: &str| peer.ask(&ward().server, "GET", &Target::federation_v1(&["hierarchy", room]), None);
    let told = ask(&space).ok();
    assert_eq!((&told["room"]["name"], &told["room"]["room_type"]), (&json!("Hospital"), &json!("m.space")));
    assert_eq!(told["room"]["children_state"].as_array().unwrap().len(), 3);
    let children: Vec<_> = told["children"].as_array().unwrap().iter().map(|child| &child["room_id"]).collect();
    assert_eq!(children, [&json!(open)]);
    assert_eq!(told["inaccessible_children"], json!([private]));
    ask(&private).refused(404, "M_NOT_FOUND");
    ask("!nowhere:example.org").refused(404, "M_NOT_FOUND");
    let suggested = Target::federation_v1(&["hierarchy", &space]).query("suggested_only", "true");
    let told = peer.ask(&ward().server, "GET", &suggested, None).ok();
    assert_eq!(told["room"]["children_state"], json!([]));

    // Whose user is invited may know of the room.
    let target = v3(&["rooms", &private, "invite"]);
    alice.post(target, json!({ "user_id": peer.user("bob") })).ok();
    let told = ask(&space).ok();
    assert_eq!(told["children"].as_array().unwrap().len(), 2);
    assert_eq!(told["inaccessible_children"], json!([]));
}
