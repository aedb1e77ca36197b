//! `/publicRooms` and `/directory/list/room`.

use wardroom_testkit::{Actor, User, Value, events, json, unique, v3};

use crate::ward;

/// Searches by a word that only this test's rooms have.
fn search(user: &User, word: &str) -> Vec<Value> {
    let answer = user.post(v3(&["publicRooms"]), json!({ "filter": { "generic_search_term": word } })).ok();
    events(&answer["chunk"]).to_vec()
}

fn listed(user: &User, room: &str) -> Value {
    user.anonymous().get(v3(&["directory", "list", "room", room])).ok()["visibility"].clone()
}

#[test]
fn a_public_room_is_described() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (word, alias) = (unique("cardiology"), unique("alias"));
    let room = alice.create_room(json!({
        "visibility": "public", "preset": "public_chat", "name": format!("{word} ward"), "topic": "Beats", "room_alias_name": alias,
    }));
    bob.join(&room);
    let found = search(&bob, &word);
    assert_eq!(found.len(), 1, "{found:?}");
    let entry = &found[0];
    assert_eq!(entry["room_id"], room.as_str());
    assert_eq!((&entry["name"], &entry["topic"]), (&json!(format!("{word} ward")), &json!("Beats")));
    assert_eq!(entry["canonical_alias"], format!("#{alias}:{}", ward().name()));
    assert_eq!((&entry["num_joined_members"], &entry["world_readable"]), (&json!(2), &json!(false)));
    assert_eq!(entry["guest_can_join"], false);
    assert!(matches!(entry["join_rule"].as_str(), None | Some("public")), "public is the default: {entry}");
    assert_eq!(search(&bob, &word.to_uppercase()).len(), 1, "case does not matter");
    bob.leave(&room);
    assert_eq!(search(&bob, &word)[0]["num_joined_members"], 1);
}

#[test]
fn only_published_rooms_are_listed() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let word = unique("oncology");
    let room = alice.create_room(json!({ "preset": "public_chat", "name": word }));
    bob.join(&room);
    assert_eq!(listed(&alice, &room), "private");
    assert!(search(&alice, &word).is_empty());
    let set = |user: &User, visibility: &str| {
        user.put(v3(&["directory", "list", "room", &room]), json!({ "visibility": visibility }))
    };
    set(&bob, "public").refused(403, "M_FORBIDDEN");
    assert_eq!(listed(&alice, &room), "private");
    set(&alice, "public").ok();
    assert_eq!(listed(&alice, &room), "public");
    assert_eq!(search(&bob, &word).len(), 1);
    set(&alice, "hidden").refused_with_one_of(400, &["M_BAD_JSON", "M_INVALID_PARAM"]);
    set(&alice, "private").ok();
    assert!(search(&bob, &word).is_empty());
    let unknown = format!("!{}:{}", unique("nowhere"), ward().name());
    alice.get(v3(&["directory", "list", "room", &unknown])).refused(404, "M_NOT_FOUND");
}

#[test]
fn pages_of_the_directory_hold_each_room_once() {
    let alice = ward().user("alice");
    let word = unique("paging");
    let mut rooms: Vec<String> =
        (0..5).map(|n| alice.create_room(json!({ "visibility": "public", "name": format!("{word} {n}") }))).collect();
    let (mut found, mut since, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut body = json!({ "limit": 2, "filter": { "generic_search_term": word } });
        if let Some(since) = &since {
            body["since"] = json!(since);
        }
        let page = alice.post(v3(&["publicRooms"]), body).ok();
        assert!(events(&page["chunk"]).len() <= 2, "{page}");
        found.extend(events(&page["chunk"]).iter().map(|entry| entry["room_id"].as_str().unwrap().to_owned()));
        since = page["next_batch"].as_str().map(str::to_owned);
        pages += 1;
        if since.is_none() {
            break;
        }
        assert!(pages < 10, "no end: {page}");
    }
    found.sort();
    rooms.sort();
    assert_eq!(found, rooms);
}

#[test]
fn the_list_is_read_without_an_account_and_filtered_by_type() {
    let alice = ward().user("alice");
    let word = unique("types");
    alice.create_room(json!({ "visibility": "public", "name": format!("{word} room") }));
    let space =
        json!({ "visibility": "public", "name": format!("{word} space"), "creation_content": { "type": "m.space" } });
    let space = alice.create_room(space);
    let answer = alice.anonymous().get(v3(&["publicRooms"]).query("limit", "1")).ok();
    assert_eq!(events(&answer["chunk"]).len(), 1);
    assert!(answer["total_room_count_estimate"].as_u64().is_some_and(|rooms| rooms >= 2), "{answer}");
    let body = json!({ "filter": { "generic_search_term": word, "room_types": ["m.space"] } });
    let found = alice.post(v3(&["publicRooms"]), body).ok();
    assert_eq!((events(&found["chunk"]).len(), &found["chunk"][0]["room_id"]), (1, &json!(space)));
    assert_eq!(found["chunk"][0]["room_type"], "m.space");
    let body = json!({ "filter": { "generic_search_term": word, "room_types": [null] } });
    assert_eq!(events(&alice.post(v3(&["publicRooms"]), body).ok()["chunk"]).len(), 1);
}
