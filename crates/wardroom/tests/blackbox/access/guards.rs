//! Doors and cases in which a policy could be got around. Each has a test of its name.

use wardroom_testkit::{Actor, Anonymous, Config, Peer, Reply, Target, User, Value, json, text, unique, v1, v3};

use super::{Gated, POLICY, give, policy};
use crate::{
    SOON,
    admin::{admin_of, own, synapse},
    federation::sites::Site,
    media::{download_path, png, upload},
    server_with,
};

/// A hospital and a partner's server, whose user bob is in a public room that alice made, with as much power as she.
struct Shared {
    site: Site,
    peer: Peer,
    admin: User,
    alice: User,
    bob: String,
    room: String,
}

impl Shared {
    fn new() -> Self {
        let (site, peer) = (Site::start(), Peer::start());
        let (admin, alice) = (admin_of(&site.server), site.user("alice"));
        let bob = peer.user("bob");
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
        peer.join(&site.server, &room, &bob);
        alice.change_power_levels(&room, |levels| levels["users"][&bob] = json!(100));
        let level = |pdu: &Value| pdu["type"] == "m.room.power_levels" && pdu["content"]["users"][&bob] == 100;
        peer.until_pdu("the power", SOON, level);
        Self { site, peer, admin, alice, bob, room }
    }

    fn enters(&self, user: &User) -> bool {
        let reply = user.try_join(&self.room);
        let enters = reply.status == 200;
        if enters {
            user.leave(&self.room);
        }
        enters
    }
}

#[test]
fn a_knock_is_not_answered_once_the_role_is_gone() {
    let gated = Gated::of("private_chat");
    let Gated { admin, alice, room, .. } = &gated;
    alice.set_state(room, "m.room.join_rules", "", json!({ "join_rule": "knock" }));
    let bob = gated.colleague();
    bob.try_knock(room).ok();
    give(admin, &bob.id, &[]);
    alice.on_member("invite", room, &bob).refused(403, "M_FORBIDDEN");
    bob.try_join(room).refused(403, "M_FORBIDDEN");
}

#[test]
fn an_invitation_from_another_server_opens_nothing() {
    let shared = Shared::new();
    let Shared { site, peer, admin, alice, bob, room } = &shared;
    let (role, carol) = ("physician@h1", site.user("carol"));
    give(admin, &alice.id, &[role]);
    give(admin, bob, &[role]);
    admin.put(own(&["rooms", room, "policy"]), policy(&[role])).ok();
    let invite = peer.make(room, bob, "m.room.member", Some(&carol.id), &json!({ "membership": "invite" }));
    let id = peer.id_of(room, &invite);
    let body = json!({ "room_version": "11", "event": invite, "invite_room_state": [] });
    let target = Target::federation_v2(&["invite", room, &id]);
    peer.ask(&site.server, "PUT", &target, Some(&body)).refused_somehow();
    carol.try_join(room).refused(403, "M_FORBIDDEN");
    // As part of a transaction, too.
    peer.send(&site.server, &[invite], &[]).ok();
    carol.try_join(room).refused(403, "M_FORBIDDEN");
}

#[test]
fn nobody_is_invited_by_a_third_party_identifier() {
    let gated = Gated::of("private_chat");
    let Gated { server, alice, room, .. } = &gated;
    let bob = server.user("bob");
    let by_mail =
        json!({ "medium": "email", "address": "bob@h1.example", "id_server": "h1.example", "id_access_token": "x" });
    alice.post(v3(&["rooms", room, "invite"]), by_mail).refused_somehow();
    let signed = json!({ "mxid": bob.id, "token": "t", "signatures": {} });
    let invite = json!({ "membership": "invite", "third_party_invite": { "display_name": "Bob", "signed": signed } });
    alice.try_set_state(room, "m.room.member", &bob.id, invite).refused_somehow();
    bob.try_join(room).refused(403, "M_FORBIDDEN");
}

#[test]
fn administrators_of_the_server_let_nobody_in_without_the_role() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, room, .. } = &gated;
    let bob = server.user("bob");
    let user = json!({ "user_id": bob.id });
    admin.post(synapse(&["v1", "join", room]), user.clone()).refused(403, "M_FORBIDDEN");
    admin.post(synapse(&["v1", "rooms", room, "make_room_admin"]), user).refused(403, "M_FORBIDDEN");
    assert!(!bob.is_in(room));
    let colleague = gated.colleague();
    admin.post(synapse(&["v1", "join", room]), json!({ "user_id": colleague.id })).ok();
    assert!(colleague.is_in(room));
}

#[test]
fn nobody_acts_as_another_user_as_application_services_do() {
    let gated = Gated::of("public_chat");
    let Gated { server, alice, room, .. } = &gated;
    let bob = server.user("bob");
    bob.post(v3(&["join", room]).query("user_id", &alice.id), json!({})).refused(403, "M_FORBIDDEN");
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let login = json!({ "type": "m.login.application_service", "identifier": identifier });
    server.anonymous().post(v3(&["login"]), login).refused_somehow();
}

#[test]
fn guests_stay_outside() {
    let server = server_with(Config::default().set("registration.guests", "true"));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    give(&admin, &alice.id, &["physician@h1"]);
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    alice.set_state(&room, "m.room.guest_access", "", json!({ "guest_access": "can_join" }));
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    let guest = || {
        let answer = server.anonymous().post(v3(&["register"]).query("kind", "guest"), json!({})).ok();
        User::from_answer(server.http(), &answer, "")
    };
    let early = guest();
    early.join(&room);
    admin.put(own(&["rooms", &room, "policy"]), policy(&["physician@h1"])).ok();
    let late = guest();
    late.try_join(&room).refused_somehow();
    for guest in [early, late] {
        guest.try_messages(&room, "b", None, "10").refused(403, "M_FORBIDDEN");
        guest.try_state(&room, "m.room.create", "").refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn of_conflicting_policies_the_one_of_the_resolved_state_holds() {
    let shared = Shared::new();
    let Shared { site, peer, admin, alice, bob, room } = &shared;
    let (nurse, porter) = (site.user("nurse"), site.user("porter"));
    give(admin, &alice.id, &["nurse@h1", "porter@h1"]);
    give(admin, bob, &["nurse@h1", "porter@h1"]);
    give(admin, &nurse.id, &["nurse@h1"]);
    give(admin, &porter.id, &["porter@h1"]);
    // Made before the other is known: two ends of the same room.
    let theirs = peer.make(room, bob, POLICY, Some(""), &policy(&["porter@h1"]));
    alice.set_state(room, POLICY, "", policy(&["nurse@h1"]));
    assert!(shared.enters(&nurse) && !shared.enters(&porter));
    peer.send(&site.server, &[theirs], &[]).ok();
    let holds = alice.state(room, POLICY, "");
    let of_porters = holds == policy(&["porter@h1"]);
    assert!(of_porters || holds == policy(&["nurse@h1"]), "{holds}");
    assert_eq!((shared.enters(&nurse), shared.enters(&porter)), (!of_porters, of_porters), "{holds}");
}

#[test]
fn an_event_from_before_the_policy_resets_nothing() {
    let shared = Shared::new();
    let Shared { site, peer, admin, alice, bob, room } = &shared;
    give(admin, &alice.id, &["nurse@h1"]);
    give(admin, bob, &["nurse@h1"]);
    let (stranger, visibility) = (site.user("stranger"), json!({ "history_visibility": "world_readable" }));
    let before = peer.make(room, bob, "m.room.history_visibility", Some(""), &visibility);
    alice.set_state(room, POLICY, "", policy(&["nurse@h1"]));
    peer.send(&site.server, &[before], &[]).ok();
    assert_eq!(alice.state(room, POLICY, ""), policy(&["nurse@h1"]));
    stranger.try_join(room).refused(403, "M_FORBIDDEN");
    stranger.try_messages(room, "b", None, "10").refused(403, "M_FORBIDDEN");
}

#[test]
fn a_policy_of_a_partner_that_cannot_be_read_keeps_everybody_out_and_nobody_in_is_put_out() {
    let shared = Shared::new();
    let Shared { site, peer, admin, alice, bob, room } = &shared;
    let strange = peer.make(room, bob, POLICY, Some(""), &json!({ "version": 7 }));
    peer.send(&site.server, &[strange], &[]).ok();
    super::alarm(admin, "unreadable_policy", room);
    site.user("stranger").try_join(room).refused(403, "M_FORBIDDEN");
    alice.say(room, "still here");
}

#[test]
fn a_wider_join_rule_and_a_wider_visibility_let_nobody_in() {
    let gated = Gated::of("private_chat");
    let Gated { server, alice, room, .. } = &gated;
    let bob = server.user("bob");
    alice.set_state(room, "m.room.join_rules", "", json!({ "join_rule": "public" }));
    alice.set_state(room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    bob.try_join(room).refused(403, "M_FORBIDDEN");
    bob.try_messages(room, "b", None, "10").refused(403, "M_FORBIDDEN");
}

#[test]
fn a_room_whose_state_is_not_complete_is_not_entered() {
    let (site, peer) = (Site::start(), Peer::start());
    let (alice, boss) = (site.user("alice"), peer.user("boss"));
    let room = peer.create_room(&boss, "11", "public");
    let (honest, id) = (peer.clone(), room.clone());
    peer.on("/send_join/", move |_| {
        honest.room(&id, |room| {
            let ids: Vec<String> = room.state.values().cloned().collect();
            let mut state = room.list(&ids);
            state.retain(|event| event["type"] != "m.room.member");
            let chain = room.list(&room.auth_chain(&ids));
            let servers = json!([honest.name()]);
            wardroom_testkit::peer::Answer::ok(
                &json!({ "state": state, "auth_chain": chain, "members_omitted": true, "servers_in_room": servers }),
            )
        })
    });
    alice.post(v3(&["join", &room]).query("via", peer.name()), json!({})).refused(502, "M_UNKNOWN");
    assert!(!alice.is_in(&room));
}

/// Everything that is asked of a room, with an event in it.
fn reads(room: &str, event: &str) -> Vec<Target> {
    vec![
        v3(&["rooms", room, "messages"]).query("dir", "b"),
        v3(&["rooms", room, "event", event]),
        v3(&["rooms", room, "context", event]),
        v3(&["rooms", room, "state"]),
        v3(&["rooms", room, "members"]),
        v3(&["rooms", room, "joined_members"]),
        v3(&["rooms", room, "initialSync"]),
        v1(&["rooms", room, "relations", event]),
        v1(&["rooms", room, "threads"]),
        v1(&["rooms", room, "timestamp_to_event"]).query("ts", "0").query("dir", "f"),
        v1(&["rooms", room, "hierarchy"]),
    ]
}

#[test]
fn nothing_is_read_after_the_loss() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let bob = gated.colleague();
    bob.join(room);
    let word = unique("confidential");
    let said = alice.say(room, &word);
    let uri = upload(alice, &png(40, 40), "image/png", None);
    let picture = json!({ "msgtype": "m.image", "body": "x-ray", "url": uri });
    alice.try_send(room, "m.room.message", &unique("t"), picture).ok();
    for target in reads(room, &said) {
        bob.get(target).ok();
    }
    let mut sync = server.follow(&bob);
    give(admin, &bob.id, &[]);
    sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    for target in reads(room, &said).into_iter().chain([download_path(&uri)]) {
        let reply: Reply = bob.get(target.clone());
        assert!(matches!(reply.status, 403 | 404), "{target:?}: {}", reply.story());
    }
    let search = json!({ "search_categories": { "room_events": { "search_term": word } } });
    let found = bob.post(v3(&["search"]), search).ok();
    assert_eq!(found["search_categories"]["room_events"]["count"], 0, "{found}");
    let fresh = bob.get(v3(&["sync"])).ok();
    assert!(!fresh.to_string().contains(&word), "{fresh}");
}

#[test]
fn those_who_stay_hear_that_the_others_devices_are_gone() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let bob = gated.colleague();
    bob.join(room);
    let (mut stays, mut goes) = (server.follow(alice), server.follow(&bob));
    give(admin, &bob.id, &[]);
    let left = |user: &str| {
        let user = json!(user);
        move |sync: &Value| sync["device_lists"]["left"].as_array().is_some_and(|left| left.contains(&user))
    };
    // Clients send room keys to the devices that they know: these they forget, and make a new key.
    stays.until("the end of bob's devices", SOON, left(&bob.id));
    goes.until("the end of alice's devices", SOON, left(&alice.id));
}

#[test]
fn typing_and_receipts_do_not_reach_those_who_are_out() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let bob = gated.colleague();
    bob.join(room);
    let mut sync = server.follow(&bob);
    give(admin, &bob.id, &[]);
    sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    alice.put(v3(&["rooms", room, "typing", &alice.id]), json!({ "typing": true, "timeout": 20_000 })).ok();
    let free = bob.create_room(json!({}));
    bob.try_send(&free, "m.room.message", &unique("t"), text("marker")).ok();
    let seen = sync.until("the marker", SOON, |sync| sync["rooms"]["join"].get(&free).is_some());
    assert!(seen["rooms"]["join"].get(room).is_none(), "{seen}");
    bob.put(v3(&["rooms", room, "typing", &bob.id]), json!({ "typing": true })).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_name_is_never_given_twice() {
    let server = crate::ward();
    let bob = server.user("bob");
    let admin = admin_of(server);
    admin.post(synapse(&["v1", "deactivate", &bob.id]), json!({ "erase": true })).ok();
    let again = json!({ "username": bob.localpart, "password": "a long enough one" });
    let anonymous: Anonymous = server.anonymous();
    anonymous.try_register(again).refused(400, "M_USER_IN_USE");
}
