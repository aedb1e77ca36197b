//! Reading answers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// The content of a plain text message.
pub fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

/// The items of an array; none when the value is absent.
///
/// # Panics
/// When the value is there and not an array.
#[track_caller]
pub fn events(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(items) => items,
        other => panic!("expected an array of events, got {other}"),
    }
}

/// What a sync answer says of a joined room; `Value::Null` when it does not mention it.
pub fn joined<'a>(sync: &'a Value, room: &str) -> &'a Value {
    &sync["rooms"]["join"][room]
}

/// The timeline events of a joined room in a sync answer.
#[track_caller]
pub fn timeline<'a>(sync: &'a Value, room: &str) -> &'a [Value] {
    events(&joined(sync, room)["timeline"]["events"])
}

/// The event ids of events, in order.
#[track_caller]
pub fn event_ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["event_id"].as_str().expect("an event has an event_id").to_owned()).collect()
}

/// The `body` of each message among events, in order.
pub fn bodies(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["content"]["body"].as_str()).map(str::to_owned).collect()
}

/// The last event of a type and state key (`None`: not a state event).
pub fn find_event<'a>(events: &'a [Value], event_type: &str, state_key: Option<&str>) -> Option<&'a Value> {
    events.iter().rev().find(|event| event["type"] == event_type && event["state_key"].as_str() == state_key)
}

/// Whether an event id is among events.
pub fn has_event(events: &[Value], event_id: &str) -> bool {
    events.iter().any(|event| event["event_id"] == event_id)
}

/// Whether an array of strings holds exactly these, in any order and each once.
pub fn same_set(array: &Value, expected: &[&str]) -> bool {
    let Some(items) = array.as_array() else { return false };
    let got: BTreeSet<Option<&str>> = items.iter().map(Value::as_str).collect();
    items.len() == expected.len() && got == expected.iter().copied().map(Some).collect()
}
