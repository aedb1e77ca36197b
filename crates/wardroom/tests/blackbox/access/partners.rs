//! People of partner servers in rooms that require roles.

use wardroom_testkit::{Actor, Peer, Target, json};

use super::{give, policy};
use crate::{
    SOON,
    admin::{admin_of, own},
    federation::sites::Site,
};

#[test]
fn people_of_partners_come_in_with_the_role_and_go_without() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    let (bob, role) = (peer.user("bob"), "physician@h1/cardiology");
    give(&admin, &alice.id, &[role]);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();

    let template = Target::federation_v1(&["make_join", &room, &bob]).query("ver", "11");
    peer.ask(&site.server, "GET", &template, None).refused(403, "M_FORBIDDEN");
    let knock = Target::federation_v1(&["make_knock", &room, &bob]).query("ver", "11");
    peer.ask(&site.server, "GET", &knock, None).refused(403, "M_FORBIDDEN");
    alice
        .post(wardroom_testkit::v3(&["rooms", &room, "invite"]), json!({ "user_id": bob }))
        .refused(403, "M_FORBIDDEN");

    give(&admin, &bob, &[role]);
    peer.join(&site.server, &room, &bob);
    let said = peer.say(&site.server, &room, &bob, "here");
    assert_eq!(alice.try_event(&room, &said).status, 200);

    give(&admin, &bob, &[]);
    let out =
        peer.until_pdu("the end", SOON, |pdu| pdu["state_key"] == *bob && pdu["content"]["membership"] == "leave");
    assert!(out["sender"].as_str().unwrap().starts_with("@_access:"), "{out}");
    peer.ask(&site.server, "GET", &template, None).refused(403, "M_FORBIDDEN");
}

#[test]
fn who_comes_in_by_way_of_a_template_from_before_is_not_let_in() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    let (bob, role) = (peer.user("bob"), "physician@h1");
    give(&admin, &alice.id, &[role]);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    let template = Target::federation_v1(&["make_join", &room, &bob]).query("ver", "11");
    let mut join = peer.ask(&site.server, "GET", &template, None).ok()["event"].clone();
    admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();
    join["origin_server_ts"] = json!(wardroom_testkit::peer::now_ms());
    peer.key().sign_event(peer.name(), &mut join, "11");
    let id = wardroom_testkit::peer::signing::event_id(&join, "11");
    let send = Target::federation_v2(&["send_join", &room, &id]);
    peer.ask(&site.server, "PUT", &send, Some(&join)).refused(403, "M_FORBIDDEN");
    assert!(!alice.members(&room, "join").contains(&bob));
}
