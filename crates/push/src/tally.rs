//! Unread notices of one user in one room.

use std::{collections::BTreeMap, sync::Arc};

use quick_cache::{Weighter, sync::Cache};
use ruma::{EventId, OwnedEventId, events::receipt::ReceiptThread, push::Ruleset};
use serde::Serialize;
use wardroom_rooms::{Age, Place, RoomNid, UserNid};

/// Notices of one tally; the oldest are dropped beyond that.
const NOTICES_MAX: usize = 2_000;
/// Notices kept in memory over all users and rooms, about 50 bytes each; a tally without any counts as some.
const WEIGHT_MAX: u64 = 150_000;
/// What a tally costs besides its notices, in notices.
const TALLY_WEIGHT: u64 = 5;
/// Mean weight of a tally, from which the cache sizes its tables.
const TALLY_WEIGHT_MEAN: u64 = 10;

/// An unread event that notifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) place: Place,
    /// The root of its thread; none in the main timeline.
    pub(crate) thread: Option<OwnedEventId>,
    pub(crate) highlight: bool,
    /// When its event came to be; none of state, whose time is never over.
    pub(crate) age: Option<Age>,
}

/// Unread notifications, as they stand in a `/sync` answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Those that stand out.
    pub highlight_count: u64,
    /// All.
    pub notification_count: u64,
}

impl Counts {
    fn add(&mut self, notice: &Notice) {
        self.notification_count += 1;
        self.highlight_count += u64::from(notice.highlight);
    }
}

/// What a user has not read of a room.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The rules that were applied.
    pub(crate) rules: Arc<Ruleset>,
    /// Since when the user was joined.
    pub(crate) joined: Place,
    /// Boundary up to which events were looked at.
    pub(crate) up_to: Place,
    /// Oldest first.
    pub(crate) notices: Vec<Notice>,
    /// Events looked at since it was kept in the store.
    pub(crate) effort: usize,
}

impl Tally {
    /// All unread notifications of the room, threads or not.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.notices.iter().for_each(|notice| total.add(notice));
        total
    }

    /// Those of the main timeline, and those of each thread that has any.
    pub fn by_thread(&self) -> (Counts, BTreeMap<&EventId, Counts>) {
        let (mut main, mut threads) = (Counts::default(), BTreeMap::<&EventId, Counts>::new());
        for notice in &self.notices {
            match &notice.thread {
                Some(root) => threads.entry(root).or_default().add(notice),
                None => main.add(notice),
            }
        }
        (main, threads)
    }

    /// Nothing, for a user joined since `joined`, before the events behind `up_to` are looked at.
    pub(crate) fn new(rules: Arc<Ruleset>, joined: Place, up_to: Place) -> Self {
        Self { rules, joined, up_to, notices: Vec::new(), effort: 0 }
    }

    /// Whether it was made by these rules, for a user joined since this place.
    pub(crate) fn holds_for(&self, rules: &Arc<Ruleset>, joined: Place) -> bool {
        self.joined == joined && (Arc::ptr_eq(&self.rules, rules) || are_equal(&self.rules, rules))
    }

    /// Whether nothing is to be changed in it, where there are no events behind it.
    pub(crate) fn is_settled(&self, rules: &Arc<Ruleset>, reads: &Reads, is_over: impl Fn(Age) -> bool) -> bool {
        let is_gone = |notice: &Notice| notice.age.is_some_and(&is_over);
        Arc::ptr_eq(&self.rules, rules)
            && self
                .notices
                .iter()
                .all(|notice| !is_gone(notice) && !reads.cover(notice.thread.as_deref(), notice.place))
    }

    pub(crate) fn add(&mut self, notice: Notice) {
        if self.notices.len() >= NOTICES_MAX {
            self.notices.remove(0);
        }
        self.notices.push(notice);
    }

    /// Takes away what the user has read, and what is over. Nothing comes back: receipts only move forward.
    pub(crate) fn prune(&mut self, reads: &Reads, is_over: impl Fn(Age) -> bool) {
        let is_gone = |notice: &Notice| notice.age.is_some_and(&is_over);
        self.notices.retain(|notice| !is_gone(notice) && !reads.cover(notice.thread.as_deref(), notice.place));
    }
}

/// Rules are the same where they read the same: they may have been read again.
fn are_equal(left: &Ruleset, right: &Ruleset) -> bool {
    matches!((serde_json::to_string(left), serde_json::to_string(right)), (Ok(left), Ok(right)) if left == right)
}

/// Up to where a user has read a room, by public and private receipts.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The newest event read, threads or not.
    everything: Option<Place>,
    /// The newest event read of the main timeline.
    main: Option<Place>,
    threads: BTreeMap<OwnedEventId, Place>,
}

impl Reads {
    /// From all receipts of the user, which may be several for a thread.
    pub(crate) fn new(places: Vec<(ReceiptThread, Place)>) -> Self {
        let mut reads = Self::default();
        for (thread, place) in places {
            match thread {
                ReceiptThread::Unthreaded => reads.everything = reads.everything.max(Some(place)),
                ReceiptThread::Main => reads.main = reads.main.max(Some(place)),
                ReceiptThread::Thread(root) => {
                    let read = reads.threads.entry(root).or_insert(place);
                    *read = place.max(*read);
                }
                _ => {}
            }
        }
        reads
    }

    /// Whether an event of a thread, or of the main timeline, was read.
    pub(crate) fn cover(&self, thread: Option<&EventId>, place: Place) -> bool {
        let read = match thread {
            None => self.main,
            Some(root) => self.threads.get(root).copied(),
        };
        Some(place) <= read.max(self.everything)
    }

    /// Boundary behind which there may be something unread.
    pub(crate) fn boundary(&self) -> Place {
        self.everything.map_or(Place::FIRST, Place::next)
    }
}

/// Tallies by user and room.
#[derive(Debug)]
pub(crate) struct TallyCache(Cache<(UserNid, RoomNid), Arc<Tally>, ByNotices>);

#[derive(Clone, Debug)]
struct ByNotices;

impl Weighter<(UserNid, RoomNid), Arc<Tally>> for ByNotices {
    fn weight(&self, _: &(UserNid, RoomNid), tally: &Arc<Tally>) -> u64 {
        TALLY_WEIGHT + u64::try_from(tally.notices.len()).unwrap_or(u64::MAX / 2)
    }
}

impl Default for TallyCache {
    fn default() -> Self {
        let entries = usize::try_from(WEIGHT_MAX / TALLY_WEIGHT_MEAN).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, WEIGHT_MAX, ByNotices))
    }
}

impl TallyCache {
    pub(crate) fn get(&self, user: UserNid, room: RoomNid) -> Option<Arc<Tally>> {
        self.0.get(&(user, room))
    }

    pub(crate) fn insert(&self, user: UserNid, room: RoomNid, tally: Arc<Tally>) {
        self.0.insert((user, room), tally);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::{
        event_id,
        events::receipt::ReceiptThread,
        push::{RuleKind, Ruleset},
        user_id,
    };
    use wardroom_rooms::Place;
    use wardroom_store::Position;

    use super::{NOTICES_MAX, Notice, Reads, Tally};

    fn at(position: u64) -> Place {
        Place::new(Position::new(position), 0)
    }

    #[test]
    fn a_receipt_reads_its_thread_or_everything() {
        let root = event_id!("$root");
        let reads = Reads::new(vec![
            (ReceiptThread::Unthreaded, at(2)),
            (ReceiptThread::Main, at(5)),
            (ReceiptThread::Main, at(4)),
            (ReceiptThread::Thread(root.to_owned()), at(9)),
        ]);
        assert!(reads.cover(None, at(5)) && !reads.cover(None, at(6)));
        assert!(reads.cover(Some(root), at(9)) && !reads.cover(Some(root), at(10)));
        assert!(reads.cover(Some(event_id!("$other")), at(2)) && !reads.cover(Some(event_id!("$other")), at(3)));
        assert_eq!(reads.boundary(), at(2).next());
        assert!(!Reads::default().cover(None, Place::FIRST));
    }

    #[test]
    fn a_tally_is_bounded() {
        let rules = Arc::new(Ruleset::new());
        let mut tally = Tally::new(Arc::clone(&rules), Place::FIRST, Place::FIRST);
        for position in 1..=(NOTICES_MAX as u64 + 5) {
            tally.add(Notice { place: at(position), thread: None, highlight: false, age: None });
        }
        assert_eq!((tally.notices.len(), tally.notices[0].place), (NOTICES_MAX, at(6)));
        let reads = Reads::new(vec![(ReceiptThread::Unthreaded, at(NOTICES_MAX as u64))]);
        assert!(!tally.is_settled(&rules, &reads, |_| false));
        tally.prune(&reads, |_| false);
        assert_eq!(tally.notices.len(), 5);
        assert!(tally.is_settled(&rules, &reads, |_| false));
    }

    #[test]
    fn a_tally_holds_as_long_as_the_rules_say_the_same() {
        let bob = user_id!("@bob:a.example");
        let (rules, again) = (Arc::new(Ruleset::server_default(bob)), Arc::new(Ruleset::server_default(bob)));
        let tally = Tally::new(rules, at(3), at(4));
        assert!(tally.holds_for(&again, at(3)) && !tally.holds_for(&again, at(5)));
        assert!(!tally.is_settled(&again, &Reads::default(), |_| false), "it is to take the new ones");
        let mut changed = Ruleset::server_default(bob);
        changed.set_enabled(RuleKind::Override, ".m.rule.master", true).unwrap();
        assert!(!tally.holds_for(&Arc::new(changed), at(3)));
    }
}
