//! Rooms by the user's membership, and what must not be seen.

use wardroom_testkit::{Actor, User, bodies, events, find_event, json, v3};

use super::{Connection, all, members, room, sorted, told};
use crate::ward;

/// The user's own membership among the state of a room of an answer.
fn own<'a>(answer: &'a wardroom_testkit::Value, id: &str, user: &User) -> &'a str {
    let own = find_event(events(&room(answer, id)["required_state"]), "m.room.member", Some(&user.id));
    own.and_then(|event| event["content"]["membership"].as_str()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn an_invitation_is_stripped_until_it_is_taken_up() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_room(json!({ "name": "Ward 7", "topic": "secret" }));
    alice.say(&id, "before");
    let mut connection = Connection::of_all(&bob);
    connection.next();
    alice.invite(&id, &bob);
    let answer = connection.next();
    let invited = room(&answer, &id);
    assert_eq!((&invited["initial"], &invited["membership"]), (&json!(true), &json!("invite")), "{answer}");
    let stripped = events(&invited["invite_state"]);
    assert!(find_event(stripped, "m.room.name", Some("")).is_some());
    let own = find_event(stripped, "m.room.member", Some(&bob.id)).unwrap();
    assert!(own["content"]["membership"] == "invite" && own.get("event_id").is_none());
    for field in ["timeline", "required_state", "joined_count", "prev_batch"] {
        assert!(invited.get(field).is_none(), "{field}: {answer}");
    }
    alice.say(&id, "still closed");
    assert_eq!(told(&connection.next()), [] as [String; 0]);
    bob.join(&id);
    let answer = connection.next();
    let joined = room(&answer, &id);
    assert_eq!((&joined["initial"], &joined["name"]), (&json!(true), &json!("Ward 7")), "{answer}");
    assert!(joined.get("invite_state").is_none() && joined["joined_count"] == 2);
}

#[test]
fn an_invitation_that_is_turned_down_ends() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (kept, withdrawn) = (alice.create_room(json!({})), alice.create_room(json!({ "topic": "secret" })));
    alice.invite(&kept, &bob);
    alice.invite(&withdrawn, &bob);
    let mut connection = Connection::of_all(&bob);
    assert_eq!(told(&connection.next()).len(), 2);
    bob.leave(&kept);
    alice.on_member("kick", &withdrawn, &bob).ok();
    let answer = connection.next();
    for id in [&kept, &withdrawn] {
        assert_eq!(own(&answer, id, &bob), "leave");
        assert_eq!(events(&room(&answer, id)["timeline"]).len(), 1, "only the own membership: {answer}");
        assert_eq!(members(&answer, id), sorted(&[&bob.id]));
    }
    assert!(!answer.to_string().contains("secret"));
    assert_eq!(told(&connection.next()), [] as [String; 0]);
    assert_eq!(told(&Connection::of_all(&bob).next()), [] as [String; 0], "who never was in has nothing to see");
}

#[test]
fn a_knock_is_stripped_too() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
    let id = alice.create_room(json!({ "initial_state": rules }));
    let mut connection = Connection::of_all(&bob);
    connection.next();
    bob.try_knock(&id).ok();
    let answer = connection.next();
    let knocked = room(&answer, &id);
    assert_eq!(knocked["membership"], "knock", "{answer}");
    let own = find_event(events(&knocked["invite_state"]), "m.room.member", Some(&bob.id)).unwrap();
    assert_eq!(own["content"]["membership"], "knock");
    assert!(knocked.get("timeline").is_none());
}

#[test]
fn leaving_is_told_and_what_comes_after_is_not() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[&bob]);
    let mut connection = Connection::of_all(&bob);
    connection.next();
    alice.say(&id, "for bob");
    bob.leave(&id);
    alice.say(&id, "behind the back");
    alice.set_state(&id, "m.room.topic", "", json!({ "topic": "behind" }));
    let answer = connection.next();
    assert_eq!(room(&answer, &id)["membership"], "leave");
    assert_eq!(
        (own(&answer, &id, &bob), bodies(events(&room(&answer, &id)["timeline"]))),
        ("leave", vec!["for bob".to_owned()])
    );
    alice.say(&id, "behind again");
    let quiet = connection.next();
    assert_eq!(told(&quiet), [] as [String; 0]);
    assert!(!format!("{answer}{quiet}").contains("behind"));
    let mut anew = Connection::of_all(&bob);
    let answer = anew.next();
    assert_eq!((told(&answer).len(), &answer["lists"]["all"]["count"]), (0, &json!(0)), "a left room is not listed");
    let subscription = json!({ "timeline_limit": 9, "required_state": [["*", "*"]] });
    anew.ask_for(json!({ "room_subscriptions": { &id: subscription } }));
    let answer = anew.next();
    assert_eq!(own(&answer, &id, &bob), "leave");
    assert!(answer.to_string().contains("for bob") && !answer.to_string().contains("behind"), "{answer}");
    assert!(room(&answer, &id).get("joined_count").is_none(), "how many there are now is not for those who left");
    // Coming back is a new start.
    bob.join(&id);
    let answer = connection.next();
    assert_eq!((&room(&answer, &id)["initial"], &room(&answer, &id)["membership"]), (&json!(true), &json!("join")));
    assert!(answer.to_string().contains("behind"), "the history is shared: {answer}");
}

#[test]
fn who_is_put_out_sees_it_also_later() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (kicked, banned) = (alice.create_public_room(&[&bob]), alice.create_public_room(&[&bob]));
    let mut connection = Connection::of_all(&bob);
    connection.next();
    alice.on_member("kick", &kicked, &bob).ok();
    alice.on_member("ban", &banned, &bob).ok();
    let answer = connection.next();
    assert_eq!((own(&answer, &kicked, &bob), own(&answer, &banned, &bob)), ("leave", "ban"));
    alice.say(&kicked, "behind the back");
    let mut anew = Connection::of_all(&bob);
    let answer = anew.next();
    assert_eq!((own(&answer, &kicked, &bob), own(&answer, &banned, &bob)), ("leave", "ban"));
    assert!(!answer.to_string().contains("behind"));
    // What was a leave becomes a ban.
    alice.on_member("ban", &kicked, &bob).ok();
    let answer = anew.next();
    assert_eq!(own(&answer, &kicked, &bob), "ban");
    assert!(!answer.to_string().contains("behind"), "{answer}");
    bob.try_forget(&banned).ok();
    assert_eq!(told(&Connection::of_all(&bob).next()), sorted(&[&kicked]));
}

#[test]
fn a_ban_without_ever_having_joined_is_not_listed() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[]);
    alice.on_member("ban", &id, &bob).ok();
    let subscription = json!({ "timeline_limit": 9, "required_state": [["*", "*"]] });
    let body = json!({ "lists": { "a": all(9, 9) }, "room_subscriptions": { &id: subscription } });
    assert_eq!(told(&Connection::new(&bob, body).next()), [] as [String; 0]);
}

#[test]
fn history_that_is_not_visible_is_not_told() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let visibility = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" } }]);
    let id = alice.create_room(json!({ "preset": "public_chat", "initial_state": visibility }));
    alice.say(&id, "hidden");
    bob.join(&id);
    alice.say(&id, "shown");
    let mut connection = Connection::new(&bob, json!({ "lists": { "a": all(9, 50) } }));
    let answer = connection.next();
    assert_eq!(bodies(events(&room(&answer, &id)["timeline"])), ["shown"], "{answer}");
    assert!(!answer.to_string().contains("hidden"));
    connection.ask_for(json!({ "lists": { "a": all(9, 100) } }));
    assert!(!connection.next().to_string().contains("hidden"));
}

#[test]
fn ignored_users_are_not_heard() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let (id, private) = (alice.create_public_room(&[&bob, &carol]), bob.create_room(json!({})));
    let ignored = json!({ "ignored_users": { &bob.id: {} } });
    alice.put(v3(&["user", &alice.id, "account_data", "m.ignored_user_list"]), ignored).ok();
    let mut connection = Connection::of_all(&alice);
    connection.next();
    bob.invite(&private, &alice);
    bob.say(&id, "ignored");
    carol.say(&id, "heard");
    let answer = connection.next();
    assert_eq!((told(&answer), &answer["lists"]["all"]["count"]), (sorted(&[&id]), &json!(1)), "{answer}");
    assert_eq!(bodies(events(&room(&answer, &id)["timeline"])), ["heard"]);
    let wanted = json!({ "timeline_limit": 1 });
    connection.ask_for(json!({ "room_subscriptions": { &private: wanted } }));
    assert_eq!(told(&connection.next()), [] as [String; 0]);
}
