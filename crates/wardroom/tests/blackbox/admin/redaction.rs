//! Redacting what a user sent.

use wardroom_testkit::{Actor, User, Value, json, wait_until};

use super::{admin_of, synapse};
use crate::{SOON, ward};

fn finished(admin: &User, id: &str) -> Value {
    wait_until("the redaction ends", SOON, || {
        let status = admin.get(synapse(&["v1", "user", "redact_status", id])).ok();
        matches!(status["status"].as_str(), Some("complete" | "failed")).then_some(status)
    })
}

#[test]
fn what_a_user_sent_is_redacted_everywhere_or_where_it_is_said() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let rooms = [bob.create_public_room(&[&alice]), bob.create_public_room(&[&alice])];
    for room in &rooms {
        (0..3).for_each(|_| drop(alice.say(room, "rude")));
        bob.say(room, "polite");
    }
    let redact = |body: Value| {
        let begun = admin.post(synapse(&["v1", "user", &alice.id, "redact"]), body).ok();
        finished(&admin, begun["redact_id"].as_str().unwrap())
    };
    let bodies = |room: &str| wardroom_testkit::bodies(&bob.history(room));
    let rude = |room: &str| bodies(room).iter().filter(|body| *body == "rude").count();
    let done = redact(json!({ "rooms": [rooms[0]], "limit": 2, "reason": "spam" }));
    assert_eq!((&done["status"], &done["failed_redactions"]), (&json!("complete"), &json!({})));
    assert_eq!((rude(&rooms[0]), rude(&rooms[1])), (1, 3), "the newest two of the one room");
    redact(json!({ "rooms": [] }));
    assert_eq!((rude(&rooms[0]), rude(&rooms[1])), (0, 0));
    for room in &rooms {
        assert!(bodies(room).iter().any(|body| body == "polite"));
        assert!(alice.is_in(room), "state stays");
    }
    let target = || synapse(&["v1", "user", &alice.id, "redact"]);
    admin.post(target(), json!({})).refused(400, "M_BAD_JSON");
    admin.post(target(), json!({ "rooms": [], "limit": 0 })).refused(400, "M_INVALID_PARAM");
    admin.get(synapse(&["v1", "user", "redact_status", "unknown"])).refused(404, "M_NOT_FOUND");
}
