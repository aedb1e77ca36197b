//! `initial_state` of `POST /createRoom`, read field by field so that the answer can say which is wrong.

use std::collections::HashMap;

use ruma::{events::AnyInitialStateEvent, serde::Raw};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_web::ApiError;

/// A state event to be: type, state key, content.
pub(super) type StateEvent = (String, String, Box<RawJsonValue>);

/// Reads the state events that a new room starts with.
pub(super) fn read(events: &[Raw<AnyInitialStateEvent>]) -> Result<Vec<StateEvent>, ApiError> {
    events.iter().enumerate().map(|(index, event)| read_event(index, event.json())).collect()
}

fn read_event(index: usize, event: &RawJsonValue) -> Result<StateEvent, ApiError> {
    let wrong = |field: &str, problem: &dyn std::fmt::Display| {
        ApiError::bad_json(format!("`initial_state[{index}]{field}` {problem}."))
    };
    let mut fields: HashMap<String, &RawJsonValue> =
        serde_json::from_str(event.get()).map_err(|_| wrong("", &"must be an object"))?;
    let mut text = |name: &str| match fields.remove(name) {
        Some(value) => serde_json::from_str::<String>(value.get()).map(Some),
        None => Ok(None),
    };
    let kind = text("type").map_err(|_| wrong(".type", &"must be a string"))?;
    let kind = kind.ok_or_else(|| wrong(".type", &"is missing"))?;
    let state_key = text("state_key").map_err(|_| wrong(".state_key", &"must be a string"))?;
    let content = fields.remove("content").ok_or_else(|| wrong(".content", &"is missing"))?;
    if !content.get().starts_with('{') {
        return Err(wrong(".content", &"must be an object"));
    }
    Ok((kind, state_key.unwrap_or_default(), content.to_owned()))
}

#[cfg(test)]
mod tests {
    use ruma::serde::Raw;
    use serde_json::{Value, json};

    use super::read;

    fn read_one(event: &Value) -> Result<(String, String, String), String> {
        let events = [
            Raw::from_json_string(json!({"type": "a", "content": {}}).to_string()).unwrap(),
            Raw::from_json_string(event.to_string()).unwrap(),
        ];
        let read = read(&events).map_err(|error| format!("{error:?}"))?;
        let (kind, key, content) = read.into_iter().next_back().unwrap();
        Ok((kind, key, content.get().to_owned()))
    }

    #[test]
    fn the_state_key_is_empty_where_none_is_given() {
        let event = json!({"type": "m.room.topic", "content": {"topic": "x"}, "else": 1});
        let expected = ("m.room.topic".to_owned(), String::new(), r#"{"topic":"x"}"#.to_owned());
        assert_eq!(read_one(&event).unwrap(), expected);
        let event = json!({"type": "t", "state_key": "k", "content": {}});
        assert_eq!(read_one(&event).unwrap().1, "k");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (json!(5), "initial_state[1]`"),
            (json!(null), "initial_state[1]`"),
            (json!({"content": {}}), "initial_state[1].type`"),
            (json!({"type": 5, "content": {}}), "initial_state[1].type`"),
            (json!({"type": "t", "state_key": null, "content": {}}), "initial_state[1].state_key`"),
            (json!({"type": "t"}), "initial_state[1].content`"),
            (json!({"type": "t", "content": []}), "initial_state[1].content`"),
        ];
        for (event, named) in cases {
            let error = read_one(&event).unwrap_err();
            assert!(error.contains(named), "{event}: {error}");
        }
    }
}
