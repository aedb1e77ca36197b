//! Thread subscriptions (MSC4306, and the changes of them by MSC4308): which threads a user wants to hear of.
//!
//! [`SUBSCRIPTIONS`] has one row for each thread that a user ever subscribed to; its version is the position of the
//! last change. [`SUBSCRIPTION_CHANGES`] holds each once under that position, so that what changed in a span of the log is
//! one range.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, CommitError, Packed, Position, Profile, Scan, Seal, Table};

use crate::{
    Actor, Engine, Rooms,
    error::RoomError,
    ids::{EventNid, NS_EVENT, NS_ROOM, Place, RoomNid, UserNid},
    room::RoomView,
    timeline::{Reader, TimelineItem},
};

/// Changes of subscriptions that one read returns.
pub const SUBSCRIPTION_CHANGES_MAX: usize = 500;
/// Attempts to change a subscription against other devices of the user that do.
const CHANGE_ATTEMPTS_MAX: u32 = 64;

/// Subscriptions as (user, room, root of the thread).
pub(crate) const SUBSCRIPTIONS: Table<(UserNid, RoomNid, EventNid), Packed<Subscription>> =
    Table::new(0x0225, "thread_subscriptions", Profile::Point, Seal::System);
/// The same by last change, as (user, position).
pub(crate) const SUBSCRIPTION_CHANGES: Table<(UserNid, Position), Packed<Changed>> =
    Table::new(0x0226, "thread_subscription_changes", Profile::Scan, Seal::System);

/// How a user stands to a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subscription {
    /// The user wanted it.
    Manual,
    /// A client subscribed because of an event.
    Automatic,
    /// The user was subscribed and wanted it no more.
    Ended,
}

impl Subscription {
    fn automatic(self) -> Option<bool> {
        match self {
            Self::Manual => Some(false),
            Self::Automatic => Some(true),
            Self::Ended => None,
        }
    }
}

/// A subscription by its last change: room, root of the thread, and how it stands since.
pub(crate) type Changed = (RoomNid, EventNid, Subscription);

/// A change of a subscription; of several changes of one thread, the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// The room.
    pub room: OwnedRoomId,
    /// The root of the thread.
    pub root: OwnedEventId,
    /// Whether it was made automatically; none where it has ended.
    pub automatic: Option<bool>,
    /// `bump_stamp`: later changes of a thread have higher ones. It is the position of the change.
    pub bump_stamp: u64,
}

/// Changes of subscriptions between two boundaries of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionChanges {
    /// Newest first.
    pub changes: Vec<SubscriptionChange>,
    /// There are older ones: they stand before this boundary.
    pub more: Option<Place>,
}

impl Rooms {
    /// How a user is subscribed to a thread: automatically or not, or `None` where the user is not.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`] where the actor does not see the root of the thread.
    pub async fn thread_subscription(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        root: &EventId,
    ) -> Result<Option<bool>, RoomError> {
        let (_, view, root) = self.thread(actor, room, root).await?;
        self.engine.subscription((actor.nid, view.nid, root.event.nid)).await
    }

    /// As [`Rooms::thread_subscription`], ungated: for push rules. What is no thread is not subscribed to.
    pub async fn subscription_of(
        &self,
        user: UserNid,
        room: RoomNid,
        root: &EventId,
    ) -> Result<Option<bool>, RoomError> {
        match self.engine.event_nid(root).await? {
            Some(root) => self.engine.subscription((user, room, root)).await,
            None => Ok(None),
        }
    }

    /// Subscribes to a thread; `cause` is the event because of which a client does so by itself.
    ///
    /// A subscription that the user made stays one when a client makes it once more.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`] where the actor does not see the root of the thread, [`RoomError::NotInThread`] where
    /// the cause is not in the thread, [`RoomError::UnsubscribedSince`] where the user has unsubscribed after it.
    pub async fn subscribe_thread(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        root: &EventId,
        cause: Option<&EventId>,
    ) -> Result<(), RoomError> {
        let (reader, view, root) = self.thread(actor, room, root).await?;
        let cause = match cause {
            Some(cause) => Some(self.cause(&reader, &view, &root, cause).await?),
            None => None,
        };
        let key = (actor.nid, view.nid, root.event.nid);
        self.engine
            .change_subscription(key, |before| match (before, cause) {
                (Some((Subscription::Manual, _)), _) | (Some((Subscription::Automatic, _)), Some(_)) => Ok(None),
                (Some((Subscription::Ended, at)), Some(cause)) if cause < Place::after(at) => {
                    Err(RoomError::UnsubscribedSince)
                }
                (_, Some(_)) => Ok(Some(Subscription::Automatic)),
                (_, None) => Ok(Some(Subscription::Manual)),
            })
            .await
    }

    /// Unsubscribes from a thread. Who is not subscribed stays so.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`] where the actor does not see the root of the thread.
    pub async fn unsubscribe_thread(&self, actor: Actor<'_>, room: &RoomId, root: &EventId) -> Result<(), RoomError> {
        let (_, view, root) = self.thread(actor, room, root).await?;
        let key = (actor.nid, view.nid, root.event.nid);
        let end = |before| match before {
            None | Some((Subscription::Ended, _)) => Ok(None),
            Some(_) => Ok(Some(Subscription::Ended)),
        };
        self.engine.change_subscription(key, end).await
    }

    /// Changes of a user's subscriptions between two boundaries of the log, the newest `limit` of them; each thread once,
    /// with its last change of all. What changed behind `since` up to `now` is between `Place::after` of each.
    pub async fn thread_subscription_changes(
        &self,
        user: UserNid,
        from: Place,
        to: Place,
        limit: usize,
    ) -> Result<SubscriptionChanges, RoomError> {
        let limit = limit.clamp(1, SUBSCRIPTION_CHANGES_MAX);
        let scan = Scan::range(&(user, from.position()), &(user, to.position())).reverse().limit(limit + 1);
        let mut rows = self.engine.store.latest().scan(&SUBSCRIPTION_CHANGES, scan).await?;
        let more = rows.get(limit).map(|((_, position), _)| Place::after(*position));
        rows.truncate(limit);
        let names = self.engine.store.interner();
        let rooms: Vec<u64> = rows.iter().map(|(_, row)| row.0.0.get()).collect();
        let roots: Vec<u64> = rows.iter().map(|(_, row)| row.0.1.get()).collect();
        let rooms = names.resolve_many(NS_ROOM, &rooms).await?;
        let roots = names.resolve_many(NS_EVENT, &roots).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for ((((_, position), Packed((.., subscription))), room), root) in rows.into_iter().zip(rooms).zip(roots) {
            let room = room.and_then(|name| OwnedRoomId::try_from(&*name).ok());
            let root = root.and_then(|name| OwnedEventId::try_from(&*name).ok());
            let (Some(room), Some(root)) = (room, root) else {
                return Err(RoomError::inconsistent("thread subscription without names"));
            };
            let bump_stamp = position.get();
            changes.push(SubscriptionChange { room, root, automatic: subscription.automatic(), bump_stamp });
        }
        Ok(SubscriptionChanges { changes, more })
    }

    /// The root of a thread, as far as the actor sees it. The first message of the thread may be on its way yet.
    async fn thread(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        root: &EventId,
    ) -> Result<(Reader, Arc<RoomView>, TimelineItem), RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchEvent)?;
        let reader = match self.reader(actor, &view).await {
            Err(RoomError::Forbidden(_)) => return Err(RoomError::NoSuchEvent),
            reader => reader?,
        };
        let root = self.find_place(&reader, &view, root).await?;
        Ok((reader, view, root))
    }

    /// Where the cause of an automatic subscription stands, which must be in the thread.
    async fn cause(
        &self,
        reader: &Reader,
        view: &RoomView,
        root: &TimelineItem,
        cause: &EventId,
    ) -> Result<Place, RoomError> {
        let cause = match self.find_seen(reader, view, cause).await {
            Err(RoomError::NoSuchEvent) => return Err(RoomError::NotInThread),
            cause => cause?,
        };
        let thread = self.thread_root_of(view.nid, &cause.event).await?;
        if thread.as_deref() == Some(root.event.pdu.event_id()) { Ok(cause.place) } else { Err(RoomError::NotInThread) }
    }
}

impl Engine {
    async fn subscription(&self, key: (UserNid, RoomNid, EventNid)) -> Result<Option<bool>, RoomError> {
        let found = self.store.latest().get(&SUBSCRIPTIONS, &key).await?;
        Ok(found.and_then(|subscription| subscription.0.automatic()))
    }

    /// Changes a subscription to what `change` makes of it and of the position of its last change, if anything.
    async fn change_subscription(
        &self,
        key: (UserNid, RoomNid, EventNid),
        change: impl Fn(Option<(Subscription, Position)>) -> Result<Option<Subscription>, RoomError>,
    ) -> Result<(), RoomError> {
        let (user, room, root) = key;
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let before = self.store.latest().get_versioned(&SUBSCRIPTIONS, &key).await?;
            let before = before.map(|(subscription, written)| (subscription.0, written));
            let Some(subscription) = change(before)? else { return Ok(()) };
            let mut batch = Batch::default();
            let written = before.map(|(_, written)| written);
            batch.expect_version(&SUBSCRIPTIONS, &key, written);
            if let Some(written) = written {
                batch.delete(&SUBSCRIPTION_CHANGES, &(user, written));
            }
            batch.put(&SUBSCRIPTIONS, &key, &Packed(subscription));
            batch.put(&SUBSCRIPTION_CHANGES, &(user, Position::COMMIT), &Packed((room, root, subscription)));
            batch.touch(user.watch());
            match self.store.commit(batch).await {
                Err(CommitError::Conflict { .. }) => {}
                done => return Ok(done.map(drop)?),
            }
        }
        Err(RoomError::inconsistent("a subscription that never rests"))
    }
}
