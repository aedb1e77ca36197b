//! Which rooms a user has marked as direct chats, and how the user has tagged rooms: at hand as long as it holds.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use quick_cache::{Weighter, sync::Cache};
use ruma::{OwnedRoomId, RoomId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_accounts::{AccountDatum, DataScope, UserNid as AccountNid};
use wardroom_rooms::{Membership, RoomNid, UserNid};
use wardroom_store::Position;

use crate::{Inner, SyncError, memberships::Known};

/// Direct chats and tagged rooms kept in memory over all users, about 60 bytes each.
const ENTRIES_MAX: u64 = 100_000;
/// Mean entries of a user, from which the cache sizes its tables.
const ENTRIES_MEAN: u64 = 20;
/// Rooms that count as direct chats of one user; the first in `m.direct`, where there are more.
const DIRECT_ROOMS_MAX: usize = 20_000;

/// Tags of rooms; rooms without tags are left out.
type Tags = HashMap<RoomNid, Box<[Box<str>]>>;

/// What a user's own data say of rooms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Personal {
    /// Up to where the user's account data were taken in.
    at: Position,
    pub(crate) direct: Arc<HashSet<RoomNid>>,
    /// Known once somebody asked.
    tags: Option<Arc<Tags>>,
}

impl Personal {
    pub(crate) fn tags(&self, room: RoomNid) -> &[Box<str>] {
        self.tags.as_ref().and_then(|tags| tags.get(&room)).map_or(&[], |tags| tags)
    }
}

#[derive(Clone, Debug)]
struct ByEntries;

impl Weighter<UserNid, Arc<Personal>> for ByEntries {
    fn weight(&self, _: &UserNid, personal: &Arc<Personal>) -> u64 {
        let entries = personal.direct.len() + personal.tags.as_ref().map_or(0, |tags| tags.len());
        2 + u64::try_from(entries).unwrap_or(u64::MAX / 4)
    }
}

/// Personal facts by user.
#[derive(Debug)]
pub(crate) struct PersonalCache(Cache<UserNid, Arc<Personal>, ByEntries>);

impl Default for PersonalCache {
    fn default() -> Self {
        let users = usize::try_from(ENTRIES_MAX / ENTRIES_MEAN).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(users, ENTRIES_MAX, ByEntries))
    }
}

impl Inner {
    /// What a user's account data say of rooms, as of `now` or later; of tags only where they are asked for.
    pub(crate) async fn personal(
        &self,
        user: UserNid,
        known: &Known,
        now: Position,
        with_tags: bool,
    ) -> Result<Arc<Personal>, SyncError> {
        let cache = &self.sliding.personal.0;
        let cached = cache.get(&user);
        let fits = |personal: &Arc<Personal>| {
            let holds = personal.at >= now || self.store.watches().last(user.watch()) <= personal.at;
            holds && (personal.tags.is_some() || !with_tags)
        };
        if let Some(cached) = cached.as_ref().filter(|cached| fits(cached)) {
            return Ok(Arc::clone(cached));
        }
        let account = AccountNid::new(user.get());
        let mut personal = match cached {
            Some(cached) => {
                let mut personal = (*cached).clone();
                for datum in self.accounts.account_data_since(account, personal.at, now).await? {
                    self.take_in(&mut personal, &datum).await?;
                }
                personal
            }
            None => {
                let mut personal = Personal::default();
                if let Some(content) = self.accounts.account_data(account, DataScope::Global, "m.direct").await? {
                    personal.direct = Arc::new(self.direct_rooms(&content).await?);
                }
                personal
            }
        };
        if with_tags && personal.tags.is_none() {
            let mut tags = Tags::new();
            for entry in known.entries.iter().filter(|entry| entry.membership == Membership::Join) {
                let found = self.accounts.tags(account, entry.room.get()).await?;
                if !found.is_empty() {
                    tags.insert(entry.room, found.into_keys().map(String::into_boxed_str).collect());
                }
            }
            personal.tags = Some(Arc::new(tags));
        }
        personal.at = now;
        let personal = Arc::new(personal);
        cache.insert(user, Arc::clone(&personal));
        Ok(personal)
    }

    async fn take_in(&self, personal: &mut Personal, datum: &AccountDatum) -> Result<(), SyncError> {
        #[derive(Deserialize)]
        struct Content {
            #[serde(default)]
            tags: BTreeMap<String, IgnoredAny>,
        }
        match (datum.scope, datum.event_type.as_str()) {
            (DataScope::Global, "m.direct") => personal.direct = Arc::new(self.direct_rooms(&datum.content).await?),
            (DataScope::Room(room), "m.tag") => {
                let Some(tags) = &mut personal.tags else { return Ok(()) };
                let found = serde_json::from_str::<Content>(datum.content.get()).map(|content| content.tags);
                let found: Box<[_]> = found.unwrap_or_default().into_keys().map(String::into_boxed_str).collect();
                let tags = Arc::make_mut(tags);
                if found.is_empty() {
                    tags.remove(&RoomNid::new(room));
                } else {
                    tags.insert(RoomNid::new(room), found);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The rooms in an `m.direct`. What is not of the form is passed over: clients write it freely.
    async fn direct_rooms(&self, content: &RawJsonValue) -> Result<HashSet<RoomNid>, SyncError> {
        let by_user = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(content.get()).unwrap_or_default();
        let listed = by_user.values().filter_map(serde_json::Value::as_array).flatten();
        let ids = listed.filter_map(|id| <&RoomId>::try_from(id.as_str()?).ok()).take(DIRECT_ROOMS_MAX);
        let ids: HashSet<OwnedRoomId> = ids.map(ToOwned::to_owned).collect();
        let mut rooms = HashSet::with_capacity(ids.len());
        for id in &ids {
            rooms.extend(self.rooms.room_nid(id).await?);
        }
        Ok(rooms)
    }
}
