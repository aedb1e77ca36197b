//! Roles, policies, and looking again.

use wardroom_testkit::{json, unique};

use super::Operator;

/// An operator, with a room of a user to whom they gave a role, and the role.
fn gated() -> (Operator<'static>, wardroom_testkit::User, String, String) {
    let operator = Operator::start();
    let (alice, role) = (operator.server.user("alice"), format!("{}@h1/cardiology", unique("physician")));
    operator.shown(&["roles", "give", &alice.localpart, &role, "--reason", "on duty"]);
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    let policy = operator.file(&json!({ "version": 1, "require": { "any_of": [{ "all_of": [role] }] } }).to_string());
    operator.shown(&["policy", "set", &room, &policy]);
    (operator, alice, room, role)
}

#[test]
fn roles_are_given_and_taken() {
    let (operator, alice, room, role) = gated();
    let bob = operator.server.user("bob");
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    operator.shown(&["roles", "give", &bob.id, &role, "--reason", "night shift", "--until", "8h"]);
    bob.join(&room);
    let shown = operator.json(&["roles", "show", &bob.localpart]);
    assert_eq!((&shown["roles"][0]["role"], &shown["roles"][0]["reason"]), (&json!(role), &json!("night shift")));
    assert!(shown["roles"][0]["until_ts"].as_u64().is_some(), "{shown}");
    assert!(operator.shown(&["roles", "show", &bob.id]).contains("night shift"));
    // Another one leaves the first as it is.
    let other = format!("{}@h1", unique("nurse"));
    let later = "2099-01-01T00:00:00Z";
    operator.shown(&["roles", "give", &bob.id, &other, "--reason", "from then on", "--from", later]);
    assert_eq!(operator.json(&["roles", "show", &bob.id])["in_force"], json!([role]));

    let listed = operator.json(&["roles", "list"]);
    let ours = listed.as_array().unwrap().iter().find(|one| one["role"] == *role).unwrap();
    assert_eq!(ours["holders"], 2);
    assert!(operator.shown(&["roles", "list"]).contains(&role));
    let mut expected = [&*alice.id, &*bob.id];
    expected.sort();
    assert_eq!(operator.shown(&["roles", "holders", &role]), format!("{}\n{}\n", expected[0], expected[1]));

    operator.shown(&["roles", "take", &bob.localpart, &role]);
    wardroom_testkit::wait_until("bob is put out", crate::SOON, || (!bob.is_in(&room)).then_some(()));
    operator.refused(&["roles", "take", &bob.localpart, &role], &["M_NOT_FOUND", "role"]);
    operator.refused(&["roles", "give", &bob.id, "no role", "--reason", "x"], &["M_INVALID_PARAM", "role"]);
    operator.refused(&["roles", "holders", "no role"], &["requirement"]);
    operator.misused(&["roles", "give", &bob.id, &role], &["--reason"]);
    let past = ["roles", "give", &bob.id, &role, "--reason", "x", "--until", "2020-01-01T00:00:00Z"];
    operator.misused(&past, &["past"]);
    operator.misused(&["roles", "give", &bob.id, &role, "--reason", "x", "--until", "soon"], &["no time"]);
}

#[test]
fn a_policy_is_shown_tried_and_removed() {
    let (operator, alice, room, role) = gated();
    let bob = operator.server.user("bob");
    assert_eq!(operator.json(&["policy", "show", &room])["policy"]["require"]["any_of"][0]["all_of"], json!([role]));
    assert!(operator.shown(&["policy", "show", &room]).contains(&role));
    let why = operator.json(&["policy", "why", &bob.localpart, "--room", &room]);
    assert_eq!((&why["rooms"][0]["verdict"], &why["rooms"][0]["missing"]), (&json!("inconclusive"), &json!([role])));
    assert!(operator.shown(&["policy", "why", &alice.id]).contains(&room));
    assert_eq!(operator.shown(&["policy", "why", &bob.id]), "The user is in no room.\n");

    assert_eq!(operator.json(&["policy", "evaluate", &room])["totals"]["nonCompliant"], 0);
    let stricter = json!({ "version": 1, "require": { "any_of": [{ "all_of": [role, "head@h1"] }] } });
    let stricter = operator.file(&stricter.to_string());
    let tried = operator.json(&["policy", "evaluate", &room, "--policy", &stricter]);
    assert_eq!(tried["totals"]["nonCompliant"], 1, "{tried}");
    let table = operator.shown(&["policy", "evaluate", &room, "--policy", &stricter]);
    assert!(table.contains("may not") && table.contains("head@h1"), "{table}");
    assert!(alice.is_in(&room), "nothing changed");

    let wrong = operator.file("{ \"version\": 1, \"require\": {} }");
    operator.refused(&["policy", "set", &room, &wrong], &["require.any_of"]);
    let torn = operator.file("{ \"version\": 1,");
    operator.misused(&["policy", "set", &room, &torn], &["JSON"]);
    operator.misused(&["policy", "set", &room, "nowhere"], &["nowhere"]);
    operator.shown(&["policy", "remove", &room]);
    bob.join(&room);
    operator.refused(&["policy", "show", &room], &["M_NOT_FOUND"]);
}

#[test]
fn templates_are_set_and_removed() {
    let (operator, _, room, role) = gated();
    let (name, alias) = (unique("template"), unique("ward"));
    let policy = json!({ "version": 1, "require": { "any_of": [{ "all_of": [role] }] } });
    let template = operator.file(&json!({ "alias": format!("{alias}*"), "policy": policy }).to_string());
    operator.shown(&["templates", "set", &name, &template]);
    assert_eq!(operator.json(&["templates", "show", &name])["policy"], policy);
    let table = operator.shown(&["templates", "list"]);
    assert!(table.lines().any(|line| line.contains(&name) && line.contains(&alias)), "{table}");
    // A room that is there takes it by name.
    let by_name = operator.file(&json!({ "template": name }).to_string());
    operator.shown(&["policy", "set", &room, &by_name]);
    operator.shown(&["templates", "remove", &name]);
    operator.refused(&["templates", "show", &name], &["M_NOT_FOUND", "template"]);
    operator.refused(&["templates", "set", &name, &operator.file("{}")], &["policy"]);
    operator.misused(&["templates", "set", &name, "nowhere"], &["nowhere"]);
}

#[test]
fn everybody_is_reviewed_and_looked_at_again() {
    let (operator, alice, room, role) = gated();
    let review = operator.json(&["review"]);
    let ours = review.as_array().unwrap().iter().find(|one| one["room_id"] == *room).unwrap();
    assert!(ours["members"].as_array().unwrap().iter().any(|one| one["user_id"] == *alice.id), "{ours}");
    assert!(operator.shown(&["review"]).lines().any(|line| line.contains(&room) && line.contains(&alice.id)));
    let csv = operator.shown(&["review", "--csv"]);
    assert!(csv.contains(&format!("\"{room}\",\"'{}\",\"may\",\"{role}\"", alice.id)), "{csv}");
    operator.misused(&["review", "--csv", "--json"], &["--csv"]);

    let looked = operator.json(&["revalidate", "--room", &room]);
    assert_eq!(
        (&looked["rooms"], &looked["members"], &looked["removed"]),
        (&json!(1), &json!(2), &json!(0)),
        "{looked}"
    );
    assert!(operator.shown(&["revalidate", "--user", &alice.localpart]).contains("put out"));
    operator.shown(&["revalidate"]);
    operator.misused(&["revalidate", "--room", &room, "--user", &alice.id], &["--user"]);
}

#[test]
fn alarms_are_looked_at_and_cleared() {
    let (operator, alice, room, role) = gated();
    let required = json!({ "any_of": [{ "all_of": [role] }] });
    let told = json!({ "version": 1, "require": required, "on_loss": { "action": "notify" } });
    operator.shown(&["policy", "set", &room, &operator.file(&told.to_string())]);
    operator.shown(&["roles", "take", &alice.id, &role]);
    let id = wardroom_testkit::wait_until("the alarm", crate::SOON, || {
        let alarms = operator.json(&["alarms", "list"]);
        let ours = alarms.as_array().unwrap().iter().find(|one| one["room_id"] == *room).cloned();
        ours.map(|one| one["id"].as_str().unwrap().to_owned())
    });
    assert!(operator.shown(&["alarms", "list"]).contains(&id));
    operator.shown(&["alarms", "clear", &id]);
    operator.refused(&["alarms", "clear", &id], &["M_NOT_FOUND", "alarm"]);
}
