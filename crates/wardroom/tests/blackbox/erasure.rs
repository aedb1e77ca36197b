//! Erasing persons (GDPR, articles 17 and 19).

use std::{fs, thread, time::Duration};

use wardroom_testkit::{Actor, Config, Server, User, Value, encode, json, raw, run, unique, v3, wait_until};

use crate::{
    SOON,
    admin::{admin_of, own, synapse},
    audit::records,
    federation::sites::{Site, join_via, public_room, sees},
    media::upload,
    server_with,
};

const LIMIT: Duration = Duration::from_secs(120);

/// What the server says of an erasure once it got so far.
#[track_caller]
pub(crate) fn erasure(admin: &User, user: &User, state: &str) -> Value {
    wait_until(&format!("the erasure is {state}"), SOON, || {
        let shown = admin.get(own(&["users", &user.id, "erasure"])).ok();
        (shown["state"] == state).then_some(shown)
    })
}

#[track_caller]
fn erase(admin: &User, user: &User) -> Value {
    admin.post(own(&["users", &user.id, "erase"]), json!({ "reason": "asked for it" })).ok();
    erasure(admin, user, "complete")
}

/// Everything that others are told of a room and of a user, as one text.
fn all_told(reader: &User, user: &User, room: &str) -> String {
    let search = json!({ "search_categories": { "room_events": { "search_term": "zqmessage" } } });
    let mut told = vec![reader.initial_sync(), json!(reader.history(room))];
    let found = reader.post(v3(&["search"]), search).ok()["search_categories"]["room_events"].clone();
    told.extend([found["results"].clone(), json!({ "count": found["count"] })]);
    told.push(reader.get(v3(&["profile", &user.id])).json());
    told.push(reader.post(v3(&["keys", "query"]), json!({ "device_keys": { &user.id: [] } })).ok());
    told.push(reader.post(v3(&["user_directory", "search"]), json!({ "search_term": "zqname" })).ok());
    told.iter().map(Value::to_string).collect()
}

/// Alice, who leaves something everywhere, and Bob, who reads it.
struct Ward {
    server: Server,
    admin: User,
    alice: User,
    bob: User,
    room: String,
    said: String,
    mxc: String,
}

impl Ward {
    fn new() -> Self {
        let server = server_with(Config::default());
        let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
        let room = bob.create_public_room(&[&alice]);
        alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "zqname" })).ok();
        alice.put(v3(&["devices", &alice.device]), json!({ "display_name": "zqdevice" })).ok();
        alice.put(v3(&["user", &alice.id, "account_data", "org.example"]), json!({ "is": "zqdata" })).ok();
        let of_room = v3(&["user", &alice.id, "rooms", &room, "account_data", "org.example"]);
        alice.put(of_room, json!({ "is": "zqroomdata" })).ok();
        let backup =
            json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "zqbackup" } });
        alice.post(v3(&["room_keys", "version"]), backup).ok();
        let identities = json!({ "threepids": [{ "medium": "email", "address": "zqmail@a.example" }] });
        admin.put(synapse(&["v2", "users", &alice.id]), identities).ok();
        let root = bob.say(&room, "a root");
        let said = alice.say(&room, "zqmessage in clear words");
        let reply = json!({
            "msgtype": "m.text", "body": "zqmessage in a thread",
            "m.relates_to": { "rel_type": "m.thread", "event_id": root },
        });
        alice.try_send(&room, "m.room.message", "reply", reply).ok();
        let mxc = upload(&alice, b"content", "text/plain", Some("zqfile.txt"));
        Self { server, admin, alice, bob, room, said, mxc }
    }

    fn media(&self) -> wardroom_testkit::Target {
        raw(&format!("/_matrix/client/v1/media/download/{}", self.mxc.trim_start_matches("mxc://")))
    }

    /// Of Alice there is nothing; Bob and the room go on.
    #[track_caller]
    fn check_gone(&self) {
        let told = all_told(&self.bob, &self.alice, &self.room);
        for marker in ["zqmessage", "zqdevice", "zqdata", "zqroomdata", "zqbackup", "zqmail", "zqfile"] {
            assert!(!told.contains(marker), "{marker}: {told}");
        }
        self.bob.try_event(&self.room, &self.said).refused(404, "M_NOT_FOUND");
        self.bob.get(self.media()).refused(404, "M_NOT_FOUND");
        self.alice.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
        let shown = self.admin.get(synapse(&["v2", "users", &self.alice.id])).ok();
        assert_eq!((&shown["deactivated"], &shown["erased"]), (&json!(true), &json!(true)));
        assert_eq!(
            (&shown["displayname"], shown["threepids"].as_array().map(Vec::len)),
            (&Value::Null, Some(0)),
            "{shown}"
        );
        let media = self.admin.get(synapse(&["v1", "users", &self.alice.id, "media"])).ok();
        assert_eq!(media["total"], 0);
        let opened = self.admin.put(synapse(&["v2", "users", &self.alice.id]), json!({ "deactivated": false }));
        opened.refused(400, "M_INVALID_PARAM");
        let localpart = self.alice.id.trim_start_matches('@').split(':').next().unwrap().to_owned();
        let available = self.server.anonymous().get(v3(&["register", "available"]).query("username", &localpart));
        available.refused(400, "M_USER_IN_USE");
        self.bob.say(&self.room, "and on");
    }

    fn command(&self, args: &[&str]) -> wardroom_testkit::Ended {
        let mut command = self.server.command(args);
        command.arg("--config").arg(self.server.config_path());
        run(command, LIMIT)
    }
}

#[test]
fn a_person_who_is_erased_leaves_nothing_behind() {
    let ward = Ward::new();
    assert!(all_told(&ward.bob, &ward.alice, &ward.room).contains("zqmessage"));
    ward.admin.get(own(&["users", &ward.alice.id, "erasure"])).refused(404, "M_NOT_FOUND");
    let done = erase(&ward.admin, &ward.alice);
    assert_eq!((&done["removed"]["events"], &done["removed"]["media"]), (&json!(2), &json!(1)), "{done}");
    assert_eq!((&done["held"], &done["servers"], &done["reason"]), (&json!([]), &json!({}), &json!("asked for it")));
    ward.check_gone();
    let found = records(&ward.admin, &[("act", "account.erase"), ("user_id", &ward.alice.id)]);
    let details: Vec<&str> = found.iter().filter_map(|record| record["on"]["detail"].as_str()).collect();
    for detail in ["requested", "began", "events", "complete"] {
        assert!(details.contains(&detail), "{details:?}");
    }
    assert!(found.iter().all(|record| record["who"]["user"] == *ward.admin.id), "{found:?}");
    // Only for those who may, and not for oneself.
    ward.bob.post(own(&["users", &ward.bob.id, "erase"]), json!({})).refused(403, "M_FORBIDDEN");
    ward.admin.post(own(&["users", &ward.admin.id, "erase"]), json!({})).refused(400, "M_INVALID_PARAM");
}

/// The older copy of the data with the newest keys: what was erased since is erased again, and never shown.
#[test]
fn who_was_erased_after_a_backup_does_not_come_back_with_it() {
    let mut ward = Ward::new();
    ward.server.stop();
    ward.command(&["backup", "create", "old-data", "--keys", "backup-keys"]).ok();
    ward.server.start_again();
    erase(&ward.admin, &ward.alice);
    ward.server.stop();
    ward.command(&["backup", "create", "new-data", "--keys", "backup-keys"]).ok();
    for part in ["store", "keys", "media"] {
        fs::remove_dir_all(ward.server.data_dir().join(part)).unwrap();
    }
    ward.command(&["restore", "--keys", "backup-keys", "--data", "old-data"]).ok();
    ward.server.start_again();
    // From the first answer on.
    let told = all_told(&ward.bob, &ward.alice, &ward.room);
    assert!(!told.contains("zqmessage") && !told.contains("zqdevice"), "{told}");
    let done = erasure(&ward.admin, &ward.alice, "complete");
    assert_eq!(done["removed"]["events"], 2, "{done}");
    ward.check_gone();
    ward.server.stop();
    ward.command(&["fsck"]).ok();
    ward.server.start_again();
    let again = ward.admin.get(own(&["users", &ward.alice.id, "erasure"])).ok();
    assert_eq!(again["completed_ts"], done["completed_ts"], "once is enough");
}

#[test]
fn an_erasure_that_is_killed_is_gone_on_with() {
    let mut server = server_with(Config::default());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let rooms: Vec<String> = (0..3).map(|_| bob.create_public_room(&[&alice])).collect();
    for number in 0..600 {
        alice.say(&rooms[number % 3], &format!("zqmessage {number}"));
    }
    admin.post(own(&["users", &alice.id, "erase"]), json!({})).ok();
    for kill in 0..4 {
        thread::sleep(Duration::from_millis(20 + 60 * kill));
        server.kill9();
        let mut fsck = server.command(&["fsck", "--config"]);
        fsck.arg(server.config_path());
        run(fsck, LIMIT).ok();
        server.start_again();
    }
    erasure(&admin, &alice, "complete");
    for room in &rooms {
        assert!(!json!(bob.history(room)).to_string().contains("zqmessage"));
        bob.say(room, "and on");
    }
    assert!(!bob.initial_sync().to_string().contains("zqmessage"));
}

#[test]
fn an_administrator_may_put_an_erasure_off_with_a_reason() {
    let ward = Ward::new();
    let erase = own(&["users", &ward.alice.id, "erase"]);
    let later = wardroom_testkit::peer::now_ms() + 3_600_000;
    ward.admin.post(erase.clone(), json!({ "defer_until_ts": later })).refused(400, "M_MISSING_PARAM");
    let put_off = json!({ "defer_until_ts": later, "reason": "records are kept for ten years" });
    ward.admin.post(erase.clone(), put_off).ok();
    let waiting = erasure(&ward.admin, &ward.alice, "deferred");
    assert_eq!(
        (&waiting["deferred_until_ts"], &waiting["reason"]),
        (&json!(later), &json!("records are kept for ten years"))
    );
    // The account is closed all the same.
    ward.alice.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    assert!(all_told(&ward.bob, &ward.alice, &ward.room).contains("zqmessage"));
    ward.admin.post(erase, json!({ "reason": "no more" })).ok();
    erasure(&ward.admin, &ward.alice, "complete");
    ward.check_gone();
}

#[test]
fn the_servers_that_have_copies_are_named_and_told() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let (admin, their_admin) = (admin_of(&here.server), admin_of(&there.server));
    let room = public_room(&alice, "11");
    join_via(&bob, &room, &here);
    alice.say(&room, "zqmessage one");
    let last = alice.say(&room, "zqmessage two");
    sees(&bob, &room, &last);
    let kept = bob.say(&room, "of somebody else");
    sees(&alice, &room, &kept);

    let done = wait_until("the last message was taken", SOON, || {
        let destination = admin.get(synapse(&["v1", "federation", "destinations", there.name(), "rooms"]));
        (destination.status == 200 && destination.json()["total"] != 0).then(|| erase(&admin, &alice))
    });
    let copies = &done["servers"][there.name()];
    assert_eq!((&copies["last_event_id"], &copies["last_room_id"]), (&json!(last), &json!(room)), "{done}");
    assert!(copies["told_ts"].is_u64() && copies["last_event_ts"].is_u64() && copies["rooms"] == 1, "{copies}");

    let theirs = wait_until("the other server does as much", SOON, || {
        let shown = their_admin.get(raw(&format!("/_wardroom/admin/v1/users/{}/erasure", encode(&alice.id))));
        (shown.status == 200 && shown.json()["state"] == "complete").then(|| shown.json())
    });
    assert_eq!(theirs["removed"]["events"], 2, "{theirs}");
    let told = json!(bob.history(&room)).to_string();
    assert!(!told.contains("zqmessage") && told.contains("of somebody else"), "{told}");
    let told = records(&admin, &[("act", "account.erase"), ("user_id", &alice.id)]);
    assert!(told.iter().any(|record| record["on"]["detail"] == "told"), "{told:?}");
    let heard = records(&their_admin, &[("act", "account.erase"), ("user_id", &alice.id)]);
    assert!(heard.iter().any(|record| record["on"]["detail"] == "requested"), "{heard:?}");
    bob.say(&room, "and on");
}

#[test]
fn a_server_need_not_listen() {
    let deaf = Config::default().federating_as("localhost").set("federation.accept_erasure", "false");
    let (here, there) = (Site::start(), Site::new(deaf, None));
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "11");
    join_via(&bob, &room, &here);
    let said = alice.say(&room, &unique("zqmessage"));
    sees(&bob, &room, &said);
    erase(&admin_of(&here.server), &alice);
    // What was told before comes before.
    let carol = here.user("carol");
    carol.join(&room);
    sees(&bob, &room, &carol.say(&room, "afterwards"));
    assert!(json!(bob.history(&room)).to_string().contains("zqmessage"));
    let asked = admin_of(&there.server).get(raw(&format!("/_wardroom/admin/v1/users/{}/erasure", encode(&alice.id))));
    asked.refused(404, "M_NOT_FOUND");
}
