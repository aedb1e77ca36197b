//! Coming into a room without the role in an emergency ("break-glass").

mod bot;
mod crash;
mod ending;
mod entering;
mod review;

use wardroom_testkit::{Actor, Reply, Server, Target, User, Value, encode, json, raw, unique};

use super::{Gated, give, policy};
use crate::admin::own;

/// What nobody reads but in the record.
const REASON: &str = "cardiac arrest in bed four";
const PATIENT: &str = "Patient/4711";

/// One's emergency in a room.
pub(crate) fn break_glass(room: &str) -> Target {
    raw(&format!("/_matrix/client/unstable/org.wardroom/v1/rooms/{}/break_glass", encode(room)))
}

fn reason() -> Value {
    json!({ "reason_code": "ETREAT", "reason_text": REASON, "patient_ref": PATIENT })
}

/// A room that requires a role, and lets those with another role in in an emergency.
pub(crate) struct Ward {
    pub(crate) gated: Gated,
    /// With the role that may.
    who: String,
    /// Has it.
    pub(crate) doctor: User,
}

impl Ward {
    /// Emergencies last an hour.
    pub(crate) fn new() -> Self {
        Self::lasting(3_600_000)
    }

    fn lasting(ttl_ms: u64) -> Self {
        Self::in_room(Gated::of("private_chat"), ttl_ms, &[])
    }

    fn in_room(gated: Gated, ttl_ms: u64, notify: &[&str]) -> Self {
        let (who, doctor) = (format!("{}@h1", unique("clinician")), gated.server.user("doctor"));
        give(&gated.admin, &doctor.id, &[&who]);
        let ward = Self { gated, who, doctor };
        ward.set(ward.rules(ttl_ms, notify));
        ward
    }

    fn server(&self) -> &'static Server {
        self.gated.server
    }

    pub(crate) fn room(&self) -> &str {
        &self.gated.room
    }

    fn rules(&self, ttl_ms: u64, notify: &[&str]) -> Value {
        let mut rules = policy(&[&self.gated.role]);
        rules["break_glass"] = json!({
            "enabled": true, "who": { "any_of": [{ "all_of": [self.who] }] }, "ttl_ms": ttl_ms,
            "reasons": ["ETREAT", "BTG"], "min_text": 10, "notify": notify,
        });
        rules
    }

    #[track_caller]
    fn set(&self, rules: Value) {
        self.gated.admin.put(own(&["rooms", self.room(), "policy"]), rules).ok();
    }

    /// The doctor comes in.
    #[track_caller]
    pub(crate) fn enter(&self) -> Value {
        self.doctor.post(break_glass(self.room()), reason()).ok()
    }

    /// The record of an emergency.
    #[track_caller]
    fn record(&self, begun: &Value) -> Value {
        self.gated.admin.get(own(&["break_glass", begun["id"].as_str().unwrap()])).ok()
    }

    fn membership(&self) -> Value {
        self.gated.alice.state(self.room(), "m.room.member", &self.doctor.id)["membership"].clone()
    }

    /// Whether the doctor may read the room.
    fn reads(&self) -> Reply {
        self.doctor.try_messages(self.room(), "b", None, "10")
    }
}

/// What a user has, as it is told in the room.
fn mark(user: &User) -> String {
    format!("_{}", user.id)
}
