//! The audit trail.

mod classes;
mod deeds;
mod exports;
mod offline;
mod proofs;
mod sights;
mod sights_reports;
mod witnesses;

use wardroom_testkit::{Actor, Config, User, Value};

use crate::{
    admin::{admin_of, own},
    server_with, ward,
};

/// Records of the audit trail that meet conditions, oldest first: `records(&admin, &[("act", "login")])`.
#[track_caller]
pub(crate) fn records(admin: &User, conditions: &[(&str, &str)]) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut target = own(&["audit", "records"]).query("limit", "1000");
        for (name, value) in conditions {
            target = target.query(name, value);
        }
        if let Some(after) = &after {
            target = target.query("after", after);
        }
        let answer = admin.get(target).ok();
        found.extend(answer["records"].as_array().unwrap().iter().map(|entry| entry["record"].clone()));
        match answer["next"].as_u64() {
            Some(next) => after = Some(next.to_string()),
            None => return found,
        }
    }
}

#[test]
fn who_reads_the_trail_leaves_a_record() {
    let mut server = server_with(Config::default());
    let admin = admin_of(&server);
    let starts = records(&admin, &[("act", "server.start")]);
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert_eq!(starts[0]["who"], Value::Object(Default::default()));
    let reads = records(&admin, &[("act", "audit.read"), ("user_id", &admin.id)]);
    assert_eq!(reads.len(), 1, "{reads:?}");
    let read = &reads[0];
    assert_eq!((read["who"]["user"].as_str(), read["on"]["count"].as_u64()), (Some(&*admin.id), Some(1)));
    assert_eq!(read["on"]["query"], "limit=1000&act=server.start");
    assert_eq!(read["who"]["ip"], "127.0.0.1");
    assert!(read["who"]["device"].is_string() && read["request"].is_string(), "{read}");
    server.stop();
    server.start_again();
    let acts = records(&admin, &[("act", "server.start"), ("act", "server.stop")]);
    let acts: Vec<&str> = acts.iter().map(|record| record["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["server.start", "server.stop", "server.start"]);
}

#[test]
fn the_trail_is_for_those_who_have_the_scope() {
    let server = ward();
    let user = server.user("curious");
    user.get(own(&["audit", "records"])).refused(403, "M_FORBIDDEN");
    let admin = admin_of(server);
    admin.get(own(&["audit", "records"]).query("act", "no such act")).refused(400, "M_INVALID_PARAM");
    admin.get(own(&["audit", "records"]).query("after", "-1")).refused(400, "M_INVALID_PARAM");
}
