//! Orders: who may receive and record them is a role (CMS QSO-24-05, and the list of people that the Joint Commission asks for).

use wardroom_testkit::{Actor, json, unique, wait_until};

use super::{Gated, give, policy};
use crate::{SOON, admin::own};

const ORDER: &str = "org.example.order";

#[test]
fn who_has_no_role_for_it_sends_no_order() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, role, .. } = &gated;
    let records = format!("may-record-orders-{}@h1", unique("x"));
    let room = alice.create_room(json!({
        "preset": "public_chat", "room_version": "11",
        "power_level_content_override": { "events": { ORDER: 50 } },
    }));
    let mut rules = policy(&[role]);
    rules["power"] = json!([{ "if": records, "level": 50 }]);
    admin.put(own(&["rooms", &room, "policy"]), rules).ok();
    let nurse = gated.colleague();
    nurse.join(&room);
    let order = || json!({ "order": "aspirin 100 mg", "patient": "bed 3" });
    let send = || nurse.try_send(&room, ORDER, &unique("txn"), order());
    send().refused(403, "M_FORBIDDEN");
    nurse.say(&room, "everything else may be said");
    give(admin, &nurse.id, &[role, &records]);
    let sent = wait_until("the role's power", SOON, || Some(send()).filter(|sent| sent.status == 200));
    let sent = sent.ok()["event_id"].as_str().unwrap().to_owned();
    let event = alice.try_event(&room, &sent).ok();
    assert_eq!((&event["sender"], &event["content"]), (&json!(nurse.id), &order()));
    assert!(event["origin_server_ts"].is_u64(), "with its author and its time");
    give(admin, &nurse.id, &[role]);
    wait_until("the end of the role's power", SOON, || (send().status == 403).then_some(()));
    // Who may record orders is a list that administrators read.
    let shown = admin.get(own(&["role_holders"]).query("requirement", &records)).ok();
    assert!(!shown.to_string().contains(&nurse.id), "{shown}");
}
