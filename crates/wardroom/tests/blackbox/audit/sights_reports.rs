//! Reports of what was read.

use wardroom_testkit::{Actor, Config, Value, json, v3};

use super::records;
use crate::{
    access::{give, policy},
    admin::{admin_of, own},
    server_with,
};

fn rows(answer: &Value, name: &str) -> Vec<Value> {
    answer[name].as_array().unwrap().clone()
}

#[test]
fn reports_tell_who_read_what_and_leave_records() {
    let server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said = alice.say(&room, "x");
    bob.try_event(&room, &said).ok();
    let reads = |query: &[(&str, &str)]| {
        let target = query.iter().fold(own(&["reports", "reads"]), |target, (name, value)| target.query(name, value));
        admin.get(target).ok()
    };
    let found = rows(&reads(&[("user_id", &bob.id), ("room_id", &room)]), "reads");
    let [read] = &*found else { panic!("{found:#?}") };
    assert_eq!((&read["user_id"], &read["device_id"]), (&json!(bob.id), &json!(bob.device)));
    assert_eq!((&read["first_event_id"], &read["last_event_id"]), (&json!(said), &json!(said)));
    assert_eq!((&read["by"], &read["count"]), (&json!("event"), &json!(1)));
    let at = read["from_ts"].as_u64().unwrap();
    for (from, to, there) in [(at, at + 1, true), (at + 60_000, at + 90_000, false), (0, at, false), (0, at + 1, true)]
    {
        let (from, to) = (from.to_string(), to.to_string());
        let found = reads(&[("user_id", &bob.id), ("from_ts", &from), ("to_ts", &to)]);
        assert_eq!(rows(&found, "reads").len(), usize::from(there), "{from} to {to}: {found}");
    }
    bob.history(&room);
    let first = reads(&[("user_id", &bob.id), ("limit", "1")]);
    assert_eq!(rows(&first, "reads").len(), 1);
    let after = first["next"].as_u64().unwrap().to_string();
    let second = rows(&reads(&[("user_id", &bob.id), ("limit", "1"), ("after", &after)]), "reads");
    assert_eq!(second[0]["by"], "messages", "{second:#?}");
    let csv = admin.get(own(&["reports", "reads"]).query("user_id", &bob.id).query("format", "csv"));
    let csv = String::from_utf8(csv.bytes).unwrap();
    assert!(csv.starts_with("number,from_ts,") && csv.contains(&format!("\"'{}\"", bob.id)), "{csv}");
    let left = records(&admin, &[("act", "audit.read")]);
    assert!(left.iter().any(|record| record["on"]["detail"] == "reads"), "{left:#?}");
    bob.get(own(&["reports", "reads"])).refused(403, "M_FORBIDDEN");
    admin.get(own(&["reports", "reads"]).query("from_ts", "soon")).refused(400, "M_INVALID_PARAM");
    admin.get(own(&["reports", "reads"]).query("format", "xml")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn who_reads_unusually_much_is_found() {
    let server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    for _ in 0..3 {
        let room = alice.create_public_room(&[&bob]);
        bob.get(v3(&["rooms", &room, "members"])).ok();
    }
    let many = |name: &str, value: &str| {
        let target = own(&["reports", "mass_reads"]).query("window", "86400").query(name, value);
        rows(&admin.get(target.query("user_id", &bob.id)).ok(), "readers")
    };
    let found = many("rooms", "3");
    assert_eq!((&found[0]["rooms"], &found[0]["events"]), (&json!(3), &json!(6)), "{found:#?}");
    assert_eq!(many("threshold", "6").len(), 1);
    assert!(many("rooms", "4").is_empty());
    admin.get(own(&["reports", "mass_reads"]).query("window", "0")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn who_can_read_a_room_and_by_what() {
    let server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let role = "physician@h1/cardiology";
    give(&admin, &alice.id, &[role]);
    let room = alice.create_public_room(&[]);
    let open = alice.create_public_room(&[&bob]);
    let mut lax = policy(&[role]);
    lax["on_loss"] = json!({ "action": "notify" });
    admin.put(own(&["rooms", &room, "policy"]), lax).ok();
    alice.history(&room);
    let review =
        |name: &str, id: &str| rows(&admin.get(own(&["reports", "access_review"]).query(name, id)).ok(), "access");
    let found = review("room_id", &room);
    let alices = found.iter().find(|row| row["user_id"] == alice.id).unwrap();
    assert_eq!((&alices["by"], &alices["can_read"]), (&json!("role"), &json!(true)), "{found:#?}");
    assert!(alices["last_read_ts"].is_u64() && alices["roles"] == json!([role]), "{alices}");
    let found = review("user_id", &bob.id);
    let [bobs] = &*found else { panic!("{found:#?}") };
    assert_eq!((&bobs["room_id"], &bobs["by"]), (&json!(open), &json!("membership")));
    assert!(bobs["last_read_ts"].is_null(), "{bobs}");
    admin.get(own(&["reports", "access_review"])).refused(400, "M_INVALID_PARAM");
    admin.get(own(&["reports", "access_review"]).query("room_id", "!none:x.example")).refused(404, "M_NOT_FOUND");
}
