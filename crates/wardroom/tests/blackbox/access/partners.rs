//! People of partner servers in rooms that require roles.

use wardroom_testkit::{Actor, Peer, Target, json, v3, wait_until};

use super::{POLICY, give, policy};
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
    alice.post(v3(&["rooms", &room, "invite"]), json!({ "user_id": bob })).refused(403, "M_FORBIDDEN");

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

#[test]
fn of_a_partners_policy_this_server_keeps_its_own_users_to_it_and_leaves_others_to_the_partner() {
    let (site, peer) = (Site::start(), Peer::start());
    let (admin, alice, carol) = (admin_of(&site.server), site.user("alice"), site.user("carol"));
    let (boss, role) = (peer.user("boss"), "physician@h1");
    let room = peer.create_room(&boss, "11", "public");
    peer.make(&room, &boss, POLICY, Some(""), &policy(&[role]));
    let via = || v3(&["join", &room]).query("via", peer.name());
    give(&admin, &alice.id, &[role]);
    alice.post(via(), json!({})).ok();
    // The partner's people are the partner's: nothing is known of them here, and nobody is put out.
    let said = peer.say(&site.server, &room, &boss, "welcome");
    wait_until("the message", SOON, || (alice.try_event(&room, &said).status == 200).then_some(()));
    admin.post(own(&["revalidate"]), json!({ "room_id": room })).ok();
    assert!(alice.members(&room, "join").contains(&boss));
    let judged = admin.post(own(&["rooms", &room, "policy", "evaluate"]), json!({ "users": [boss] })).ok();
    assert_eq!(judged["results"][0]["verdict"], "inconclusive", "{judged}");
    // Somebody of a third server asks the partner, who knows.
    let third = Peer::start();
    let template = Target::federation_v1(&["make_join", &room, &third.user("dave")]).query("ver", "11");
    third.ask(&site.server, "GET", &template, None).refused(403, "M_FORBIDDEN");
    // This server's own users are kept to it.
    carol.post(via(), json!({})).refused_somehow();
    give(&admin, &alice.id, &[]);
    peer.until_pdu("alice's end", SOON, |pdu| {
        pdu["state_key"] == *alice.id && pdu["content"]["membership"] == "leave" && pdu["sender"] == *alice.id
    });
}
