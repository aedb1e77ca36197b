//! What a room says of how long its events are kept.

use serde_json::{Map, Value, value::RawValue as RawJsonValue};
use wardroom_event::Pdu;

use super::Terms;

/// Types of the state event, the one that counts first: that of the proposal's text, and the one to be used before it is
/// part of the specification.
pub const RETENTION_TYPES: [&str; 2] = ["m.room.retention", "org.matrix.msc1763.retention"];
/// Longest term, in milliseconds: the largest integer of canonical JSON.
pub const TERM_MS_MAX: u64 = (1 << 53) - 1;

/// Whether this is the type of such an event.
pub(crate) fn is_retention(kind: &str) -> bool {
    RETENTION_TYPES.contains(&kind)
}

/// The terms of a state event; `None` where they make no sense: other servers may let such in, and then it is as if there
/// were none. An event without either term asks for nothing, and so does a redacted one.
pub(crate) fn terms_of(pdu: &Pdu) -> Option<Terms> {
    parse(pdu.content()).ok().filter(|terms| *terms != Terms::default())
}

/// Refuses content of which no terms can be made, naming the field.
pub(crate) fn check_content(kind: &str, state_key: Option<&str>, content: &RawJsonValue) -> Result<(), String> {
    if state_key != Some("") || !is_retention(kind) {
        return Ok(());
    }
    parse(content).map(drop).map_err(|sentence| format!("content of {kind}: {sentence}"))
}

impl Terms {
    /// Refuses terms that contradict themselves.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn check(self) -> Result<(), String> {
        for (name, term) in [("max_lifetime", self.max_ms), ("min_lifetime", self.min_ms)] {
            if term.is_some_and(|ms| ms > TERM_MS_MAX) {
                return Err(format!("{name}: must be at most {TERM_MS_MAX}"));
            }
        }
        match (self.min_ms, self.max_ms) {
            (Some(min), Some(max)) if min > max => Err("max_lifetime: must not be less than min_lifetime".to_owned()),
            _ => Ok(()),
        }
    }
}

fn parse(content: &RawJsonValue) -> Result<Terms, String> {
    let content: Map<String, Value> =
        serde_json::from_str(content.get()).map_err(|_| "must be an object".to_owned())?;
    let term = |name: &str| match content.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|ms| *ms <= TERM_MS_MAX)
            .map(Some)
            .ok_or_else(|| format!("{name}: must be a number of milliseconds, an integer from 0 to {TERM_MS_MAX}")),
    };
    let terms = Terms { max_ms: term("max_lifetime")?, min_ms: term("min_lifetime")? };
    terms.check()?;
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use serde_json::{json, value::to_raw_value};

    use super::{TERM_MS_MAX, Terms, check_content, parse};

    #[test]
    fn what_makes_no_sense_is_refused_with_the_name_of_the_field() {
        for (content, field) in [
            (json!({ "max_lifetime": -1 }), "max_lifetime"),
            (json!({ "max_lifetime": 1.5 }), "max_lifetime"),
            (json!({ "max_lifetime": "86400000" }), "max_lifetime"),
            (json!({ "max_lifetime": TERM_MS_MAX + 1 }), "max_lifetime"),
            (json!({ "max_lifetime": true }), "max_lifetime"),
            (json!({ "min_lifetime": [] }), "min_lifetime"),
            (json!({ "min_lifetime": 2, "max_lifetime": 1 }), "max_lifetime"),
        ] {
            let content = to_raw_value(&content).unwrap();
            let refused = check_content("m.room.retention", Some(""), &content).unwrap_err();
            assert!(refused.contains(field), "{refused}");
            check_content("m.room.retention", Some("other"), &content).unwrap();
            check_content("m.room.name", Some(""), &content).unwrap();
        }
    }

    #[test]
    fn terms_may_be_left_open() {
        let terms = |content| parse(&to_raw_value(&content).unwrap()).unwrap();
        assert_eq!(terms(json!({})), Terms::default());
        assert_eq!(terms(json!({ "max_lifetime": null, "min_lifetime": 5 })), Terms { max_ms: None, min_ms: Some(5) });
        assert_eq!(terms(json!({ "max_lifetime": 0 })), Terms { max_ms: Some(0), min_ms: None });
    }

    proptest! {
        #[test]
        fn integers_within_bounds_are_terms(max in 0..=TERM_MS_MAX, min: u64) {
            let content = to_raw_value(&json!({ "max_lifetime": max, "min_lifetime": min })).unwrap();
            let sound = min <= max;
            prop_assert_eq!(parse(&content).ok(), sound.then_some(Terms { max_ms: Some(max), min_ms: Some(min) }));
        }

        #[test]
        fn no_content_panics(text in any::<String>()) {
            if let Ok(content) = to_raw_value(&text) {
                prop_assert_eq!(parse(&content).is_ok(), false);
            }
        }
    }
}
