//! What happens to a policy, and to the server's own user, is seen.

use wardroom_testkit::{Actor, Value, json, v3, wait_until};

use super::{Gated, POLICY, alarm, give, policy};
use crate::{SOON, admin::own};

#[test]
fn the_servers_own_user_is_put_out_and_local_enforcement_continues() {
    let gated = Gated::of("private_chat");
    let Gated { server, admin, alice, room, role } = &gated;
    let service = format!("@_access:{}", server.name());
    assert_eq!(alice.state(room, "m.room.member", &service)["membership"], "join");
    // Who made the room is above everybody, in this version of rooms.
    alice.on_member_id("kick", room, &service).ok();
    alarm(admin, "service_user_without_power", room);
    assert_eq!(alice.state(room, "m.room.member", &service)["membership"], "leave", "nobody fights over it");
    // Local users leave without anybody's power.
    let bob = gated.colleague();
    alice.invite(room, &bob);
    bob.join(room);
    let mut sync = server.follow(&bob);
    give(admin, &bob.id, &[]);
    sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    // An administrator sends it in again.
    admin.put(own(&["rooms", room, "policy"]), policy(&[role])).ok();
    assert_eq!(alice.state(room, "m.room.member", &service)["membership"], "join");
}

#[test]
fn the_servers_own_user_is_demoted() {
    let gated = Gated::of("private_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let service = format!("@_access:{}", server.name());
    alice.change_power_levels(room, |levels| levels["users"][&service] = json!(0));
    alarm(admin, "service_user_without_power", room);
    let levels = alice.state(room, "m.room.power_levels", "");
    assert_eq!(levels["users"][&service], 0, "nobody fights over it");
}

#[test]
fn a_policy_removed_by_an_administrator_of_the_room_is_told() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, .. } = &gated;
    alice.set_state(room, POLICY, "", json!({}));
    alarm(admin, "policy_removed", room);
}

#[test]
fn moderators_neither_change_a_policy_nor_redact_it_away() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let (moderator, stranger) = (gated.colleague(), server.user("stranger"));
    moderator.join(room);
    alice.change_power_levels(room, |levels| levels["users"][&moderator.id] = json!(50));
    moderator.put(v3(&["rooms", room, "state", POLICY, ""]), json!({})).refused(403, "M_FORBIDDEN");
    let state = moderator.get(v3(&["rooms", room, "state"])).ok();
    let event = state.as_array().unwrap().iter().find(|event| event["type"] == POLICY).unwrap();
    moderator.redact(room, event["event_id"].as_str().unwrap());
    stranger.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
    alarm(admin, "unreadable_policy", room);
    // Those who are in stay.
    moderator.say(room, "still here");
}

#[test]
fn an_upgrade_copies_the_policy_and_the_servers_own_user_and_closes_the_old_room() {
    for (from, to) in [("11", "11"), ("11", "12"), ("12", "12")] {
        let gated = Gated::of("private_chat");
        let Gated { server, admin, alice, role, .. } = &gated;
        let service = format!("@_access:{}", server.name());
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": from }));
        admin.put(own(&["rooms", &room, "policy"]), policy(&[role])).ok();
        let upgraded = alice.post(v3(&["rooms", &room, "upgrade"]), json!({ "new_version": to })).ok();
        let new = upgraded["replacement_room"].as_str().unwrap();
        let stranger = server.user("stranger");
        for room in [&room, new] {
            stranger.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
            // Nothing of the old room is to be seen by way of the new one either.
            stranger.get(v3(&["rooms", room, "state"])).refused(403, "M_FORBIDDEN");
        }
        assert_eq!(alice.state(new, POLICY, ""), policy(&[role]), "from {from} to {to}");
        wait_until("the server's own user", SOON, || alice.members(new, "join").contains(&service).then_some(()));
        if to == "12" {
            let create = alice.state(new, "m.room.create", "");
            assert!(create["additional_creators"].as_array().unwrap().contains(&json!(service)), "{create}");
        }
        let bob = gated.colleague();
        bob.join(new);
        bob.post(v3(&["join", &room]), json!({})).ok();
        bob.try_send(&room, "m.room.message", "t", json!({ "msgtype": "m.text", "body": "x" }))
            .refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn a_room_that_replaces_one_without_its_policy_gets_it() {
    let gated = Gated::of("private_chat");
    let Gated { server, admin, alice, room, role } = &gated;
    // As another server would do it that does not know policies.
    let creation = json!({ "predecessor": { "room_id": room, "event_id": "$unknown" } });
    let new = alice.create_room(json!({ "preset": "public_chat", "creation_content": creation }));
    alice.set_state(room, "m.room.tombstone", "", json!({ "body": "moved", "replacement_room": new }));
    let shown: Value = wait_until("the policy", SOON, || {
        let reply = alice.try_state(&new, POLICY, "");
        (reply.status == 200).then(|| reply.json())
    });
    assert_eq!(shown, policy(&[role]));
    server.user("stranger").post(v3(&["join", &new]), json!({})).refused(403, "M_FORBIDDEN");
    // Taken away there by somebody who may, it stays away.
    alice.set_state(&new, POLICY, "", json!({}));
    alarm(admin, "policy_removed", &new);
    admin.post(own(&["revalidate"]), json!({ "room_id": room })).ok();
    assert_eq!(alice.state(&new, POLICY, ""), json!({}));
}
