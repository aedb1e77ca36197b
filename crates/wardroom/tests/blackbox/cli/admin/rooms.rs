//! Rooms.

use wardroom_testkit::{json, unique};

use super::Operator;

#[test]
fn a_room_is_found_blocked_and_deleted() {
    let operator = Operator::start();
    let (alice, bob) = (operator.server.user("alice"), operator.server.user("bob"));
    let (name, alias) = (unique("Ward"), unique("ward"));
    let room = alice.create_room(json!({ "preset": "public_chat", "name": name, "room_alias_name": alias }));
    let alias = format!("#{alias}:{}", operator.server.name());
    bob.join(&room);

    let listed = operator.json(&["rooms", "list", "--search", &name]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["room_id"]), (1, &json!(room)), "{listed}");
    assert!(operator.shown(&["rooms", "list"]).contains(&room));
    for one in [&room, &alias] {
        let shown = operator.shown(&["rooms", "show", one]);
        assert!(shown.contains(&name) && shown.contains(&room), "{shown}");
    }
    let mut members: Vec<String> = operator.shown(&["rooms", "members", &alias]).lines().map(str::to_owned).collect();
    members.sort();
    assert_eq!(members, [&*alice.id, &*bob.id]);
    operator.refused(&["rooms", "show", "!nowhere:hospital-a.example"], &["M_NOT_FOUND"]);
    operator.refused(&["rooms", "members", "#nowhere:hospital-a.example"], &["M_NOT_FOUND"]);

    operator.shown(&["rooms", "remove-user", &room, &bob.localpart, "--reason", "transferred"]);
    assert!(!bob.is_in(&room));
    operator.shown(&["rooms", "block", &room]);
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    operator.shown(&["rooms", "unblock", &room]);
    bob.join(&room);

    let other = operator.json(&[
        "rooms",
        "delete",
        &alias,
        "--block",
        "--new-room-user",
        &operator.admin.id,
        "--message",
        "Moved",
    ]);
    assert_eq!(other["status"], "complete");
    assert!(bob.is_in(other["shutdown_room"]["new_room_id"].as_str().unwrap()));
    assert!(!alice.is_in(&room));
    let tasks = operator.shown(&["tasks"]);
    assert!(tasks.contains(&room), "{tasks}");
    operator.refused(&["rooms", "delete", "!nowhere:hospital-a.example"], &["does not know that room"]);
    operator.misused(&["rooms", "delete", &room, "--message", "where?"], &["--new-room-user"]);
}
