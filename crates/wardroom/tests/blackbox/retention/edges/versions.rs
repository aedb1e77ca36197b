//! Room versions: each has rules of its own for what is left of an event.

use wardroom_testkit::{Actor, Value, bodies, has_event, json, run, text, unique, v3};

use super::{at_last, at_once, config, purged, thorough, unhurried};
use crate::{SOON, admin::admin_of, server_with};

/// Those that the server has, and into which each is upgraded.
const VERSIONS: [(&str, &str); 7] =
    [("6", "7"), ("7", "8"), ("8", "9"), ("9", "10"), ("10", "11"), ("11", "12"), ("12", "12")];

/// Events of all kinds end, the room's graph and the ids that their redacted forms have stay right, and it goes on.
#[test]
fn rooms_of_every_version_are_purged_by_their_rules_of_redaction() {
    let mut server = server_with(config());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let rooms: Vec<(&str, String, Vec<String>)> = VERSIONS
        .iter()
        .map(|(version, _)| {
            let room = alice.create_room(json!({ "preset": "public_chat", "room_version": version }));
            bob.join(&room);
            let send = |kind: &str, content: Value| -> String {
                let sent = bob.try_send(&room, kind, &unique("txn"), content).ok();
                sent["event_id"].as_str().unwrap().to_owned()
            };
            let said = send("m.room.message", text("zqsaid"));
            let relation = json!({ "rel_type": "m.annotation", "event_id": said, "key": "zq" });
            let mut sent = vec![said, send("m.reaction", json!({ "m.relates_to": relation }))];
            sent.push(send("m.room.encrypted", json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "zq" })));
            // A message of a type of which redaction keeps something.
            sent.push(send("m.room.join_rules", json!({ "join_rule": "zq", "body": "zq" })));
            sent.push(send("org.example.order", json!({ "dose": "zq", "membership": "zq", "redacts": "zq" })));
            let redacted = send("m.room.message", text("zqredacted"));
            sent.push(alice.redact(&room, &redacted));
            sent.push(redacted);
            (*version, room, sent)
        })
        .collect();
    for (version, room, sent) in &rooms {
        at_once(&admin, room);
        purged(&admin, room, sent.len() as u64);
        at_last(&admin, room);
        let history = alice.history(room);
        assert!(!sent.iter().any(|event| has_event(&history, event)), "version {version}");
        for event in sent {
            alice.get(v3(&["rooms", room, "event", event])).refused(404, "M_NOT_FOUND");
        }
        bob.say(room, "and on");
        assert_eq!(bodies(&alice.history(room)), ["and on"], "version {version}");
    }
    server.stop();
    let mut fsck = server.command(&["fsck", "--config"]);
    fsck.arg(server.config_path());
    run(fsck, SOON).ok();
    assert!(crate::plaintext::found_in(&server.data_dir(), "zqsaid").is_empty());
}

#[test]
fn an_upgrade_takes_the_policy_along_from_every_version() {
    let server = server_with(unhurried());
    let alice = server.user("alice");
    for (version, next) in VERSIONS {
        let room = alice.create_room(json!({ "preset": "private_chat", "room_version": version }));
        let policies = [("m.room.retention", 7), ("org.matrix.msc1763.retention", 8)];
        for (kind, days) in policies {
            alice.set_state(&room, kind, "", json!({ "max_lifetime": days * 24 * 60 * super::MINUTE }));
        }
        let answer = alice.post(v3(&["rooms", &room, "upgrade"]), json!({ "new_version": next })).ok();
        let new = answer["replacement_room"].as_str().unwrap();
        for (kind, days) in policies {
            let expected = json!({ "max_lifetime": days * 24 * 60 * super::MINUTE });
            assert_eq!(alice.state(new, kind, ""), expected, "{kind} from {version} to {next}");
            assert_eq!(alice.state(&room, kind, ""), expected, "and the old room keeps it");
        }
    }
}

#[test]
fn a_room_whose_stubs_are_gone_is_upgraded_and_its_new_room_starts_empty() {
    let server = server_with(thorough());
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat", "room_version": "11" }));
    for number in 0..3 {
        alice.say(&room, &number.to_string());
    }
    at_once(&admin, &room);
    purged(&admin, &room, 3);
    let answer = alice.post(v3(&["rooms", &room, "upgrade"]), json!({ "new_version": "12" })).ok();
    let new = answer["replacement_room"].as_str().unwrap();
    super::dropped(&admin, &room, 3);
    for room in [&*room, new] {
        assert!(alice.history(room).iter().all(|event| event["type"] != "m.room.message"));
    }
    let predecessor = alice.state(new, "m.room.create", "")["predecessor"]["room_id"].clone();
    assert_eq!(predecessor, *room);
}
