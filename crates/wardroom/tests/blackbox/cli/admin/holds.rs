//! Legal holds.

use wardroom_testkit::{Value, json, unique};

use super::Operator;
use crate::admin::admin_of;

#[test]
fn a_hold_is_set_listed_and_released_by_two() {
    let operator = Operator::start();
    let alice = operator.server.user("alice");
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let authority = unique("court");
    let ordered = ["--reason", "a complaint", "--authority", &authority];
    let args = [&["holds", "set", "--room", &room, "--user", &alice.id][..], &ordered].concat();
    assert!(operator.shown(&args).starts_with("It is held: "));
    operator.refused(&[&["holds", "set"][..], &ordered].concat(), &["scope:", "M_INVALID_PARAM"]);
    operator.misused(&["holds", "set", "--from", "tomorrow", "--reason", "r", "--authority", "a"], &["no time"]);
    let table = operator.shown(&["holds", "list"]);
    let line = table.lines().find(|line| line.contains(&authority)).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains(&room) && line.contains(&alice.id), "{line}");
    let id = line.split(' ').next().unwrap();
    let release = ["holds", "release", id, "--reason", "settled"];
    assert!(operator.shown(&release).contains("Another administrator"));
    operator.refused(&release, &["409", "another administrator"]);
    let second = admin_of(operator.server);
    assert!(operator.as_user(&second, &release).ok().contains("released"));
    let released = operator.json(&["holds", "list", "--state", "released"]);
    let found: Vec<&Value> = released.as_array().unwrap().iter().filter(|hold| hold["id"] == id).collect();
    assert_eq!(found[0]["released_by"], second.id);
}
