//! What other servers are told of this server's users.

use wardroom_testkit::{Actor as _, Config, Peer, Reply, Target, Value, encode, json, raw};

use super::{PATH, THEIRS, give};
use crate::{
    SOON,
    admin::{admin_of, own},
    federation::sites::Site,
};

/// A server that tells a partner of its physicians.
fn telling(peer: &Peer, more: &str) -> Site {
    let literal = format!("[{{ server = \"{}\", roles = [\"physician@h1/*\", \"nurse@h1\"]{more} }}]", peer.name());
    Site::new(Config::default().federating_as("127.0.0.1").set("roles.attest_to", &literal), None)
}

fn ask(peer: &Peer, site: &Site, user: &str, room: &str) -> Reply {
    let path = format!("/_matrix/federation/unstable{PATH}{}", encode(user));
    peer.ask(&site.server, "GET", &raw(&path).query("room_id", room), None)
}

#[test]
fn a_partner_is_told_what_the_operator_lets_it_be_told() {
    let (peer, other) = (Peer::start(), Peer::start());
    let site = telling(&peer, "");
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    let roles = ["physician@h1/cardiology", "physician@h1", "nurse@h1/icu", "chief@h1"];
    give(&admin, &alice.id, &roles);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    let nobody = format!("@nobody:{}", site.name());
    let refused = ask(&peer, &site, &alice.id, &room);
    assert_eq!((refused.status, &refused.json()["errcode"]), (403, &json!("M_FORBIDDEN")), "it is not in the room");
    let (bob, eve) = (peer.user("bob"), other.user("eve"));
    peer.join(&site.server, &room, &bob);
    other.join(&site.server, &room, &eve);

    let said = ask(&peer, &site, &alice.id, &room).ok();
    assert_eq!(said["roles"], json!(["nurse@h1/icu", "physician@h1/cardiology"]));
    for (field, value) in [("sub", alice.id.as_str()), ("org", site.name()), ("aud", peer.name()), ("room_id", &room)] {
        assert_eq!(said[field], value, "{said}");
    }
    let (iat, exp) = (said["iat"].as_u64().unwrap(), said["exp"].as_u64().unwrap());
    assert!(iat <= wardroom_testkit::peer::now_ms() && exp == iat + 24 * 3_600_000, "{said}");
    assert!(said["signatures"][site.name()].as_object().unwrap().keys().all(|key| key.starts_with("ed25519:")));
    assert_ne!(ask(&peer, &site, &alice.id, &room).ok()["jti"], said["jti"]);

    // One that ends before.
    let until = wardroom_testkit::peer::now_ms() + 3_600_000;
    let roles = json!([{ "role": "nurse@h1", "until_ts": until, "reason": "tonight" }]);
    let carol = site.user("carol");
    carol.join(&room);
    admin.put(own(&["role_bindings", &carol.id]), json!({ "roles": roles })).ok();
    assert_eq!(ask(&peer, &site, &carol.id, &room).ok()["exp"], until);

    // Whoever may not know is not told why.
    let elsewhere = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    let answers: Vec<Value> = [
        ask(&peer, &site, &nobody, &room),
        ask(&peer, &site, &site.user("dave").id, &room),
        ask(&peer, &site, &alice.id, &elsewhere),
        ask(&peer, &site, &alice.id, "!nowhere:else.example"),
        ask(&peer, &site, &bob, &room),
        ask(&other, &site, &alice.id, &room),
    ]
    .into_iter()
    .map(|reply| {
        assert_eq!(reply.status, 403);
        reply.json()
    })
    .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let unsigned = raw(&format!("/_matrix/federation/unstable{PATH}{}", encode(&alice.id))).query("room_id", &room);
    assert_eq!(peer.ask_with(&site.server, "GET", &unsigned, None, "").unwrap().status, 401);
    peer.ask(&site.server, "GET", &raw(&format!("/_matrix/federation/unstable{PATH}{}", encode(&alice.id))), None)
        .refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_partner_hears_of_a_loss() {
    let peer = Peer::start();
    let mut site = telling(&peer, "");
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    give(&admin, &alice.id, &["physician@h1/cardiology", "nurse@h1", "chief@h1"]);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    peer.join(&site.server, &room, &peer.user("bob"));
    assert_eq!(ask(&peer, &site, &alice.id, &room).ok()["roles"].as_array().unwrap().len(), 2);
    // One that it was not told of is none that it hears of.
    give(&admin, &alice.id, &["physician@h1/cardiology", "nurse@h1"]);
    // Also where this server stops in between.
    site.server.kill9();
    site.start_again();
    give(&admin, &alice.id, &["nurse@h1"]);
    let told = peer.until_edu("the loss", SOON, |edu| edu["edu_type"] == "org.wardroom.role_revoked");
    assert_eq!(told["content"]["user_id"], alice.id);
    assert_eq!(told["content"]["roles"], json!(["physician@h1/cardiology"]));
    assert!(told["content"]["at"].as_u64().is_some());
    assert_eq!(ask(&peer, &site, &alice.id, &room).ok()["roles"], json!(["nurse@h1"]));
    let listed = admin.get(own(&["attestations"])).ok();
    let handed = &listed["handed_out"][0];
    assert_eq!((&handed["roles"], &handed["revoked"]), (&json!(["nurse@h1"]), &json!(["physician@h1/cardiology"])));
    assert_eq!(peer.edus().iter().filter(|edu| edu["edu_type"] == "org.wardroom.role_revoked").count(), 1);
}

#[test]
fn before_it_invites_a_partner_is_told_where_the_operator_wants_it() {
    let peer = Peer::start();
    let site = telling(&peer, ", before_invitations = true");
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    give(&admin, &alice.id, &["physician@h1/cardiology"]);
    let room = "!theirs:else.example";
    assert_eq!(ask(&peer, &site, &alice.id, room).ok()["roles"], json!(["physician@h1/cardiology"]));
    assert_eq!(ask(&peer, &site, &format!("@nobody:{}", site.name()), room).status, 403);
    assert_eq!(ask(&Peer::start(), &site, &alice.id, room).status, 403);
}

#[test]
fn what_others_say_is_not_said_again() {
    let peer = Peer::start();
    let literal = format!("[{{ server = \"{}\", roles = [\"*@h2\", \"physician@h1\"] }}]", peer.name());
    let site = Site::new(Config::default().federating_as("127.0.0.1").set("roles.attest_to", &literal), None);
    let shared = super::Shared::of(site, peer);
    let bob = shared.bob();
    assert_eq!(shared.believed(&bob), [THEIRS]);
    assert_eq!(ask(&shared.peer, &shared.site, &bob, &shared.room).status, 403);
    let said = ask(&shared.peer, &shared.site, &shared.alice.id, &shared.room).ok();
    assert_eq!(said["roles"], json!(["physician@h1"]));
}

#[test]
fn who_joins_through_a_server_may_be_asked_about_by_it() {
    let peer = Peer::start();
    let site = telling(&peer, "");
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    give(&admin, &alice.id, &["physician@h1/cardiology"]);
    let room = peer.create_room(&peer.user("founder"), "11", "invite");
    assert_eq!(ask(&peer, &site, &alice.id, &room).status, 403, "alice has nothing to do with it");
    // An invitation from there is enough.
    let invite = json!({ "membership": "invite" });
    let event = peer.make(&room, &peer.user("founder"), "m.room.member", Some(&alice.id), &invite);
    let id = peer.id_of(&room, &event);
    let create = peer.room(&room, |room| {
        let id = room.state_id("m.room.create", "").unwrap();
        room.event(id).clone()
    });
    let body = json!({ "room_version": "11", "event": event, "invite_room_state": [create] });
    peer.ask(&site.server, "PUT", &Target::federation_v2(&["invite", &room, &id]), Some(&body)).ok();
    assert_eq!(ask(&peer, &site, &alice.id, &room).ok()["roles"], json!(["physician@h1/cardiology"]));
}
