//! Roles as spaces.

use wardroom_testkit::{
    Actor, Body, Config, Peer, Reply, Server, Target, User, Value, json, unique, v1, v3, wait_until,
};

use super::{give, policy};
use crate::{
    SOON,
    admin::{admin_of, own, synapse},
    federation::sites::Site,
    scim::Hospital,
    server_with,
};

/// A server with a role that is a space.
struct Space<'a> {
    server: &'a Server,
    admin: User,
    role: String,
    room: String,
}

impl<'a> Space<'a> {
    /// The space of a role of its own, which nobody has yet.
    #[track_caller]
    fn on(server: &'a Server) -> Self {
        let (admin, role) = (admin_of(server), format!("{}@h1/cardiology", unique("physician")));
        let made = admin.put(own(&["roles", &role]), json!({ "space": true })).ok();
        let room = made["space_room_id"].as_str().unwrap_or_else(|| panic!("no room: {made}")).to_owned();
        Self { server, admin, role, room }
    }

    fn role(&self) -> Value {
        self.admin.get(own(&["roles", &self.role])).ok()
    }

    /// A user with the role, who is in the space.
    #[track_caller]
    fn member(&self, prefix: &str) -> User {
        let user = self.server.user(prefix);
        give(&self.admin, &user.id, &[&self.role]);
        self.until_in(&user);
        user
    }

    #[track_caller]
    fn until_in(&self, user: &User) {
        wait_until("the member is in", SOON, || user.is_in(&self.room).then_some(()));
    }

    #[track_caller]
    fn until_out(&self, user: &User) {
        wait_until("the member is out", SOON, || (!user.is_in(&self.room)).then_some(()));
    }

    fn alarms(&self, kind: &str) -> Vec<Value> {
        let alarms = self.admin.get(own(&["alarms"])).ok();
        let ours = alarms["alarms"].as_array().unwrap().iter();
        ours.filter(|alarm| alarm["kind"] == kind && alarm["room_id"] == self.room).cloned().collect()
    }

    #[track_caller]
    fn alarm(&self, kind: &str) -> Value {
        wait_until("the alarm", SOON, || self.alarms(kind).pop())
    }

    /// Looks at everybody.
    fn look(&self) {
        self.admin.post(own(&["revalidate"]), json!({})).ok();
    }

    fn service_user(&self) -> String {
        format!("@_access:{}", self.server.name())
    }

    fn try_readmit(&self, user: &User) -> Reply {
        self.admin.post(own(&["roles", &self.role, "space", "readmit"]), json!({ "user_id": user.id }))
    }
}

/// A room that the members of a space may join.
#[track_caller]
fn room_of(owner: &User, space: &str) -> String {
    let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
    let rule = json!({ "join_rule": "restricted", "allow": allow });
    let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
    owner.create_room(json!({ "preset": "private_chat", "initial_state": state }))
}

#[test]
fn a_space_follows_those_who_have_its_role() {
    let server = crate::ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    let role = format!("{}@h1/cardiology", unique("physician"));
    give(&admin, &alice.id, &[&role]);
    let mut alices = server.follow(&alice);
    let made = admin.put(own(&["roles", &role]), json!({ "space": true, "name": "Cardiologists" })).ok();
    let room = made["space_room_id"].as_str().unwrap().to_owned();
    // Its members hear of it at once, and by one answer: no invitation comes before.
    let seen = alices.until("the space", SOON, |sync| sync["rooms"]["join"].get(&room).is_some());
    assert!(seen["rooms"]["invite"].get(&room).is_none(), "{seen}");
    let state = |kind: &str| alice.state(&room, kind, "");
    assert_eq!(state("m.room.create")["type"], "m.space");
    assert_eq!(state("m.room.name")["name"], "Cardiologists");
    assert!(state("m.room.topic")["topic"].as_str().unwrap().contains(&role));
    assert_eq!(state("m.room.history_visibility")["history_visibility"], "joined");
    assert_eq!(state("m.room.guest_access")["guest_access"], "forbidden");
    assert_eq!(alice.get(v1(&["rooms", &room, "hierarchy"])).ok()["rooms"][0]["room_id"], *room);
    // Nobody else knows of it, comes in, or brings somebody in.
    bob.get(v1(&["rooms", &room, "hierarchy"])).refused(403, "M_FORBIDDEN");
    bob.get(v1(&["room_summary", &room])).refused(404, "M_NOT_FOUND");
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    bob.try_knock(&room).refused_somehow();
    alice.post(v3(&["rooms", &room, "invite"]), json!({ "user_id": bob.id })).refused(403, "M_FORBIDDEN");
    alice.try_set_state(&room, "m.room.name", "", json!({ "name": "mine" })).refused(403, "M_FORBIDDEN");

    let mut bobs = server.follow(&bob);
    give(&admin, &bob.id, &[&role]);
    bobs.until("the space", SOON, |sync| sync["rooms"]["join"].get(&room).is_some());
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["displayname"], bob.localpart);
    give(&admin, &alice.id, &["nurse@h1"]);
    alices.until("the end", SOON, |sync| sync["rooms"]["leave"].get(&room).is_some());
    assert!(bob.state(&room, "m.room.member", &alice.id)["reason"].as_str().unwrap().contains("role"));
    give(&admin, &alice.id, &[&role]);
    alices.until("the space", SOON, |sync| sync["rooms"]["join"].get(&room).is_some());
    assert_eq!(bob.members(&room, "join").len(), 3, "both, and the server's user");

    // Asked for again, it is the same; what it is called may change.
    let again = admin.put(own(&["roles", &role]), json!({ "space": true, "topic": "Hearts" })).ok();
    assert_eq!((&again["space_room_id"], &again["joined"], &again["holders"]), (&json!(room), &json!(3), &json!(2)));
    assert_eq!(
        (state("m.room.name"), &state("m.room.topic")["topic"]),
        (json!({ "name": "Cardiologists" }), &json!("Hearts"))
    );
    let roles = admin.get(own(&["roles"])).ok();
    let ours = roles["roles"].as_array().unwrap().iter().find(|shown| shown["role"] == *role).unwrap();
    assert_eq!((&ours["space_room_id"], &ours["space"]), (&json!(room), &json!(true)));
    // Nothing of this moved anybody twice.
    let moves = bob.history(&room).into_iter().filter(|event| event["state_key"] == *bob.id);
    assert_eq!(moves.count(), 1);
}

#[test]
fn a_space_can_be_of_a_requirement() {
    let server = crate::ward();
    let (admin, unit, organisation) = (admin_of(server), unique("unit"), unique("h"));
    let (nurse, clerk) = (server.user("nurse"), server.user("clerk"));
    give(&admin, &nurse.id, &[&format!("nurse@{organisation}/{unit}")]);
    give(&admin, &clerk.id, &[&format!("clerk@{organisation}")]);
    let asked = format!("unit:{unit}@{organisation}");
    let made = admin.put(own(&["roles", &asked]), json!({ "space": true })).ok();
    let room = made["space_room_id"].as_str().unwrap().to_owned();
    assert_eq!((&made["role"], &made["holders"]), (&json!(format!("*@{organisation}/{unit}")), &json!(1)));
    assert!(nurse.is_in(&room) && !clerk.is_in(&room));
    give(&admin, &clerk.id, &[&format!("clerk@{organisation}/{unit}")]);
    wait_until("the clerk is in", SOON, || clerk.is_in(&room).then_some(()));
    // Another role of the same unit: nothing happens to the nurse.
    give(&admin, &nurse.id, &[&format!("charge-nurse@{organisation}/{unit}")]);
    admin.post(own(&["revalidate"]), json!({ "user_id": nurse.id })).ok();
    let moves = clerk.history(&room).into_iter().filter(|event| event["state_key"] == *nurse.id);
    assert!(nurse.is_in(&room) && moves.count() <= 1);
    for (role, body) in [("no role", json!({ "space": true })), (&*asked, json!({})), (&*asked, json!({ "space": 1 }))]
    {
        assert_eq!(admin.put(own(&["roles", role]), body).status, 400);
    }
    let long = json!({ "space": true, "name": "x".repeat(501) });
    let refused = admin.put(own(&["roles", &asked]), long).refused(400, "M_INVALID_PARAM");
    assert!(refused["error"].as_str().unwrap().contains("name"), "{refused}");
}

#[test]
fn rooms_are_open_to_the_members_of_a_space() {
    let space = Space::on(crate::ward());
    let (alice, bob) = (space.member("alice"), space.server.user("bob"));
    let room = room_of(&alice, &space.room);
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    give(&space.admin, &bob.id, &[&space.role]);
    space.until_in(&bob);
    bob.join(&room);
    bob.leave(&room);
    give(&space.admin, &bob.id, &[]);
    space.until_out(&bob);
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn who_leaves_by_their_own_will_is_not_brought_in_again() {
    let space = Space::on(crate::ward());
    let (alice, bob) = (space.member("alice"), space.member("bob"));
    bob.leave(&space.room);
    let alarm = space.alarm("space_left");
    assert_eq!((&alarm["user_id"], &alarm["count"]), (&json!(bob.id), &json!(1)));
    assert_eq!(space.role()["opted_out"], json!([bob.id]));
    give(&space.admin, &bob.id, &[&space.role, "nurse@h1"]);
    space.look();
    // Also not when the role goes and comes back.
    give(&space.admin, &bob.id, &[]);
    space.look();
    bob.try_join(&space.room).refused(403, "M_FORBIDDEN");
    give(&space.admin, &bob.id, &[&space.role]);
    space.look();
    assert!(!bob.is_in(&space.room) && alice.is_in(&space.room));
    assert_eq!(space.alarms("space_left")[0]["count"], 1, "told once");

    // They may come back by themselves.
    bob.join(&space.room);
    wait_until("bob is back", SOON, || (space.role()["opted_out"] == json!([])).then_some(()));
    bob.leave(&space.room);
    wait_until("bob is gone", SOON, || (space.role()["opted_out"] == json!([bob.id])).then_some(()));
    // Or be brought back.
    space.try_readmit(&bob).ok();
    assert!(bob.is_in(&space.room) && space.role()["opted_out"] == json!([]));
    give(&space.admin, &bob.id, &[]);
    space.until_out(&bob);
    space.try_readmit(&bob).refused(400, "M_INVALID_PARAM");
    give(&space.admin, &bob.id, &[&space.role]);
    space.until_in(&bob);
}

#[test]
fn a_space_that_somebody_destroyed_is_told_of_and_left_alone() {
    let space = Space::on(crate::ward());
    let (alice, bob) = (space.member("alice"), space.server.user("bob"));
    let service = space.service_user();
    space.admin.post(own(&["rooms", &space.room, "remove"]), json!({ "user_id": service })).ok();
    let alarm = space.alarm("space_lost");
    assert!(alarm["sentence"].as_str().unwrap().contains(&space.role), "{alarm}");
    give(&space.admin, &bob.id, &[&space.role]);
    space.look();
    assert!(!bob.is_in(&space.room) && !alice.members(&space.room, "join").contains(&service));
    assert!(space.role()["trouble"].as_str().unwrap().contains("not in the space"));
    // Rooms may still let its members in: who loses the role does not stay.
    let room = room_of(&alice, &space.room);
    give(&space.admin, &alice.id, &[]);
    space.until_out(&alice);
    alice.leave(&room);
    assert_eq!(space.alarms("space_lost")[0]["count"], 1, "told once");

    // Whoever asks for the space again gets another one.
    let again = space.admin.put(own(&["roles", &space.role]), json!({ "space": true })).ok();
    let room = again["space_room_id"].as_str().unwrap().to_owned();
    assert_ne!(room, space.room);
    assert!(bob.is_in(&room) && again.get("trouble").is_none(), "{again}");
}

#[test]
fn a_deleted_space_is_not_taken_for_people_who_left() {
    let space = Space::on(crate::ward());
    let members: Vec<User> = (0..3).map(|_| space.member("member")).collect();
    space.admin.request("DELETE", &synapse(&["v2", "rooms", &space.room]), Body::Json(json!({ "purge": true }))).ok();
    space.alarm("space_lost");
    wait_until("the room is gone", SOON, || (space.role()["trouble"].as_str()?.contains("not there")).then_some(()));
    space.look();
    assert!(space.alarms("space_left").is_empty());
    give(&space.admin, &members[0].id, &[]);
    let again = space.admin.put(own(&["roles", &space.role]), json!({ "space": true })).ok();
    let room = again["space_room_id"].as_str().unwrap();
    assert!(members[1].is_in(room) && !members[0].is_in(room));
}

#[test]
fn a_role_ceases_to_be_a_space_and_is_one_again() {
    let space = Space::on(crate::ward());
    let (alice, bob) = (space.member("alice"), space.member("bob"));
    bob.leave(&space.room);
    space.alarm("space_left");
    let off = space.admin.put(own(&["roles", &space.role]), json!({ "space": false })).ok();
    assert_eq!((&off["space"], &off["space_room_id"], &off["joined"]), (&json!(false), &json!(space.room), &json!(1)));
    assert!(!alice.is_in(&space.room));
    alice.try_join(&space.room).refused(403, "M_FORBIDDEN");
    let carol = space.server.user("carol");
    give(&space.admin, &carol.id, &[&space.role]);
    space.look();
    assert!(!carol.is_in(&space.room));
    let on = space.admin.put(own(&["roles", &space.role]), json!({ "space": true })).ok();
    assert_eq!(on["space_room_id"], *space.room);
    assert!(alice.is_in(&space.room) && carol.is_in(&space.room) && !bob.is_in(&space.room));
    // Of a role that never was one there is nothing to end.
    let never = space.admin.put(own(&["roles", "never@h1"]), json!({ "space": false })).ok();
    assert_eq!((&never["space"], never.get("space_room_id")), (&json!(false), None));
}

#[test]
fn a_space_outlives_a_crash() {
    let mut server = server_with(Config::default());
    let (role, room, alice, admin) = {
        let space = Space::on(&server);
        (space.role.clone(), space.room.clone(), space.member("alice"), space.admin)
    };
    let bob = server.user("bob");
    give(&admin, &bob.id, &[&role]);
    give(&admin, &alice.id, &[]);
    server.kill9();
    server.start_again();
    wait_until("who has the role is in", SOON, || (bob.is_in(&room) && !alice.is_in(&room)).then_some(()));
    let again = admin.put(own(&["roles", &role]), json!({ "space": true })).ok();
    assert_eq!(again["space_room_id"], *room);
    give(&admin, &alice.id, &[&role]);
    wait_until("alice is in again", SOON, || alice.is_in(&room).then_some(()));
}

#[test]
fn a_space_of_an_old_version_is_for_the_invited() {
    let server = server_with(Config::default().set("rooms.default_version", "\"7\""));
    let space = Space::on(&server);
    let alice = space.member("alice");
    assert_eq!(alice.state(&space.room, "m.room.join_rules", "")["join_rule"], "invite");
    alice.leave(&space.room);
    space.alarm("space_left");
    alice.try_join(&space.room).refused(403, "M_FORBIDDEN");
    space.try_readmit(&alice).ok();
    assert!(alice.is_in(&space.room));
    give(&space.admin, &alice.id, &[]);
    space.until_out(&alice);
}

#[test]
fn a_blocked_space_takes_nobody_in() {
    let space = Space::on(crate::ward());
    let (alice, bob) = (space.member("alice"), space.server.user("bob"));
    space.admin.put(synapse(&["v1", "rooms", &space.room, "block"]), json!({ "block": true })).ok();
    give(&space.admin, &bob.id, &[&space.role]);
    let alarm = space.alarm("space_incomplete");
    assert_eq!(alarm["user_id"], *bob.id);
    give(&space.admin, &alice.id, &[]);
    space.until_out(&alice);
    space.admin.put(synapse(&["v1", "rooms", &space.room, "block"]), json!({ "block": false })).ok();
    space.admin.post(own(&["revalidate"]), json!({ "room_id": space.room })).ok();
    assert!(bob.is_in(&space.room));
}

#[test]
fn people_of_partners_are_invited_to_the_space_of_their_role() {
    let (site, peer) = (Site::start(), Peer::start());
    let space = Space::on(&site.server);
    let (alice, bob) = (space.member("alice"), peer.user("bob"));
    let room = room_of(&alice, &space.room);
    let template = Target::federation_v1(&["make_join", &room, &bob]).query("ver", "12");
    peer.ask(&site.server, "GET", &template, None).refused(403, "M_FORBIDDEN");
    give(&space.admin, &bob, &[&space.role]);
    wait_until("the invitation", SOON, || peer.invites().into_iter().find(|(room, _)| *room == space.room).map(drop));
    wait_until("bob is invited", SOON, || alice.members(&space.room, "invite").contains(&bob).then_some(()));
    peer.join(&site.server, &space.room, &bob);
    // What the specification says of restricted rooms is enough from here on.
    peer.join(&site.server, &room, &bob);
    assert!(alice.members(&room, "join").contains(&bob));

    give(&space.admin, &bob, &[]);
    let out = peer.until_pdu("the end", SOON, |pdu| {
        pdu["room_id"] == *space.room && pdu["state_key"] == *bob && pdu["content"]["membership"] == "leave"
    });
    assert_eq!(out["sender"], space.service_user());
    let back = Target::federation_v1(&["make_join", &space.room, &bob]).query("ver", "12");
    peer.ask(&site.server, "GET", &back, None).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_partner_that_does_not_answer_holds_up_nobody() {
    let (site, peer) = (Site::start(), Peer::start());
    let space = Space::on(&site.server);
    give(&space.admin, "@bob:127.0.0.1:1", &[&space.role]);
    give(&space.admin, "@carol:127.0.0.1:1", &[&space.role]);
    let (alice, dave) = (space.member("alice"), peer.user("dave"));
    give(&space.admin, &dave, &[&space.role]);
    wait_until("dave is invited", SOON, || alice.members(&space.room, "invite").contains(&dave).then_some(()));
    let alarm = space.alarm("space_incomplete");
    assert!(alarm["user_id"].as_str().unwrap().ends_with(":127.0.0.1:1"), "{alarm}");
}

#[test]
fn a_space_with_a_policy_asks_for_both() {
    let space = Space::on(crate::ward());
    let alice = space.member("alice");
    let other = format!("{}@h1", unique("trained"));
    space.admin.put(own(&["rooms", &space.room, "policy"]), policy(&[&other])).ok();
    space.until_out(&alice);
    space.look();
    assert!(!alice.is_in(&space.room));
}

#[test]
fn whose_account_is_closed_for_a_while_comes_back() {
    let (hospital, role) = (Hospital::start(), "physician@h1/icu");
    let admin = admin_of(&hospital.server);
    let room = admin.put(own(&["roles", role]), json!({ "space": true })).ok()["space_room_id"].clone();
    let ids: Vec<Value> =
        ["alice", "bob"].map(|name| hospital.make("Users", json!({ "userName": name }))["id"].clone()).into();
    let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
    hospital.make("Groups", json!({ "displayName": "ICU Physicians", "members": members }));
    let until = |joined: u64| {
        wait_until("all have moved", SOON, || {
            (admin.get(own(&["roles", role])).ok()["joined"] == json!(joined)).then_some(())
        });
    };
    until(3);
    let alice = format!("/Users/{}", ids[0].as_str().unwrap());
    for active in [false, true] {
        hospital.patch(&alice, json!([{ "op": "replace", "path": "active", "value": active }]));
        until(if active { 3 } else { 2 });
    }
    let alarms = admin.get(own(&["alarms"])).ok();
    let left = alarms["alarms"].as_array().unwrap().iter().filter(|alarm| alarm["room_id"] == room);
    assert_eq!(left.count(), 0, "{alarms}");
}

#[test]
fn a_thousand_members_come_and_go() {
    const MANY: u64 = 1_000;
    let (hospital, role) = (Hospital::start(), "physician@h1/icu");
    let admin = admin_of(&hospital.server);
    let users = (0..MANY).map(|number| hospital.make("Users", json!({ "userName": format!("physician{number}") })));
    let members: Vec<Value> = users.map(|user| json!({ "value": user["id"] })).collect();
    admin.put(own(&["roles", role]), json!({ "space": true })).ok();
    let group = hospital.make("Groups", json!({ "displayName": "ICU Physicians" }));
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let until = |joined: u64| {
        wait_until("all have moved", 3 * SOON, || {
            (admin.get(own(&["roles", role])).ok()["joined"] == json!(joined)).then_some(())
        });
    };
    hospital.patch(&path, json!([{ "op": "add", "path": "members", "value": members }]));
    until(MANY + 1);
    hospital.patch(&path, json!([{ "op": "replace", "path": "members", "value": [members[0]] }]));
    until(2);
}
