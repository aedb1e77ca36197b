//! Messages to devices and news of keys, as extensions.

use wardroom_testkit::{User, Value, json};

use super::{Connection, told};
use crate::{SOON, ward};

/// A connection as clients have one for encryption: no rooms at all.
fn keys_of(user: &User) -> Connection<'_> {
    let body = json!({
        "conn_id": "encryption",
        "extensions": { "to_device": { "enabled": true }, "e2ee": { "enabled": true } },
    });
    Connection::new(user, body)
}

#[test]
fn news_of_keys_and_devices_come_without_rooms() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[]);
    let mut connection = keys_of(&alice);
    let first = connection.next();
    let e2ee = &first["extensions"]["e2ee"];
    assert!(e2ee.get("device_lists").is_none(), "nothing is known yet: {first}");
    assert_eq!(e2ee["device_one_time_keys_count"]["signed_curve25519"], 0, "{first}");
    assert!(e2ee["device_unused_fallback_key_types"].is_array() && told(&first).is_empty());
    bob.join(&id);
    let lists = |answer: &Value| answer["extensions"]["e2ee"]["device_lists"].clone();
    let answer = connection.until("somebody to follow", SOON, |answer| lists(answer).is_object());
    assert_eq!(lists(&answer)["changed"], json!([bob.id]), "{answer}");
    bob.leave(&id);
    let answer = connection.until("somebody to forget", SOON, |answer| lists(answer).is_object());
    assert_eq!(lists(&answer)["left"], json!([bob.id]), "{answer}");
    assert!(lists(&connection.next()).is_null());
}
