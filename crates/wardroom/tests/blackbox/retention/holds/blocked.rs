//! Every way on which something is deleted.

use wardroom_testkit::{Actor, User, Value, json, raw, serde_json, unique, wait_until};

use super::{bodies, covered, hold, release_by};
use crate::{
    SOON,
    admin::{admin_of, own, synapse},
    audit::records,
    erasure::erasure,
    media::{download, path, upload},
    retention::config,
    server_with, ward,
};

#[track_caller]
fn held(answer: &Value, id: &str) {
    assert!(answer["error"].as_str().unwrap().contains(id), "the hold is not named: {answer}");
}

#[track_caller]
fn purged(admin: &User, room: &str, act: &str) -> u64 {
    let found = records(admin, &[("act", act), ("room_id", room)]);
    found.iter().filter_map(|record| record["on"]["count"].as_u64()).sum()
}

#[test]
fn what_is_held_is_not_purged_and_stays_hidden() {
    let server = server_with(config().set("retention.stubs_seconds", "0"));
    let (admin, other) = (admin_of(&server), admin_of(&server));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let token = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    let (first, second) = (bob.say(&room, "the evidence"), bob.say(&room, "more evidence"));
    alice.say(&room, "small talk");
    let id = hold(&admin, &json!({ "room_id": room, "user_id": bob.id }));
    bob.redact(&room, &second);
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 1 }));
    wait_until("the purge", SOON, || (purged(&admin, &room, "retention.redact") >= 1).then_some(()));
    let found = covered(&admin, &id);
    assert_eq!(bodies(&found), ["the evidence", "more evidence"]);
    assert_eq!((&found[0]["redacted"], &found[0]["expired"]), (&json!(false), &json!(true)));
    assert_eq!((&found[1]["redacted"], &found[1]["event_id"]), (&json!(true), &json!(second)));
    assert_eq!((&found[1]["sender"], &found[1]["room_id"]), (&json!(bob.id), &json!(room)));
    let looks = records(&admin, &[("act", "hold.read"), ("room_id", &room)]);
    assert_eq!((&looks[0]["on"]["name"], &looks[0]["who"]["user"]), (&json!(id), &json!(admin.id)));
    for user in [&alice, &bob] {
        user.try_event(&room, &first).refused(404, "M_NOT_FOUND");
        let sync = user.get(wardroom_testkit::v3(&["sync"]).query("since", &token)).ok().to_string();
        let history = serde_json::to_string(&user.history(&room)).unwrap();
        assert!(!history.contains("evidence") && !sync.contains("evidence"), "a hold shows nothing: {history} {sync}");
    }
    admin.get(synapse(&["v1", "fetch_event", &first])).refused_somehow();
    release_by([&admin, &other], &id);
    wait_until("the purge of what was held", SOON, || (purged(&admin, &room, "retention.redact") >= 3).then_some(()));
    assert_eq!(covered(&admin, &hold(&admin, &json!({ "room_id": room }))).len(), 0);
}

#[test]
fn a_held_room_is_emptied_and_blocked_but_not_destroyed() {
    let (server, admin, other) = (ward(), admin_of(ward()), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said = bob.say(&room, "kept");
    alice.say(&room, "newest");
    for scope in [json!({ "room_id": room }), json!({ "user_id": bob.id })] {
        let id = hold(&admin, &scope);
        let delete = |body: Value| admin.request("DELETE", &synapse(&["v2", "rooms", &room]), body.into());
        held(&delete(json!({})).refused(403, "M_FORBIDDEN"), &id);
        held(&delete(json!({ "block": true, "force_purge": true })).refused(403, "M_FORBIDDEN"), &id);
        let purge = json!({ "purge_up_to_ts": u64::from(u32::MAX) * 1_000, "delete_local_events": true });
        held(&admin.post(synapse(&["v1", "purge_history", &room]), purge).refused(403, "M_FORBIDDEN"), &id);
        assert_eq!(alice.try_event(&room, &said).ok()["content"]["body"], "kept");
        release_by([&admin, &other], &id);
    }
    let id = hold(&admin, &json!({ "room_id": room }));
    let retention = admin.get(own(&["rooms", &room, "retention"])).ok();
    assert_eq!(retention["held"], true);
    let body = json!({ "block": true, "purge": false });
    admin.request("DELETE", &synapse(&["v1", "rooms", &room]), body.into()).ok();
    assert!(!alice.is_in(&room) && !bob.is_in(&room));
    assert_eq!(bodies(&covered(&admin, &id)), ["kept", "newest"]);
    release_by([&admin, &other], &id);
}

#[test]
fn held_files_are_not_deleted() {
    let server = server_with(config());
    let (admin, other) = (admin_of(&server), admin_of(&server));
    let alice = server.user("alice");
    let (named, by_user) = (upload(&alice, b"named", "text/plain", None), upload(&alice, b"other", "text/plain", None));
    let delete = |uri: &str| admin.delete(path("/_synapse/admin/v1/media", uri, ""));
    let id = hold(&admin, &json!({ "media": named }));
    held(&delete(&named).refused(403, "M_FORBIDDEN"), &id);
    let user = hold(&admin, &json!({ "user_id": alice.id }));
    held(&delete(&by_user).refused(403, "M_FORBIDDEN"), &user);
    let all = admin.delete(synapse(&["v1", "users", &alice.id, "media"])).ok();
    assert_eq!(all["total"], 0, "{all}");
    let unused = || {
        let now = wardroom_testkit::peer::now_ms().to_string();
        let target = raw("/_synapse/admin/v1/media/delete").query("before_ts", &now).query("size_gt", "0");
        let answer = admin.post(target, json!({}));
        assert_eq!(answer.status, 200, "{}", answer.story());
        answer.json()
    };
    assert_eq!(unused()["total"], 0);
    for uri in [&named, &by_user] {
        assert_eq!(download(&alice, uri).status, 200);
    }
    release_by([&admin, &other], &user);
    assert_eq!(delete(&by_user).ok()["total"], 1);
    assert_eq!(download(&alice, &named).status, 200);
    release_by([&admin, &other], &id);
    assert_eq!(delete(&named).ok()["total"], 1);
}

#[test]
fn a_held_account_is_closed_but_not_erased() {
    let (server, admin, other) = (ward(), admin_of(ward()), admin_of(ward()));
    let alice = server.user("alice");
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let said = alice.say(&room, &unique("said"));
    let id = hold(&admin, &json!({ "user_id": alice.id }));
    let deactivate = |erase: bool| admin.post(synapse(&["v1", "deactivate", &alice.id]), json!({ "erase": erase }));
    deactivate(true).ok();
    alice.get(wardroom_testkit::v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    let shown = erasure(&admin, &alice, "held");
    assert_eq!(shown["held"][0]["hold"], *id, "{shown}");
    assert_eq!(covered(&admin, &id)[0]["event_id"], said);
    release_by([&admin, &other], &id);
    deactivate(true).ok();
    erasure(&admin, &alice, "complete");
}
