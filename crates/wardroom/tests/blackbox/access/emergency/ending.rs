//! The end of an emergency.

use wardroom_testkit::{Actor, Value, json, wait_until};

use super::{Ward, break_glass, mark};
use crate::{SOON, access::give, admin::own};

impl Ward {
    /// Waits for the end, and gives the record.
    #[track_caller]
    fn ended(&self, begun: &Value, why: &str) -> Value {
        let record = wait_until("the end", SOON, || Some(self.record(begun)).filter(|it| !it["ended_ts"].is_null()));
        assert_eq!(record["ended_why"], why, "{record}");
        record
    }

    /// The doctor is out, and the room was told.
    #[track_caller]
    fn out(&self) {
        wait_until("the leave", SOON, || (self.membership() == "leave").then_some(()));
        self.reads().refused(403, "M_FORBIDDEN");
        self.doctor.try_join(self.room()).refused(403, "M_FORBIDDEN");
        let kind = "org.wardroom.break_glass";
        let alice = &self.gated.alice;
        wait_until("the mark", SOON, || {
            (alice.state(self.room(), kind, &mark(&self.doctor))["active"] == false).then_some(())
        });
        self.doctor.get(break_glass(self.room())).refused(404, "M_NOT_FOUND");
    }
}

#[test]
fn its_time_ends_it() {
    let ward = Ward::lasting(4_000);
    let mut sync = ward.server().follow(&ward.doctor);
    let begun = ward.enter();
    ward.reads().ok();
    let room = ward.room();
    sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    let record = ward.ended(&begun, "expired");
    assert!(record["ended_ts"].as_u64() >= begun["expires_ts"].as_u64(), "{record}");
    ward.out();
    // And once more.
    ward.enter();
    ward.reads().ok();
}

#[test]
fn a_time_of_grace_for_others_is_none_for_an_emergency() {
    let ward = Ward::lasting(3_000);
    let mut rules = ward.rules(3_000, &[]);
    rules["on_loss"] = json!({ "action": "kick", "grace_ms": 3_600_000 });
    rules["read_check"] = json!(false);
    ward.set(rules);
    let begun = ward.enter();
    ward.ended(&begun, "expired");
    wait_until("the leave", SOON, || (ward.membership() == "leave").then_some(()));
}

#[test]
fn the_user_ends_it() {
    let ward = Ward::new();
    let begun = ward.enter();
    ward.doctor.delete(break_glass(ward.room())).ok();
    // The room may still be told of the beginning: then the leave comes right after that.
    wait_until("the leave", SOON, || (ward.membership() == "leave").then_some(()));
    ward.ended(&begun, "ended_by_user");
    ward.out();
    ward.doctor.delete(break_glass(ward.room())).refused(404, "M_NOT_FOUND");
}

#[test]
fn leaving_the_room_ends_it_and_being_put_out_does() {
    let ward = Ward::new();
    let begun = ward.enter();
    ward.doctor.leave(ward.room());
    ward.ended(&begun, "ended_by_user");
    ward.out();
    let begun = ward.enter();
    ward.gated.alice.on_member("kick", ward.room(), &ward.doctor).ok();
    ward.ended(&begun, "removed");
    ward.out();
}

#[test]
fn an_administrator_ends_it() {
    let ward = Ward::new();
    let begun = ward.enter();
    let end = own(&["break_glass", begun["id"].as_str().unwrap(), "end"]);
    let ended = ward.gated.admin.post(end, json!({})).ok();
    assert_eq!((&ended["ended_why"], &ended["ended_by"]), (&json!("ended_by_admin"), &json!(ward.gated.admin.id)));
    ward.out();
}

#[test]
fn who_gets_the_role_stays() {
    let ward = Ward::new();
    let begun = ward.enter();
    give(&ward.gated.admin, &ward.doctor.id, &[&ward.who, &ward.gated.role]);
    ward.ended(&begun, "role_gained");
    assert_eq!(ward.membership(), "join");
    ward.doctor.say(ward.room(), "on duty now");
    let history = ward.gated.alice.history(ward.room());
    let of_doctor = history.iter().filter(|event| event["state_key"] == *ward.doctor.id);
    assert_eq!(of_doctor.count(), 2, "an invitation and a join, and nothing after them");
}

#[test]
fn a_policy_that_allows_none_ends_it() {
    let ward = Ward::new();
    let begun = ward.enter();
    ward.set(crate::access::policy(&[&ward.gated.role]));
    ward.reads().refused(403, "M_FORBIDDEN");
    ward.ended(&begun, "policy_changed");
    ward.out();
}

#[test]
fn the_end_of_the_account_ends_it() {
    let ward = Ward::new();
    let begun = ward.enter();
    let deactivate = crate::admin::synapse(&["v1", "deactivate", &ward.doctor.id]);
    ward.gated.admin.post(deactivate, json!({ "erase": false })).ok();
    ward.ended(&begun, "account_closed");
    wait_until("the leave", SOON, || (ward.membership() == "leave").then_some(()));
}

#[test]
fn who_could_read_before_can_read_again() {
    let ward = Ward::new();
    let mut rules = ward.rules(3_600_000, &[]);
    rules["on_loss"] = json!({ "action": "readonly" });
    ward.set(rules);
    give(&ward.gated.admin, &ward.doctor.id, &[&ward.who, &ward.gated.role]);
    ward.gated.alice.invite(ward.room(), &ward.doctor);
    ward.doctor.join(ward.room());
    give(&ward.gated.admin, &ward.doctor.id, &[&ward.who]);
    ward.doctor.try_send(ward.room(), "m.room.message", "a", wardroom_testkit::text("no")).refused(403, "M_FORBIDDEN");
    let begun = ward.enter();
    ward.doctor.say(ward.room(), "now I may");
    ward.doctor.delete(break_glass(ward.room())).ok();
    ward.ended(&begun, "ended_by_user");
    ward.reads().ok();
    ward.doctor.try_send(ward.room(), "m.room.message", "b", wardroom_testkit::text("no")).refused(403, "M_FORBIDDEN");
    assert_eq!(ward.membership(), "join");
}
