//! Invitations of people whose user id was not known.

use wardroom_testkit::{Actor, Peer, Target, User, Value, json, peer::Key, raw, wait_until};

use super::super::sites::Site;
use crate::SOON;

/// What an identity server signs once it knows who somebody is.
fn signed(key: &Key, user: &str, token: &str) -> Value {
    let mut signed = json!({ "mxid": user, "token": token });
    key.sign_json("id.example", &mut signed);
    signed
}

/// A room with an invitation that waits for whoever it is.
fn waiting_room(alice: &User, key: &Key) -> String {
    let room = alice.create_room(json!({ "preset": "private_chat", "room_version": "11" }));
    let public = key.public();
    let waiting = json!({
        "display_name": "B...b", "key_validity_url": "https://id.example/valid", "public_key": public,
        "public_keys": [{ "public_key": public }],
    });
    alice.set_state(&room, "m.room.third_party_invite", "the token", waiting);
    room
}

fn exchange(peer: &Peer, site: &Site, room: &str, event: &Value) -> wardroom_testkit::Reply {
    peer.ask(&site.server, "PUT", &Target::federation_v1(&["exchange_third_party_invite", room]), Some(event))
}

fn event(alice: &User, room: &str, invited: &str, signed: &Value) -> Value {
    let content = json!({
        "membership": "invite", "third_party_invite": { "display_name": "made up", "signed": signed },
    });
    json!({ "type": "m.room.member", "room_id": room, "sender": alice.id, "state_key": invited, "content": content })
}

#[test]
fn an_invitation_becomes_one_of_the_user_it_was_meant_for() {
    let (site, peer) = (Site::start(), Peer::start());
    let alice = site.user("alice");
    let key = Key::generate("id");
    let room = waiting_room(&alice, &key);
    let bob = peer.user("bob");
    let signed_for = |user: &str, token: &str| signed(&key, user, token);
    let member = |user: &str| alice.get(raw(&format!("/_matrix/client/v3/rooms/{room}/state/m.room.member/{user}")));

    // Signed by somebody else, for somebody else, or for an invitation that there is not.
    let stranger = Key::generate("id");
    let forged = event(&alice, &room, &bob, &signed(&stranger, &bob, "the token"));
    exchange(&peer, &site, &room, &forged).refused(403, "M_FORBIDDEN");
    let other = event(&alice, &room, &bob, &signed_for(&peer.user("carol"), "the token"));
    exchange(&peer, &site, &room, &other).refused(400, "M_INVALID_PARAM");
    let unknown = event(&alice, &room, &bob, &signed_for(&bob, "another token"));
    exchange(&peer, &site, &room, &unknown).refused(403, "M_FORBIDDEN");
    let good = event(&alice, &room, &bob, &signed_for(&bob, "the token"));
    let mut wrong = good.clone();
    wrong["content"]["membership"] = json!("join");
    exchange(&peer, &site, &room, &wrong).refused(400, "M_INVALID_PARAM");
    let mut wrong = good.clone();
    wrong["sender"] = json!(peer.user("dave"));
    exchange(&peer, &site, &room, &wrong).refused(404, "M_NOT_FOUND");
    assert!(peer.invites().is_empty());
    assert_eq!(member(&bob).status, 404);

    exchange(&peer, &site, &room, &good).ok();
    let (invited_to, invite) = peer.invites().pop().unwrap();
    assert_eq!(invited_to, room);
    let invite = &invite["event"];
    assert_eq!((&invite["sender"], &invite["state_key"]), (&json!(alice.id), &json!(bob)));
    let third_party = &invite["content"]["third_party_invite"];
    assert_eq!(third_party["display_name"], "B...b", "as the room says");
    assert_eq!(third_party["signed"]["token"], "the token");
    assert_eq!(member(&bob).ok()["membership"], "invite");
}

#[test]
fn identity_servers_tell_who_somebody_is() {
    let (site, peer) = (Site::start(), Peer::start());
    let (alice, bob) = (site.user("alice"), site.user("bob"));
    let key = Key::generate("id");
    let room = waiting_room(&alice, &key);
    let onbind = Target::federation_v1(&["3pid", "onbind"]);
    let notice = |user: &str, invites: &[Value]| json!({ "medium": "email", "address": "bob@mail.example", "mxid": user, "invites": invites });
    let invite = |room: &str, sender: &str, signed: &Value| {
        json!({
            "medium": "email", "address": "bob@mail.example", "mxid": bob.id, "room_id": room, "sender": sender,
            "signed": signed,
        })
    };
    let tell = |notice: &Value| peer.ask_with(&site.server, "PUT", &onbind, Some(notice), "").unwrap();
    tell(&notice(&peer.user("carol"), &[])).refused(400, "M_INVALID_PARAM");
    let right = signed(&key, &bob.id, "the token");
    let many = vec![invite(&room, &alice.id, &right); 21];
    tell(&notice(&bob.id, &many)).refused(400, "M_INVALID_PARAM");

    // One that is forged, one to a room of the other server, and one that is right.
    let forged = signed(&Key::generate("id"), &bob.id, "the token");
    let dave = peer.user("dave");
    peer.on("exchange_third_party_invite", |_| wardroom_testkit::peer::Answer::ok(&json!({})));
    let elsewhere = invite("!elsewhere:away.example", &dave, &signed(&key, &bob.id, "away"));
    let invites = [invite(&room, &alice.id, &forged), elsewhere, invite(&room, &alice.id, &right)];
    tell(&notice(&bob.id, &invites)).ok();
    wait_until("the invitation", SOON, || {
        let synced = bob.get(raw("/_matrix/client/v3/sync")).ok();
        synced["rooms"]["invite"].get(&room).is_some().then_some(())
    });
    let asked = peer.asked("exchange_third_party_invite").pop().unwrap().json();
    assert_eq!((&asked["sender"], &asked["state_key"]), (&json!(dave), &json!(bob.id)));
    assert_eq!(asked["content"]["third_party_invite"]["signed"]["token"], "away");
}
