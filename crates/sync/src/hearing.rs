//! One look at what a user's device has to hear.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::try_join_all;
use wardroom_accounts::{IgnoredUsers, Session};
use wardroom_rooms::{Actor, Membership, MembershipEntry, RoomNid, Root, Slot, Stored, UserNid};
use wardroom_store::{Position, WatchKey};

use crate::{
    Inner, SyncError, SyncToken, account_data::AccountDataNews, filter::Filter, memberships::Known, response::Body,
    rooms::Told, to_device::TO_DEVICE_EVENTS_MAX,
};

/// Rooms that are read at the same time.
const ROOMS_AT_ONCE: usize = 8;

/// Who listens, and what for.
#[derive(Clone, Debug)]
pub(crate) struct Hearing<'a> {
    pub(crate) syncer: &'a Inner,
    pub(crate) session: &'a Session,
    /// The user's number.
    pub(crate) user: UserNid,
    pub(crate) filter: &'a Filter,
    /// The whole state of each room is asked for, news or not.
    pub(crate) full_state: bool,
    /// The state at the end of timelines is asked for instead of the one before them.
    pub(crate) state_after: bool,
    /// The time of day, for the age of events.
    pub(crate) now_ms: u64,
    /// Whom the user wants to hear nothing of.
    pub(crate) ignored: IgnoredUsers,
}

/// What part of the log is told: behind `since`, up to `now`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// What was told before; nothing where there is none.
    pub(crate) since: Option<Position>,
    pub(crate) now: Position,
}

impl Span {
    /// Whether what is at this position is news.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.since.is_none_or(|since| position > since)
    }
}

/// What one look found.
#[derive(Debug)]
pub(crate) struct Look {
    /// Up to where it looked.
    pub(crate) now: Position,
    /// The user's memberships then.
    pub(crate) known: Arc<Known>,
    pub(crate) body: Body,
    /// Others who came to share a room.
    pub(crate) came: BTreeSet<UserNid>,
    /// Up to where messages to the device are told.
    to_device: Position,
}

impl Look {
    /// Where the next look goes on.
    pub(crate) fn token(&self) -> SyncToken {
        SyncToken::with_to_device(self.now, self.to_device)
    }
}

impl Hearing<'_> {
    /// Looks at what there is to tell behind `since`.
    ///
    /// Everything is read as it was at one position, the newest when the look began: what comes while it lasts is left
    /// to the next one.
    pub(crate) async fn look(&self, since: Option<SyncToken>) -> Result<Look, SyncError> {
        let (now, known) = self.syncer.memberships(self.user).await?;
        let since = since.map(|since| since.at_most(now));
        let span = Span { since: since.map(SyncToken::position), now };
        let news = self.to_device_news(since.map(SyncToken::to_device), now, TO_DEVICE_EVENTS_MAX).await?;
        let mut body = Body { to_device: news.events, ..Body::default() };
        let to_device = news.told;
        if span.since == Some(now) && !self.full_state {
            return Ok(Look { now, known, body, came: BTreeSet::new(), to_device });
        }
        let (device_lists, came) = self.people_news(span, &known).await?;
        body.device_lists = device_lists;
        body.key_counts_changed = self.key_counts_changed(span).await?;
        let mut news = AccountDataNews::default();
        if self.moved(self.user.watch(), span) {
            news = self.account_data_news(span).await?;
            self.tell_account_data(&mut body.account_data, news.global());
        }
        let told: Vec<&MembershipEntry> =
            known.entries.iter().filter(|entry| self.is_news(entry, span, &news)).collect();
        for rooms in told.chunks(ROOMS_AT_ONCE) {
            for told in try_join_all(rooms.iter().map(|entry| self.room(entry, span, &news))).await? {
                let Some((room, told)) = told else { continue };
                let sections = &mut body.rooms;
                let (section, mut part) = match told {
                    Told::Join(part) => (&mut sections.join, part),
                    Told::Invite(part) => (&mut sections.invite, part),
                    Told::Knock(part) => (&mut sections.knock, part),
                    Told::Leave(part) => (&mut sections.leave, part),
                };
                section.raw(room.as_str(), &part.json);
                body.sights.extend(part.sights(&room));
            }
            tokio::task::consume_budget().await;
        }
        body.loud_presence = self.has_loud_presence(span, &known).await?;
        Ok(Look { now, known, body, came, to_device })
    }

    /// Whether a key may have been touched in a span. Of what was touched before the store was opened nobody knows.
    pub(crate) fn moved(&self, key: WatchKey, span: Span) -> bool {
        let store = &self.syncer.store;
        span.since.is_none_or(|since| since < store.opened_at() || store.watches().last(key) > since)
    }

    /// Whether there may be something to tell of a room, as far as that can be said without looking at it.
    fn is_news(&self, entry: &MembershipEntry, span: Span, news: &AccountDataNews) -> bool {
        let changed = span.has(entry.place.position());
        match entry.membership {
            Membership::Join => {
                changed || self.full_state || news.has_room(entry.room) || self.moved(entry.room.watch(), span)
            }
            Membership::Invite | Membership::Knock => changed || self.full_state,
            Membership::Leave | Membership::Ban if entry.forgotten => false,
            Membership::Leave | Membership::Ban if span.since.is_none() || self.full_state => {
                self.filter.includes_left() || (changed && span.since.is_some())
            }
            Membership::Leave | Membership::Ban => changed,
        }
    }

    /// What waiters for this user's news watch.
    pub(crate) async fn watched(&self, known: &Known) -> Result<Vec<WatchKey>, SyncError> {
        let mut keys = vec![self.user.watch(), self.session.device_ref().watch_key()];
        for entry in known.entries.iter().filter(|entry| entry.membership == Membership::Join) {
            let admitted = !self.filter.names_rooms() || {
                let view = self.syncer.rooms.view_of(entry.room).await?;
                self.filter.admits_room(&view.id)
            };
            keys.extend(admitted.then(|| entry.room.watch()));
        }
        self.presence_watched(known, &mut keys);
        Ok(keys)
    }

    pub(crate) fn actor(&self) -> Actor<'_> {
        Actor {
            user: &self.session.user,
            nid: self.user,
            device: Some(&self.session.device),
            guest: self.session.guest,
        }
    }

    /// The user's own membership event in a state.
    pub(crate) async fn own_member_event(&self, room: RoomNid, root: Root) -> Result<Option<Arc<Stored>>, SyncError> {
        Ok(self.syncer.rooms.events_at(room, root, &[Slot::member(self.user)]).await?.pop())
    }
}
