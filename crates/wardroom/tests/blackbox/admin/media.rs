//! Media, as administrators handle them.

use wardroom_testkit::{Actor, Config, Target, User, Value, json, raw};

use super::{admin_of, synapse};
use crate::{
    media::{download, upload},
    server_with, ward,
};

fn id(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap()
}

fn of_media(action: &str, uri: &str) -> Target {
    synapse(&["v1", "media", action, ward().name(), id(uri)])
}

fn list(admin: &User, user: &User) -> Value {
    admin.get(synapse(&["v1", "users", &user.id, "media"])).ok()
}

#[test]
fn media_are_hidden_shown_protected_and_deleted() {
    let (server, admin) = (ward(), admin_of(ward()));
    let alice = server.user("alice");
    let (first, second) =
        (upload(&alice, b"first", "text/plain", Some("a.txt")), upload(&alice, b"second one", "text/plain", None));
    let one = |uri: &str| synapse(&["v1", "media", server.name(), id(uri)]);
    let info = admin.get(one(&first)).ok()["media_info"].clone();
    assert_eq!((&info["user_id"], &info["upload_name"]), (&json!(alice.id), &json!("a.txt")));
    assert_eq!((&info["media_length"], &info["quarantined_by"]), (&json!(5), &Value::Null));
    admin.post(of_media("quarantine", &first), json!({})).ok();
    assert_eq!(download(&alice, &first).status, 404);
    assert_eq!(admin.get(one(&first)).ok()["media_info"]["quarantined_by"], admin.id);
    admin.post(of_media("unquarantine", &first), json!({})).ok();
    assert_eq!(download(&alice, &first).bytes, b"first");
    let protect = |action: &str| admin.post(synapse(&["v1", "media", action, id(&first)]), json!({}));
    protect("protect").ok();
    let hidden = admin.post(synapse(&["v1", "user", &alice.id, "media", "quarantine"]), json!({})).ok();
    assert_eq!(hidden, json!({ "num_quarantined": 1 }), "one of the two is protected");
    assert_eq!((download(&alice, &first).status, download(&alice, &second).status), (200, 404));
    protect("unprotect").ok();
    let listed = list(&admin, &alice);
    assert_eq!(
        (&listed["total"], &listed["media"][0]["media_id"]),
        (&json!(2), &json!(id(&second))),
        "the newest first"
    );
    let by_length = synapse(&["v1", "users", &alice.id, "media"]).query("order_by", "media_length").query("limit", "1");
    let page = admin.get(by_length).ok();
    assert_eq!((&page["media"][0]["media_length"], &page["next_token"]), (&json!(5), &json!(1)));
    assert_eq!(admin.delete(one(&first)).ok(), json!({ "deleted_media": [id(&first)], "total": 1 }));
    admin.delete(one(&first)).refused(404, "M_NOT_FOUND");
    assert_eq!(admin.delete(synapse(&["v1", "users", &alice.id, "media"])).ok()["total"], 1);
    assert_eq!(list(&admin, &alice)["total"], 0);
    admin.get(synapse(&["v1", "media", "a/b", "x"])).refused(400, "M_INVALID_PARAM");
    admin.post(synapse(&["v1", "media", "protect", "unknown"]), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn media_of_a_room_are_found_and_hidden() {
    let (server, admin) = (ward(), admin_of(ward()));
    let alice = server.user("alice");
    let (here, there) = (upload(&alice, b"here", "image/png", None), "mxc://elsewhere.example/abc");
    let room = alice.create_public_room(&[]);
    for (txn, uri) in [("a", here.as_str()), ("b", there)] {
        let content = json!({ "msgtype": "m.image", "body": "x", "url": uri });
        alice.try_send(&room, "m.room.message", txn, content).ok();
    }
    let found = admin.get(synapse(&["v1", "room", &room, "media"])).ok();
    assert_eq!(found, json!({ "local": [here], "remote": [there] }));
    let hidden = admin.post(synapse(&["v1", "room", &room, "media", "quarantine"]), json!({})).ok();
    assert_eq!(hidden, json!({ "num_quarantined": 2 }));
    assert_eq!(download(&alice, &here).status, 404);
}

#[test]
fn unused_media_are_deleted_and_storage_is_counted() {
    let server = server_with(Config::default());
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let (small, large) = (upload(&alice, b"x", "text/plain", None), upload(&alice, &[0; 1_000], "text/plain", None));
    let picture = upload(&alice, &[1; 1_000], "image/png", None);
    admin.put(synapse(&["v2", "users", &alice.id]), json!({ "avatar_url": picture })).ok();
    let statistics = || raw("/_synapse/admin/v1/statistics/users/media");
    let counted = admin.get(statistics()).ok();
    let expected = json!([{
        "user_id": alice.id, "displayname": alice.localpart, "media_count": 3, "media_length": 2_001,
    }]);
    assert_eq!((&counted["users"], &counted["total"]), (&expected, &json!(1)));
    let listed = list(&admin, &alice);
    let newest = listed["media"][0]["created_ts"].as_u64().unwrap();
    let none = admin.get(statistics().query("from_ts", &(newest + 100_000).to_string())).ok();
    assert_eq!(none["total"], 0);
    let delete = |before: u64| {
        admin.post(
            raw("/_synapse/admin/v1/media/delete").query("before_ts", &before.to_string()).query("size_gt", "10"),
            json!({}),
        )
    };
    delete(1_000).refused(400, "M_INVALID_PARAM");
    delete(newest + 1_000_000_000).refused(400, "M_INVALID_PARAM");
    let oldest = listed["media"][2]["created_ts"].as_u64().unwrap();
    assert_eq!(delete(oldest).ok()["total"], 0);
    wardroom_testkit::wait_until("the clock is past the uploads", crate::SOON, || {
        let deleted = delete(newest + 1);
        (deleted.status == 200).then(|| assert_eq!(deleted.json()["deleted_media"], json!([id(&large)])))
    });
    assert_eq!((download(&alice, &small).status, download(&alice, &picture).status), (200, 200));
    let purged =
        admin.post(raw("/_synapse/admin/v1/purge_media_cache").query("before_ts", &newest.to_string()), json!({})).ok();
    assert_eq!(purged, json!({ "deleted": 0 }));
}
