//! Legal holds (healthcare): nothing that one covers is deleted, and nobody sees more for it.

mod api;
mod blocked;
mod crash;
mod restored;

use wardroom_testkit::{Actor, Reply, Target, User, Value, json};

use crate::admin::own;

fn holds() -> Target {
    own(&["holds"])
}

/// Sets a hold and gives its id.
#[track_caller]
fn hold(admin: &User, scope: &Value) -> String {
    let hold = json!({ "scope": scope, "reason": "a complaint of a patient", "authority": "court, 7 O 12/26" });
    admin.post(holds(), hold).ok()["id"].as_str().unwrap().to_owned()
}

fn release(admin: &User, id: &str) -> Reply {
    admin.request("DELETE", &own(&["holds", id]), json!({ "reason": "settled" }).into())
}

/// Both administrators release a hold.
#[track_caller]
fn release_by(admins: [&User; 2], id: &str) {
    assert!(release(admins[0], id).ok().get("released_ts").is_none());
    assert!(release(admins[1], id).ok()["released_ts"].is_u64());
}

/// The messages that a hold covers.
#[track_caller]
fn covered(admin: &User, id: &str) -> Vec<Value> {
    let (mut events, mut from) = (Vec::new(), String::new());
    loop {
        let answer = admin.get(own(&["holds", id, "events"]).query("from", &from)).ok();
        events.extend(
            answer["events"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.message").cloned(),
        );
        match answer["next_token"].as_str() {
            Some(next) => from = next.to_owned(),
            None => return events,
        }
    }
}

fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["content"]["body"].as_str().unwrap_or_default()).collect()
}
