//! Relations between events: children of an event, what is told of them with it, annotations, threads.

mod annotations;
mod bundles;
mod children;
mod redacting;
mod subscriptions;
mod thread_list;
mod visibility;

use wardroom_testkit::{Actor as _, User, Value, json, text, unique};

/// Sends an event and gives its id.
#[track_caller]
fn send(user: &User, room: &str, kind: &str, content: Value) -> String {
    let answer = user.try_send(room, kind, &unique("txn"), content).ok();
    answer["event_id"].as_str().expect("an event id").to_owned()
}

/// A message that relates to an event.
fn related(rel_type: &str, parent: &str, body: &str) -> Value {
    let mut content = text(body);
    content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": parent });
    content
}

/// Sends a message that relates to an event.
#[track_caller]
fn relate(user: &User, room: &str, rel_type: &str, parent: &str, body: &str) -> String {
    send(user, room, "m.room.message", related(rel_type, parent, body))
}

/// Sends a reply in a thread.
#[track_caller]
fn reply(user: &User, room: &str, root: &str, body: &str) -> String {
    relate(user, room, "m.thread", root, body)
}

/// The content of an edit.
fn edit_of(event: &str, body: &str) -> Value {
    let mut content = related("m.replace", event, &format!("* {body}"));
    content["m.new_content"] = text(body);
    content
}

/// Sends an edit.
#[track_caller]
fn edit(user: &User, room: &str, event: &str, body: &str) -> String {
    send(user, room, "m.room.message", edit_of(event, body))
}

/// Sends a reaction.
#[track_caller]
fn react(user: &User, room: &str, event: &str, key: &str) -> String {
    send(user, room, "m.reaction", reaction(event, key))
}

/// The content of a reaction.
fn reaction(event: &str, key: &str) -> Value {
    json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": key } })
}

/// What `/event` tells of an event's children.
#[track_caller]
fn bundle(user: &User, room: &str, event: &str) -> Value {
    user.try_event(room, event).ok()["unsigned"]["m.relations"].clone()
}

/// A page of children.
#[track_caller]
fn children(user: &User, room: &str, path: &[&str], query: &[(&str, &str)]) -> Value {
    let mut target = wardroom_testkit::v1(&[&["rooms", room, "relations"], path].concat());
    for (key, value) in query {
        target = target.query(key, value);
    }
    user.get(target).ok()
}

/// A page of threads.
#[track_caller]
fn threads(user: &User, room: &str, query: &[(&str, &str)]) -> Value {
    let mut target = wardroom_testkit::v1(&["rooms", room, "threads"]);
    for (key, value) in query {
        target = target.query(key, value);
    }
    user.get(target).ok()
}
