//! Messages to devices and news of keys, as extensions.

use std::time::Duration;

use wardroom_testkit::{Actor, User, Value, json, unique, v3};

use super::{Connection, told};
use crate::{SOON, server_with, ward};

/// A connection as clients have one for encryption: no rooms at all.
fn keys_of<'a>(user: &'a User, since: Option<&Value>) -> Connection<'a> {
    let mut body = json!({
        "conn_id": "encryption",
        "extensions": { "to_device": { "enabled": true }, "e2ee": { "enabled": true } },
    });
    if let Some(since) = since {
        body["extensions"]["to_device"]["since"] = since.clone();
    }
    Connection::new(user, body)
}

fn send(sender: &User, to: &User, number: usize) {
    let messages = json!({ "messages": { &to.id: { &to.device: { "number": number } } } });
    sender.put(v3(&["sendToDevice", "org.example.ping", &unique("txn")]), messages).ok();
}

fn numbers(answer: &Value) -> Vec<u64> {
    let events = answer["extensions"]["to_device"]["events"].as_array().unwrap_or_else(|| panic!("{answer}"));
    events.iter().map(|event| event["content"]["number"].as_u64().unwrap()).collect()
}

#[test]
fn messages_come_in_order_and_stay_until_they_are_acknowledged() {
    let mut server = server_with(wardroom_testkit::Config::default());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    (0..5).for_each(|number| send(&bob, &alice, number));
    let mut connection = keys_of(&alice, None);
    connection.body["extensions"]["to_device"]["limit"] = json!(3);
    let first = connection.next();
    assert_eq!(numbers(&first), [0, 1, 2], "{first}");
    assert_eq!(numbers(&keys_of(&alice, None).next()), [0, 1, 2, 3, 4], "nothing was acknowledged");
    let token = first["extensions"]["to_device"]["next_batch"].clone();
    // The token outlives connections and the server.
    server.restart();
    let mut connection = keys_of(&alice, Some(&token));
    let second = connection.next();
    assert_eq!(
        (numbers(&second), &second["extensions"]["to_device"]["events"][0]["sender"]),
        (vec![3, 4], &json!(bob.id))
    );
    assert_eq!(numbers(&keys_of(&alice, None).next()), [3, 4], "the first ones are acknowledged");
    let done = second["extensions"]["to_device"]["next_batch"].clone();
    let mut connection = keys_of(&alice, Some(&done));
    assert_eq!(numbers(&connection.next()), [] as [u64; 0]);
    send(&bob, &alice, 5);
    let answer = connection.until("a message", SOON, |answer| !numbers(answer).is_empty());
    assert_eq!(numbers(&answer), [5]);
    let junk = json!("s1");
    keys_of(&alice, Some(&junk)).ask(Duration::ZERO).refused(400, "M_BAD_JSON");
    let ahead = json!("d18446744073709551615");
    assert_eq!(numbers(&keys_of(&alice, Some(&ahead)).next()), [] as [u64; 0], "all that is there is acknowledged");
}

#[test]
fn news_of_keys_and_devices_come_without_rooms() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[]);
    let mut connection = keys_of(&alice, None);
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
