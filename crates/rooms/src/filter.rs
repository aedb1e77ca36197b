//! Event filters (specification, "Filtering").

use ruma::api::client::filter::{RoomEventFilter, UrlFilter};
use serde::Deserialize;
use wardroom_event::Pdu;

/// Whether an event passes a filter. Limits and lazy loading are the reader's business.
pub fn passes(filter: &RoomEventFilter, pdu: &Pdu) -> bool {
    let (room, sender) = (pdu.room_id(), pdu.sender());
    passes_type(filter, pdu)
        && filter.senders.as_ref().is_none_or(|senders| senders.iter().any(|allowed| allowed == sender))
        && !filter.not_senders.iter().any(|refused| refused == sender)
        && filter.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|allowed| allowed == room))
        && !filter.not_rooms.iter().any(|refused| refused == room)
        && match filter.url_filter {
            Some(UrlFilter::EventsWithUrl) => has_url(pdu),
            Some(UrlFilter::EventsWithoutUrl) => !has_url(pdu),
            _ => true,
        }
}

fn passes_type(filter: &RoomEventFilter, pdu: &Pdu) -> bool {
    if filter.types.is_none() && filter.not_types.is_empty() {
        return true;
    }
    let kind = pdu.kind().to_string();
    filter.types.as_ref().is_none_or(|types| types.iter().any(|pattern| matches(pattern, &kind)))
        && !filter.not_types.iter().any(|pattern| matches(pattern, &kind))
}

fn has_url(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content {
        url: Option<serde::de::IgnoredAny>,
    }
    pdu.content_as::<Content>().is_ok_and(|content| content.url.is_some())
}

/// Whether a type matches a pattern, in which `*` stands for any sequence of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_sequence() {
        for (pattern, text) in [
            ("m.room.*", "m.room.message"),
            ("*", ""),
            ("m.*.a", "m.b.a"),
            ("a*b*c", "abbc"),
            ("a", "a"),
            ("*.a", "b.a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("m.room.*", "m.room"), ("a", "ab"), ("a*a", "a"), ("", "a"), ("a*b*c", "acb"), ("b", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
