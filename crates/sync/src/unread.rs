//! How much a user has not read: notifications by the user's push rules, in each room and thread.
//!
//! [Receiving notifications](https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications). Nothing is
//! counted before somebody asks. What was found is kept for each user and room, and goes on from there: reading takes
//! notices away, new events add some, and only a change of the rules starts anew.

mod facts;
mod glob;
mod push_rules;
mod tally;

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    OwnedEventId,
    events::{StateEventType, TimelineEventType},
};
use serde::{Deserialize, Serialize};
use wardroom_event::{Action, PowerLevels};
use wardroom_rooms::{TimelineItem, TimelineRange};

use self::{
    facts::{Facts, FactsCache},
    push_rules::{Lacks, Situation, Verdict, verdict},
    tally::{Notice, Reads, Tally, TallyCache},
};
use crate::{SyncError, hearing::Hearing, response::Object, rooms::Room};

/// Events of a room, the newest, among which the unread ones are looked for.
pub const UNREAD_SCAN_EVENTS_MAX: usize = 500;

/// What is shared by all who count.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    facts: FactsCache,
    tallies: TallyCache,
}

/// Unread notifications, as they stand in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    highlight_count: u64,
    notification_count: u64,
}

impl Counts {
    fn add(&mut self, notice: &Notice) {
        self.notification_count += 1;
        self.highlight_count += u64::from(notice.highlight);
    }
}

impl Hearing<'_> {
    /// Tells how much of a room the user has not read.
    pub(crate) async fn tell_unread(&self, told: &mut Object, room: &Room<'_>) -> Result<(), SyncError> {
        let tally = self.tally(room).await?;
        let mut main = Counts::default();
        let mut threads: BTreeMap<&OwnedEventId, Counts> = BTreeMap::new();
        for notice in &tally.notices {
            match &notice.thread {
                Some(root) if self.filter.counts_threads() => threads.entry(root).or_default().add(notice),
                _ => main.add(notice),
            }
        }
        told.value("unread_notifications", &main);
        if !threads.is_empty() {
            told.value("unread_thread_notifications", &threads);
        }
        Ok(())
    }

    /// The user's unread notices of a room, up to the end of what is told.
    async fn tally(&self, room: &Room<'_>) -> Result<Arc<Tally>, SyncError> {
        let (syncer, nid) = (self.syncer, room.view.nid);
        let rules = syncer.accounts.push_rules(self.session.nid).await?;
        let reads = Reads::new(syncer.rooms.read_places(self.user, nid).await?);
        let joined = room.entry.place;
        let cached = syncer.unread.tallies.get(self.user, nid).filter(|tally| tally.holds_for(&rules, joined));
        let end = room.end.min(room.view.end);
        let mut tally = match cached {
            Some(tally) if tally.up_to >= end && tally.is_settled(&rules, &reads) => return Ok(tally),
            Some(tally) => Tally { rules, ..(*tally).clone() },
            // Nothing notifies of what came before one was in the room.
            None => Tally::new(rules, joined, joined.next().max(reads.boundary())),
        };
        if tally.up_to < end {
            self.count(&mut tally, room, &reads).await?;
        }
        tally.prune(&reads);
        let tally = Arc::new(tally);
        syncer.unread.tallies.insert(self.user, nid, Arc::clone(&tally));
        Ok(tally)
    }

    /// Carries a tally on to the end of what is told. Of many events the newest are looked at.
    async fn count(&self, tally: &mut Tally, room: &Room<'_>, reads: &Reads) -> Result<(), SyncError> {
        let range = TimelineRange { from: tally.up_to, to: room.end, backwards: true, limit: UNREAD_SCAN_EVENTS_MAX };
        let items = self.syncer.rooms.timeline(room.view.nid, range).await?;
        for item in items.iter().rev() {
            self.judge(tally, room, item, reads).await?;
            tokio::task::consume_budget().await;
        }
        tally.up_to = room.end;
        Ok(())
    }

    /// Adds an event's notice, if the rules want one, or takes away those that the event makes read.
    async fn judge(
        &self,
        tally: &mut Tally,
        room: &Room<'_>,
        item: &TimelineItem,
        reads: &Reads,
    ) -> Result<(), SyncError> {
        let pdu = &item.event.pdu;
        if let Some(target) = redacted_by(item)
            && let Some((_, place)) = self.syncer.rooms.place_of(&target).await?
        {
            tally.notices.retain(|notice| notice.place != place);
        }
        if item.event.redacted_because.is_some() {
            return Ok(());
        }
        let facts = self.facts(room, item).await?;
        if pdu.sender() == self.session.user {
            // Sending an event reads what came before it (specification, "Marking notifications as read").
            tally.notices.retain(|notice| notice.thread != facts.thread);
            return Ok(());
        }
        if reads.cover(facts.thread.as_deref(), item.place) {
            return Ok(());
        }
        let verdict = self.verdict(tally, room, item, &facts).await?;
        if verdict.notify {
            let (thread, highlight) = (facts.thread.clone(), verdict.highlight);
            tally.add(Notice { place: item.place, thread, highlight });
        }
        Ok(())
    }

    /// What the user's rules say to an event. What only some rules ask for is found out when one does.
    async fn verdict(
        &self,
        tally: &Tally,
        room: &Room<'_>,
        item: &TimelineItem,
        facts: &Facts,
    ) -> Result<Verdict, SyncError> {
        let pdu = &item.event.pdu;
        let mut situation = Situation::new(&room.view.id, room.view.joined);
        loop {
            match verdict(&tally.rules, facts, pdu, &situation) {
                Ok(verdict) => return Ok(verdict),
                Err(Lacks::DisplayName) => situation.display_name = Some(self.display_name(room).await?),
                Err(Lacks::SenderPower) => facts.set_sender_may_notify(self.may_notify(room, item).await?),
            }
        }
    }

    /// The user's display name in the room; empty where there is none.
    async fn display_name(&self, room: &Room<'_>) -> Result<String, SyncError> {
        #[derive(Deserialize)]
        struct Content {
            displayname: Option<String>,
        }
        let member = self.own_member_event(room.view.nid, room.view.state).await?;
        let content = member.and_then(|member| member.pdu.content_as::<Content>().ok());
        Ok(content.and_then(|content| content.displayname).unwrap_or_default())
    }

    /// Whether the event's sender has the power to notify everybody.
    async fn may_notify(&self, room: &Room<'_>, item: &TimelineItem) -> Result<bool, SyncError> {
        let (rooms, nid) = (&self.syncer.rooms, room.view.nid);
        let levels = rooms.state_event(nid, item.state_before, &StateEventType::RoomPowerLevels, "").await?;
        let Some(create) = rooms.events(nid, &[room.view.create]).await?.pop() else { return Ok(false) };
        let levels = PowerLevels::new(levels.as_ref().map(|levels| &*levels.pdu), &create.pdu);
        Ok(levels.of(item.event.pdu.sender()).reaches(levels.required(Action::NotifyRoom)))
    }
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
