//! Coming in.

use wardroom_testkit::{Actor, Body, Config, IdentityProvider, bodies, events, json, v3, wait_until};

use super::{PATIENT, REASON, Ward, break_glass, mark, reason};
use crate::{
    SOON,
    access::{Gated, give},
    admin::{admin_of, own},
    server_with,
    sso::signed_in,
};

#[test]
fn who_gives_a_reason_comes_in_and_everybody_sees_it() {
    let ward = Ward::new();
    let (doctor, alice, room) = (&ward.doctor, &ward.gated.alice, ward.room());
    doctor.try_join(room).refused(403, "M_FORBIDDEN");
    doctor.get(break_glass(room)).refused(404, "M_NOT_FOUND");
    let mut sync = ward.server().follow(doctor);
    let begun = ward.enter();
    assert_eq!(begun["room_id"], *room);
    let left_ms = begun["expires_ts"].as_u64().unwrap() - wardroom_testkit::peer::now_ms();
    assert!((3_500_000..=3_600_000).contains(&left_ms), "{begun}");
    sync.until("the room", SOON, |sync| sync["rooms"]["join"].get(room).is_some());
    assert!(bodies(&doctor.history(room)).contains(&"confidential".to_owned()));
    doctor.say(room, "on my way");
    let told = alice.history(room);
    let notice = told.iter().find(|event| event["content"]["msgtype"] == "m.notice").expect("a notice");
    let body = notice["content"]["body"].as_str().unwrap();
    assert!(body.contains(&doctor.id) && body.contains("ETREAT") && body.contains("UTC"), "{body}");
    assert_eq!(notice["sender"], format!("@_access:{}", ward.server().name()));
    let state = alice.state(room, "org.wardroom.break_glass", &mark(doctor));
    assert_eq!((&state["active"], &state["id"], &state["user_id"]), (&json!(true), &begun["id"], &json!(doctor.id)));
    let everything = format!("{told:?}{state}");
    assert!(!everything.contains(REASON) && !everything.contains(PATIENT), "only the record has the reason");
    let shown = doctor.get(break_glass(room)).ok();
    assert_eq!((&shown["id"], &shown["reason_text"]), (&begun["id"], &json!(REASON)));
    doctor.post(break_glass(room), reason()).refused(409, "M_UNKNOWN");
    let record = ward.record(&begun);
    assert_eq!((&record["patient_ref"], &record["ended_ts"]), (&json!(PATIENT), &json!(null)));
    assert!(!ward.server().log().contains(REASON));
}

#[test]
fn an_emergency_gives_no_power_over_others() {
    let ward = Ward::new();
    let (doctor, alice, room) = (&ward.doctor, &ward.gated.alice, ward.room());
    // Whatever the power levels say.
    alice.change_power_levels(room, |levels| levels["users"][&doctor.id] = json!(90));
    ward.enter();
    let colleague = ward.gated.colleague();
    doctor.on_member("invite", room, &colleague).refused(403, "M_FORBIDDEN");
    alice.invite(room, &colleague);
    colleague.join(room);
    doctor.on_member("kick", room, &colleague).refused(403, "M_FORBIDDEN");
    doctor.on_member("ban", room, &colleague).refused(403, "M_FORBIDDEN");
    doctor.try_set_state(room, "m.room.topic", "", json!({ "topic": "x" })).refused(403, "M_FORBIDDEN");
    for kind in ["org.wardroom.access_policy", "m.room.power_levels"] {
        doctor.try_set_state(room, kind, "", json!({})).refused(403, "M_FORBIDDEN");
    }
    // Who has emergency access is for the server to say, whoever wants to.
    let forged = alice.try_set_state(room, "org.wardroom.break_glass", &mark(alice), json!({ "active": true }));
    forged.refused(403, "M_FORBIDDEN");
    // Taking part in a call is no power.
    doctor.set_state(room, "org.matrix.msc3401.call.member", &doctor.id, json!({}));
    let said = doctor.say(room, "wrong room");
    doctor.redact(room, &said);
}

#[test]
fn without_a_good_reason_nobody_comes_in() {
    let ward = Ward::new();
    let (doctor, room) = (&ward.doctor, ward.room());
    let ask = |body| doctor.post(break_glass(room), body);
    ask(json!({})).refused(400, "M_MISSING_PARAM");
    ask(json!({ "reason_code": "ETREAT" })).refused(400, "M_MISSING_PARAM");
    ask(json!({ "reason_code": 1, "reason_text": REASON })).refused(400, "M_BAD_JSON");
    let short = ask(json!({ "reason_code": "ETREAT", "reason_text": "  urgent    " })).refused(400, "M_INVALID_PARAM");
    assert!(short["error"].as_str().unwrap().contains("reason_text: must have at least 10"), "{short}");
    let code = ask(json!({ "reason_code": "FUN", "reason_text": REASON })).refused(400, "M_INVALID_PARAM");
    assert!(code["error"].as_str().unwrap().contains("ETREAT, BTG"), "{code}");
    ask(json!({ "reason_code": "BTG", "reason_text": "x".repeat(2_001) })).refused(400, "M_INVALID_PARAM");
    let long = json!({ "reason_code": "BTG", "reason_text": REASON, "patient_ref": "x".repeat(257) });
    ask(long).refused(400, "M_INVALID_PARAM");
    doctor.try_join(room).refused(403, "M_FORBIDDEN");
    let listed = ward.gated.admin.get(own(&["break_glass"]).query("room_id", room)).ok();
    assert_eq!(listed["emergencies"], json!([]));
}

#[test]
fn who_may_not_know_of_a_room_does_not_learn_of_it() {
    let ward = Ward::new();
    let (server, stranger) = (ward.server(), ward.server().user("stranger"));
    let unknown = stranger.post(break_glass("!nowhere:hospital-a.example"), reason()).refused(403, "M_FORBIDDEN");
    assert_eq!(stranger.post(break_glass(ward.room()), reason()).refused(403, "M_FORBIDDEN"), unknown);
    let without = Gated::of("public_chat");
    for room in [&without.room, &stranger.create_room(json!({}))] {
        assert_eq!(ward.doctor.post(break_glass(room), reason()).refused(403, "M_FORBIDDEN"), unknown);
    }
    let mut rules = ward.rules(60_000, &[]);
    rules["break_glass"]["enabled"] = json!(false);
    ward.set(rules);
    assert_eq!(ward.doctor.post(break_glass(ward.room()), reason()).refused(403, "M_FORBIDDEN"), unknown);
    assert_eq!(
        ward.doctor.post(break_glass("#none:hospital-a.example"), reason()).refused(403, "M_FORBIDDEN"),
        unknown
    );
    ward.doctor.post(break_glass("nonsense"), reason()).refused(400, "M_INVALID_PARAM");
    server.anonymous().post(break_glass(ward.room()), reason()).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn who_has_the_role_or_is_kept_out_needs_no_emergency() {
    let ward = Ward::new();
    let (doctor, room) = (&ward.doctor, ward.room());
    give(&ward.gated.admin, &doctor.id, &[&ward.who, &ward.gated.role]);
    let with_role = doctor.post(break_glass(room), reason()).refused(409, "M_UNKNOWN");
    assert!(with_role["error"].as_str().unwrap().contains("role"), "{with_role}");
    give(&ward.gated.admin, &doctor.id, &[&ward.who]);
    ward.gated.alice.on_member("ban", room, doctor).ok();
    doctor.post(break_glass(room), reason()).refused(403, "M_FORBIDDEN");
    let suspend = crate::admin::synapse(&["v1", "suspend", &doctor.id]);
    ward.gated.admin.put(suspend, json!({ "suspend": true })).ok();
    doctor.post(break_glass(room), reason()).refused(403, "M_USER_SUSPENDED");
}

#[test]
fn a_room_is_named_by_its_alias_too_and_one_that_is_open_is_just_joined() {
    let ward = Ward::in_room(Gated::of("public_chat"), 3_600_000, &[]);
    let name = wardroom_testkit::unique("ward");
    let alias = format!("#{name}:{}", ward.server().name());
    let put = v3(&["directory", "room", &alias]);
    ward.gated.alice.put(put, json!({ "room_id": ward.room() })).ok();
    let begun = ward.doctor.post(break_glass(&alias), reason()).ok();
    assert_eq!(begun["room_id"], *ward.room());
    ward.doctor.say(ward.room(), "here");
    let invited = ward.gated.alice.history(ward.room());
    assert!(
        !invited
            .iter()
            .any(|event| event["content"]["membership"] == "invite" && event["state_key"] == *ward.doctor.id)
    );
    ward.doctor.delete(break_glass(&alias)).ok();
}

#[test]
fn those_responsible_for_privacy_are_told() {
    let gated = Gated::of("private_chat");
    let officer = gated.server.user("privacy");
    let ward = Ward::in_room(gated, 3_600_000, &[&officer.id, "@nobody:hospital-a.example"]);
    let mut sync = ward.server().follow(&officer);
    let begun = ward.enter();
    let invited =
        sync.until("the chat", SOON, |sync| sync["rooms"]["invite"].as_object().is_some_and(|to| !to.is_empty()));
    let chat = invited["rooms"]["invite"].as_object().unwrap().keys().next().unwrap().clone();
    officer.join(&chat);
    let told = wait_until("the message", SOON, || {
        bodies(&officer.history(&chat)).into_iter().find(|body| body.contains(&ward.doctor.id))
    });
    assert!(told.contains(begun["id"].as_str().unwrap()) && told.contains(ward.room()), "{told}");
    assert!(!told.contains(REASON) && !told.contains(PATIENT), "{told}");
    ward.doctor.delete(break_glass(ward.room())).ok();
    wait_until("the end", SOON, || {
        bodies(&officer.history(&chat)).into_iter().find(|body| body.contains("the user ended it"))
    });
    let alarms = ward.gated.admin.get(own(&["alarms"])).ok();
    let alarm = events(&alarms["alarms"]).iter().find(|alarm| alarm["user_id"] == "@nobody:hospital-a.example");
    assert_eq!(alarm.expect("an alarm")["kind"], "cannot_tell");
}

#[test]
fn nobody_enters_rooms_again_and_again() {
    let ward = Ward::new();
    // What is being ended is not begun again in the same moment.
    let enter = || {
        wait_until("the end of the one before", SOON, || {
            Some(ward.doctor.post(break_glass(ward.room()), reason())).filter(|reply| reply.status != 409)
        })
    };
    for _ in 0..10 {
        enter().ok();
        ward.doctor.request("DELETE", &break_glass(ward.room()), Body::Empty).ok();
    }
    let refused = enter().refused(429, "M_LIMIT_EXCEEDED");
    let retry_ms = refused["retry_after_ms"].as_u64().unwrap();
    assert!((1..=3_600_000).contains(&retry_ms), "{refused}");
}

#[test]
fn roles_are_enough_where_directories_are_silent() {
    let provider = IdentityProvider::start("clinic");
    let config = Config::default()
        .set("oidc.client_allow", &format!("[{:?}]", crate::sso::TRUSTED))
        .set("roles.claims", r#"[{ claim = "/groups", value = "clinicians", gives = "clinician@h1" }]"#);
    let mut server = server_with(IdentityProvider::configure(&[&provider], config, ""));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let claims = json!({ "sub": "1", "preferred_username": "dora", "groups": ["clinicians"] });
    let dora = signed_in(&server, &provider, &claims);
    give(&admin, &alice.id, &["physician@h1"]);
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let mut rules = super::policy(&["physician@h1"]);
    rules["break_glass"] = json!({
        "enabled": true, "who": { "any_of": [{ "all_of": ["clinician@h1"] }] }, "reasons": ["BTG"],
    });
    admin.put(own(&["rooms", &room, "policy"]), rules).ok();
    // What is known of roles is in the store; nobody is left to ask.
    server.restart();
    drop(provider);
    dora.post(break_glass(&room), json!({ "reason_code": "BTG", "reason_text": REASON })).ok();
    dora.say(&room, "the network is down, the room is not");
}
