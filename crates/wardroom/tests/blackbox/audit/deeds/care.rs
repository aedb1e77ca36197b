//! Roles: who gets which, what they mean, whom rooms let in, and emergencies.

use wardroom_testkit::{Actor, Value, json, unique, v3};

use super::{bare, by};
use crate::{
    access::{
        Gated,
        emergency::{Ward, break_glass},
        give, policy,
    },
    admin::{admin_of, own},
    audit::records,
    ward,
};

#[test]
fn a_room_that_requires_a_role_says_whom_it_let_in_and_whom_not() {
    let gated = Gated::of("public_chat");
    let (colleague, stranger) = (gated.colleague(), gated.server.user("stranger"));
    colleague.join(&gated.room);
    for _ in 0..3 {
        stranger.try_join(&gated.room).refused(403, "M_FORBIDDEN");
    }
    let checks = |user: &str| {
        let conditions = [("act", "role.check"), ("room_id", &*gated.room), ("user_id", user)];
        bare(records(&gated.admin, &conditions))
    };
    let on = json!({ "detail": "join", "room": gated.room, "user": colleague.id });
    assert_eq!(checks(&colleague.id), [by(&colleague, "role.check", on)]);
    let mut refused = by(&stranger, "role.check", json!({ "detail": "join", "room": gated.room }));
    refused["outcome"] = json!(8);
    refused["why"] = json!("You do not have the role that the room's access policy requires.");
    assert_eq!(checks(&stranger.id), [refused]);
    let invite = || gated.alice.post(v3(&["rooms", &gated.room, "invite"]), json!({ "user_id": stranger.id }));
    invite().refused(403, "M_FORBIDDEN");
    let mut refused =
        by(&gated.alice, "role.check", json!({ "detail": "invite", "room": gated.room, "user": stranger.id }));
    refused["outcome"] = json!(8);
    refused["why"] = json!("The room's access policy does not let this user in.");
    assert_eq!(checks(&stranger.id).pop(), Some(refused));
}

#[test]
fn roles_and_what_they_mean() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    give(&admin, &alice.id, &["nurse@h1", "physician@h1"]);
    give(&admin, &alice.id, &[]);
    let found = bare(records(&admin, &[("act", "role.change"), ("user_id", &alice.id)]));
    let names: Vec<&Value> = found.iter().map(|record| &record["on"]["name"]).collect();
    assert_eq!(names, [&json!("nurse@h1 physician@h1"), &json!("")]);
    assert_eq!(found[0]["on"]["new"], found[1]["on"]["old"]);
    assert_eq!((found[0]["on"]["detail"].as_str(), &found[0]["who"]["user"]), (Some("manual"), &json!(admin.id)));
    assert!(!json!(found).to_string().contains("on duty"), "reasons are words of people");

    let name = unique("template");
    let template = json!({ "policy": policy(&["nurse@h1"]), "room_type": unique("type") });
    admin.put(own(&["policy_templates", &name]), template).ok();
    admin.delete(own(&["policy_templates", &name])).ok();
    let all = records(&admin, &[("act", "role.map")]);
    let of_it: Vec<&Value> = all.iter().filter(|record| record["on"]["name"] == *name).collect();
    let told: Vec<&Value> = of_it.iter().map(|record| &record["on"]["detail"]).collect();
    assert_eq!(told, [&json!("template.set"), &json!("template.remove")], "{all:?}");
    assert_eq!(of_it[0]["on"]["new"], of_it[1]["on"]["old"]);
}

#[test]
fn an_emergency_leaves_its_beginning_its_end_and_its_review() {
    let ward = Ward::new();
    let id = ward.enter()["id"].as_str().unwrap().to_owned();
    ward.doctor.delete(break_glass(ward.room())).ok();
    let admin = &ward.gated.admin;
    let review = json!({ "verdict": "justified", "note": "he told me of the patient's heart" });
    admin.post(own(&["break_glass", &id, "review"]), review).ok();
    let conditions = ["emergency.begin", "emergency.end", "emergency.review"].map(|act| ("act", act));
    let all = bare(records(admin, &[conditions.to_vec(), vec![("room_id", ward.room())]].concat()));
    let on = |more: Value| {
        let mut on = json!({ "name": id, "room": ward.room(), "user": ward.doctor.id });
        on.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        on
    };
    let mut begin = by(&ward.doctor, "emergency.begin", on(json!({ "type": "ETREAT" })));
    begin["why"] = json!("cardiac arrest in bed four");
    let expected = [
        begin,
        by(&ward.doctor, "emergency.end", on(json!({ "detail": "ended_by_user" }))),
        by(admin, "emergency.review", on(json!({ "detail": "justified" }))),
    ];
    assert_eq!(all, expected);
}
