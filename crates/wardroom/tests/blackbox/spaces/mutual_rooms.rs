//! `GET /mutual_rooms`.

use wardroom_testkit::{Actor, Target, json, raw, same_set, v1};

use crate::ward;

fn path(user: &str) -> Target {
    v1(&["mutual_rooms"]).query("user_id", user)
}

#[test]
fn rooms_that_both_have_joined_are_mutual() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let (both, all) = (alice.create_public_room(&[&bob]), alice.create_public_room(&[&bob, &carol]));
    alice.create_room(json!({ "invite": [bob.id] }));
    bob.create_public_room(&[&carol]);
    let left = alice.create_public_room(&[&bob]);
    bob.leave(&left);
    let answer = alice.get(path(&bob.id)).ok();
    assert!(same_set(&answer["joined"], &[&both, &all]), "{answer}");
    assert_eq!(answer["count"], 2);
    assert!(answer.get("next_batch").is_none());
    assert_eq!(alice.get(path(&carol.id)).ok(), json!({ "joined": [all], "count": 1 }));
    for stranger in ["@nobody:hospital-a.example", "@nobody:b.example"] {
        assert_eq!(alice.get(path(stranger)).ok(), json!({ "joined": [], "count": 0 }));
    }
    let old = format!("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id={}", carol.id);
    assert_eq!(alice.get(raw(&old)).ok()["joined"], json!([all]));
}

#[test]
fn what_names_nobody_else_is_refused() {
    let alice = ward().user("alice");
    alice.get(path(&alice.id)).refused(400, "M_INVALID_PARAM");
    alice.get(path("@UPPER:hospital-a.example")).refused(400, "M_INVALID_PARAM");
    alice.get(path("alice")).refused(400, "M_INVALID_PARAM");
    alice.get(v1(&["mutual_rooms"])).refused_with_one_of(400, &["M_INVALID_PARAM", "M_MISSING_PARAM"]);
    alice.get(path("@bob:b.example").query("from", "junk")).refused(400, "M_INVALID_PARAM");
    alice.anonymous().get(path("@bob:b.example")).refused(401, "M_MISSING_TOKEN");
}
