//! What those may know of a room who are not in it: the room directory, the space hierarchy and the room summary
//! show the same things (specification, "Room Summaries").
//!
//! A summary is worked out from the room's current state and kept until that state is another.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use ruma::{
    OwnedRoomId, RoomId, UInt,
    directory::{PublicRoomsChunk, PublicRoomsChunkInit},
    events::StateEventType,
    room::{JoinRuleSummary, RoomSummary, RoomType},
};
use serde_json::{Map, Value};
use wardroom_event::{Pdu, RoomVersion};

use crate::{
    Action, Actor, Engine, Rooms, error::RoomError, ids::RoomNid, join_rules::JoinRules, room::RoomView,
    tables::Membership, trie::Root, visibility::Visibility,
};

/// Bytes of summaries kept in memory.
const CACHED_SUMMARIES_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// What a summary costs in memory besides its texts, about; also the mean size, from which the cache sizes its tables.
const SUMMARY_OVERHEAD_BYTES: u64 = 350;
/// Rooms whose members may join that another server tells.
const ALLOWED_ROOMS_MAX: usize = 200;
/// Longest name of an encryption algorithm that is passed on, in bytes.
const ALGORITHM_BYTES_MAX: usize = 255;

/// What is shown of a room in this state.
#[derive(Clone, Debug)]
pub struct Summary {
    pub(crate) state: Root,
    pub(crate) join_rules: JoinRules,
    /// The fields that the room directory has too.
    pub chunk: PublicRoomsChunk,
    /// The encryption algorithm of an encrypted room.
    pub encryption: Option<String>,
    /// The room's version; of a room elsewhere, one that has every rule.
    pub version: RoomVersion,
    /// What is said of the version.
    pub said_version: Option<String>,
}

/// A room's summary and what its reader is to the room.
#[derive(Clone, Debug)]
pub struct ReadSummary {
    /// The summary.
    pub summary: Arc<Summary>,
    /// The reader's membership; none for strangers, and for readers without an account.
    pub membership: Option<Membership>,
}

#[derive(Clone, Debug)]
pub(crate) struct BySize;

impl Weighter<RoomNid, Arc<Summary>> for BySize {
    fn weight(&self, _: &RoomNid, summary: &Arc<Summary>) -> u64 {
        summary.bytes()
    }
}

/// Summaries, bounded by bytes.
pub(crate) type SummaryCache = Cache<RoomNid, Arc<Summary>, BySize>;

pub(crate) fn summary_cache() -> SummaryCache {
    let entries = usize::try_from(CACHED_SUMMARIES_BYTES_MAX / SUMMARY_OVERHEAD_BYTES).unwrap_or(usize::MAX);
    Cache::with_weighter(entries, CACHED_SUMMARIES_BYTES_MAX, BySize)
}

impl Summary {
    /// A room as another server tells of it.
    pub(crate) fn told(room: &RoomSummary) -> Self {
        let allow = match &room.join_rule {
            JoinRuleSummary::Restricted(rule) | JoinRuleSummary::KnockRestricted(rule) => {
                rule.allowed_room_ids.iter().take(ALLOWED_ROOMS_MAX).cloned().collect()
            }
            _ => Vec::new(),
        };
        let mut chunk = PublicRoomsChunk::from(PublicRoomsChunkInit {
            num_joined_members: room.num_joined_members,
            room_id: room.room_id.clone(),
            world_readable: room.world_readable,
            guest_can_join: room.guest_can_join,
        });
        chunk.canonical_alias = room.canonical_alias.clone();
        chunk.name = room.name.clone();
        chunk.topic = room.topic.clone();
        chunk.avatar_url = room.avatar_url.clone();
        chunk.join_rule = room.join_rule.kind();
        chunk.room_type = room.room_type.clone();
        let encryption = room.encryption.as_ref().map(ToString::to_string);
        Self {
            state: Root::EMPTY,
            join_rules: JoinRules { kind: room.join_rule.kind(), allow, by_role: false },
            chunk,
            encryption: encryption.filter(|name| name.len() <= ALGORITHM_BYTES_MAX),
            version: RoomVersion::V12,
            said_version: room.room_version.as_ref().map(ToString::to_string),
        }
    }

    /// Name, topic and canonical alias, where there are any.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let chunk = &self.chunk;
        let alias = chunk.canonical_alias.as_ref().map(|alias| alias.as_str());
        [chunk.name.as_deref(), chunk.topic.as_deref(), alias].into_iter().flatten()
    }

    /// What the summary weighs, in memory and about as JSON.
    pub(crate) fn bytes(&self) -> u64 {
        let rooms = self.join_rules.allow.iter().map(|room| room.as_str().len());
        let texts: usize = self.texts().map(str::len).chain(rooms).sum();
        SUMMARY_OVERHEAD_BYTES + u64::try_from(texts).unwrap_or(u64::MAX / 2)
    }

    /// Rooms whose members may join, where the join rule is one of the restricted ones.
    pub fn allowed_room_ids(&self) -> &[OwnedRoomId] {
        if self.join_rules.is_restricted(self.version) { &self.join_rules.allow } else { &[] }
    }

    /// Whether those may join whom the gate admits by their role.
    fn is_open_by_role(&self) -> bool {
        self.join_rules.by_role && self.join_rules.is_restricted(self.version)
    }

    /// Whether the room is a space.
    pub(crate) fn is_space(&self) -> bool {
        self.chunk.room_type == Some(RoomType::Space)
    }

    /// Whether everybody may see this summary, with an account or without: who may join, ask to, or read.
    pub(crate) fn is_for_everybody(&self) -> bool {
        self.join_rules.is_public() || self.join_rules.is_knockable(self.version) || self.chunk.world_readable
    }
}

impl Rooms {
    /// What a room is, for those who may join it, ask to, or read it; and for everybody, where everybody may.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room, or the asker may not know of it.
    pub async fn summary(&self, asker: Option<Actor<'_>>, room: &RoomId) -> Result<ReadSummary, RoomError> {
        const NO_SUCH_ROOM: RoomError = RoomError::NotFound("There is no such room, or you may not know of it.");
        let view = self.view(room).await?.ok_or(NO_SUCH_ROOM)?;
        match asker {
            Some(actor) => self.engine.glimpse(actor, &view).await?.ok_or(NO_SUCH_ROOM),
            None => {
                let summary = self.engine.summary(&view).await?;
                if summary.is_for_everybody() {
                    Ok(ReadSummary { summary, membership: None })
                } else {
                    Err(NO_SUCH_ROOM)
                }
            }
        }
    }
}

impl Engine {
    /// A room's summary, if this user may see it: members, the invited, who may join or ask to, and everybody where
    /// the room is world-readable (specification, `GET /rooms/{roomId}/hierarchy`).
    pub(crate) async fn glimpse(&self, actor: Actor<'_>, room: &RoomView) -> Result<Option<ReadSummary>, RoomError> {
        let membership = match self.permit(actor, room, Action::Glimpse).await {
            Ok(entry) => entry.map(|entry| entry.membership),
            Err(RoomError::Forbidden(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let summary = self.summary(room).await?;
        let may = match membership {
            Some(Membership::Join | Membership::Invite) => true,
            // Nobody who is banned may join or ask to.
            Some(Membership::Ban) => summary.chunk.world_readable,
            _ => {
                summary.is_for_everybody()
                    || summary.is_open_by_role() && self.gate.admits_by_role(actor.user, room)
                    || self.is_in_one_of(actor.nid, summary.allowed_room_ids()).await?
            }
        };
        Ok(may.then_some(ReadSummary { summary, membership }))
    }

    /// What is shown of a room.
    pub(crate) async fn summary(&self, room: &RoomView) -> Result<Arc<Summary>, RoomError> {
        if let Some(known) = self.summaries.get(&room.nid)
            && known.state == room.state
        {
            return Ok(known);
        }
        let event = |kind| async move { self.state_event(room.nid, room.state, &kind, "").await };
        let read = |kind| async move {
            let event = event(kind).await?;
            Ok::<_, RoomError>(event.and_then(|event| content(&event.pdu)).unwrap_or_default())
        };
        let create = self.event(room.nid, room.create).await?.and_then(|event| content(&event.pdu)).unwrap_or_default();
        let join_rules = event(StateEventType::RoomJoinRules).await?;
        let join_rules = JoinRules::of(join_rules.as_ref().map(|event| &*event.pdu));
        let mut chunk = PublicRoomsChunk::from(PublicRoomsChunkInit {
            num_joined_members: UInt::new_saturating(room.joined),
            room_id: room.id.clone(),
            world_readable: room.visibility == Visibility::WorldReadable,
            guest_can_join: text(&read(StateEventType::RoomGuestAccess).await?, "guest_access") == Some("can_join"),
        });
        chunk.canonical_alias =
            text(&read(StateEventType::RoomCanonicalAlias).await?, "alias").and_then(|alias| alias.try_into().ok());
        chunk.name = text(&read(StateEventType::RoomName).await?, "name").map(str::to_owned);
        chunk.topic = topic(&read(StateEventType::RoomTopic).await?).map(str::to_owned);
        chunk.avatar_url = text(&read(StateEventType::RoomAvatar).await?, "url").map(Into::into);
        chunk.join_rule = join_rules.kind.clone();
        chunk.room_type = text(&create, "type").map(Into::into);
        let algorithm = read(StateEventType::RoomEncryption).await?;
        let algorithm = text(&algorithm, "algorithm").filter(|name| name.len() <= ALGORITHM_BYTES_MAX);
        let encryption = algorithm.map(str::to_owned);
        let said_version = Some(room.version.as_str().to_owned());
        let summary = Summary { state: room.state, join_rules, chunk, encryption, version: room.version, said_version };
        let summary = Arc::new(summary);
        self.summaries.insert(room.nid, Arc::clone(&summary));
        Ok(summary)
    }
}

/// An event's content. Nobody promises the types of its fields.
pub(crate) fn content(pdu: &Pdu) -> Option<Map<String, Value>> {
    pdu.content_as().ok()
}

fn text<'a>(content: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    content.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// The plain text of a topic (specification, `m.room.topic`): an absent mimetype means `text/plain`.
fn topic(content: &Map<String, Value>) -> Option<&str> {
    let is_plain = |form: &&Value| form.get("mimetype").is_none_or(|kind| kind.as_str() == Some("text/plain"));
    let forms = content.get("m.topic").and_then(|topic| topic.get("m.text")).and_then(Value::as_array);
    let plain = forms.and_then(|forms| forms.iter().find(is_plain)).and_then(|form| form.get("body")?.as_str());
    plain.filter(|text| !text.is_empty()).or_else(|| text(content, "topic"))
}
