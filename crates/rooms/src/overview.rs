//! All rooms of the server at a glance, for administrators: found by name, in many orders, a page at a time.
//!
//! What orders and finds rooms lies in memory, about 500 bytes for each room. It is read from the store when somebody
//! asks for the first time; later only rooms whose state changed are read again. At rest there is nothing but the
//! rooms' own events, sealed.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, events::StateEventType};
use wardroom_event::Pdu;
use wardroom_store::Scan;

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{NS_SERVER, RoomNid, ServerNid},
    room::RoomView,
    summary::content,
    tables::{LISTED, ROOMS},
    trie::{Root, StateWhich},
};

/// Rooms read at a time.
const ROOMS_PAGE: usize = 1_000;

/// What rooms are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverviewOrder {
    /// Name; rooms without one come first.
    #[default]
    Name,
    /// Canonical alias.
    CanonicalAlias,
    /// Joined users.
    JoinedMembers,
    /// Joined users of this server.
    JoinedLocalMembers,
    /// Room version.
    Version,
    /// Creator.
    Creator,
    /// Encryption algorithm.
    Encryption,
    /// Whether other servers may take part.
    Federatable,
    /// Whether the room is in the public directory.
    Public,
    /// Join rule.
    JoinRules,
    /// Guest access.
    GuestAccess,
    /// History visibility.
    HistoryVisibility,
    /// Number of state events. Counts those of every room, which takes long where there are many.
    StateEvents,
}

/// Which rooms, and in which order.
#[derive(Clone, Debug, Default)]
pub struct OverviewQuery {
    /// Part of the name or canonical alias in any case, or the whole id.
    pub term: Option<String>,
    /// Only rooms that are in the public directory, or only those that are not.
    pub listed: Option<bool>,
    /// Only rooms without joined users, or only those with some.
    pub empty: Option<bool>,
    /// The order.
    pub order: OverviewOrder,
    /// The other way round.
    pub backwards: bool,
    /// Rooms to leave out.
    pub from: usize,
    /// Rooms at most.
    pub limit: usize,
}

/// A page of rooms.
#[derive(Clone, Debug)]
pub struct OverviewPage {
    /// The rooms.
    pub rooms: Vec<RoomOverview>,
    /// How many there are in all.
    pub total: usize,
}

/// A room as administrators see it.
#[derive(Clone, Debug)]
pub struct RoomOverview {
    /// What follows from its state.
    pub facts: Arc<RoomFacts>,
    /// Whether it is in the public directory.
    pub listed: bool,
    /// State events that it has.
    pub state_events: usize,
}

/// What follows from a room's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFacts {
    /// Its id.
    pub room_id: Option<OwnedRoomId>,
    /// Name.
    pub name: Option<String>,
    /// Topic.
    pub topic: Option<String>,
    /// `mxc://` URI of its picture.
    pub avatar: Option<String>,
    /// Canonical alias.
    pub canonical_alias: Option<String>,
    /// Joined users.
    pub joined_members: u64,
    /// Joined users of this server.
    pub joined_local_members: u64,
    /// Version.
    pub version: String,
    /// Who made it.
    pub creator: Option<OwnedUserId>,
    /// Encryption algorithm.
    pub encryption: Option<String>,
    /// Other servers may take part.
    pub federatable: bool,
    /// Join rule.
    pub join_rules: Option<String>,
    /// Guest access.
    pub guest_access: Option<String>,
    /// History visibility.
    pub history_visibility: Option<String>,
    /// Type.
    pub room_type: Option<String>,
    /// The room that replaces it.
    pub replacement_room: Option<String>,
    /// It was replaced.
    pub tombstoned: bool,
    state: Root,
}

impl RoomFacts {
    fn has(&self, term: &str) -> bool {
        let texts = [self.name.as_deref(), self.canonical_alias.as_deref()];
        texts.into_iter().flatten().any(|text| text.to_lowercase().contains(term))
            || self.room_id.as_ref().is_some_and(|id| id.as_str().eq_ignore_ascii_case(term))
    }
}

/// The rooms in memory.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    rooms: tokio::sync::Mutex<Known>,
    /// Rooms whose state changed since it was read; none before the first look.
    changed: Mutex<Option<HashSet<RoomNid>>>,
}

#[derive(Debug, Default)]
struct Known {
    rooms: BTreeMap<RoomNid, Arc<RoomFacts>>,
}

impl Overview {
    /// A room is another than it was. Called for each commit, so it must be quick.
    pub(crate) fn changed(&self, room: RoomNid) {
        if let Some(changed) = &mut *self.changed.lock() {
            changed.insert(room);
        }
    }
}

impl Rooms {
    /// A page of all rooms that this server is or was in. Ungated: for administrators.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn overview(&self, query: &OverviewQuery) -> Result<OverviewPage, RoomError> {
        let rooms = self.engine.all_facts().await?;
        let listed = self.engine.listed_rooms().await?;
        let term = query.term.as_ref().map(|term| term.to_lowercase());
        let mut found: Vec<(RoomNid, Arc<RoomFacts>)> = rooms
            .into_iter()
            .filter(|(nid, facts)| {
                term.as_ref().is_none_or(|term| facts.has(term))
                    && query.listed.is_none_or(|wanted| listed.contains(nid) == wanted)
                    && query.empty.is_none_or(|wanted| (facts.joined_members == 0) == wanted)
            })
            .collect();
        let counts = match query.order {
            OverviewOrder::StateEvents => self.engine.state_counts(&found).await?,
            _ => BTreeMap::new(),
        };
        found.sort_by(|(a_nid, a), (b_nid, b)| {
            let order = match query.order {
                OverviewOrder::Public => listed.contains(a_nid).cmp(&listed.contains(b_nid)),
                OverviewOrder::StateEvents => counts.get(a_nid).cmp(&counts.get(b_nid)),
                order => compare(order, a, b),
            };
            let order = if query.backwards { order.reverse() } else { order };
            order.then_with(|| a_nid.cmp(b_nid))
        });
        let total = found.len();
        let page: Vec<_> = found.into_iter().skip(query.from).take(query.limit).collect();
        let counts = self.engine.state_counts(&page).await?;
        let rooms = page.into_iter().map(|(nid, facts)| RoomOverview {
            facts,
            listed: listed.contains(&nid),
            state_events: counts.get(&nid).copied().unwrap_or_default(),
        });
        Ok(OverviewPage { rooms: rooms.collect(), total })
    }

    /// The `mxc://` URIs of all rooms' pictures. Ungated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn avatar_urls(&self) -> Result<HashSet<String>, RoomError> {
        Ok(self.engine.all_facts().await?.into_iter().filter_map(|(_, facts)| facts.avatar.clone()).collect())
    }

    /// One room as administrators see it. Ungated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn overview_of(&self, room: &RoomId) -> Result<Option<RoomOverview>, RoomError> {
        let Some(view) = self.view(room).await? else { return Ok(None) };
        if view.create.get() == 0 {
            return Ok(None);
        }
        let facts = Arc::new(self.engine.facts(&view).await?);
        let listed = self.engine.is_listed(view.nid).await?;
        let counts = self.engine.state_counts(&[(view.nid, Arc::clone(&facts))]).await?;
        Ok(Some(RoomOverview { facts, listed, state_events: counts.get(&view.nid).copied().unwrap_or_default() }))
    }
}

fn compare(order: OverviewOrder, a: &RoomFacts, b: &RoomFacts) -> Ordering {
    fn texts(a: Option<&str>, b: Option<&str>) -> Ordering {
        a.map(str::to_lowercase).cmp(&b.map(str::to_lowercase))
    }
    match order {
        OverviewOrder::Name => texts(a.name.as_deref(), b.name.as_deref()),
        OverviewOrder::CanonicalAlias => texts(a.canonical_alias.as_deref(), b.canonical_alias.as_deref()),
        OverviewOrder::JoinedMembers => a.joined_members.cmp(&b.joined_members),
        OverviewOrder::JoinedLocalMembers => a.joined_local_members.cmp(&b.joined_local_members),
        OverviewOrder::Version => version_key(&a.version).cmp(&version_key(&b.version)),
        OverviewOrder::Creator => a.creator.cmp(&b.creator),
        OverviewOrder::Encryption => a.encryption.cmp(&b.encryption),
        OverviewOrder::Federatable => a.federatable.cmp(&b.federatable),
        OverviewOrder::JoinRules => a.join_rules.cmp(&b.join_rules),
        OverviewOrder::GuestAccess => a.guest_access.cmp(&b.guest_access),
        OverviewOrder::HistoryVisibility => a.history_visibility.cmp(&b.history_visibility),
        OverviewOrder::Public | OverviewOrder::StateEvents => Ordering::Equal,
    }
}

/// Version 9 comes before version 10.
fn version_key(version: &str) -> (u32, &str) {
    (version.parse().unwrap_or(u32::MAX), version)
}

impl Engine {
    /// What is known of all rooms, brought up to date.
    async fn all_facts(&self) -> Result<Vec<(RoomNid, Arc<RoomFacts>)>, RoomError> {
        let mut known = self.overview.rooms.lock().await;
        let first = {
            let mut changed = self.overview.changed.lock();
            let first = changed.is_none();
            // From here on changes are noted: what is read below is this or newer.
            changed.get_or_insert_default();
            first
        };
        if first && let Err(error) = self.read_all_facts(&mut known).await {
            *self.overview.changed.lock() = None;
            known.rooms.clear();
            return Err(error);
        }
        let changed = self.overview.changed.lock().as_mut().map(std::mem::take).unwrap_or_default();
        let mut left = changed.into_iter();
        while let Some(nid) = left.next() {
            if let Err(error) = self.read_facts(&mut known, nid).await {
                let mut changed = self.overview.changed.lock();
                changed.get_or_insert_default().extend(left.chain([nid]));
                return Err(error);
            }
        }
        Ok(known.rooms.iter().map(|(nid, facts)| (*nid, Arc::clone(facts))).collect())
    }

    async fn read_all_facts(&self, known: &mut Known) -> Result<(), RoomError> {
        let mut scan = Scan::all().limit(ROOMS_PAGE);
        loop {
            let page = self.store.latest().scan_keys(&ROOMS, scan).await?;
            let Some(last) = page.last().copied() else { return Ok(()) };
            for nid in page {
                self.read_facts(known, nid).await?;
            }
            scan = Scan::all().after(&last).limit(ROOMS_PAGE);
        }
    }

    async fn read_facts(&self, known: &mut Known, nid: RoomNid) -> Result<(), RoomError> {
        let view = match self.room(nid).await {
            Ok(room) => Some(room.view()).filter(|view| view.create.get() != 0),
            Err(RoomError::NoSuchRoom) => None,
            Err(error) => return Err(error),
        };
        match view {
            Some(view) => drop(known.rooms.insert(nid, Arc::new(self.facts(&view).await?))),
            None => drop(known.rooms.remove(&nid)),
        }
        tokio::task::consume_budget().await;
        Ok(())
    }

    async fn facts(&self, view: &RoomView) -> Result<RoomFacts, RoomError> {
        let text = |kind: StateEventType, field: &'static str| async move {
            let event = self.state_event(view.nid, view.state, &kind, "").await?;
            let content = event.and_then(|event| content(&event.pdu)).unwrap_or_default();
            Ok::<_, RoomError>(content.get(field).and_then(|value| value.as_str()).map(str::to_owned))
        };
        let own = self.store.interner().known(NS_SERVER, self.server_name.as_str()).await?;
        let joined_local_members = own.and_then(|own| view.servers.get(&ServerNid::new(own))).copied();
        let create = self.event(view.nid, view.create).await?;
        let create: Option<&Pdu> = create.as_ref().map(|create| &*create.pdu);
        let federatable = create.and_then(content).and_then(|content| content.get("m.federate")?.as_bool());
        let tombstone = self.state_event(view.nid, view.state, &StateEventType::RoomTombstone, "").await?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(RoomFacts {
            room_id: Some(view.id.clone()),
            name: filled(text(StateEventType::RoomName, "name").await?),
            topic: filled(text(StateEventType::RoomTopic, "topic").await?),
            avatar: filled(text(StateEventType::RoomAvatar, "url").await?),
            canonical_alias: filled(text(StateEventType::RoomCanonicalAlias, "alias").await?),
            joined_members: view.joined,
            joined_local_members: joined_local_members.unwrap_or_default(),
            version: view.version.as_str().to_owned(),
            creator: create.map(|create| create.sender().to_owned()),
            encryption: text(StateEventType::RoomEncryption, "algorithm").await?,
            federatable: federatable.unwrap_or(true),
            join_rules: text(StateEventType::RoomJoinRules, "join_rule").await?,
            guest_access: text(StateEventType::RoomGuestAccess, "guest_access").await?,
            history_visibility: text(StateEventType::RoomHistoryVisibility, "history_visibility").await?,
            room_type: view.room_type.as_deref().map(str::to_owned),
            replacement_room: text(StateEventType::RoomTombstone, "replacement_room").await?,
            tombstoned: tombstone.is_some(),
            state: view.state,
        })
    }

    async fn listed_rooms(&self) -> Result<HashSet<RoomNid>, RoomError> {
        let (mut listed, mut scan) = (HashSet::new(), Scan::all().limit(ROOMS_PAGE));
        loop {
            let page = self.store.latest().scan_keys(&LISTED, scan).await?;
            let Some(last) = page.last().copied() else { return Ok(listed) };
            listed.extend(page);
            scan = Scan::all().after(&last).limit(ROOMS_PAGE);
        }
    }

    async fn state_counts(&self, rooms: &[(RoomNid, Arc<RoomFacts>)]) -> Result<BTreeMap<RoomNid, usize>, RoomError> {
        let mut counts = BTreeMap::new();
        for (nid, facts) in rooms {
            let entries = self.tries.entries(&self.store.latest(), None, *nid, facts.state, StateWhich::All).await?;
            counts.insert(*nid, entries.len());
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{OverviewOrder, OverviewQuery};
    use crate::{
        MemberProfile, NewRoom, Preset, RoomDeletion,
        tests::{World, new_room, run},
    };

    fn names(page: &super::OverviewPage) -> Vec<&str> {
        page.rooms.iter().map(|room| room.facts.name.as_deref().unwrap_or_default()).collect()
    }

    #[test]
    fn rooms_are_found_ordered_and_paged_and_the_list_keeps_up() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let mut made = Vec::new();
            for name in ["Ward 10", "ward 9", "Kitchen"] {
                let new = NewRoom { name: Some(name.to_owned()), ..new_room("12", Preset::PublicChat) };
                made.push(world.rooms.create(alice.actor(), new).await.unwrap());
            }
            let all = OverviewQuery { limit: 10, ..OverviewQuery::default() };
            assert_eq!(names(&world.rooms.overview(&all).await.unwrap()), ["Kitchen", "Ward 10", "ward 9"]);
            let page = world.rooms.overview(&OverviewQuery { from: 1, limit: 1, ..all.clone() }).await.unwrap();
            assert_eq!((names(&page), page.total), (vec!["Ward 10"], 3));
            let term = OverviewQuery { term: Some("WARD".to_owned()), backwards: true, ..all.clone() };
            assert_eq!(names(&world.rooms.overview(&term).await.unwrap()), ["ward 9", "Ward 10"]);
            world.rooms.join(bob.actor(), &made[2], MemberProfile::default(), None).await.unwrap();
            let full = OverviewQuery { order: OverviewOrder::JoinedMembers, backwards: true, ..all.clone() };
            let page = world.rooms.overview(&full).await.unwrap();
            let kitchen = &page.rooms[0];
            assert_eq!((kitchen.facts.name.as_deref(), kitchen.facts.joined_local_members), (Some("Kitchen"), 2));
            assert_eq!(kitchen.state_events, 8, "{kitchen:?}");
            let deletion = RoomDeletion::new(made[0].clone(), alice.actor().user.to_owned(), alice.actor().nid);
            let task = world.rooms.delete_room(deletion).await.unwrap();
            let profiles = crate::Profiles::new(|_| Box::pin(async { MemberProfile::default() }));
            let running = tokio::spawn(world.rooms.clone().run_tasks(profiles));
            assert_eq!(world.rooms.finished_task(&task).await.unwrap().unwrap().error, None);
            running.abort();
            assert_eq!(names(&world.rooms.overview(&all).await.unwrap()), ["Kitchen", "ward 9"]);
            assert!(world.rooms.view(&made[0]).await.unwrap().is_none());
        });
    }
}
