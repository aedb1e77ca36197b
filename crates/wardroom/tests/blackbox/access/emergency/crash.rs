//! Emergencies and servers that stop.

use std::{thread, time::Duration};

use wardroom_testkit::{Actor, Config, User, bodies, json, peer::now_ms, wait_until};

use super::{REASON, break_glass, reason};
use crate::{
    SOON,
    access::{give, policy},
    admin::{admin_of, own},
    server_with,
};

/// A room of alice's that requires a role, and a doctor who may enter it in an emergency, of so many milliseconds.
fn room_of(admin: &User, alice: &User, doctor: &User, ttl_ms: u64) -> String {
    give(admin, &alice.id, &["physician@h1"]);
    give(admin, &doctor.id, &["clinician@h1"]);
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let mut rules = policy(&["physician@h1"]);
    rules["break_glass"] = json!({
        "enabled": true, "who": { "any_of": [{ "all_of": ["clinician@h1"] }] }, "ttl_ms": ttl_ms, "reasons": ["ETREAT"],
    });
    admin.put(own(&["rooms", &room, "policy"]), rules).ok();
    room
}

#[test]
fn an_emergency_outlives_the_server_and_ends_on_time() {
    let mut server = server_with(Config::default());
    let (admin, alice, doctor) = (admin_of(&server), server.user("alice"), server.user("doctor"));
    let (long, short) = (room_of(&admin, &alice, &doctor, 3_600_000), room_of(&admin, &alice, &doctor, 3_000));
    let (goes_on, ends) =
        (doctor.post(break_glass(&long), reason()).ok(), doctor.post(break_glass(&short), reason()).ok());
    server.kill9();
    let until_ms = ends["expires_ts"].as_u64().unwrap();
    thread::sleep(Duration::from_millis(until_ms.saturating_sub(now_ms())));
    server.start_again();
    doctor.say(&long, "still here");
    assert_eq!(doctor.get(break_glass(&long)).ok()["id"], goes_on["id"]);
    // At once, whether or not anybody was put out yet.
    doctor.try_messages(&short, "b", None, "10").refused(403, "M_FORBIDDEN");
    wait_until("the leave", SOON, || {
        (alice.state(&short, "m.room.member", &doctor.id)["membership"] == "leave").then_some(())
    });
    let record = admin.get(own(&["break_glass", ends["id"].as_str().unwrap()])).ok();
    assert_eq!(record["ended_why"], "expired");
    let notices = bodies(&alice.history(&long)).into_iter().filter(|body| body.contains("emergency access"));
    assert_eq!(notices.count(), 1, "told once");
}

#[test]
fn an_emergency_is_whole_or_not_there_whenever_the_server_is_killed() {
    let mut server = server_with(Config::default());
    let (admin, alice, doctor) = (admin_of(&server), server.user("alice"), server.user("doctor"));
    let room = room_of(&admin, &alice, &doctor, 3_600_000);
    for pause_ms in [0, 2, 5, 10, 20, 40] {
        let asking = {
            let (doctor, room) = (doctor.clone(), room.clone());
            thread::spawn(move || {
                let body = json!({ "reason_code": "ETREAT", "reason_text": REASON });
                doctor.http().try_post(&break_glass(&room), doctor.token(), body).is_ok()
            })
        };
        thread::sleep(Duration::from_millis(pause_ms));
        server.kill9();
        asking.join().unwrap();
        server.start_again();
        let going_on = doctor.get(break_glass(&room));
        if going_on.status != 200 {
            going_on.refused(404, "M_NOT_FOUND");
            doctor.try_join(&room).refused(403, "M_FORBIDDEN");
            continue;
        }
        wait_until("the doctor", SOON, || doctor.is_in(&room).then_some(()));
        let id = going_on.json()["id"].clone();
        let told = || alice.state(&room, "org.wardroom.break_glass", &super::mark(&doctor))["id"] == id;
        wait_until("the mark", SOON, || {
            let there = alice.try_state(&room, "org.wardroom.break_glass", &super::mark(&doctor)).status == 200;
            (there && told()).then_some(())
        });
        doctor.delete(break_glass(&room)).ok();
        wait_until("the leave", SOON, || (!doctor.is_in(&room)).then_some(()));
    }
}
