//! `GET /notifications`.

use wardroom_testkit::{Actor, Reply, User, Value, json, unique, v3};

use super::{Scene, ward};
use crate::admin::{admin_of, own};

fn list(user: &User, parameters: &[(&str, &str)]) -> Reply {
    let target = v3(&["notifications"]);
    user.get(parameters.iter().fold(target, |target, (name, value)| target.query(name, value)))
}

fn bodies(answer: &Value) -> Vec<String> {
    let notifications = answer["notifications"].as_array().unwrap();
    notifications.iter().map(|one| one["event"]["content"]["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn notifications_are_listed_from_new_to_old_over_all_rooms() {
    let scene = Scene::new(ward());
    let other = scene.alice.create_public_room(&[&scene.bob]);
    let first = scene.alice.say(&scene.room, "1");
    scene.alice.say(&other, "2");
    scene.alice.say(&scene.room, "3");
    scene.bob.say(&other, "mine");
    let all = list(&scene.bob, &[]).ok();
    assert_eq!(bodies(&all), ["3", "2", "1"]);
    assert!(all.get("next_token").is_none(), "{all}");
    let oldest = &all["notifications"][2];
    assert_eq!((&oldest["room_id"], &oldest["event"]["event_id"]), (&json!(scene.room), &json!(first)));
    assert!(oldest["event"].get("room_id").is_none() && oldest["ts"].as_u64().is_some(), "{oldest}");
    assert_eq!(oldest["actions"][0], "notify");
    assert_eq!(oldest["read"], false);
    scene.read(&first);
    let reads: Vec<bool> = {
        let answer = list(&scene.bob, &[]).ok();
        answer["notifications"].as_array().unwrap().iter().map(|one| one["read"].as_bool().unwrap()).collect()
    };
    assert_eq!(reads, [false, false, true]);

    let (mut walked, mut from) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = vec![("limit", "1")];
        parameters.extend(from.as_deref().map(|from| ("from", from)));
        let page = list(&scene.bob, &parameters).ok();
        walked.extend(bodies(&page));
        assert!(walked.len() <= 3, "{walked:?}");
        let Some(next) = page["next_token"].as_str() else { break };
        from = Some(next.to_owned());
    }
    assert_eq!(walked, ["3", "2", "1"], "page by page the same");
}

#[test]
fn only_what_stands_out_and_what_may_be_seen_is_listed() {
    let scene = Scene::new(ward());
    let mention = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [scene.bob.id] } });
    scene.alice.try_send(&scene.room, "m.room.message", &unique("txn"), mention).ok();
    let oops = scene.alice.say(&scene.room, "oops");
    scene.alice.say(&scene.room, "plain");
    scene.alice.redact(&scene.room, &oops);
    assert_eq!(bodies(&list(&scene.bob, &[("only", "highlight")]).ok()), ["you"]);
    assert_eq!(bodies(&list(&scene.bob, &[]).ok()), ["plain", "you"]);
    let carol = ward().user("carol");
    carol.join(&scene.room);
    assert_eq!(bodies(&list(&carol, &[]).ok()), [""; 0], "what came before her is no news to her");
    scene.bob.leave(&scene.room);
    assert_eq!(bodies(&list(&scene.bob, &[]).ok()), [""; 0]);
}

#[test]
fn an_invitation_is_listed_until_it_is_answered() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "private_chat", "invite": [bob.id] }));
    let answer = list(&bob, &[]).ok();
    let invitation = &answer["notifications"][0];
    assert_eq!((&invitation["room_id"], &invitation["event"]["state_key"]), (&json!(room), &json!(bob.id)));
    assert_eq!(invitation["event"]["content"]["membership"], "invite");
    bob.join(&room);
    assert_eq!(list(&bob, &[]).ok()["notifications"], json!([]));
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let bob = ward().user("bob");
    for (name, value) in [("from", "nonsense"), ("limit", "-1"), ("limit", "many"), ("only", "lowlight")] {
        let answer = list(&bob, &[(name, value)]).refused(400, "M_INVALID_PARAM");
        assert!(answer["error"].as_str().unwrap().contains(name), "{name}: {answer}");
    }
    assert_eq!(list(&bob, &[("limit", "0")]).ok()["notifications"], json!([]));
    ward().anonymous().get(v3(&["notifications"])).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn who_lost_the_role_of_a_room_is_pushed_nothing_of_it() {
    let server = super::own_server();
    let admin = admin_of(&server);
    let Scene { alice, bob, room, gateway } = Scene::new(&server);
    for user in [&alice, &bob] {
        let roles = json!({ "roles": [{ "role": "physician@h1", "reason": "on duty" }] });
        admin.put(own(&["role_bindings", &user.id]), roles).ok();
    }
    let require = json!({ "any_of": [{ "all_of": ["physician@h1"] }] });
    admin.put(own(&["rooms", &room, "policy"]), json!({ "version": 1, "require": require })).ok();
    let before = alice.say(&room, "on duty");
    gateway.of_event(&before);
    let free = alice.create_public_room(&[&bob]);
    admin.put(own(&["role_bindings", &bob.id]), json!({ "roles": [] })).ok();
    let after = alice.say(&room, "not for bob");
    let marker = alice.say(&free, "for bob");
    gateway.of_event(&marker);
    assert!(!gateway.heard().iter().any(|push| push["notification"]["event_id"] == *after));
}
