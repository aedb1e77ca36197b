//! Which filter a request means, and what it lets through besides events of rooms.
//!
//! [Filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

use std::sync::Arc;

use ruma::{
    OwnedRoomId, RoomId, UserId,
    api::client::filter::{EventFormat, Filter as EventFilter, FilterDefinition, LazyLoadOptions, RoomEventFilter},
};
use serde_json::Value;
use wardroom_accounts::{Accounts, UserNid};

use crate::{SyncError, event_fields::EventFields};

/// Events of a timeline where the filter does not say.
const TIMELINE_EVENTS_DEFAULT: u64 = 10;
/// Events of a timeline at most, whatever the filter says.
const TIMELINE_EVENTS_MAX: u64 = 100;

/// The filter of a request.
#[derive(Clone, Debug)]
pub enum FilterChoice {
    /// One that the user has stored.
    Stored(String),
    /// One that the request brings.
    Inline(Box<FilterDefinition>),
}

/// How the memberships of senders are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    /// All of them, as part of the state.
    All,
    /// Those of senders, when they are news to the device.
    Lazy,
    /// Those of senders, always.
    LazyRedundant,
}

/// A filter, ready for use.
#[derive(Debug)]
pub(crate) struct Filter {
    definition: Arc<FilterDefinition>,
    pub(crate) members: Members,
    /// Events of a timeline at most; none where none can pass.
    pub(crate) timeline_limit: usize,
    /// No event of a timeline can pass.
    pub(crate) hides_timelines: bool,
    pub(crate) federation_format: bool,
    pub(crate) fields: Option<EventFields>,
}

impl Filter {
    /// Finds the filter a request means.
    pub(crate) async fn find(
        accounts: &Accounts,
        user: UserNid,
        choice: Option<FilterChoice>,
    ) -> Result<Self, SyncError> {
        let definition = match choice {
            None => Arc::default(),
            Some(FilterChoice::Inline(definition)) => Arc::from(definition),
            // An open brace tells JSON from an id (specification, `/sync`): this is JSON that is not a filter.
            Some(FilterChoice::Stored(text)) if text.starts_with('{') => return Err(not_a_filter(&text)),
            Some(FilterChoice::Stored(id)) => accounts.filter(user, &id).await?.ok_or(SyncError::UnknownFilter)?,
        };
        Ok(Self::new(definition))
    }

    pub(crate) fn new(definition: Arc<FilterDefinition>) -> Self {
        let members = match definition.room.state.lazy_load_options {
            LazyLoadOptions::Disabled => Members::All,
            LazyLoadOptions::Enabled { include_redundant_members: false } => Members::Lazy,
            LazyLoadOptions::Enabled { include_redundant_members: true } => Members::LazyRedundant,
        };
        let limit = definition.room.timeline.limit.map_or(TIMELINE_EVENTS_DEFAULT, u64::from);
        let hides_timelines = nothing_passes(&definition.room.timeline);
        let limit = if hides_timelines { 0 } else { limit.min(TIMELINE_EVENTS_MAX) };
        Self {
            members,
            hides_timelines,
            timeline_limit: usize::try_from(limit).unwrap_or(usize::MAX),
            federation_format: definition.event_format == EventFormat::Federation,
            fields: definition.event_fields.as_deref().filter(|fields| !fields.is_empty()).map(EventFields::new),
            definition,
        }
    }

    /// One that lets everything pass, for timelines of so many events.
    pub(crate) fn of_timelines(limit: u64) -> Self {
        let timeline_limit = usize::try_from(limit.min(TIMELINE_EVENTS_MAX)).unwrap_or(usize::MAX);
        Self { timeline_limit, ..Self::new(Arc::default()) }
    }

    /// Whether there is anything to tell of a room.
    pub(crate) fn admits_room(&self, room: &RoomId) -> bool {
        in_lists(self.definition.room.rooms.as_deref(), &self.definition.room.not_rooms, room)
    }

    /// Whether the filter names rooms.
    pub(crate) fn names_rooms(&self) -> bool {
        self.definition.room.rooms.is_some() || !self.definition.room.not_rooms.is_empty()
    }

    /// Whether left rooms are told of after the sync that told of the leaving.
    pub(crate) fn includes_left(&self) -> bool {
        self.definition.room.include_leave
    }

    /// Whether unread counts are told thread by thread.
    pub(crate) fn counts_threads(&self) -> bool {
        self.definition.room.timeline.unread_thread_notifications
    }

    pub(crate) fn timeline(&self) -> &RoomEventFilter {
        &self.definition.room.timeline
    }

    pub(crate) fn state(&self) -> &RoomEventFilter {
        &self.definition.room.state
    }

    /// Whether any presence is told.
    pub(crate) fn wants_presence(&self) -> bool {
        let EventFilter { types, not_types, .. } = &self.definition.presence;
        type_passes(types.as_deref(), not_types, "m.presence") && self.presence_limit() > 0
    }

    /// Whether the presence of this user is told.
    pub(crate) fn admits_presence(&self, sender: &UserId) -> bool {
        let EventFilter { senders, not_senders, .. } = &self.definition.presence;
        senders.as_ref().is_none_or(|senders| senders.iter().any(|allowed| allowed == sender))
            && !not_senders.iter().any(|refused| refused == sender)
    }

    /// Presence events of one answer at most.
    pub(crate) fn presence_limit(&self) -> usize {
        self.definition.presence.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Whether the global account data of this type is told. It has no sender.
    pub(crate) fn admits_account_data(&self, kind: &str) -> bool {
        let EventFilter { types, not_types, .. } = &self.definition.account_data;
        type_passes(types.as_deref(), not_types, kind)
    }

    /// Whether account data of this type is told with its room.
    pub(crate) fn admits_room_account_data(&self, room: &RoomId, kind: &str) -> bool {
        unsent_passes(&self.definition.room.account_data, room, kind)
    }

    /// Whether ephemeral events of this type are told with their room.
    pub(crate) fn admits_ephemeral(&self, room: &RoomId, kind: &str) -> bool {
        unsent_passes(&self.definition.room.ephemeral, room, kind)
    }
}

fn not_a_filter(text: &str) -> SyncError {
    let problem = match serde_json::from_str::<FilterDefinition>(text) {
        Err(error) if serde_json::from_str::<Value>(text).is_ok() => error.to_string(),
        _ => "is not JSON".to_owned(),
    };
    SyncError::BadFilter(problem)
}

/// No event can pass: nothing need be looked for.
fn nothing_passes(filter: &RoomEventFilter) -> bool {
    filter.types.as_ref().is_some_and(Vec::is_empty)
        || filter.senders.as_ref().is_some_and(Vec::is_empty)
        || filter.rooms.as_ref().is_some_and(Vec::is_empty)
        || filter.not_types.iter().any(|pattern| pattern == "*")
}

/// Whether something without a sender passes.
fn unsent_passes(filter: &RoomEventFilter, room: &RoomId, kind: &str) -> bool {
    type_passes(filter.types.as_deref(), &filter.not_types, kind)
        && in_lists(filter.rooms.as_deref(), &filter.not_rooms, room)
}

fn in_lists(rooms: Option<&[OwnedRoomId]>, not_rooms: &[OwnedRoomId], room: &RoomId) -> bool {
    rooms.is_none_or(|rooms| rooms.iter().any(|allowed| allowed == room))
        && !not_rooms.iter().any(|refused| refused == room)
}

fn type_passes(types: Option<&[String]>, not_types: &[String], kind: &str) -> bool {
    types.is_none_or(|types| types.iter().any(|pattern| matches_type(pattern, kind)))
        && !not_types.iter().any(|pattern| matches_type(pattern, kind))
}

/// Whether a type matches a pattern, in which `*` stands for any sequence of characters.
fn matches_type(pattern: &str, kind: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == kind };
    let Some(mut kind) = kind.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match kind.find(part) {
            Some(at) => kind = &kind[at + part.len()..],
            None => return false,
        }
    }
    kind.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::{api::client::filter::FilterDefinition, room_id};
    use serde_json::{Value, json};

    use super::{Filter, Members, matches_type, not_a_filter};

    fn filter(json: Value) -> Filter {
        Filter::new(Arc::new(serde_json::from_value::<FilterDefinition>(json).unwrap()))
    }

    #[test]
    fn a_star_stands_for_any_sequence() {
        for (pattern, kind) in
            [("m.*", "m."), ("*", "a"), ("a", "a"), ("a*b*c", "abbc"), ("m.*.x", "m.y.x"), ("*.a", "b.a"), ("**", "")]
        {
            assert!(matches_type(pattern, kind), "{pattern} {kind}");
        }
        for (pattern, kind) in [("m.*", "n.a"), ("a", "ab"), ("a*a", "a"), ("", "a"), ("a*b*c", "acb"), ("b", "ab")] {
            assert!(!matches_type(pattern, kind), "{pattern} {kind}");
        }
    }

    #[test]
    fn rooms_are_told_unless_they_are_refused() {
        let (a, b) = (room_id!("!a:x"), room_id!("!b:x"));
        assert!(filter(json!({})).admits_room(a) && !filter(json!({})).names_rooms());
        let only_a = filter(json!({ "room": { "rooms": [a] } }));
        assert!(only_a.admits_room(a) && !only_a.admits_room(b) && only_a.names_rooms());
        let none = filter(json!({ "room": { "rooms": [a], "not_rooms": [a] } }));
        assert!(!none.admits_room(a) && !none.admits_room(b));
        let not_here = filter(json!({ "room": { "ephemeral": { "not_rooms": [a], "types": ["m.typing"] } } }));
        assert!(not_here.admits_ephemeral(b, "m.typing") && !not_here.admits_ephemeral(b, "m.receipt"));
        assert!(!not_here.admits_ephemeral(a, "m.typing") && not_here.admits_room_account_data(a, "m.tag"));
        let no_rules = filter(json!({ "account_data": { "not_types": ["m.push*"] } }));
        assert!(!no_rules.admits_account_data("m.push_rules") && no_rules.admits_account_data("m.direct"));
    }

    #[test]
    fn limits_have_a_default_and_a_maximum() {
        assert_eq!(filter(json!({})).timeline_limit, 10);
        assert_eq!(filter(json!({ "room": { "timeline": { "limit": 3 } } })).timeline_limit, 3);
        assert_eq!(filter(json!({ "room": { "timeline": { "limit": 100_000 } } })).timeline_limit, 100);
        assert_eq!(filter(json!({ "room": { "timeline": { "types": [] } } })).timeline_limit, 0);
        assert_eq!(filter(json!({ "room": { "timeline": { "not_types": ["*"] } } })).timeline_limit, 0);
    }

    #[test]
    fn lazy_loading_is_asked_for_in_the_state_filter() {
        assert_eq!(filter(json!({ "room": { "timeline": { "lazy_load_members": true } } })).members, Members::All);
        assert_eq!(filter(json!({ "room": { "state": { "lazy_load_members": true } } })).members, Members::Lazy);
        let redundant = json!({ "lazy_load_members": true, "include_redundant_members": true });
        assert_eq!(filter(json!({ "room": { "state": redundant } })).members, Members::LazyRedundant);
    }

    #[test]
    fn what_is_wrong_with_a_filter_is_said() {
        assert_eq!(not_a_filter("{").to_string(), "filter: is not JSON");
        let sentence = not_a_filter(r#"{"room":{"rooms":7}}"#).to_string();
        assert!(sentence.contains("sequence"), "{sentence}");
    }
}
