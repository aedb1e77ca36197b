//! What users may know of rooms of other servers before they enter them: spaces, summaries, directories, aliases.

use wardroom_testkit::{Actor as _, encode, events, json, raw, v3};

use super::sites::{Site, VERSIONS, agree, join_via, public_room};

#[test]
fn a_space_is_looked_into_across_servers() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let create = json!({ "type": "m.space" });
        let space = alice.create_room(json!({
            "preset": "public_chat", "room_version": version, "creation_content": create, "name": "Hospital",
        }));
        let open = alice.create_room(json!({ "preset": "public_chat", "room_version": version, "name": "Open ward" }));
        let closed = alice.create_room(json!({ "room_version": version, "name": "Closed ward" }));
        for child in [&open, &closed] {
            alice.set_state(&space, "m.space.child", child, json!({ "via": [here.name()] }));
        }
        join_via(&bob, &space, &here);
        agree(&space, &[&here, &there]);
        let hierarchy = raw(&format!("/_matrix/client/v1/rooms/{}/hierarchy", encode(&space)));
        let told = bob.get(hierarchy).ok();
        let rooms: Vec<_> = events(&told["rooms"]).iter().map(|room| room["room_id"].clone()).collect();
        assert_eq!(rooms, [json!(space), json!(open)], "{told}");
        assert_eq!(told["rooms"][1]["name"], "Open ward");

        let summary =
            |room: &str| raw(&format!("/_matrix/client/v1/room_summary/{}", encode(room))).query("via", here.name());
        let open_summary = bob.get(summary(&open)).ok();
        assert_eq!((&open_summary["name"], &open_summary["membership"]), (&json!("Open ward"), &json!("leave")));
        bob.get(summary(&closed)).refused(404, "M_NOT_FOUND");
    }
}

#[test]
fn directories_and_aliases_of_other_servers_are_asked() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let name = wardroom_testkit::unique("ward");
    let room = alice.create_room(json!({
        "preset": "public_chat", "visibility": "public", "name": name, "room_alias_name": name,
    }));
    let list = bob.get(v3(&["publicRooms"]).query("server", here.name())).ok();
    assert!(events(&list["chunk"]).iter().any(|listed| listed["room_id"] == room.as_str()), "{list}");
    let search = json!({ "filter": { "generic_search_term": name } });
    let found = bob.post(v3(&["publicRooms"]).query("server", here.name()), search).ok();
    assert_eq!(events(&found["chunk"]).len(), 1, "{found}");

    let alias = format!("#{name}:{}", here.name());
    let led = bob.get(v3(&["directory", "room", &alias])).ok();
    assert_eq!(led["room_id"], room.as_str());
    assert!(led["servers"].as_array().unwrap().contains(&json!(here.name())));
    let nowhere = format!("#nowhere:{}", here.name());
    bob.get(v3(&["directory", "room", &nowhere])).refused(404, "M_NOT_FOUND");
    bob.post(v3(&["join", &nowhere]), json!({})).refused(404, "M_NOT_FOUND");
    bob.post(v3(&["join", &alias]), json!({})).ok();
    agree(&room, &[&here, &there]);
}

#[test]
fn the_event_near_a_time_is_asked_for_where_history_is_missing() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "11");
    let first = alice.say(&room, "the first");
    let at = alice.try_event(&room, &first).ok()["origin_server_ts"].as_u64().unwrap();
    for number in 0..120 {
        alice.say(&room, &number.to_string());
    }
    join_via(&bob, &room, &here);
    let near = raw(&format!("/_matrix/client/v1/rooms/{}/timestamp_to_event", encode(&room)));
    let near = bob.get(near.query("ts", &at.to_string()).query("dir", "f")).ok();
    assert_eq!(near["event_id"], first.as_str());
    assert_eq!(bob.try_event(&room, &first).status, 200);
}
