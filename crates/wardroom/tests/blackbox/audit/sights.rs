//! Every read leaves its record: who, on which device, what, how much, by which endpoint.

use std::time::Duration;

use wardroom_testkit::{
    Actor, Config, Server, Target, User, Value, event_ids, joined, json, text, timeline, v1, v3, wait_until,
};

use super::records;
use crate::{
    SOON,
    access::{give, policy},
    admin::{admin_of, own},
    media::{download, download_path, upload},
    server_with,
};

/// Records of reads by one device, after everything was closed by a restart.
#[track_caller]
fn of_device(records: &[Value], user: &User) -> Vec<Value> {
    records.iter().filter(|record| record["who"]["device"] == *user.device).cloned().collect()
}

/// Starts the server again, which closes what is open.
fn close(server: &mut Server) {
    server.stop();
    server.start_again();
}

/// Something that a user asks for.
type Ask = Box<dyn Fn(&User) -> Value>;

#[test]
fn each_way_of_reading_a_room_leaves_its_record() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said = alice.say(&room, "a secret word");
    let reply = json!({ "msgtype": "m.text", "body": "reply",
        "m.relates_to": { "rel_type": "m.thread", "event_id": said } });
    let reply = alice.try_send(&room, "m.room.message", "1", reply).ok()["event_id"].as_str().unwrap().to_owned();
    let all = bob.history(&room).len() as u64;
    let state = bob.get(v3(&["rooms", &room, "state"])).ok().as_array().unwrap().len() as u64;
    let sliding = raw_sliding();
    let asked: Vec<(&str, Ask, Option<u64>)> = vec![
        ("messages", get(v3(&["rooms", &room, "messages"]).query("dir", "b").query("limit", "100")), Some(all)),
        ("context", get(v3(&["rooms", &room, "context", &said]).query("limit", "2")), None),
        ("event", get(v3(&["rooms", &room, "event", &said])), Some(1)),
        ("relations", get(v1(&["rooms", &room, "relations", &said])), Some(1)),
        ("threads", get(v1(&["rooms", &room, "threads"])), Some(1)),
        ("state", get(v3(&["rooms", &room, "state"])), Some(state)),
        ("state", get(v3(&["rooms", &room, "state", "m.room.create"])), Some(1)),
        ("members", get(v3(&["rooms", &room, "members"])), Some(2)),
        ("joined_members", get(v3(&["rooms", &room, "joined_members"])), Some(2)),
        (
            "timestamp_to_event",
            get(v1(&["rooms", &room, "timestamp_to_event"]).query("ts", "0").query("dir", "f")),
            Some(1),
        ),
        ("initialSync", get(v3(&["rooms", &room, "initialSync"])), None),
        ("events", get(v3(&["events", &said])), Some(1)),
        ("notifications", get(v3(&["notifications"])), None),
        ("sync", Box::new(User::initial_sync), None),
        ("sliding_sync", Box::new(move |user| user.post(sliding.clone(), sliding_body()).ok()), None),
        ("search", Box::new(|user| user.post(v3(&["search"]), searching("secret")).ok()), Some(1)),
    ];
    let mut devices = Vec::new();
    for (endpoint, ask, count) in asked {
        let device = bob.other_device();
        ask(&device);
        // The same again is the same.
        ask(&device);
        devices.push((endpoint, device, count));
    }
    close(&mut server);
    let reads = records(&admin, &[("act", "room.read"), ("room_id", &room)]);
    for (endpoint, device, count) in devices {
        let [read] = &*of_device(&reads, &device) else { panic!("{endpoint}: {reads:#?}") };
        assert_eq!(read["on"]["detail"], endpoint, "{read}");
        assert_eq!(read["who"]["user"], *bob.id, "{read}");
        assert_eq!((&read["who"]["ip"], &read["outcome"]), (&json!("127.0.0.1"), &json!(0)), "{read}");
        assert!(read["request"].is_string() && read["on"]["since"].as_u64() <= read["on"]["until"].as_u64(), "{read}");
        assert!(read["on"]["count"].as_u64().is_some_and(|found| count.is_none_or(|count| count == found)), "{read}");
        assert_eq!(read["on"]["event"].is_string(), endpoint != "joined_members", "{read}");
        assert!(!read.to_string().contains("secret"), "{read}");
    }
    let searches = records(&admin, &[("act", "search"), ("user_id", &bob.id)]);
    assert_eq!(searches[0]["on"]["query"], "secret", "{searches:?}");
    assert_eq!(searches[0]["on"]["count"], 1);
    assert!(!reply.is_empty());
}

fn get(target: Target) -> Ask {
    Box::new(move |user| user.get(target.clone()).ok())
}

fn raw_sliding() -> Target {
    wardroom_testkit::raw("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync")
}

fn sliding_body() -> Value {
    json!({ "lists": { "a": { "ranges": [[0, 9]], "timeline_limit": 5, "required_state": [["m.room.create", ""]] } } })
}

fn searching(term: &str) -> Value {
    json!({ "search_categories": { "room_events": { "search_term": term } } })
}

#[test]
fn what_a_device_received_survives_a_crash_right_after_the_answer() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = server.follow(&bob);
    let first = alice.say(&room, "one");
    let told = sync.until("the first message", SOON, |sync| !timeline(sync, &room).is_empty());
    assert!(event_ids(timeline(&told, &room)).contains(&first));
    let second = alice.say(&room, "two");
    sync.until("the second message", SOON, |sync| !timeline(sync, &room).is_empty());
    drop(sync);
    server.kill9();
    server.start_again();
    let reads = records(&admin, &[("act", "room.read"), ("room_id", &room), ("user_id", &bob.id)]);
    let [read] = &*of_device(&reads, &bob) else { panic!("{reads:#?}") };
    assert_eq!(read["on"]["last"], second, "{read}");
    assert_eq!(read["on"]["detail"], "sync", "{read}");
    server.kill9();
    server.start_again();
    let again = records(&admin, &[("act", "room.read"), ("room_id", &room), ("user_id", &bob.id)]);
    assert_eq!(again, reads, "it is recorded once");
}

#[test]
fn idle_syncs_leave_nothing() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let told = bob.initial_sync();
    let count = joined(&told, &room)["timeline"]["events"].as_array().unwrap().len()
        + joined(&told, &room)["state"]["events"].as_array().unwrap().len();
    let since = told["next_batch"].as_str().unwrap();
    for _ in 0..20 {
        bob.try_sync(Some(since), Duration::ZERO, None).ok();
    }
    // Typing is no event.
    alice.put(v3(&["rooms", &room, "typing", &alice.id]), json!({ "typing": true, "timeout": 30_000 })).ok();
    bob.try_sync(Some(since), Duration::ZERO, None).ok();
    close(&mut server);
    let reads = records(&admin, &[("act", "room.read"), ("user_id", &bob.id)]);
    let [read] = &*reads else { panic!("{reads:#?}") };
    assert_eq!(read["on"]["count"], count, "{read}");
}

#[test]
fn a_refused_read_is_recorded_at_once_and_then_counted() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    give(&admin, &alice.id, &["physician@h1/cardiology"]);
    let room = alice.create_public_room(&[]);
    let said = alice.say(&room, "confidential");
    admin.put(own(&["rooms", &room, "policy"]), policy(&["physician@h1/cardiology"])).ok();
    for _ in 0..3 {
        bob.try_messages(&room, "b", None, "10").refused(403, "M_FORBIDDEN");
    }
    bob.try_event(&room, &said).refused(404, "M_NOT_FOUND");
    let conditions = [("act", "role.check"), ("user_id", &*bob.id)];
    let denied = records(&admin, &conditions);
    let details: Vec<&str> = denied.iter().map(|record| record["on"]["detail"].as_str().unwrap()).collect();
    assert_eq!(details, ["read messages", "read event"], "{denied:#?}");
    for record in &denied {
        assert_eq!((&record["outcome"], &record["on"]["room"]), (&json!(8), &json!(room)), "{record}");
        assert!(record["why"].is_string() && record["on"].get("count").is_none(), "{record}");
    }
    close(&mut server);
    let denied = records(&admin, &conditions);
    assert_eq!(denied.len(), 3, "{denied:#?}");
    assert_eq!((&denied[2]["on"]["count"], &denied[2]["outcome"]), (&json!(2), &json!(8)), "{denied:#?}");
}

#[test]
fn files_and_directories_leave_records() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let uri = upload(&alice, b"x", "text/plain", None);
    assert_eq!(download(&bob, &uri).bytes, b"x");
    assert_eq!(download(&bob, &uri).bytes, b"x");
    bob.get(download_path(&format!("{uri}no"))).refused(404, "M_NOT_FOUND");
    let room = alice.create_public_room(&[&bob]);
    bob.get(v3(&["publicRooms"])).ok();
    bob.post(v3(&["user_directory", "search"]), json!({ "search_term": "ali" })).ok();
    bob.get(v1(&["room_summary", &room])).ok();
    bob.get(v1(&["rooms", &room, "hierarchy"])).ok();
    let asked = records(&admin, &[("act", "directory"), ("act", "hierarchy")]);
    let details: Vec<_> =
        asked.iter().map(|record| (record["act"].as_str(), record["on"]["detail"].as_str())).collect();
    let directory = Some("directory");
    assert_eq!(
        details,
        [
            (directory, Some("public_rooms")),
            (directory, Some("user_directory")),
            (directory, Some("room_summary")),
            (Some("hierarchy"), None),
        ]
    );
    assert_eq!((&asked[1]["on"]["query"], &asked[1]["on"]["count"]), (&json!("ali"), &json!(1)), "{asked:#?}");
    assert_eq!(asked[3]["on"]["room"], room);
    close(&mut server);
    let reads = records(&admin, &[("act", "media.read")]);
    let [read] = &*reads else { panic!("{reads:#?}") };
    assert_eq!((&read["on"]["media"], &read["who"]["user"]), (&json!(uri), &json!(bob.id)));
    assert_eq!((&read["on"]["count"], &read["on"]["detail"]), (&json!(1), &json!("download")));
}

#[test]
fn a_device_that_received_an_event_shows_and_one_that_did_not_does_not() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob, carol) =
        (admin_of(&server), server.user("alice"), server.user("bob"), server.user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let (late, before) = (bob.other_device(), carol.initial_sync()["next_batch"].as_str().unwrap().to_owned());
    let said = alice.say(&room, "take 5 mg");
    bob.initial_sync();
    carol.try_sync(Some(&before), Duration::ZERO, None).ok();
    let delivery = || {
        let answer = admin.get(own(&["rooms", &room, "events", &said, "delivery"])).ok();
        answer["deliveries"].as_array().unwrap().clone()
    };
    let told = delivery();
    let of = |rows: &[Value], user: &User| rows.iter().find(|row| row["device_id"] == *user.device).cloned();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(of(&told, &late).is_none() && of(&told, &alice).is_none(), "{told:#?}");
    let bobs = of(&told, &bob).unwrap();
    assert!(bobs["delivered_ts"].is_u64() && bobs["read_ts"].is_null(), "{bobs}");
    bob.post(v3(&["rooms", &room, "receipt", "m.read", &said]), json!({})).ok();
    carol.post(v3(&["rooms", &room, "receipt", "m.read.private", &said]), json!({})).ok();
    let told = delivery();
    assert!(
        of(&told, &bob).unwrap()["read_ts"].is_u64() && of(&told, &carol).unwrap()["read_ts"].is_null(),
        "{told:#?}"
    );
    // One behind it covers it, and changes nothing of when it was read.
    let next = alice.say(&room, "and 10 mg at night");
    bob.post(v3(&["rooms", &room, "receipt", "m.read", &next]), json!({})).ok();
    assert_eq!(delivery(), told);
    close(&mut server);
    assert_eq!(delivery(), told, "the same from what is kept");
    late.try_messages(&room, "b", None, "10").ok();
    wait_until("the other device shows", SOON, || of(&delivery(), &late));
    bob.get(own(&["rooms", &room, "events", &said, "delivery"])).refused(403, "M_FORBIDDEN");
    admin.get(own(&["rooms", &room, "events", "$none", "delivery"])).refused(404, "M_NOT_FOUND");
    assert_eq!(text("x")["body"], "x");
}

#[test]
fn private_receipts_are_refused_where_the_policy_wants_public_ones() {
    let server = crate::ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let role = format!("{}@h1/cardiology", wardroom_testkit::unique("physician"));
    give(&admin, &alice.id, &[&role]);
    let room = alice.create_public_room(&[]);
    let said = alice.say(&room, "x");
    let receipt = |kind: &str| alice.post(v3(&["rooms", &room, "receipt", kind, &said]), json!({}));
    let mut public = policy(&[&role]);
    public["receipts"] = json!("hidden");
    admin.put(own(&["rooms", &room, "policy"]), public.clone()).refused(400, "M_INVALID_PARAM");
    public["receipts"] = json!("public");
    admin.put(own(&["rooms", &room, "policy"]), public).ok();
    let refused = receipt("m.read.private").refused(403, "M_FORBIDDEN");
    assert!(refused["error"].as_str().unwrap().starts_with("receiptType: "), "{refused}");
    let markers = json!({ "m.fully_read": said, "m.read.private": said });
    alice.post(v3(&["rooms", &room, "read_markers"]), markers).refused(403, "M_FORBIDDEN");
    receipt("m.read").ok();
}
