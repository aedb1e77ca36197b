//! The room engine: one writer per room, event graph, state tries, timelines, membership index.
//!
//! Invariants:
//!
//! - A room has one writer. What it adds is one atomic batch: event, timeline entry, state, indexes.
//! - Every action of a user, read or write, passes the [`Gate`] (`Engine::permit`).
//! - State is immutable: a state once named by a [`Root`] never changes.
//! - Readers work on immutable pictures ([`RoomView`]) and never wait for writers.
//!
//! Deliberately absent: HTTP, who is logged in, what other servers say.

mod acquaintances;
mod administration;
mod afar;
mod auth_chain;
mod blocked;
mod create;
mod deeds;
mod delayed;
mod directory;
mod ends;
mod erasure;
mod error;
mod events;
mod filter;
mod fsck;
mod gaps;
mod gate;
mod glance;
mod governed;
mod guests;
mod held_events;
mod hierarchy;
mod history;
mod history_purge;
mod ids;
mod introduction;
mod join_rules;
mod kept;
mod leavings;
mod log;
mod mass_redaction;
mod members;
mod membership;
mod names;
mod naming;
mod outgoing;
mod overview;
mod policy_server;
mod receipts;
mod receive;
mod relations;
mod removal;
mod reports;
mod retention;
mod room;
mod room_media;
mod sealing;
mod search;
mod send;
mod servers;
mod serving;
mod shared;
mod state;
mod state_history;
#[cfg(test)]
mod steps;
mod summary;
mod tables;
mod tasks;
mod templates;
mod thread_subscriptions;
mod timeline;
mod timestamps;
mod trie;
mod typing;
mod upgrade;
mod visibility;
mod writer;

use std::sync::{Arc, atomic::AtomicU64};

use quick_cache::sync::Cache;
use ruma::{DeviceId, OwnedServerName, RoomId, RoomVersionId, UserId};
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_event::SigningKey;
use wardroom_holds::Holds;
use wardroom_store::{Batch, Scan, Store};

pub use self::{
    acquaintances::MutualRooms,
    afar::Entry,
    create::{NewRoom, Preset},
    delayed::{
        DELAYED_FINAL_KEPT, DELAYED_FINAL_PER_USER_MAX, DelayedError, DelayedEvent, NewDelayed, Outcome, Scheduled,
    },
    directory::{PUBLIC_ROOMS_PAGE_MAX, PublicPage, PublicQuery},
    ends::{Ends, RoomEnd},
    erasure::{
        Copies, ERASURE_REASON_CHARS_MAX, ErasedMessages, Erasure, ErasureState, ErasureWish, Forgotten, HeldItem,
        Memory, NotForgotten,
    },
    error::RoomError,
    events::Stored,
    filter::passes,
    fsck::{FsckReport, fsck},
    gaps::{GAP_EVENTS_MAX, Gap},
    gate::{Action, Asker, Gate, Policy, RoomBirth, StandardGate, Verdict},
    glance::Glance,
    held_events::{HELD_PAGE_MAX, HeldEvent, HeldPage, HeldPlace},
    hierarchy::{
        Elsewhere, HIERARCHY_PAGE_MAX, HierarchyPage, HierarchyQuery, HierarchyRoom, ServerHierarchy, TheirRoom,
    },
    history::{ContextPage, MessagesPage, PAGE_EVENTS_MAX, Page},
    history_purge::{HistoryPurge, PurgeUpTo},
    ids::{
        BadToken, EventNid, NS_EVENT, NS_ROOM, NS_SERVER, NS_SLOT, NS_USER, Place, RoomNid, ServerNid, Slot, UserNid,
        WATCH_MEMBERS, WATCH_OUTGOING, WATCH_POLICIES, WATCH_ROOM, WATCH_USER,
    },
    join_rules::ROLE_CONDITION,
    kept::{KeptMember, ROLE_LOST},
    leavings::{Ending, LEAVINGS_PAGE_MAX, Left},
    log::{Follower, Happened, LOG_PAGE_MAX, Logged},
    mass_redaction::{MassRedaction, REDACTION_EVENTS_MAX, REDACTION_ROOMS_MAX},
    members::MembershipEntry,
    membership::{MemberProfile, ProfileSource},
    names::{NAMES_PAGE, NameListener, NamedUser, NamesCursor},
    naming::MediaUse,
    outgoing::Outgoing,
    overview::{OverviewOrder, OverviewPage, OverviewQuery, RoomFacts, RoomOverview},
    policy_server::{PolicyServers, Unsigned},
    receipts::{RECEIPTS_READ_MAX, Receipt},
    receive::{Before, Lacking, Received},
    relations::{
        RELATED_TYPES_MAX, RELATIONS_RECURSION_DEPTH, Related, RelationsPage, RelationsQuery, THREADS_PAGE_MAX,
        ThreadsPage, Viewer,
    },
    removal::{Removed, RoomDeletion},
    reports::{REPORT_REASON_CHARS_MAX, REPORTS_PER_USER_MAX, Report, Reported},
    retention::{
        Age, Lifetime, Notified, OVERRIDE_REMOVED, OVERRIDE_SET, Override, PurgeReceipt, Purged, RECEIPTS_PAGE_MAX,
        RETENTION_TYPES, RetentionNotice, RetentionOf, RetentionSettings, TERM_MS_MAX, Terms, Warning,
    },
    room::RoomView,
    room_media::MEDIA_EVENTS_MAX,
    search::{
        SEARCH_CONTEXT_MAX, SEARCH_PAGE_MAX, SearchContext, SearchHit, SearchKey, SearchOrder, SearchPage, SearchQuery,
        SearchToken,
    },
    serving::{Admission, ServerReader, StateServed, WALK_EVENTS_MAX},
    state::StateAt,
    state_history::{InForce, STATE_HISTORY_MAX},
    summary::{ReadSummary, Summary},
    tables::{Membership, Standing, TABLES},
    tasks::{Profiles, TASKS_MAX, Task, TaskStatus, Work},
    templates::Template,
    thread_subscriptions::{SUBSCRIPTION_CHANGES_MAX, SubscriptionChange, SubscriptionChanges},
    timeline::{Reader, TimelineItem, TimelineRange},
    trie::{Root, StateChange, StateWhich},
    typing::{TYPING_TIMEOUT_DEFAULT, TYPING_TIMEOUT_MAX, TypingChange},
    upgrade::{ADDITIONAL_CREATORS_MAX, Replaced, Upgrade},
    visibility::Visibility,
};
use self::{
    events::{EventCache, event_cache},
    room::Registry,
    tables::TRANSACTIONS,
    trie::Tries,
};

/// What the engine is told at start.
#[derive(Debug)]
pub struct Settings {
    /// This server's name.
    pub server_name: OwnedServerName,
    /// Version of new rooms whose creator asks for none.
    pub default_version: RoomVersionId,
    /// Key that signs this server's events.
    pub signing_key: Arc<SigningKey>,
    /// How long events are kept.
    pub retention: RetentionSettings,
    /// What must not be deleted.
    pub holds: Holds,
}

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The user's number.
    pub nid: UserNid,
    /// The device, where one acts.
    pub device: Option<&'a DeviceId>,
    /// A guest account, which rooms let in only where they say so.
    pub guest: bool,
}

/// The rooms of this server.
#[derive(Clone, Debug)]
pub struct Rooms {
    engine: Arc<Engine>,
}

/// What all parts of the engine share.
#[derive(Debug)]
pub(crate) struct Engine {
    store: Store,
    clock: SharedClock,
    gate: Arc<dyn Gate>,
    audit: AuditLog,
    holds: Holds,
    server_name: OwnedServerName,
    default_version: RoomVersionId,
    key: Arc<SigningKey>,
    registry: Registry,
    tries: Tries,
    event_cache: EventCache,
    summaries_of_children: relations::SummaryCache,
    /// Time of the newest create event.
    last_creation_ms: AtomicU64,
    /// History visibility by state.
    sights: Cache<Root, Visibility>,
    glances: glance::GlanceCache,
    summaries: summary::SummaryCache,
    space_children: hierarchy::ChildrenCache,
    /// Held while aliases are moved from room to room or taken away: no two changes of an alias overlap.
    alias_changes: tokio::sync::Mutex<()>,
    typing: Arc<typing::Typing>,
    delayed: delayed::Delayed,
    /// Who hears of the names of users of other servers, once that is known.
    name_listener: std::sync::OnceLock<Box<dyn NameListener>>,
    /// Who asks policy servers, once that is known.
    policy_servers: std::sync::OnceLock<Arc<dyn PolicyServers>>,
    /// What this server signs with as the policy server of rooms.
    policy_key: std::sync::OnceLock<Arc<SigningKey>>,
    tasks: tasks::Tasks,
    closed: removal::Closed,
    overview: Arc<overview::Overview>,
    retention: RetentionSettings,
    /// Held while what is over is purged: one purge at a time.
    purging: tokio::sync::Mutex<()>,
    /// How far rooms are purged but for what is held.
    passed: retention::Passed,
    doomed: retention::Doomed,
    erasing: erasure::Erasing,
    notices: Arc<retention::Notices>,
    walk: ends::Walk,
    #[cfg(test)]
    steps: steps::Steps,
}

impl Rooms {
    /// The rooms in `store`, whose catalogue must hold [`TABLES`].
    pub fn new(store: Store, clock: SharedClock, gate: Arc<dyn Gate>, audit: AuditLog, settings: Settings) -> Self {
        Self {
            engine: Arc::new(Engine {
                store,
                clock,
                gate,
                audit,
                holds: settings.holds,
                server_name: settings.server_name,
                default_version: settings.default_version,
                key: settings.signing_key,
                registry: Registry::default(),
                tries: Tries::new(),
                event_cache: event_cache(),
                summaries_of_children: relations::SummaryCache::default(),
                last_creation_ms: AtomicU64::new(0),
                sights: Cache::new(timeline::SIGHTS_MAX),
                glances: glance::glance_cache(),
                summaries: summary::summary_cache(),
                space_children: hierarchy::children_cache(),
                alias_changes: tokio::sync::Mutex::default(),
                typing: Arc::default(),
                delayed: delayed::Delayed::default(),
                name_listener: std::sync::OnceLock::new(),
                policy_servers: std::sync::OnceLock::new(),
                policy_key: std::sync::OnceLock::new(),
                tasks: tasks::Tasks::default(),
                closed: removal::Closed::default(),
                overview: Arc::default(),
                retention: settings.retention,
                purging: tokio::sync::Mutex::default(),
                passed: retention::Passed::default(),
                doomed: retention::Doomed::default(),
                erasing: erasure::Erasing::default(),
                notices: Arc::default(),
                walk: ends::Walk::default(),
                #[cfg(test)]
                steps: steps::Steps::default(),
            }),
        }
    }

    /// The room with this id as it is now, if there is one. Ungated: for `sync` and for the room's own members.
    pub async fn view(&self, room: &RoomId) -> Result<Option<Arc<RoomView>>, RoomError> {
        Ok(self.engine.find_room(room).await?.map(|room| room.view()))
    }

    /// The room with this number as it is now.
    pub async fn view_of(&self, room: RoomNid) -> Result<Arc<RoomView>, RoomError> {
        Ok(self.engine.room(room).await?.view())
    }

    /// The number of the room with this id, if it has one. A number alone does not say that the room is there.
    pub async fn room_nid(&self, room: &RoomId) -> Result<Option<RoomNid>, RoomError> {
        self.engine.room_nid(room).await
    }

    /// Drops the transaction ids of days gone by; retries come within minutes, and two days are kept.
    pub async fn forget_transactions(&self) -> Result<(), RoomError> {
        let today = sealing::day_of(self.engine.clock.now_ms());
        let scan = Scan::range(&0_u32, &today.saturating_sub(1)).limit(1);
        while let Some((day, _)) = self.engine.store.latest().scan_keys(&TRANSACTIONS, scan.clone()).await?.pop() {
            let mut batch = Batch::default();
            batch.delete_prefix(&TRANSACTIONS, &day);
            self.engine.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Version of new rooms whose creator asks for none.
    pub fn default_version(&self) -> &RoomVersionId {
        &self.engine.default_version
    }
}

impl Engine {
    /// Puts an action to the gate; tells the actor's membership where it may go ahead.
    pub(crate) async fn permit(
        &self,
        actor: Actor<'_>,
        room: &RoomView,
        action: Action<'_>,
    ) -> Result<Option<MembershipEntry>, RoomError> {
        let entry = self.membership(actor.nid, room.nid).await?;
        let asker = Asker {
            user: actor.user,
            membership: entry.as_ref().map(|entry| entry.membership),
            was_joined: entry.as_ref().is_some_and(|entry| entry.was_joined && !entry.forgotten),
        };
        match self.gate.may(&asker, action, room) {
            Verdict::Allow => Ok(entry),
            Verdict::Deny(sentence) => {
                self.record_refusal((actor.user, action), &room.id, &sentence).await?;
                Err(RoomError::Forbidden(sentence))
            }
        }
    }
}

#[cfg(test)]
mod tests;
