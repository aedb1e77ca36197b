//! `/directory/room/{roomAlias}` and `/rooms/{roomId}/aliases`.

use wardroom_testkit::{Actor, Target, User, json, same_set, unique, v3};

use crate::ward;

fn fresh_alias() -> String {
    format!("#{}:{}", unique("alias"), ward().name())
}

fn at(alias: &str) -> Target {
    v3(&["directory", "room", alias])
}

fn put(user: &User, alias: &str, room: &str) -> wardroom_testkit::Reply {
    user.put(at(alias), json!({ "room_id": room }))
}

#[test]
fn an_alias_leads_to_its_room_until_it_is_deleted() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (room, alias) = (alice.create_public_room(&[]), fresh_alias());
    alice.get(at(&alias)).refused(404, "M_NOT_FOUND");
    put(&alice, &alias, &room).ok();
    let found = bob.get(at(&alias)).ok();
    assert_eq!(found["room_id"], room.as_str());
    assert_eq!(found["servers"], json!([ward().name()]));
    assert_eq!(bob.anonymous().get(at(&alias)).ok()["room_id"], room.as_str(), "needs no token");
    bob.join(&alias);
    assert!(bob.is_in(&room));

    put(&alice, &alias, &room).refused(409, "M_UNKNOWN");
    let other = alice.create_public_room(&[]);
    put(&alice, &alias, &other).refused(409, "M_UNKNOWN");
    assert_eq!(bob.get(at(&alias)).ok()["room_id"], room.as_str());
    alice.delete(at(&alias)).ok();
    alice.get(at(&alias)).refused(404, "M_NOT_FOUND");
    alice.delete(at(&alias)).refused(404, "M_NOT_FOUND");
}

#[test]
fn aliases_of_a_room_are_listed_for_its_members() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (room, one, two) = (alice.create_room(json!({})), fresh_alias(), fresh_alias());
    put(&alice, &one, &room).ok();
    put(&alice, &two, &room).ok();
    let list = |user: &User| user.get(v3(&["rooms", &room, "aliases"]));
    assert!(same_set(&list(&alice).ok()["aliases"], &[&one, &two]), "{}", list(&alice).story());
    list(&bob).refused(403, "M_FORBIDDEN");
    alice.delete(at(&one)).ok();
    assert!(same_set(&list(&alice).ok()["aliases"], &[&two]));
}

#[test]
fn an_alias_is_deleted_by_its_creator_or_by_power() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let (of_bob, of_alice) = (fresh_alias(), fresh_alias());
    put(&bob, &of_bob, &room).ok();
    put(&alice, &of_alice, &room).ok();
    carol.delete(at(&of_bob)).refused(403, "M_FORBIDDEN");
    bob.delete(at(&of_alice)).refused(403, "M_FORBIDDEN");
    bob.delete(at(&of_bob)).ok();
    put(&bob, &of_bob, &room).ok();
    alice.delete(at(&of_bob)).ok();
    assert_eq!(carol.get(at(&of_alice)).ok()["room_id"], room.as_str());
}

#[test]
fn what_is_no_alias_of_ours_is_refused() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    for bad in ["no-sigil:hospital-a.example", "#no-server", "#"] {
        put(&alice, bad, &room).refused(400, "M_INVALID_PARAM");
        alice.get(at(bad)).refused(400, "M_INVALID_PARAM");
    }
    let elsewhere = put(&alice, "#room:elsewhere.example", &room);
    assert!([400, 403].contains(&elsewhere.status), "{}", elsewhere.story());
    let long = format!("#{}:{}", "a".repeat(255), ward().name());
    assert_eq!(put(&alice, &long, &room).status, 400);
    let alias = fresh_alias();
    put(&alice, &alias, "no room id").refused_with_one_of(400, &["M_BAD_JSON", "M_INVALID_PARAM"]);
    alice.put(at(&alias), json!({})).refused_with_one_of(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    alice.get(at(&alias)).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_canonical_alias_must_point_to_the_room() {
    let alice = ward().user("alice");
    let (room, other, alias) = (alice.create_room(json!({})), alice.create_room(json!({})), fresh_alias());
    let set = |room: &str, content| alice.try_set_state(room, "m.room.canonical_alias", "", content);
    set(&room, json!({ "alias": alias })).refused(400, "M_BAD_ALIAS");
    put(&alice, &alias, &room).ok();
    set(&room, json!({ "alias": alias, "alt_aliases": [alias] })).ok();
    set(&other, json!({ "alias": alias })).refused(400, "M_BAD_ALIAS");
    set(&room, json!({ "alias": alias, "alt_aliases": ["not an alias"] })).refused(400, "M_INVALID_PARAM");
    set(&room, json!({ "alias": alias, "alt_aliases": [fresh_alias()] })).refused(400, "M_BAD_ALIAS");
    assert_eq!(alice.state(&room, "m.room.canonical_alias", "")["alias"], alias.as_str());
    alice.try_state(&other, "m.room.canonical_alias", "").refused(404, "M_NOT_FOUND");
}
