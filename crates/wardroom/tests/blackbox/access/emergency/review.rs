//! The list of emergencies, and their review.

use wardroom_testkit::{Actor, Value, events, json};

use super::{REASON, Ward, break_glass};
use crate::{
    access::give,
    admin::{admin_of, own},
};

fn ids(listed: &Value) -> Vec<String> {
    events(&listed["emergencies"]).iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_emergency_is_reviewed_once_by_somebody_else() {
    let ward = Ward::new();
    let (admin, room) = (&ward.gated.admin, ward.room());
    let begun = ward.enter();
    let id = begun["id"].as_str().unwrap();
    let list =
        |key: &str, value: &str| ids(&admin.get(own(&["break_glass"]).query("room_id", room).query(key, value)).ok());
    assert_eq!((list("open", "true").len(), list("reviewed", "false").len(), list("open", "false").len()), (1, 1, 0));
    let review = || own(&["break_glass", id, "review"]);
    let verdict = json!({ "verdict": "justified", "note": "seen with the ward" });
    admin.post(review(), verdict.clone()).refused(409, "M_UNKNOWN");
    ward.doctor.delete(break_glass(room)).ok();
    assert_eq!((list("open", "true").len(), list("reviewed", "false").len(), list("open", "false").len()), (0, 1, 1));
    admin.post(review(), json!({ "verdict": "fine" })).refused(400, "M_BAD_JSON");
    let reviewed = admin.post(review(), verdict.clone()).ok();
    assert_eq!((&reviewed["review"]["by"], &reviewed["review"]["verdict"]), (&json!(admin.id), &json!("justified")));
    admin.post(review(), verdict).refused(409, "M_UNKNOWN");
    assert_eq!((list("reviewed", "false").len(), list("reviewed", "true").len()), (0, 1));
    let shown = admin.get(own(&["break_glass", id])).ok();
    assert_eq!((&shown["reason_text"], &shown["review"]["note"]), (&json!(REASON), &json!("seen with the ward")));
    admin.get(own(&["break_glass", "0"])).refused(404, "M_NOT_FOUND");
    admin.get(own(&["break_glass", "x"])).refused(404, "M_NOT_FOUND");
    admin.get(own(&["break_glass"]).query("open", "maybe")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn nobody_reviews_their_own_emergency() {
    let ward = Ward::new();
    let doctor = admin_of(ward.server());
    give(&ward.gated.admin, &doctor.id, &[&ward.who]);
    let begun = doctor.post(break_glass(ward.room()), super::reason()).ok();
    let id = begun["id"].as_str().unwrap();
    doctor.delete(break_glass(ward.room())).ok();
    let verdict = json!({ "verdict": "justified", "note": "I say so" });
    doctor.post(own(&["break_glass", id, "review"]), verdict.clone()).refused(403, "M_FORBIDDEN");
    ward.gated.admin.post(own(&["break_glass", id, "review"]), verdict).ok();
}

#[test]
fn the_list_is_for_the_scope_privacy_and_goes_on_page_by_page() {
    let ward = Ward::new();
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(ward.enter()["id"].as_str().unwrap().to_owned());
        ward.doctor.delete(break_glass(ward.room())).ok();
    }
    begun.reverse();
    let page = || own(&["break_glass"]).query("user_id", &ward.doctor.id).query("limit", "2");
    let first = ward.gated.admin.get(page()).ok();
    assert_eq!(ids(&first), begun[..2]);
    let second = ward.gated.admin.get(page().query("from", &first["next_token"].to_string())).ok();
    assert_eq!((ids(&second), &second["next_token"]), (begun[2..].to_vec(), &json!(null)));
    let other = admin_of(ward.server());
    ward.gated.admin.put(own(&["users", &other.id, "scopes"]), json!({ "scopes": ["users", "rooms"] })).ok();
    other.get(own(&["break_glass"])).refused(403, "M_FORBIDDEN");
    ward.doctor.get(own(&["break_glass"])).refused(403, "M_FORBIDDEN");
}
