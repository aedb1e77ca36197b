//! Every change leaves its record, and no change that did not happen leaves one.

mod accounts;
mod administration;
mod care;
mod federation;
mod rooms;

use wardroom_testkit::{User, Value, json};

/// The record of something that this user did in person, without what differs from time to time.
fn by(user: &User, act: &str, on: Value) -> Value {
    let who = json!({ "device": user.device, "ip": "127.0.0.1", "user": user.id });
    let mut record = json!({ "act": act, "outcome": 0, "who": who });
    record["on"] = on;
    record
}

/// Records without what differs from time to time: their ids and times, and the request.
#[track_caller]
pub(super) fn bare(records: Vec<Value>) -> Vec<Value> {
    let bare = |mut record: Value| {
        let fields = record.as_object_mut().unwrap();
        assert!(fields.remove("id").is_some_and(|id| id.as_str().unwrap().len() == 26));
        assert!(fields.remove("at").is_some_and(|at| at.as_u64().unwrap() > 1_700_000_000_000));
        fields.remove("request");
        record
    };
    records.into_iter().map(bare).collect()
}
