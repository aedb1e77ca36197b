//! What is known of rooms without loading them: enough to sort and filter a user's rooms, however many there are.

use std::sync::Arc;

use quick_cache::sync::{Cache, GuardResult};
use ruma::events::TimelineEventType;
use wardroom_event::Pdu;
use wardroom_store::Position;

use crate::{
    Rooms,
    error::RoomError,
    ids::RoomNid,
    room::RoomView,
    tables::{HEADS, Head, ROOMS},
    trie::Root,
};

/// Glances kept in memory, about 150 bytes each.
const GLANCES_MAX: usize = 50_000;

/// A room at a glance, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Position of the newest event.
    pub newest: Position,
    /// Position of the newest event that is "proper" activity (MSC4186, `bump_stamp`).
    pub bump: Position,
    /// Current state.
    pub state: Root,
    /// The state has an `m.room.encryption` event.
    pub encrypted: bool,
    /// The room's type: none of ordinary rooms, `m.space` of spaces.
    pub room_type: Option<Arc<str>>,
}

/// Glances by room, kept in step by the rooms' writers.
pub(crate) type GlanceCache = Cache<RoomNid, Arc<Glance>>;

pub(crate) fn glance_cache() -> GlanceCache {
    Cache::new(GLANCES_MAX)
}

impl Glance {
    /// A room that is loaded.
    pub(crate) fn of(view: &RoomView) -> Self {
        // The boundary after the newest event is the position behind it.
        let newest = Position::new(view.end.position().get().saturating_sub(1));
        Self::new(&view.head, newest, view.room_type.clone())
    }

    fn new(head: &Head, newest: Position, room_type: Option<Arc<str>>) -> Self {
        let bump = head.bump.map_or(newest, Position::new);
        Self { newest, bump, state: head.state, encrypted: head.encrypted, room_type }
    }
}

impl Head {
    /// Fills in the position that stood for "here", once that of the record's commit is known.
    pub(crate) fn settled(mut self, written: Position) -> Self {
        self.bump.get_or_insert(written.get());
        self
    }

    /// Takes in what lists of rooms are sorted and filtered by.
    pub(crate) fn note(&mut self, event: &Pdu) {
        use TimelineEventType as Type;
        let kind = event.kind();
        let lifts = matches!(
            kind,
            Type::RoomCreate | Type::RoomMessage | Type::RoomEncrypted | Type::Sticker | Type::CallInvite
        ) || matches!(kind.to_string().as_str(), "m.poll.start" | "m.beacon_info");
        if lifts {
            self.bump = None;
        }
        self.encrypted |= *kind == Type::RoomEncryption && event.state_key() == Some("");
    }
}

impl Rooms {
    /// Rooms at a glance, in the order asked for; `None` for those that are not there. Ungated.
    pub async fn glances(&self, rooms: &[RoomNid]) -> Result<Vec<Option<Arc<Glance>>>, RoomError> {
        let cache = &self.engine.glances;
        let mut found: Vec<Option<Arc<Glance>>> = rooms.iter().map(|room| cache.get(room)).collect();
        let missing: Vec<usize> = (0..rooms.len()).filter(|index| found[*index].is_none()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        // A writer that commits from here on takes the place, so that what is read now does not cover it.
        let places: Vec<_> = missing
            .iter()
            .map(|index| match cache.get_value_or_guard(&rooms[*index], Some(std::time::Duration::ZERO)) {
                GuardResult::Guard(guard) => Some(guard),
                GuardResult::Value(_) | GuardResult::Timeout => None,
            })
            .collect();
        let keys: Vec<RoomNid> = missing.iter().map(|index| rooms[*index]).collect();
        let store = self.engine.store.latest();
        let records = store.multi_get(&ROOMS, &keys).await?;
        let heads = store.multi_get_versioned(&HEADS, &keys).await?;
        for (((index, place), record), head) in missing.into_iter().zip(places).zip(records).zip(heads) {
            let (Some(record), Some((head, written))) = (record, head) else { continue };
            let glance = Arc::new(Glance::new(&head.0, written, record.0.room_type.map(Arc::from)));
            if let Some(place) = place {
                // A newer one may have taken the place.
                drop(place.insert(Arc::clone(&glance)));
            }
            found[index] = Some(glance);
        }
        Ok(found)
    }
}
