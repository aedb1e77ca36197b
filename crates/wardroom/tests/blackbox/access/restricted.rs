//! The condition `org.wardroom.role` in the join rules of rooms.

use wardroom_testkit::{Actor, Peer, Target, User, Value, json, v1, v3};

use super::{Gated, give, policy};
use crate::{
    admin::{admin_of, own},
    federation::sites::Site,
};

/// Lets those into a room who meet one of these conditions.
#[track_caller]
fn open_to(owner: &User, room: &str, rule: &str, allow: &Value) {
    owner.set_state(room, "m.room.join_rules", "", json!({ "join_rule": rule, "allow": allow }));
}

#[test]
fn whom_the_policy_admits_comes_in_without_an_invitation() {
    for (rule, version) in [("restricted", "12"), ("restricted", "9"), ("knock_restricted", "11")] {
        let gated = Gated::of("private_chat");
        let Gated { server, admin, alice, role, .. } = &gated;
        let room = alice.create_room(json!({ "preset": "private_chat", "room_version": version, "name": "Rounds" }));
        admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();
        open_to(alice, &room, rule, &json!([{ "type": "com.example.weather" }, { "type": "org.wardroom.role" }]));
        let (bob, carol) = (gated.colleague(), server.user("carol"));
        let summary = bob.get(v1(&["room_summary", &room])).ok();
        assert_eq!(summary["name"], "Rounds");
        carol.get(v1(&["room_summary", &room])).refused(404, "M_NOT_FOUND");
        carol.try_join(&room).refused(403, "M_FORBIDDEN");
        bob.join(&room);
        let join = alice.state(&room, "m.room.member", &bob.id);
        let via = join["join_authorised_via_users_server"].as_str().unwrap_or_default();
        assert!(via.ends_with(server.name()), "{join}");
        bob.say(&room, "here");
        // And by the endpoint of states.
        let dave = gated.colleague();
        dave.set_state(&room, "m.room.member", &dave.id, json!({ "membership": "join" }));
        assert!(dave.is_in(&room));
    }
}

#[test]
fn without_a_policy_the_condition_is_never_met() {
    let gated = Gated::of("private_chat");
    let Gated { admin, alice, role, .. } = &gated;
    let bob = gated.colleague();
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    open_to(alice, &room, "restricted", &json!([{ "type": "org.wardroom.role" }]));
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    bob.get(v1(&["room_summary", &room])).refused(404, "M_NOT_FOUND");
    admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();
    // Conditions that nobody knows, or that cannot be read, let nobody in.
    for allow in
        [json!([{ "type": "com.example.weather" }, 7, { "type": ["org.wardroom.role"] }]), json!({}), json!([])]
    {
        open_to(alice, &room, "restricted", &allow);
        bob.try_join(&room).refused(403, "M_FORBIDDEN");
    }
    // The condition says nothing where the rule has no conditions.
    open_to(alice, &room, "invite", &json!([{ "type": "org.wardroom.role" }]));
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    open_to(alice, &room, "restricted", &json!([{ "type": "org.wardroom.role" }]));
    bob.join(&room);
    bob.leave(&room);
    admin.request("DELETE", &own(&["rooms", &room, "policy"]), wardroom_testkit::Body::Empty).ok();
    bob.post(v3(&["join", &room]), json!({})).refused(403, "M_FORBIDDEN");
}

#[test]
fn people_of_partners_come_in_by_their_role() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    let (bob, carol, role) = (peer.user("bob"), peer.user("carol"), "physician@h1/cardiology");
    give(&admin, &alice.id, &[role]);
    for version in ["11", "12"] {
        let room = alice.create_room(json!({ "preset": "private_chat", "room_version": version }));
        admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();
        open_to(&alice, &room, "restricted", &json!([{ "type": "org.wardroom.role" }]));
        give(&admin, &bob, &[role]);
        let template = |user: &str| Target::federation_v1(&["make_join", &room, user]).query("ver", version);
        peer.ask(&site.server, "GET", &template(&carol), None).refused(403, "M_FORBIDDEN");
        let offered = peer.ask(&site.server, "GET", &template(&bob), None).ok();
        let via = offered["event"]["content"]["join_authorised_via_users_server"].as_str().unwrap_or_default();
        assert!(via.ends_with(site.name()), "{offered}");
        peer.join(&site.server, &room, &bob);
        assert!(alice.members(&room, "join").contains(&bob));
        let said = peer.say(&site.server, &room, &bob, "here");
        assert_eq!(alice.try_event(&room, &said).status, 200);

        // A template from before does not let in who has lost the role since.
        give(&admin, &carol, &[role]);
        let mut join = peer.ask(&site.server, "GET", &template(&carol), None).ok()["event"].clone();
        give(&admin, &carol, &[]);
        join["origin_server_ts"] = json!(wardroom_testkit::peer::now_ms());
        peer.key().sign_event(peer.name(), &mut join, version);
        let id = wardroom_testkit::peer::signing::event_id(&join, version);
        let send = Target::federation_v2(&["send_join", &room, &id]);
        peer.ask(&site.server, "PUT", &send, Some(&join)).refused(403, "M_FORBIDDEN");
        assert!(!alice.members(&room, "join").contains(&carol));
    }
}
