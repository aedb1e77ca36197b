//! What a client asks of a sliding sync, within limits.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use ruma::OwnedRoomId;
use serde::{Deserialize, Deserializer, de::Error as _};
use wardroom_store::Position;

use super::extensions::DeviceToken;

/// Lists in one request (MSC4186).
const LISTS_MAX: usize = 100;
/// Room subscriptions in one request (MSC4186).
const SUBSCRIPTIONS_MAX: usize = 100;
/// Ranges of one list.
const RANGES_MAX: usize = 100;
/// Elements of `required_state` in one request, over all its lists and subscriptions.
const REQUIRED_STATE_MAX: usize = 10_000;
/// Values of one filter of a list: spaces, room types, tags.
const FILTER_VALUES_MAX: usize = 100;
/// Lists or rooms that an extension names.
const EXTENSION_NAMES_MAX: usize = 200;
/// Bytes of a name that the client chooses: of a connection, a list, a transaction; also of a type or state key.
const NAME_BYTES_MAX: usize = 255;

/// What a client asks of a sliding sync, by [`SlidingRequest::new`].
///
/// `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`
/// ([MSC4186](https://github.com/matrix-org/matrix-spec-proposals/pull/4186) in the form that clients speak).
#[derive(Clone, Debug)]
pub struct SlidingRequest {
    /// Where the connection goes on; without it, a new connection begins.
    pub(crate) pos: Option<Pos>,
    /// How long to wait where there is no news.
    pub(crate) timeout: Duration,
    pub(crate) body: Body,
}

/// The body of a request. Nothing of it is remembered for the next request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    pub(crate) conn_id: Option<String>,
    pub(crate) txn_id: Option<String>,
    pub(crate) lists: BTreeMap<String, List>,
    pub(crate) room_subscriptions: BTreeMap<OwnedRoomId, Subscription>,
    pub(crate) extensions: Extensions,
}

/// Type and state key, either of which may be `*`; the state key also `$ME`, and of memberships `$LAZY`.
pub(crate) type StatePattern = (String, String);

/// A list of rooms: those of the windows `ranges` of the rooms that pass the filters.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct List {
    /// First and last index of each window.
    pub(crate) ranges: Vec<(u64, u64)>,
    #[serde(default)]
    pub(crate) required_state: Vec<StatePattern>,
    pub(crate) timeline_limit: u64,
    #[serde(default)]
    pub(crate) filters: Option<Filters>,
}

/// A room that is asked for by name.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Subscription {
    #[serde(default)]
    pub(crate) required_state: Vec<StatePattern>,
    pub(crate) timeline_limit: u64,
}

/// What rooms a list is of. A room must pass all that are given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filters {
    pub(crate) is_dm: Option<bool>,
    pub(crate) spaces: Option<Vec<String>>,
    pub(crate) is_encrypted: Option<bool>,
    #[serde(alias = "is_invited")]
    pub(crate) is_invite: Option<bool>,
    pub(crate) room_types: Option<Vec<Option<String>>>,
    pub(crate) not_room_types: Option<Vec<Option<String>>>,
    pub(crate) room_name_like: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) not_tags: Option<Vec<String>>,
}

/// What besides rooms is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Extensions {
    pub(crate) to_device: ToDevice,
    pub(crate) e2ee: Switch,
    pub(crate) account_data: ByRoom,
    pub(crate) receipts: ByRoom,
    pub(crate) typing: ByRoom,
    #[serde(rename = "io.element.msc4308.thread_subscriptions")]
    pub(crate) thread_subscriptions: ThreadSubscriptions,
}

/// An extension that is on or off (MSC3884).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Switch {
    enabled: Option<bool>,
}

/// Changes of subscriptions to threads (MSC4308).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ThreadSubscriptions {
    enabled: Option<bool>,
    pub(crate) limit: Option<u64>,
}

/// Messages to the device (MSC3885).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ToDevice {
    enabled: Option<bool>,
    pub(crate) limit: Option<u64>,
    #[serde(deserialize_with = "token")]
    pub(crate) since: Option<DeviceToken>,
}

fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeviceToken>, D::Error> {
    let token = Option::<String>::deserialize(deserializer)?;
    let unknown = |BadPos| D::Error::custom("extensions.to_device.since is not a token that this server gave");
    token.map(|token| token.parse().map_err(unknown)).transpose()
}

/// An extension that tells of the rooms of some lists and of some subscriptions: of all where the request does not say
/// (MSC3959, MSC3960, MSC3961).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ByRoom {
    enabled: Option<bool>,
    lists: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
}

impl Switch {
    pub(crate) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }
}

impl ToDevice {
    pub(crate) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }
}

impl ThreadSubscriptions {
    pub(crate) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }
}

impl ByRoom {
    pub(crate) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }

    /// Whether the rooms of a list are among those told of.
    pub(crate) fn has_list(&self, list: &str) -> bool {
        self.lists.as_ref().is_none_or(|lists| lists.iter().any(|named| named == "*" || named == list))
    }

    /// Whether a room that is subscribed to is.
    pub(crate) fn has_subscription(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|named| named == "*" || named == room))
    }
}

/// A request that is not one, and why: a sentence that names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The body is not of the form.
    #[error("The request body is wrong: {0}.")]
    Form(String),
    /// A value is out of bounds.
    #[error("{0}")]
    Value(String),
    /// `pos` is not a token that this server gave.
    #[error("pos: is not a token that this server gave.")]
    Pos,
}

impl SlidingRequest {
    /// Reads a request: `pos` and `timeout` of its query, and its body.
    ///
    /// # Errors
    /// When the body is not of the form or exceeds a limit of this module, and when `pos` is no token.
    pub fn new(pos: Option<&str>, timeout: Option<Duration>, body: &[u8]) -> Result<Self, BadRequest> {
        let body: Body = serde_json::from_slice(body).map_err(|error| BadRequest::Form(error.to_string()))?;
        body.check().map_err(BadRequest::Value)?;
        let pos = pos.map(str::parse).transpose().map_err(|BadPos| BadRequest::Pos)?;
        Ok(Self { pos, timeout: timeout.unwrap_or_default(), body })
    }

    /// Up to where the device shows to have its messages, where it asks for more.
    pub(crate) fn has_to_device(&self) -> Option<Position> {
        let asked = &self.body.extensions.to_device;
        asked.since.filter(|_| asked.is_on()).map(|token| token.0)
    }

    /// Name of the connection among those of the device.
    pub(crate) fn connection(&self) -> &str {
        self.body.conn_id.as_deref().unwrap_or_default()
    }
}

fn check_count(field: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max { Err(format!("{field}: at most {max} are allowed.")) } else { Ok(()) }
}

fn check_name(field: &str, name: &str) -> Result<(), String> {
    if name.len() > NAME_BYTES_MAX {
        Err(format!("{field}: at most {NAME_BYTES_MAX} bytes are allowed."))
    } else {
        Ok(())
    }
}

fn check_patterns(field: &str, patterns: &[StatePattern]) -> Result<(), String> {
    let names = patterns.iter().flat_map(|(kind, state_key)| [kind, state_key]);
    names.into_iter().try_for_each(|name| check_name(&format!("{field}.required_state"), name))
}

impl Body {
    fn check(&self) -> Result<(), String> {
        check_name("conn_id", self.conn_id.as_deref().unwrap_or_default())?;
        check_name("txn_id", self.txn_id.as_deref().unwrap_or_default())?;
        check_count("lists", self.lists.len(), LISTS_MAX)?;
        check_count("room_subscriptions", self.room_subscriptions.len(), SUBSCRIPTIONS_MAX)?;
        let patterns = self.lists.values().map(|list| list.required_state.len());
        let patterns = patterns.chain(self.room_subscriptions.values().map(|room| room.required_state.len()));
        check_count("required_state", patterns.sum(), REQUIRED_STATE_MAX)?;
        for (name, list) in &self.lists {
            check_name("lists", name)?;
            list.check(&format!("lists.{name}"))?;
        }
        for room in self.room_subscriptions.values() {
            check_patterns("room_subscriptions", &room.required_state)?;
        }
        let Extensions { account_data, receipts, typing, .. } = &self.extensions;
        for (name, extension) in [("account_data", account_data), ("receipts", receipts), ("typing", typing)] {
            let count = extension.lists.as_ref().map_or(0, Vec::len).max(extension.rooms.as_ref().map_or(0, Vec::len));
            check_count(&format!("extensions.{name}"), count, EXTENSION_NAMES_MAX)?;
        }
        Ok(())
    }
}

impl List {
    fn check(&self, field: &str) -> Result<(), String> {
        check_count(&format!("{field}.ranges"), self.ranges.len(), RANGES_MAX)?;
        if self.ranges.iter().any(|(first, last)| first > last) {
            return Err(format!("{field}.ranges: a range must not end before it begins."));
        }
        check_patterns(field, &self.required_state)?;
        let Some(filters) = &self.filters else { return Ok(()) };
        let counts = [
            ("spaces", filters.spaces.as_ref().map(Vec::len)),
            ("room_types", filters.room_types.as_ref().map(Vec::len)),
            ("not_room_types", filters.not_room_types.as_ref().map(Vec::len)),
            ("tags", filters.tags.as_ref().map(Vec::len)),
            ("not_tags", filters.not_tags.as_ref().map(Vec::len)),
        ];
        for (name, count) in counts {
            check_count(&format!("{field}.filters.{name}"), count.unwrap_or_default(), FILTER_VALUES_MAX)?;
        }
        check_name(&format!("{field}.filters.room_name_like"), filters.room_name_like.as_deref().unwrap_or_default())
    }
}

/// A place in a connection, as clients carry it around: `c<position>_<connection>_<answer>`.
///
/// Pagination takes it for the boundary right behind the position, as it takes sync tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pos {
    /// Up to where the answer told.
    pub(crate) position: Position,
    /// Number of the connection, among all of this run of the server.
    pub(crate) serial: u64,
    /// Number of the answer in the connection.
    pub(crate) answer: u64,
}

/// Text that is no such token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPos;

impl std::fmt::Display for Pos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "c{}_{}_{}", self.position.get(), self.serial, self.answer)
    }
}

impl FromStr for Pos {
    type Err = BadPos;

    fn from_str(token: &str) -> Result<Self, BadPos> {
        let mut numbers = token.strip_prefix('c').ok_or(BadPos)?.split('_').map(|digits| {
            // Digits alone: `parse` would take a sign as well.
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok());
            number.flatten().ok_or(BadPos)
        });
        let mut next = || numbers.next().unwrap_or(Err(BadPos));
        let pos = Self { position: Position::new(next()?), serial: next()?, answer: next()? };
        if numbers.next().is_none() { Ok(pos) } else { Err(BadPos) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wardroom_store::Position;

    use super::{BadPos, BadRequest, Pos, SlidingRequest};

    fn refusal(body: &Value) -> String {
        match SlidingRequest::new(None, None, body.to_string().as_bytes()) {
            Err(BadRequest::Value(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_survives_the_client() {
        let pos = Pos { position: Position::new(77), serial: 3, answer: 9 };
        assert_eq!(pos.to_string(), "c77_3_9");
        assert_eq!("c77_3_9".parse(), Ok(pos));
        for junk in
            ["", "c", "s77", "c1", "c1_2", "c1_2_", "c1_2_3_4", "c1_+2_3", "c1_2_-3", "c1_2_99999999999999999999"]
        {
            assert_eq!(junk.parse::<Pos>(), Err(BadPos), "{junk}");
        }
    }

    #[test]
    fn what_exceeds_a_limit_is_named() {
        let list = json!({ "ranges": [[0, 1]], "timeline_limit": 1 });
        let lists: serde_json::Map<String, Value> = (0..101).map(|n| (n.to_string(), list.clone())).collect();
        assert!(refusal(&json!({ "lists": lists })).starts_with("lists: at most 100"));
        let backwards = json!({ "lists": { "a": { "ranges": [[5, 4]], "timeline_limit": 1 } } });
        assert!(refusal(&backwards).starts_with("lists.a.ranges: "));
        let many: Vec<_> = (0..101).map(|n| json!([n, n])).collect();
        assert!(refusal(&json!({ "lists": { "a": { "ranges": many, "timeline_limit": 1 } } })).contains("ranges"));
        assert!(refusal(&json!({ "conn_id": "x".repeat(256) })).starts_with("conn_id: "));
        let state: Vec<_> = (0..10_001).map(|n| json!(["m.x", n.to_string()])).collect();
        let list = json!({ "ranges": [], "timeline_limit": 1, "required_state": state });
        assert!(refusal(&json!({ "lists": { "a": list } })).starts_with("required_state: "));
    }

    #[test]
    fn what_is_not_said_has_a_meaning() {
        let request = SlidingRequest::new(None, None, b"{}").unwrap();
        assert!(request.timeout.is_zero() && request.connection().is_empty());
        assert!(!request.body.extensions.receipts.is_on());
        let body = br#"{"extensions":{"receipts":{"enabled":true,"rooms":["*"]},"typing":{"lists":[]}}}"#;
        let extensions = SlidingRequest::new(None, None, body).unwrap().body.extensions;
        assert!(extensions.receipts.has_list("any") && extensions.receipts.has_subscription("!a:b"));
        assert!(!extensions.typing.is_on() && !extensions.typing.has_list("any"));
    }
}
