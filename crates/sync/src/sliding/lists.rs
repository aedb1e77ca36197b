//! Which rooms a request is about: those in the windows of its lists, and those it subscribes to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use ruma::{RoomId, events::TimelineEventType};
use serde::Deserialize;
use wardroom_rooms::{Glance, Membership, MembershipEntry, RoomError, RoomNid, Root, StateWhich};
use wardroom_store::Position;

use super::{
    Asked,
    personal::Personal,
    request::{Filters, List},
};
use crate::{Inner, SyncError, filter::Filter, memberships::Known};

/// Rooms of a list, the most recent, to which windows reach.
const WINDOW_ROOMS_MAX: usize = 10_000;
/// Children of one space that a filter takes in.
const SPACE_CHILDREN_MAX: usize = 20_000;
/// Bytes of a room's name in which a filter looks for a text.
const NAME_BYTES_MAX: usize = 255;
/// Names and spaces that are kept in memory for filters.
const NAMES_MAX: usize = 5_000;
const SPACES_MAX: usize = 500;

/// What filters ask of states of rooms.
#[derive(Debug)]
pub(crate) struct StateFacts {
    /// Names in lower case.
    names: quick_cache::sync::Cache<Root, Arc<str>>,
    /// Rooms in spaces.
    children: quick_cache::sync::Cache<Root, Arc<HashSet<RoomNid>>>,
}

impl Default for StateFacts {
    fn default() -> Self {
        Self { names: quick_cache::sync::Cache::new(NAMES_MAX), children: quick_cache::sync::Cache::new(SPACES_MAX) }
    }
}

/// A room that the request is about.
#[derive(Clone, Debug)]
pub(crate) struct InScope<'a> {
    pub(crate) entry: &'a MembershipEntry,
    /// Where the room stands among the user's rooms: the newest event, or the user's membership.
    pub(crate) recency: Position,
    pub(crate) bump: Position,
    /// The lists in whose windows it is, by number.
    pub(crate) lists: Vec<usize>,
    /// Whether the request subscribes to it, and how it calls it.
    pub(crate) subscribed: Option<&'a RoomId>,
}

/// The rooms that a request is about.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    /// The most recent first.
    pub(crate) rooms: Vec<InScope<'a>>,
    /// How many rooms each list has, windows or not.
    pub(crate) counts: Vec<usize>,
}

/// One of the user's rooms.
struct Candidate<'a> {
    entry: &'a MembershipEntry,
    glance: Arc<Glance>,
    recency: Position,
}

impl Candidate<'_> {
    fn bump(&self) -> Position {
        // Of a room that one is not in, one hears of one's own membership alone.
        if self.entry.membership == Membership::Join { self.glance.bump } else { self.recency }
    }
}

impl Asked<'_> {
    /// Whether a room is among the user's rooms, as far as that depends on the membership.
    ///
    /// Of those that the user is not in any more: the ones that the user was put out of, and those that the connection
    /// has told of, which it also tells the end of.
    fn lists_room(&self, entry: &MembershipEntry) -> bool {
        match entry.membership {
            Membership::Join | Membership::Invite | Membership::Knock => true,
            Membership::Leave | Membership::Ban if entry.forgotten => false,
            Membership::Leave | Membership::Ban => {
                self.told(entry.room).is_some() || (entry.was_joined && !entry.by_self)
            }
        }
    }

    fn may_subscribe(&self, entry: &MembershipEntry) -> bool {
        self.lists_room(entry) || (entry.was_joined && !entry.forgotten)
    }

    /// The rooms that the request is about.
    pub(crate) async fn scope<'a>(&'a self, known: &'a Known, personal: &Personal) -> Result<Scope<'a>, SyncError> {
        let mut scope: HashMap<RoomNid, InScope<'a>> = HashMap::new();
        let mut counts = Vec::new();
        if !self.request.body.lists.is_empty() {
            let mut entries: Vec<_> = known.entries.iter().filter(|entry| self.lists_room(entry)).collect();
            let hidden = self.hidden_invites(&entries).await?;
            entries.retain(|entry| !hidden.contains(&entry.room));
            let mut candidates = self.candidates(entries).await?;
            candidates.sort_unstable_by_key(|room| (Reverse(room.recency), room.entry.room));
            for (number, list) in self.request.body.lists.values().enumerate() {
                let passing = self.passing(list, &candidates, known, personal).await?;
                counts.push(passing.len());
                for candidate in windows(list, &passing) {
                    let room = scope.entry(candidate.entry.room).or_insert_with(|| InScope::new(candidate));
                    room.lists.push(number);
                }
            }
        }
        for id in self.request.body.room_subscriptions.keys() {
            let Some(nid) = self.syncer.rooms.room_nid(id).await? else { continue };
            // The memberships are in the order of the rooms' numbers.
            let Ok(index) = known.entries.binary_search_by_key(&nid, |entry| entry.room) else { continue };
            let entry = &known.entries[index];
            if !self.may_subscribe(entry) || !self.hidden_invites(&[entry]).await?.is_empty() {
                continue;
            }
            if let Some(candidate) = self.candidates(vec![entry]).await?.first() {
                scope.entry(nid).or_insert_with(|| InScope::new(candidate)).subscribed = Some(id);
            }
        }
        let mut rooms: Vec<_> = scope.into_values().collect();
        rooms.sort_unstable_by_key(|room| (Reverse(room.recency), room.entry.room));
        Ok(Scope { rooms, counts })
    }

    /// Invitations that the user does not want to hear of.
    async fn hidden_invites(&self, entries: &[&MembershipEntry]) -> Result<HashSet<RoomNid>, SyncError> {
        let filter = Filter::of_timelines(0);
        let hearing = self.hearing(&filter);
        let mut hidden = HashSet::new();
        for entry in entries.iter().filter(|entry| entry.membership == Membership::Invite) {
            if hearing.hides_invite(entry).await? {
                hidden.insert(entry.room);
            }
        }
        Ok(hidden)
    }

    async fn candidates<'a>(&self, entries: Vec<&'a MembershipEntry>) -> Result<Vec<Candidate<'a>>, SyncError> {
        let rooms: Vec<RoomNid> = entries.iter().map(|entry| entry.room).collect();
        let glances = self.syncer.rooms.glances(&rooms).await?;
        let candidates = entries.into_iter().zip(glances).filter_map(|(entry, glance)| {
            let glance = glance?;
            let own = entry.place.position();
            let recency = if entry.membership == Membership::Join { glance.newest } else { own };
            Some(Candidate { entry, glance, recency })
        });
        Ok(candidates.collect())
    }

    /// The rooms that pass a list's filters.
    async fn passing<'a, 'c>(
        &self,
        list: &List,
        candidates: &'c [Candidate<'a>],
        known: &Known,
        personal: &Personal,
    ) -> Result<Vec<&'c Candidate<'a>>, SyncError> {
        let Some(filters) = &list.filters else { return Ok(candidates.iter().collect()) };
        let mut passing: Vec<_> =
            candidates.iter().filter(|candidate| passes_plainly(filters, candidate, personal)).collect();
        if let Some(spaces) = &filters.spaces {
            let children = self.in_spaces(spaces, known).await?;
            passing.retain(|candidate| children.iter().any(|rooms| rooms.contains(&candidate.entry.room)));
        }
        if let Some(wanted) = filters.is_encrypted {
            let mut rest = Vec::with_capacity(passing.len());
            for candidate in passing {
                if self.is_encrypted(candidate).await? == wanted {
                    rest.push(candidate);
                }
            }
            passing = rest;
        }
        if let Some(text) = &filters.room_name_like {
            let (text, mut rest) = (text.to_lowercase(), Vec::new());
            for candidate in passing {
                if self.name(candidate).await?.contains(&text) {
                    rest.push(candidate);
                }
                tokio::task::consume_budget().await;
            }
            passing = rest;
        }
        Ok(passing)
    }

    /// Whether a room is encrypted, as far as the user may know.
    async fn is_encrypted(&self, candidate: &Candidate<'_>) -> Result<bool, SyncError> {
        match candidate.entry.membership {
            Membership::Join => Ok(candidate.glance.encrypted),
            Membership::Invite | Membership::Knock => {
                Ok(self.stripped_content(candidate, TimelineEventType::RoomEncryption).await?.is_some())
            }
            Membership::Leave | Membership::Ban => match self.root_at_leaving(candidate).await? {
                None => Ok(false),
                Some(root) => {
                    let kind = ruma::events::StateEventType::RoomEncryption;
                    Ok(self.syncer.rooms.state_event(candidate.entry.room, root, &kind, "").await?.is_some())
                }
            },
        }
    }

    /// A room's name in lower case, as far as the user may know it; empty where it has none.
    async fn name(&self, candidate: &Candidate<'_>) -> Result<Arc<str>, SyncError> {
        let root = match candidate.entry.membership {
            Membership::Join => Some(candidate.glance.state),
            Membership::Leave | Membership::Ban => self.root_at_leaving(candidate).await?,
            Membership::Invite | Membership::Knock => {
                let name = self.stripped_content(candidate, TimelineEventType::RoomName).await?;
                let name = name.and_then(|content| Some(content.get("name")?.as_str()?.to_lowercase()));
                return Ok(name.unwrap_or_default().into());
            }
        };
        let Some(root) = root else { return Ok(Arc::default()) };
        let names = &self.syncer.sliding.facts.names;
        if let Some(name) = names.get(&root) {
            return Ok(name);
        }
        let name = self.syncer.room_text(candidate.entry.room, root, RoomText::Name).await?.unwrap_or_default();
        let name: Arc<str> = name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_lowercase().into();
        names.insert(root, Arc::clone(&name));
        Ok(name)
    }

    /// The state of a room at the end of the user's time in it.
    async fn root_at_leaving(&self, candidate: &Candidate<'_>) -> Result<Option<Root>, SyncError> {
        let Some(left) = candidate.entry.left else { return Ok(None) };
        let view = match self.syncer.rooms.view_of(candidate.entry.room).await {
            Err(RoomError::NoSuchRoom) => return Ok(None),
            view => view?,
        };
        Ok(Some(self.syncer.rooms.state_before(&view, left.next()).await?))
    }

    /// Content of an event of the stripped state that the user was told.
    async fn stripped_content(
        &self,
        candidate: &Candidate<'_>,
        kind: TimelineEventType,
    ) -> Result<Option<serde_json::Value>, SyncError> {
        #[derive(Deserialize)]
        struct Event {
            r#type: TimelineEventType,
            content: serde_json::Value,
        }
        let state = self.syncer.rooms.stripped_state(self.user, candidate.entry.room).await?;
        let mut events = state.iter().filter_map(|event| serde_json::from_str::<Event>(event.get()).ok());
        Ok(events.find(|event| event.r#type == kind).map(|event| event.content))
    }

    /// The rooms in those of the spaces that the user is in.
    async fn in_spaces(&self, spaces: &[String], known: &Known) -> Result<Vec<Arc<HashSet<RoomNid>>>, SyncError> {
        let mut children = Vec::with_capacity(spaces.len());
        for id in spaces {
            let Ok(id) = <&RoomId>::try_from(id.as_str()) else { continue };
            let Some(nid) = self.syncer.rooms.room_nid(id).await? else { continue };
            let Ok(index) = known.entries.binary_search_by_key(&nid, |entry| entry.room) else { continue };
            if known.entries[index].membership == Membership::Join
                && let Some(glance) = self.syncer.rooms.glances(&[nid]).await?.pop().flatten()
            {
                children.push(self.syncer.children(nid, glance.state).await?);
            }
        }
        Ok(children)
    }
}

impl<'a> InScope<'a> {
    fn new(candidate: &Candidate<'a>) -> Self {
        let (entry, recency, bump) = (candidate.entry, candidate.recency, candidate.bump());
        Self { entry, recency, bump, lists: Vec::new(), subscribed: None }
    }
}

/// The rooms in a list's windows, each once.
fn windows<'a, 'c>(list: &List, passing: &[&'c Candidate<'a>]) -> Vec<&'c Candidate<'a>> {
    let last = passing.len().min(WINDOW_ROOMS_MAX);
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let within = |at: usize| list.ranges.iter().any(|(first, last)| (index(*first)..=index(*last)).contains(&at));
    match list.ranges.as_slice() {
        [(first, end)] => {
            let end = index(*end).saturating_add(1).min(last);
            passing[index(*first).min(end)..end].to_vec()
        }
        _ => passing[..last].iter().enumerate().filter(|(at, _)| within(*at)).map(|(_, room)| *room).collect(),
    }
}

/// The filters that ask for nothing but what is at hand.
fn passes_plainly(filters: &Filters, candidate: &Candidate<'_>, personal: &Personal) -> bool {
    let room = candidate.entry.room;
    let type_in = |types: &[Option<String>]| {
        types.iter().any(|wanted| wanted.as_deref() == candidate.glance.room_type.as_deref())
    };
    let tagged =
        |wanted: &[String]| personal.tags(room).iter().any(|tag| wanted.iter().any(|wanted| **wanted == **tag));
    filters.is_dm.is_none_or(|wanted| wanted == personal.direct.contains(&room))
        && filters.is_invite.is_none_or(|wanted| wanted == (candidate.entry.membership == Membership::Invite))
        && filters.room_types.as_deref().is_none_or(|types| types.is_empty() || type_in(types))
        && filters.not_room_types.as_deref().is_none_or(|types| !type_in(types))
        && filters.tags.as_deref().is_none_or(|tags| tags.is_empty() || tagged(tags))
        && filters.not_tags.as_deref().is_none_or(|tags| !tagged(tags))
}

impl Filters {
    /// Whether tags are asked for.
    pub(crate) fn asks_for_tags(&self) -> bool {
        let some = |tags: &Option<Vec<String>>| tags.as_ref().is_some_and(|tags| !tags.is_empty());
        some(&self.tags) || some(&self.not_tags)
    }
}

/// A text that a room's state says of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomText {
    Name,
    Avatar,
}

impl Inner {
    /// A text that a state says of its room; none where it is empty.
    pub(crate) async fn room_text(
        &self,
        room: RoomNid,
        root: Root,
        text: RoomText,
    ) -> Result<Option<String>, SyncError> {
        use ruma::events::StateEventType;
        let (kind, field) = match text {
            RoomText::Name => (StateEventType::RoomName, "name"),
            RoomText::Avatar => (StateEventType::RoomAvatar, "url"),
        };
        let event = self.rooms.state_event(room, root, &kind, "").await?;
        let content = event.and_then(|event| event.pdu.content_as::<BTreeMap<String, serde_json::Value>>().ok());
        let text = content.and_then(|mut content| match content.remove(field)? {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        });
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The rooms that a space's state has as children.
    async fn children(&self, space: RoomNid, root: Root) -> Result<Arc<HashSet<RoomNid>>, SyncError> {
        #[derive(Deserialize)]
        struct Content {
            via: Vec<serde::de::IgnoredAny>,
        }
        let cache = &self.sliding.facts.children;
        if let Some(children) = cache.get(&root) {
            return Ok(children);
        }
        let mut children = HashSet::new();
        for event in self.rooms.state(space, root, StateWhich::WithoutMembers).await? {
            // Without servers to join by, a child is none (specification, `m.space.child`).
            let is_child = *event.pdu.kind() == TimelineEventType::SpaceChild
                && event.pdu.content_as::<Content>().is_ok_and(|content| !content.via.is_empty());
            let id = event.pdu.state_key().and_then(|key| <&RoomId>::try_from(key).ok()).filter(|_| is_child);
            if let Some(id) = id.filter(|_| children.len() < SPACE_CHILDREN_MAX) {
                children.extend(self.rooms.room_nid(id).await?);
            }
        }
        let children = Arc::new(children);
        cache.insert(root, Arc::clone(&children));
        Ok(children)
    }
}
