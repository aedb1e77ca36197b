//! Thread subscriptions (MSC4306), and pages of their changes (MSC4308).

use wardroom_testkit::{Actor, Body, Reply, Target, User, Value, encode, json, raw};

use super::reply;
use crate::{server_with, ward};

fn target(room: &str, root: &str) -> Target {
    let (room, root) = (encode(room), encode(root));
    raw(&format!("/_matrix/client/unstable/io.element.msc4306/rooms/{room}/thread/{root}/subscription"))
}

fn get(user: &User, room: &str, root: &str) -> Reply {
    user.get(target(room, root))
}

fn put(user: &User, room: &str, root: &str, body: Value) -> Reply {
    user.put(target(room, root), body)
}

fn delete(user: &User, room: &str, root: &str) -> Reply {
    user.request("DELETE", &target(room, root), Body::Empty)
}

fn changes(user: &User, query: &[(&str, &str)]) -> Reply {
    let mut target = raw("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions");
    for (key, value) in query {
        target = target.query(key, value);
    }
    user.get(target)
}

const NOT_IN_THREAD: &str = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD";
const CONFLICT: &str = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION";

#[test]
fn a_thread_is_subscribed_to_and_left() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let root = alice.say(&room, "root");
    get(&bob, &room, &root).refused(404, "M_NOT_FOUND");
    put(&bob, &room, &root, json!({})).ok();
    assert_eq!(get(&bob, &room, &root).ok(), json!({ "automatic": false }));
    get(&alice, &room, &root).refused(404, "M_NOT_FOUND");
    put(&bob, &room, &root, json!({})).ok();
    delete(&bob, &room, &root).ok();
    get(&bob, &room, &root).refused(404, "M_NOT_FOUND");
    delete(&bob, &room, &root).ok();
    delete(&alice, &room, &root).ok();
}

#[test]
fn an_automatic_subscription_needs_an_event_of_the_thread_after_the_last_unsubscription() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let (root, other) = (alice.say(&room, "root"), alice.say(&room, "other"));
    let one = reply(&alice, &room, &root, "one");
    for cause in [&root, &other, &"$nothing".to_owned()] {
        put(&bob, &room, &root, json!({ "automatic": cause })).refused(400, NOT_IN_THREAD);
    }
    put(&bob, &room, &root, json!({ "automatic": one })).ok();
    assert_eq!(get(&bob, &room, &root).ok(), json!({ "automatic": true }));
    put(&bob, &room, &root, json!({})).ok();
    assert_eq!(get(&bob, &room, &root).ok(), json!({ "automatic": false }), "the user's word counts more");
    put(&bob, &room, &root, json!({ "automatic": one })).ok();
    assert_eq!(get(&bob, &room, &root).ok(), json!({ "automatic": false }));
    delete(&bob, &room, &root).ok();
    put(&bob, &room, &root, json!({ "automatic": one })).refused(409, CONFLICT);
    get(&bob, &room, &root).refused(404, "M_NOT_FOUND");
    let two = reply(&alice, &room, &root, "two");
    put(&bob, &room, &root, json!({ "automatic": two })).ok();
    assert_eq!(get(&bob, &room, &root).ok(), json!({ "automatic": true }));
    delete(&bob, &room, &root).ok();
    put(&bob, &room, &root, json!({})).ok();
    assert_eq!(get(&bob, &room, &root).ok(), json!({ "automatic": false }), "the user may change their mind");
}

#[test]
fn threads_that_one_does_not_see_are_not_there() {
    let (alice, stranger) = (ward().user("alice"), ward().user("stranger"));
    let (room, other) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let root = alice.say(&room, "root");
    for (user, room, root) in
        [(&stranger, &*room, &*root), (&alice, &room, "$nothing"), (&alice, &other, &root), (&alice, "!x:y", &root)]
    {
        put(user, room, root, json!({})).refused(404, "M_NOT_FOUND");
        get(user, room, root).refused(404, "M_NOT_FOUND");
        delete(user, room, root).refused(404, "M_NOT_FOUND");
    }
    put(&alice, &room, &root, json!({ "automatic": 7 })).refused(400, "M_BAD_JSON");
    put(&alice, &room, &root, json!({ "automatic": "none" })).refused(400, "M_BAD_JSON");
    alice.anonymous().get(target(&room, &root)).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn changes_are_paged_from_the_newest_back() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let roots: Vec<String> = (0..5).map(|n| alice.say(&room, &n.to_string())).collect();
    let one = reply(&alice, &room, &roots[1], "one");
    put(&bob, &room, &roots[0], json!({})).ok();
    put(&bob, &room, &roots[1], json!({ "automatic": one })).ok();
    let between = bob.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    for root in &roots[2..] {
        put(&bob, &room, root, json!({})).ok();
    }
    delete(&bob, &room, &roots[0]).ok();
    let all = changes(&bob, &[("dir", "b")]).ok();
    assert_eq!(all["subscribed"][&room].as_object().unwrap().len(), 4, "{all}");
    assert_eq!(all["subscribed"][&room][&roots[1]]["automatic"], true);
    let stamp = |root: &str| all["subscribed"][&room][root]["bump_stamp"].as_u64().unwrap();
    assert!(stamp(&roots[2]) < stamp(&roots[3]));
    let ended = all["unsubscribed"][&room][&roots[0]]["bump_stamp"].as_u64().unwrap();
    assert!(ended > stamp(&roots[4]), "{all}");
    assert!(all.get("end").is_none(), "{all}");

    let first = changes(&bob, &[("dir", "b"), ("limit", "2")]).ok();
    assert!(first["unsubscribed"][&room].get(&roots[0]).is_some(), "{first}");
    assert!(first["subscribed"][&room].get(&roots[4]).is_some(), "{first}");
    let end = first["end"].as_str().unwrap();
    let second = changes(&bob, &[("dir", "b"), ("limit", "2"), ("from", end)]).ok();
    assert!(second["subscribed"][&room].get(&roots[3]).is_some(), "{second}");
    assert!(second["subscribed"][&room].get(&roots[2]).is_some(), "{second}");
    let recent = changes(&bob, &[("dir", "b"), ("to", &between), ("from", end)]).ok();
    assert_eq!(recent["subscribed"][&room].as_object().unwrap().len(), 2, "{recent}");
    assert!(recent.get("end").is_none());
    assert_eq!(changes(&alice, &[("dir", "b")]).ok(), json!({}));

    for (key, value) in [("from", "junk"), ("to", "junk"), ("limit", "0"), ("limit", "x"), ("dir", "f"), ("dir", "x")] {
        let query = if key == "dir" { vec![(key, value)] } else { vec![("dir", "b"), (key, value)] };
        let answer = changes(&bob, &query).refused(400, "M_INVALID_PARAM");
        assert!(answer["error"].as_str().unwrap().contains(key), "{answer}");
    }
    changes(&bob, &[]).refused(400, "M_MISSING_PARAM");
}

#[test]
fn subscriptions_outlive_a_crash() {
    let mut server = server_with(wardroom_testkit::Config::default());
    let alice = server.user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    put(&alice, &room, &root, json!({})).ok();
    server.kill9();
    server.start_again();
    let alice = server.anonymous().login(&alice.id, &alice.password);
    assert_eq!(get(&alice, &room, &root).ok(), json!({ "automatic": false }));
    assert!(changes(&alice, &[("dir", "b")]).ok()["subscribed"][&room].get(&root).is_some());
}

#[test]
fn the_features_are_announced_but_for_subscriptions_which_have_no_push_rules() {
    let versions = ward().anonymous().get(raw("/_matrix/client/versions")).ok();
    assert!(versions["unstable_features"].get("org.matrix.msc4306").is_none(), "{versions}");
    for feature in ["org.matrix.msc3440.stable", "org.matrix.msc3856.stable"] {
        assert_eq!(versions["unstable_features"][feature], true, "{versions}");
    }
}
