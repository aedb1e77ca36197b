//! Purging histories.

use wardroom_testkit::{Actor, Config, User, Value, json, raw, v3, wait_until};

use super::{admin_of, synapse};
use crate::{SOON, server_with, ward};

fn finished(admin: &User, id: &str) -> Value {
    wait_until("the purge ends", SOON, || {
        let status = admin.get(synapse(&["v1", "purge_history_status", id])).ok();
        matches!(status["status"].as_str(), Some("complete" | "failed")).then_some(status)
    })
}

fn purge(admin: &User, path: &[&str], body: Value) -> String {
    let path = [&["v1", "purge_history"], path].concat();
    admin.post(synapse(&path), body).ok()["purge_id"].as_str().unwrap().to_owned()
}

#[test]
fn nobody_reads_what_was_purged() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said: Vec<String> = (0..10).map(|number| alice.say(&room, &format!("wound {number}"))).collect();
    let token = bob.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    let id = purge(&admin, &[&room, &said[7]], json!({ "delete_local_events": true }));
    assert_eq!(finished(&admin, &id)["status"], "complete");
    for user in [&alice, &bob] {
        assert_eq!(wardroom_testkit::bodies(&user.history(&room)), ["wound 7", "wound 8", "wound 9"]);
        user.try_event(&room, &said[6]).refused(404, "M_NOT_FOUND");
        user.get(v3(&["rooms", &room, "context", &said[0]])).refused(404, "M_NOT_FOUND");
        user.initial_sync();
        let found = user
            .post(v3(&["search"]), json!({ "search_categories": { "room_events": { "search_term": "wound" } } }))
            .ok();
        assert_eq!(found["search_categories"]["room_events"]["count"], 3, "{found}");
    }
    bob.get(v3(&["sync"]).query("since", &token)).ok();
    bob.say(&room, "and on");
    assert_eq!(alice.state(&room, "m.room.create", "")["room_version"], "12");
    assert_eq!(alice.history(&room).len(), 4);
    admin.post(synapse(&["v1", "purge_history", &room]), json!({})).refused(400, "M_BAD_JSON");
    admin.post(synapse(&["v1", "purge_history", &room, "$unknown"]), json!({})).refused(404, "M_NOT_FOUND");
    admin.get(synapse(&["v1", "purge_history_status", "unknown"])).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_purge_by_time_leaves_the_newest_and_what_users_here_said_at_rest() {
    let (server, admin) = (ward(), admin_of(ward()));
    let alice = server.user("alice");
    let room = alice.create_public_room(&[]);
    let said = alice.say(&room, "old");
    alice.say(&room, "newest");
    let id = purge(&admin, &[&room], json!({ "purge_up_to_ts": u32::MAX as u64 * 1_000 }));
    assert_eq!(finished(&admin, &id)["status"], "complete");
    assert_eq!(wardroom_testkit::bodies(&alice.history(&room)), ["newest"]);
    alice.try_event(&room, &said).refused(404, "M_NOT_FOUND");
    let kept = admin.get(synapse(&["v1", "fetch_event", &said])).ok();
    assert_eq!(kept["event"]["content"]["body"], "old");
}

#[test]
fn a_purge_goes_on_after_a_crash_and_the_store_is_sound() {
    let mut server = server_with(Config::default());
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let room = alice.create_public_room(&[]);
    let said: Vec<String> = (0..260).map(|number| alice.say(&room, &format!("x {number}"))).collect();
    let id = purge(&admin, &[&room, &said[250]], json!({ "delete_local_events": true }));
    server.kill9();
    server.start_again();
    assert_eq!(finished(&admin, &id)["status"], "complete");
    assert_eq!(alice.history(&room).len(), 10);
    let tasks = admin.get(raw("/_synapse/admin/v1/scheduled_tasks").query("resource_id", &room)).ok();
    let task = &tasks["scheduled_tasks"][0];
    assert_eq!(
        (&task["id"], &task["action"], &task["status"]),
        (&json!(id), &json!("purge_history"), &json!("complete"))
    );
    server.stop();
    let checked = server.command(&["fsck", "--config"]).arg(server.config_path()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
