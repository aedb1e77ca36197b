//! The `event_fields` of a filter: only some properties of each event.

use serde_json::{Map, Value};
use wardroom_push::segments;

/// Fields that one filter may name.
const FIELDS_MAX: usize = 100;

/// Paths of the properties to tell, each as the names on its way.
///
/// [Dot-separated property paths](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths).
#[derive(Debug)]
pub(crate) struct EventFields(Vec<Vec<String>>);

impl EventFields {
    pub(crate) fn new(fields: &[String]) -> Self {
        Self(fields.iter().take(FIELDS_MAX).map(|field| segments(field)).collect())
    }

    /// The event with nothing but these fields. JSON that is no object stays as it is.
    pub(crate) fn select(&self, event: Vec<u8>) -> Vec<u8> {
        let Ok(Value::Object(whole)) = serde_json::from_slice(&event) else { return event };
        let mut selected = Map::new();
        for path in &self.0 {
            copy(&whole, &mut selected, path);
        }
        serde_json::to_vec(&selected).unwrap_or(event)
    }
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(value) = from.get(name) else { return };
    match value {
        Value::Object(inner) if !rest.is_empty() => {
            if let Value::Object(target) = to.entry(name).or_insert_with(|| Map::new().into()) {
                copy(inner, target, rest);
            }
        }
        _ if rest.is_empty() => {
            to.insert(name.clone(), value.clone());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::EventFields;

    #[test]
    fn only_named_fields_are_told() {
        let event = br#"{"content":{"body":"hi","m.x":{"a":1,"b":2},"other":1},"sender":"@a:b","type":"m"}"#;
        let select = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            String::from_utf8(EventFields::new(&fields).select(event.to_vec())).unwrap()
        };
        assert_eq!(select(&["content.body", "type"]), r#"{"content":{"body":"hi"},"type":"m"}"#);
        assert_eq!(select(&[r"content.m\.x.b", "sender.deeper"]), r#"{"content":{"m.x":{"b":2}}}"#);
        assert_eq!(select(&["nothing"]), "{}");
    }
}
