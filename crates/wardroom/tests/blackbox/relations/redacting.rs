//! Redacting a message with what relates to it (MSC3912).

use std::time::Duration;

use wardroom_testkit::{Actor as _, Reply, User, Value, json, raw, unique, v3, wait_until};

use super::{edit, react, reply};
use crate::ward;

/// Until what relates to a message is redacted, at most.
const SOON: Duration = Duration::from_secs(20);

#[track_caller]
fn redact(user: &User, room: &str, event: &str, body: Value) -> Reply {
    user.put(v3(&["rooms", room, "redact", event, &unique("txn")]), body)
}

/// Why an event was redacted; none where it was not.
fn why(user: &User, room: &str, event: &str) -> Option<String> {
    let because = user.try_event(room, event).ok()["unsigned"]["redacted_because"].clone();
    because["content"]["reason"].as_str().map(ToOwned::to_owned)
}

#[test]
fn a_message_is_redacted_with_its_edits() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    for field in ["with_rel_types", "org.matrix.msc3912.with_relations"] {
        let message = alice.say(&room, "said");
        let edits = [edit(&alice, &room, &message, "changed"), edit(&alice, &room, &message, "changed again")];
        let (answer, reaction) = (reply(&bob, &room, &message, "an answer"), react(&bob, &room, &message, "👍"));
        redact(&alice, &room, &message, json!({ "reason": "the wrong room", field: ["m.replace"] })).ok();
        assert_eq!(why(&bob, &room, &message).as_deref(), Some("the wrong room"));
        for edit in &edits {
            let reason = wait_until("the edit is redacted", SOON, || why(&bob, &room, edit));
            assert_eq!(reason, "the wrong room");
        }
        assert_eq!((why(&bob, &room, &answer), why(&bob, &room, &reaction)), (None, None));
        redact(&alice, &room, &message, json!({ "reason": "all of it", field: ["*"] })).ok();
        for event in [&answer, &reaction] {
            wait_until("what others said of it is redacted", SOON, || why(&bob, &room, event));
        }
    }
}

#[test]
fn a_moderator_redacts_a_thread_and_a_member_no_more_than_is_theirs() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let root = bob.say(&room, "root");
    let (own, other) = (reply(&bob, &room, &root, "own"), reply(&alice, &room, &root, "other"));
    redact(&bob, &room, &root, json!({ "reason": "by bob", "with_rel_types": ["m.thread"] })).ok();
    assert_eq!(wait_until("the reply is redacted", SOON, || why(&alice, &room, &own)), "by bob");
    redact(&alice, &room, &root, json!({ "reason": "by alice", "with_rel_types": ["m.thread"] })).ok();
    assert_eq!(wait_until("the other is redacted", SOON, || why(&alice, &room, &other)), "by alice");
}

#[test]
fn what_is_wished_must_be_types_of_relations() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let message = alice.say(&room, "said");
    for bad in [json!("m.replace"), json!([1]), json!({ "m.replace": true })] {
        redact(&alice, &room, &message, json!({ "with_rel_types": bad })).refused(400, "M_BAD_JSON");
    }
    let many: Vec<String> = (0..51).map(|number| format!("org.example.{number}")).collect();
    let refused = redact(&alice, &room, &message, json!({ "with_rel_types": many }));
    assert!(refused.refused(400, "M_INVALID_PARAM")["error"].as_str().unwrap().starts_with("with_rel_types:"));
    assert_eq!(why(&alice, &room, &message), None);
    let versions = alice.get(raw("/_matrix/client/versions")).ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc3912"], true);
}
