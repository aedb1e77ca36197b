//! Changes of the user's subscriptions to threads (MSC4308).

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId};
use serde::Serialize;
use wardroom_rooms::{Place, SubscriptionChange};

use super::{Cursors, Extending, Extensions};
use crate::{SyncError, response::Object};

/// Changes of one answer where the request does not say.
const LIMIT_DEFAULT: usize = 100;

/// A subscription, or the end of one.
#[derive(Serialize)]
struct Subscription {
    #[serde(skip_serializing_if = "Option::is_none")]
    automatic: Option<bool>,
    bump_stamp: u64,
}

type ByThread = BTreeMap<OwnedRoomId, BTreeMap<OwnedEventId, Subscription>>;

impl Extending<'_> {
    /// Tells the newest changes; the others are found by going back from `prev_batch`.
    pub(super) async fn thread_subscriptions(
        &mut self,
        told: &mut Extensions,
        cursors: &mut Cursors,
    ) -> Result<(), SyncError> {
        let asked = &self.asked.request.body.extensions.thread_subscriptions;
        if !asked.is_on() {
            return Ok(());
        }
        let (user, now) = (self.hearing.user, self.sight.now);
        if cursors.threads.is_some_and(|since| !self.asked.moved(user.watch(), since)) {
            return Ok(());
        }
        let limit = asked.limit.map_or(LIMIT_DEFAULT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let from = cursors.threads.map_or(Place::FIRST, Place::after);
        let rooms = &self.hearing.syncer.rooms;
        let found = rooms.thread_subscription_changes(user, from, Place::after(now), limit).await?;
        let (mut subscribed, mut unsubscribed) = (ByThread::new(), ByThread::new());
        for SubscriptionChange { room, root, automatic, bump_stamp } in found.changes {
            let by_thread = if automatic.is_some() { &mut subscribed } else { &mut unsubscribed };
            by_thread.entry(room).or_default().insert(root, Subscription { automatic, bump_stamp });
        }
        let mut section = Object::default();
        for (name, changes) in [("subscribed", &subscribed), ("unsubscribed", &unsubscribed)] {
            if !changes.is_empty() {
                section.value(name, changes);
            }
        }
        if let Some(more) = found.more {
            section.value("prev_batch", &more.to_string());
        }
        told.has_news |= !section.is_empty();
        told.object.object("io.element.msc4308.thread_subscriptions", section);
        cursors.threads = Some(now);
        Ok(())
    }
}
