//! How much a user has not read: notifications by the user's push rules, in each room and thread.
//!
//! [Receiving notifications](https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications). Nothing is
//! counted before somebody asks. What was found is kept for each user and room, and goes on from there: reading takes
//! notices away, new events add some, and only a change of the rules starts anew.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ruma::{
    OwnedEventId, UserId,
    events::{StateEventType, TimelineEventType},
    push::{Action as PushAction, Ruleset},
};
use serde::Deserialize;
use wardroom_accounts::{Accounts, IgnoredUsers};
use wardroom_event::{Action, Pdu, PowerLevels};
use wardroom_rooms::{Place, RoomNid, RoomView, Rooms, Slot, TimelineItem, TimelineRange, UserNid};
use wardroom_store::Store;

use crate::{
    PushError,
    facts::{Facts, FactsCache},
    kept,
    rules::{Lacks, Situation, Verdict, actions},
    tally::{Notice, Reads, Tally, TallyCache},
};

/// Events of a room, the newest, among which the unread ones are looked for at once. What was counted before is kept,
/// so this is the limit of one who did not ask for long.
pub const UNREAD_SCAN_EVENTS_MAX: usize = 1_000;

/// Whose notifications.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The user's number.
    pub nid: UserNid,
}

impl Whose<'_> {
    pub(crate) fn account(self) -> wardroom_accounts::UserNid {
        wardroom_accounts::UserNid::new(self.nid.get())
    }
}

/// Counts what users have not read. Clones share everything.
#[derive(Clone, Debug)]
pub struct Unread(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    rooms: Rooms,
    accounts: Accounts,
    facts: FactsCache,
    tallies: TallyCache,
    evaluations: AtomicU64,
}

impl Unread {
    /// Counts in these rooms, by the rules of these accounts, all kept in `store`.
    pub fn new(store: Store, rooms: Rooms, accounts: Accounts) -> Self {
        Self(Arc::new(Inner {
            store,
            rooms,
            accounts,
            facts: FactsCache::default(),
            tallies: TallyCache::default(),
            evaluations: AtomicU64::new(0),
        }))
    }

    /// How often rules were put to an event, ever.
    pub fn evaluations(&self) -> u64 {
        self.0.evaluations.load(Ordering::Relaxed)
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// An event at its place in the timeline.
    pub(crate) async fn item(&self, room: RoomNid, place: Place) -> Result<Option<TimelineItem>, PushError> {
        let range = TimelineRange { from: place, to: place.next(), backwards: false, limit: 1 };
        Ok(self.0.rooms.timeline(room, range).await?.pop())
    }

    /// What a user, joined to a room since `joined`, has not read of it up to `end`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tally(
        &self,
        whose: Whose<'_>,
        room: &RoomView,
        joined: Place,
        end: Place,
    ) -> Result<Arc<Tally>, PushError> {
        let inner = &self.0;
        let rules = inner.accounts.shared_push_rules(whose.account()).await?;
        let reads = self.reads(whose, room.nid).await?;
        let is_over = |age| inner.rooms.is_over(room, age);
        let cached = inner.tallies.get(whose.nid, room.nid).filter(|tally| tally.holds_for(&rules, joined));
        let wanted = end.min(room.end);
        let mut tally = match cached {
            Some(tally) if tally.up_to >= wanted && tally.is_settled(&rules, &reads, is_over) => return Ok(tally),
            Some(tally) => Tally { rules, ..(*tally).clone() },
            // Nothing notifies of what came before one was in the room.
            None => {
                let fresh = Tally::new(rules, joined, joined.next().max(reads.boundary()));
                kept::read(&inner.store, whose.nid, room.nid, &fresh).await?.unwrap_or(fresh)
            }
        };
        if tally.up_to < wanted {
            self.count(&mut tally, whose, room, end, &reads).await?;
        }
        tally.prune(&reads, is_over);
        let keep = tally.effort >= kept::EFFORT_KEPT;
        tally.effort = if keep { 0 } else { tally.effort };
        let tally = Arc::new(tally);
        if keep {
            self.keep(whose.nid, room.nid, &tally);
        }
        inner.tallies.insert(whose.nid, room.nid, Arc::clone(&tally));
        Ok(tally)
    }

    /// Keeps a tally in the store, in the background: whoever asked need not wait.
    fn keep(&self, user: UserNid, room: RoomNid, tally: &Arc<Tally>) {
        let (store, tally) = (self.0.store.clone(), Arc::clone(tally));
        tokio::spawn(async move {
            if let Err(error) = kept::keep(&store, user, room, &tally).await {
                tracing::debug!(%error, "a count of unread messages could not be kept");
            }
        });
    }

    /// Users of whom a user wants to hear nothing (specification, "Ignoring Users").
    pub(crate) async fn ignored_by(&self, whose: Whose<'_>) -> Result<IgnoredUsers, PushError> {
        Ok(self.0.accounts.ignored_users(whose.account()).await?)
    }

    /// Up to where a user has read a room.
    pub(crate) async fn reads(&self, whose: Whose<'_>, room: RoomNid) -> Result<Reads, PushError> {
        Ok(Reads::new(self.0.rooms.read_places(whose.nid, room).await?))
    }

    /// What rules ask of an event.
    pub(crate) async fn facts(&self, room: RoomNid, item: &TimelineItem) -> Result<Arc<Facts>, PushError> {
        self.0.facts.of(&self.0.rooms, room, item).await
    }

    /// Carries a tally on to the end of what is told. Of many events the newest are looked at.
    async fn count(
        &self,
        tally: &mut Tally,
        whose: Whose<'_>,
        room: &RoomView,
        end: Place,
        reads: &Reads,
    ) -> Result<(), PushError> {
        let range = TimelineRange { from: tally.up_to, to: end, backwards: true, limit: UNREAD_SCAN_EVENTS_MAX };
        let items = self.0.rooms.timeline(room.nid, range).await?;
        let ignored = self.ignored_by(whose).await?;
        for item in items.iter().rev().filter(|item| !hides(&ignored, &item.event.pdu)) {
            self.judge(tally, whose, room, item, reads).await?;
            tokio::task::consume_budget().await;
        }
        tally.up_to = end;
        tally.effort += items.len();
        Ok(())
    }

    /// Adds an event's notice, if the rules want one, or takes away those that the event makes read.
    async fn judge(
        &self,
        tally: &mut Tally,
        whose: Whose<'_>,
        room: &RoomView,
        item: &TimelineItem,
        reads: &Reads,
    ) -> Result<(), PushError> {
        let pdu = &item.event.pdu;
        if let Some(target) = redacted_by(item)
            && let Some((_, place)) = self.0.rooms.place_of(&target).await?
        {
            tally.notices.retain(|notice| notice.place != place);
        }
        if item.event.redacted_because.is_some() || !self.0.rooms.is_live(room, &item.event) {
            return Ok(());
        }
        let facts = self.facts(room.nid, item).await?;
        if pdu.sender() == whose.user {
            // Sending an event reads what came before it (specification, "Marking notifications as read").
            tally.notices.retain(|notice| notice.thread != facts.thread);
            return Ok(());
        }
        if reads.cover(facts.thread.as_deref(), item.place) {
            return Ok(());
        }
        let rules = Arc::clone(&tally.rules);
        let verdict = self.actions(&rules, Some(whose), room, item, &facts).await?.map(Verdict::of).unwrap_or_default();
        if verdict.notify {
            let (thread, highlight) = (facts.thread.clone(), verdict.highlight);
            let age = (!pdu.is_state()).then(|| item.event.age());
            tally.add(Notice { place: item.place, thread, highlight, age });
        }
        Ok(())
    }

    /// What rules do about an event, for their user or, where there is none, for every user whom the event does not
    /// name. What only some rules ask for is found out when one does.
    pub(crate) async fn actions<'r>(
        &self,
        rules: &'r Ruleset,
        whose: Option<Whose<'_>>,
        room: &RoomView,
        item: &TimelineItem,
        facts: &Facts,
    ) -> Result<Option<&'r [PushAction]>, PushError> {
        let pdu = &item.event.pdu;
        let mut display_name = None;
        loop {
            self.0.evaluations.fetch_add(1, Ordering::Relaxed);
            // Made anew each time: it must not be held while something is waited for.
            let told = {
                let mut situation = Situation::new(whose.map(|whose| whose.user), &room.id, room.joined);
                situation.display_name.clone_from(&display_name);
                actions(rules, facts, pdu, &situation)
            };
            match told {
                Ok(actions) => return Ok(actions),
                Err(Lacks::DisplayName) => display_name = Some(self.display_name(whose, room).await?),
                Err(Lacks::SenderPower) => facts.set_sender_may_notify(self.may_notify(room, item).await?),
            }
        }
    }

    /// The user's display name in the room; empty where there is none.
    async fn display_name(&self, whose: Option<Whose<'_>>, room: &RoomView) -> Result<String, PushError> {
        #[derive(Deserialize)]
        struct Content {
            displayname: Option<String>,
        }
        let Some(whose) = whose else { return Ok(String::new()) };
        let member = self.0.rooms.events_at(room.nid, room.state, &[Slot::member(whose.nid)]).await?.pop();
        let content = member.and_then(|member| member.pdu.content_as::<Content>().ok());
        Ok(content.and_then(|content| content.displayname).unwrap_or_default())
    }

    /// Whether the event's sender has the power to notify everybody.
    async fn may_notify(&self, room: &RoomView, item: &TimelineItem) -> Result<bool, PushError> {
        let rooms = &self.0.rooms;
        let levels = rooms.state_event(room.nid, item.state_before, &StateEventType::RoomPowerLevels, "").await?;
        let Some(create) = rooms.events(room.nid, &[room.create]).await?.pop() else { return Ok(false) };
        let levels = PowerLevels::new(levels.as_ref().map(|levels| &*levels.pdu), &create.pdu);
        Ok(levels.of(item.event.pdu.sender()).reaches(levels.required(Action::NotifyRoom)))
    }
}

/// Whether an event notifies nobody who ignores its sender. Invitations are state events, and not told either.
pub(crate) fn hides(ignored: &IgnoredUsers, pdu: &Pdu) -> bool {
    ignored.hides(pdu.sender(), pdu.is_state() && *pdu.kind() != TimelineEventType::RoomMember)
}

/// What an event redacts.
fn redacted_by(item: &TimelineItem) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content {
        redacts: OwnedEventId,
    }
    let pdu = &item.event.pdu;
    if *pdu.kind() != TimelineEventType::RoomRedaction {
        return None;
    }
    pdu.redacts().map(ToOwned::to_owned).or_else(|| pdu.content_as::<Content>().ok().map(|content| content.redacts))
}
