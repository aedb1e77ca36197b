//! For every class of endpoints one action yields exactly the expected record: the catalogue of `docs/healthcare.md`, row by row.
//! Acts that need more than one step (emergencies, impersonation, identity providers, purges) stand in `deeds`.

use wardroom_testkit::{Actor, Peer, Target, User, Value, json, raw, v1, v3, wait_until};

use super::{deeds::bare, records};
use crate::{
    SOON,
    access::{give, policy},
    admin::{admin_of, own, synapse},
    federation::sites::Site,
    media::{download, upload},
};

/// Where everything happens.
struct World {
    site: Site,
    peer: Peer,
    admin: User,
    alice: User,
    bob: User,
    /// A user of the peer's, in the room.
    dave: String,
    room: String,
    /// An event of the room.
    said: String,
    /// A file that was posted to the room.
    file: String,
}

/// What is done, the act that is recorded, its outcome, and what the record is about as far as it is told beforehand.
type Row = (&'static str, fn(&World), &'static str, u8, fn(&World) -> Value);

fn world() -> World {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice, bob) = (admin_of(&site.server), site.user("alice"), site.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "visibility": "public", "room_version": "11" }));
    bob.join(&room);
    let dave = peer.user("dave");
    peer.join(&site.server, &room, &dave);
    let file = upload(&alice, b"an image", "text/plain", None);
    let content = json!({ "msgtype": "m.file", "body": "f", "url": file });
    alice.try_send(&room, "m.room.message", "file", content).ok();
    let said = alice.say(&room, "said");
    World { site, peer, admin, alice, bob, dave, room, said, file }
}

impl World {
    /// A room of alice's own.
    fn new_room(&self) -> String {
        self.alice.create_room(json!({ "preset": "public_chat" }))
    }

    fn ask(&self, target: &Target) -> wardroom_testkit::Reply {
        self.peer.ask(&self.site.server, "GET", target, None)
    }

    fn file_id(&self) -> &str {
        self.file.rsplit('/').next().unwrap()
    }

    /// Records of an act, with what was read until now.
    fn recorded(&self, act: &str) -> Vec<Value> {
        self.admin.get(own(&["reports", "reads"]).query("room_id", &self.room)).ok();
        bare(records(&self.admin, &[("act", act)]))
    }
}

fn member(user: &User, room: &str, what: &str, other: &str) {
    user.post(v3(&["rooms", room, what]), json!({ "user_id": other })).ok();
}

const PEOPLE: &[Row] = &[
    (
        "sign in",
        |w| drop(w.site.server.anonymous().login(&w.alice.id, &w.alice.password)),
        "login",
        0,
        |w| json!({ "user": w.alice.id }),
    ),
    (
        "sign out",
        |w| drop(w.site.server.anonymous().login(&w.bob.id, &w.bob.password).post(v3(&["logout"]), json!({})).ok()),
        "logout",
        0,
        |w| json!({ "detail": "one", "user": w.bob.id }),
    ),
    (
        "wrong password",
        |w| drop(w.site.server.anonymous().try_login(&w.alice.id, "wrong").refused(403, "M_FORBIDDEN")),
        "login.failed",
        4,
        |w| json!({ "user": w.alice.id }),
    ),
    (
        "read a room",
        |w| drop(w.bob.other_device().history(&w.room)),
        "room.read",
        0,
        |w| json!({ "detail": "messages", "room": w.room }),
    ),
    (
        "list rooms",
        |w| drop(w.bob.get(v3(&["publicRooms"])).ok()),
        "directory",
        0,
        |_| json!({ "detail": "public_rooms" }),
    ),
    (
        "list a space",
        |w| drop(w.bob.get(v1(&["rooms", &w.room, "hierarchy"])).ok()),
        "hierarchy",
        0,
        |w| json!({ "room": w.room }),
    ),
    (
        "download",
        |w| assert_eq!(download(&w.bob, &w.file).status, 200),
        "media.read",
        0,
        |w| json!({ "media": w.file }),
    ),
    (
        "send",
        |w| drop(w.alice.say(&w.room, "again")),
        "event.send",
        0,
        |w| json!({ "room": w.room, "type": "m.room.message" }),
    ),
    ("upload", |w| drop(upload(&w.alice, b"another", "text/plain", None)), "media.create", 0, |_| json!({})),
    (
        "redact",
        |w| drop(w.alice.redact(&w.room, &w.alice.say(&w.room, "oh"))),
        "event.redact",
        0,
        |w| json!({ "room": w.room }),
    ),
    ("join", |w| w.bob.join(&w.new_room()), "member.join", 0, |w| json!({ "user": w.bob.id })),
    (
        "leave",
        |w| {
            let room = w.new_room();
            w.bob.join(&room);
            w.bob.leave(&room);
        },
        "member.leave",
        0,
        |w| json!({ "user": w.bob.id }),
    ),
    (
        "invite",
        |w| member(&w.alice, &w.new_room(), "invite", &w.bob.id),
        "member.invite",
        0,
        |w| json!({ "user": w.bob.id }),
    ),
    ("ban", |w| member(&w.alice, &w.new_room(), "ban", &w.bob.id), "member.ban", 0, |w| json!({ "user": w.bob.id })),
    (
        "change a room",
        |w| drop(w.alice.put(v3(&["rooms", &w.room, "state", "m.room.topic"]), json!({ "topic": "beds" })).ok()),
        "room.change",
        0,
        |w| json!({ "room": w.room, "type": "m.room.topic" }),
    ),
    (
        "enter without the role",
        |w| {
            let room = w.new_room();
            give(&w.admin, &w.alice.id, &["physician@h1"]);
            w.admin.put(own(&["rooms", &room, "policy"]), policy(&["physician@h1"])).ok();
            w.bob.try_join(&room).refused(403, "M_FORBIDDEN");
        },
        "role.check",
        8,
        |_| json!({ "detail": "join" }),
    ),
];

const ADMINISTRATORS: &[Row] = &[
    ("a role", |w| give(&w.admin, &w.bob.id, &["nurse@h1"]), "role.change", 0, |w| json!({ "user": w.bob.id })),
    (
        "partners",
        |w| drop(w.admin.put(own(&["federation", "policy"]), json!({ "allow": ["*"], "deny": ["evil.example"] })).ok()),
        "server.config",
        0,
        |_| json!({ "detail": "federation policy" }),
    ),
    (
        "suspend",
        |w| drop(w.admin.put(synapse(&["v1", "suspend", &w.bob.id]), json!({ "suspend": false })).ok()),
        "admin.call",
        0,
        |w| json!({ "detail": "PUT /_synapse/admin/v1/suspend/{user_id}", "user": w.bob.id }),
    ),
    (
        "hide a file",
        |w| drop(w.admin.post(synapse(&["v1", "media", "quarantine", w.site.name(), w.file_id()]), json!({})).ok()),
        "media.hide",
        0,
        |w| json!({ "detail": "hidden", "media": w.file }),
    ),
    (
        "show it again",
        |w| drop(w.admin.post(synapse(&["v1", "media", "unquarantine", w.site.name(), w.file_id()]), json!({})).ok()),
        "media.hide",
        0,
        |w| json!({ "detail": "shown", "media": w.file }),
    ),
    ("export records", |w| drop(w.admin.get(own(&["audit", "log"])).bytes), "audit.export", 0, |_| json!({})),
    (
        "somebody else's records, as FHIR",
        |w| assert_eq!(w.bob.get(raw("/_wardroom/fhir/AuditEvent")).status, 403),
        "audit.read",
        8,
        |_| json!({ "detail": "GET AuditEvent" }),
    ),
];

const PARTNERS: &[Row] = &[
    (
        "an event comes",
        |w| {
            let said = w.peer.say(&w.site.server, &w.room, &w.dave, "from afar");
            wait_until("the event", SOON, || (w.alice.try_event(&w.room, &said).status == 200).then_some(()));
        },
        "federation.receive",
        0,
        |w| json!({ "room": w.room, "type": "m.room.message" }),
    ),
    (
        "asks for an event",
        |w| drop(w.ask(&Target::federation_v1(&["event", &w.said])).ok()),
        "federation.send",
        0,
        |w| json!({ "detail": "event", "event": w.said, "servers": [w.peer.name()] }),
    ),
    (
        "asks which event was when",
        |w| {
            let target = Target::federation_v1(&["timestamp_to_event", &w.room]).query("ts", "0").query("dir", "f");
            w.ask(&target).ok();
        },
        "federation.send",
        0,
        |w| json!({ "count": 1, "detail": "timestamp_to_event", "room": w.room, "servers": [w.peer.name()] }),
    ),
    (
        "downloads",
        |w| assert_eq!(w.ask(&Target::federation_v1(&["media", "download", w.file_id()])).status, 200),
        "federation.send",
        0,
        |w| json!({ "detail": "media", "media": w.file, "servers": [w.peer.name()] }),
    ),
    (
        "gets a template for a join",
        |w| drop(w.ask(&Target::federation_v1(&["make_join", &w.room, &w.peer.user("eve")]).query("ver", "11")).ok()),
        "federation.send",
        0,
        |w| json!({ "detail": "make_join", "room": w.room, "servers": [w.peer.name()], "user": w.peer.user("eve") }),
    ),
    (
        "gets a template for a knock",
        |w| {
            let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
            let room = w.alice.create_room(json!({ "room_version": "11", "initial_state": [rule] }));
            w.ask(&Target::federation_v1(&["make_knock", &room, &w.dave]).query("ver", "11")).ok();
        },
        "federation.send",
        0,
        |w| json!({ "detail": "make_knock", "servers": [w.peer.name()], "user": w.dave }),
    ),
    (
        "lists rooms",
        |w| drop(w.ask(&Target::federation_v1(&["publicRooms"])).ok()),
        "directory",
        0,
        |w| json!({ "detail": "public_rooms", "servers": [w.peer.name()] }),
    ),
    (
        "lists a space",
        |w| drop(w.ask(&Target::federation_v1(&["hierarchy", &w.room])).ok()),
        "hierarchy",
        0,
        |w| json!({ "detail": "hierarchy", "room": w.room, "servers": [w.peer.name()] }),
    ),
    (
        "looks somebody up",
        |w| drop(w.ask(&Target::federation_v1(&["query", "profile"]).query("user_id", &w.alice.id)).ok()),
        "directory",
        0,
        |w| json!({ "detail": "profile", "servers": [w.peer.name()], "user": w.alice.id }),
    ),
    (
        "asks for roles that it is not told",
        |w| {
            let path = format!(
                "/_matrix/federation/unstable/org.wardroom/v1/attestation/{}",
                wardroom_testkit::encode(&w.alice.id)
            );
            w.ask(&raw(&path).query("room_id", &w.room)).refused(403, "M_FORBIDDEN");
        },
        "role.check",
        8,
        |w| json!({ "detail": "read attestation", "room": w.room, "user": w.alice.id }),
    ),
];

#[test]
fn every_class_of_endpoints_leaves_exactly_its_record() {
    let world = world();
    for (what, action, act, outcome, on) in PEOPLE.iter().chain(ADMINISTRATORS).chain(PARTNERS) {
        let before = world.recorded(act).len();
        action(&world);
        let expected = on(&world);
        let about =
            |record: &Value| expected.as_object().unwrap().iter().all(|(name, value)| record["on"][name] == *value);
        let after = world.recorded(act);
        let found: Vec<&Value> =
            after[before..].iter().filter(|record| about(record) && record["outcome"] == *outcome).collect();
        assert_eq!(found.len(), 1, "{what}: {act} {expected}: {:#?}", &after[before..]);
    }
}
