//! Deleting rooms.

use wardroom_testkit::{Actor, User, Value, json, unique, v3, wait_until};

use super::{admin_of, synapse};
use crate::{SOON, server_with, ward};

fn finished(admin: &User, id: &str) -> Value {
    wait_until("the deletion ends", SOON, || {
        let status = admin.get(synapse(&["v2", "rooms", "delete_status", id])).ok();
        matches!(status["status"].as_str(), Some("complete" | "failed")).then_some(status)
    })
}

#[test]
fn a_deleted_room_is_gone_for_everybody() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let alias = unique("gone");
    let room = alice.create_room(json!({ "preset": "public_chat", "room_alias_name": alias, "visibility": "public" }));
    bob.join(&room);
    alice.invite(&room, &carol);
    let said = alice.say(&room, "not for ever");
    let (mut sync, mut waiting) = (server.follow(&bob), server.follow(&carol));
    let began =
        admin.request("DELETE", &synapse(&["v2", "rooms", &room]), json!({ "block": true, "purge": true }).into());
    let id = began.ok()["delete_id"].as_str().unwrap().to_owned();
    let status = finished(&admin, &id);
    assert_eq!(status["status"], "complete", "{status}");
    let done = &status["shutdown_room"];
    let mut kicked: Vec<&str> =
        done["kicked_users"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let mut expected = [alice.id.as_str(), bob.id.as_str(), carol.id.as_str()];
    kicked.sort_unstable();
    expected.sort_unstable();
    assert_eq!(kicked, expected);
    assert_eq!(done["local_aliases"], json!([format!("#{alias}:{}", server.name())]));
    let of_room = admin.get(synapse(&["v2", "rooms", &room, "delete_status"])).ok();
    assert_eq!(of_room["results"][0]["delete_id"], id);

    // What clients do afterwards: they hear that they are out, and find nothing.
    sync.until("the leave", SOON, |sync| sync["rooms"]["leave"].get(&room).is_some());
    waiting.until("the end of the invitation", SOON, |sync| sync["rooms"]["leave"].get(&room).is_some());
    for user in [&alice, &bob, &carol] {
        user.initial_sync();
        user.try_event(&room, &said).refused_with_one_of(404, &["M_NOT_FOUND"]);
        user.try_messages(&room, "b", None, "10").refused(403, "M_FORBIDDEN");
        user.get(v3(&["sync"])).ok();
    }
    alice.get(v3(&["directory", "room", &format!("#{alias}:{}", server.name())])).refused(404, "M_NOT_FOUND");
    admin.get(synapse(&["v1", "rooms", &room])).refused(404, "M_NOT_FOUND");
    assert_eq!(admin.get(synapse(&["v1", "rooms", &room, "block"])).ok()["block"], true);
    let public = alice.get(v3(&["publicRooms"]).query("limit", "500")).ok();
    assert!(!public.to_string().contains(&room));
    bob.try_join(&room).refused_somehow();
    // Everything else goes on.
    let other = alice.create_public_room(&[&bob]);
    alice.say(&other, "still here");
    sync.until("the message", SOON, |sync| sync.to_string().contains("still here"));
}

#[test]
fn users_are_moved_to_a_room_that_says_why() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let done = admin
        .request(
            "DELETE",
            &synapse(&["v1", "rooms", &room]),
            json!({ "new_room_user_id": admin.id, "room_name": "Closed", "message": "The ward moved", "purge": false })
                .into(),
        )
        .ok();
    let new = done["new_room_id"].as_str().unwrap();
    assert_eq!(done["kicked_users"].as_array().unwrap().len(), 2, "{done}");
    assert!(alice.is_in(new) && bob.is_in(new) && !alice.is_in(&room));
    assert_eq!(wardroom_testkit::bodies(&bob.history(new)), ["The ward moved"]);
    bob.try_send(new, "m.room.message", &unique("t"), json!({ "msgtype": "m.text", "body": "why?" }))
        .refused(403, "M_FORBIDDEN");
    assert_eq!(bob.state(new, "m.room.name", "")["name"], "Closed");
    // Not purged: those who were in it still read it.
    assert!(!bob.history(&room).is_empty());
    assert_eq!(admin.get(synapse(&["v1", "rooms", &room])).ok()["joined_members"], 0);
    admin
        .request("DELETE", &synapse(&["v2", "rooms", &room]), json!({ "new_room_user_id": "@x:y.example" }).into())
        .refused(400, "M_INVALID_PARAM");
}

#[test]
fn rooms_that_are_not_here_are_only_blocked() {
    let admin = admin_of(ward());
    let room = format!("!{}:elsewhere.example", unique("unheard"));
    let delete = |body: Value| admin.request("DELETE", &synapse(&["v2", "rooms", &room]), body.into());
    delete(json!({})).refused(400, "M_INVALID_PARAM");
    let id = delete(json!({ "block": true })).ok()["delete_id"].as_str().unwrap().to_owned();
    assert_eq!(finished(&admin, &id)["status"], "complete");
    assert_eq!(admin.get(synapse(&["v1", "rooms", &room, "block"])).ok()["block"], true);
    admin.get(synapse(&["v2", "rooms", "delete_status", "nonsense"])).refused(404, "M_NOT_FOUND");
    admin.get(synapse(&["v2", "rooms", "!other:x.example", "delete_status"])).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_deletion_goes_on_after_a_crash_and_the_store_is_sound() {
    let mut server = server_with(wardroom_testkit::Config::default());
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let (room, kept) = (alice.create_public_room(&[&admin]), alice.create_public_room(&[&admin]));
    for number in 0..30 {
        alice.say(&room, &format!("to be destroyed {number}"));
    }
    alice.say(&kept, "to be kept");
    let began = admin.request("DELETE", &synapse(&["v2", "rooms", &room]), json!({}).into()).ok();
    server.kill9();
    server.start_again();
    let id = began["delete_id"].as_str().unwrap();
    assert_eq!(finished(&admin, id)["status"], "complete");
    admin.get(synapse(&["v1", "rooms", &room])).refused(404, "M_NOT_FOUND");
    assert_eq!(wardroom_testkit::bodies(&alice.history(&kept)), ["to be kept"]);
    alice.initial_sync();
    server.stop();
    let checked = server.command(&["fsck", "--config"]).arg(server.config_path()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
