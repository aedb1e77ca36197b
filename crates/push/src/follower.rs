//! Follows the log of all rooms and queues what notifies users who have pushers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ruma::{
    OwnedUserId, UserId,
    events::TimelineEventType,
    push::{Action, Ruleset},
};
use tokio::time::{sleep, timeout};
use wardroom_rooms::{
    Follower, Happened, LOG_PAGE_MAX, Logged, Membership, Place, RoomError, RoomNid, RoomView, TimelineItem, UserNid,
};
use wardroom_store::{Batch, Packed, Position};

use crate::{
    PushError, Whose,
    audience::Audience,
    service::Inner,
    tables::{BADGE_INDEX, PusherNid, QUEUE, QueueRow, Told, queue_key},
};

/// Entries after which the cursor is saved even if nothing was queued.
const UNSAVED_ENTRIES_MAX: usize = 500;
/// How long the cursor may stay unsaved while nothing happens.
const UNSAVED_MAX: Duration = Duration::from_secs(1);
/// Queued rows that one commit may hold.
const ROWS_PER_COMMIT_MAX: usize = 5_000;
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Attempts at an entry of the log.
const ATTEMPTS_MAX: u32 = 5;
/// How often what all followers have read is dropped, in saved cursors.
const SAVES_PER_TRIM: u32 = 50;
/// Members of a room whose number of unread messages is looked at again after a redaction.
const REDACTION_LOOKS_MAX: usize = 1_000;

/// What a rule does about an event, as far as gateways are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The tweaks, as a JSON object.
    pub(crate) tweaks: String,
}

impl Notice {
    /// None where the actions do not notify.
    fn of(actions: Option<&[Action]>) -> Option<Self> {
        let actions = actions.filter(|actions| actions.iter().any(Action::should_notify))?;
        Some(Self { tweaks: tweaks(actions) })
    }
}

/// The tweaks of a rule, by name.
fn tweaks(actions: &[Action]) -> String {
    let tweaks: BTreeMap<String, serde_json::Value> = actions
        .iter()
        .filter_map(|action| serde_json::to_value(action).ok())
        .filter_map(|action| {
            let name = action.get("set_tweak")?.as_str()?.to_owned();
            // A tweak without a value, such as a bare highlight, is on (specification, "Actions").
            Some((name, action.get("value").cloned().unwrap_or(true.into())))
        })
        .collect();
    serde_json::to_string(&tweaks).unwrap_or_else(|_| "{}".to_owned())
}

/// Tails the log. There is one.
#[derive(Debug)]
pub(crate) struct Tail {
    inner: Arc<Inner>,
    audience: Audience,
    /// What comes next.
    cursor: Place,
    /// Entries behind the saved cursor.
    unsaved: usize,
    saves: u32,
    batch: Batch,
    rows: usize,
    /// The entry that failed last, and how often.
    stuck: (Place, u32),
    /// Lanes to wake when the batch is committed.
    woken: BTreeSet<(PusherNid, UserNid)>,
}

impl Tail {
    pub(crate) async fn start(inner: Arc<Inner>) -> Result<Self, PushError> {
        let cursor = inner.rooms.follow(Follower::Push).await?;
        let audience = Audience::new(inner.rooms.clone(), inner.accounts.clone());
        let (batch, woken) = (Batch::default(), BTreeSet::new());
        Ok(Self { inner, audience, cursor, unsaved: 0, saves: 0, batch, rows: 0, stuck: (Place::FIRST, 0), woken })
    }

    /// Follows for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut published = self.inner.store.published();
        loop {
            let now = *published.borrow_and_update();
            if let Err(error) = self.follow(now).await {
                tracing::warn!(%error, "the log of rooms could not be followed; trying again");
                self.give_up();
                sleep(FAILURE_PAUSE).await;
                published.mark_changed();
                continue;
            }
            if self.unsaved == 0 {
                if published.changed().await.is_err() {
                    return;
                }
            } else if let Err(_quiet) = timeout(UNSAVED_MAX, published.changed()).await
                && let Err(error) = self.save().await
            {
                tracing::warn!(%error, "how far the log of rooms was followed could not be saved");
                self.give_up();
            }
        }
    }

    /// Leaves what was begun: it is read again.
    fn give_up(&mut self) {
        self.batch = Batch::default();
        self.rows = 0;
        self.woken.clear();
    }

    /// Follows up to what is published.
    async fn follow(&mut self, now: Position) -> Result<(), PushError> {
        self.inner.clean_up().await?;
        loop {
            let page = self.inner.rooms.log(self.cursor, now).await?;
            let full = page.len() == LOG_PAGE_MAX;
            if page.is_empty() {
                return Ok(());
            }
            // A page of which not all could be done is read again from its beginning.
            let mut readers = BTreeSet::new();
            for entry in &page {
                if let Err(error) = self.entry(entry, &mut readers).await {
                    self.pass_over(entry.place, error)?;
                }
                tokio::task::consume_budget().await;
            }
            if let Some(last) = page.last() {
                self.badges(&readers, last.place).await?;
                let before = std::mem::replace(&mut self.cursor, last.place.next());
                self.unsaved += page.len();
                if (self.rows > 0 || self.unsaved >= UNSAVED_ENTRIES_MAX)
                    && let Err(error) = self.save().await
                {
                    self.cursor = before;
                    return Err(error);
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Lets an entry go that cannot be read, whatever is tried: it must not hold up what comes behind it for ever.
    fn pass_over(&mut self, place: Place, error: PushError) -> Result<(), PushError> {
        let (before, attempts) = self.stuck;
        let attempts = if before == place { attempts + 1 } else { 1 };
        self.stuck = (place, attempts);
        if attempts < ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::error!(%error, "an entry in the log of rooms cannot be read and notifies nobody");
        Ok(())
    }

    /// Commits what was queued with the cursor.
    async fn save(&mut self) -> Result<(), PushError> {
        let cursor = self.cursor;
        self.inner.rooms.followed(&mut self.batch, Follower::Push, cursor);
        self.commit().await?;
        self.unsaved = 0;
        self.saves += 1;
        if self.saves >= SAVES_PER_TRIM {
            self.saves = 0;
            if let Err(error) = self.inner.rooms.trim_log().await {
                tracing::warn!(%error, "what was followed of the log of rooms could not be dropped");
            }
        }
        Ok(())
    }

    /// Commits what was queued. Nothing of it is, where this fails.
    async fn commit(&mut self) -> Result<(), PushError> {
        self.inner.store.commit(std::mem::take(&mut self.batch)).await?;
        self.rows = 0;
        for (pusher, user) in std::mem::take(&mut self.woken) {
            if self.inner.lanes.wake(pusher, user) {
                // It fails and waits: its queue must not grow meanwhile.
                if let Err(error) = self.inner.queue.shorten(pusher).await {
                    tracing::warn!(%error, "the queue of a pusher that fails could not be shortened");
                }
            }
        }
        Ok(())
    }

    async fn entry(&mut self, entry: &Logged, readers: &mut BTreeSet<UserNid>) -> Result<(), PushError> {
        if !self.inner.anybody() {
            return Ok(());
        }
        match entry.what {
            Happened::Read(user) => {
                readers.insert(user);
            }
            Happened::Event(_) => self.event(entry, readers).await?,
            Happened::Afar(user) => {
                readers.insert(user);
                if let Some(invite) = self.inner.invitation(user, entry.room, entry.place).await? {
                    let room = self.inner.rooms.view_of(entry.room).await?;
                    self.tell(&room, &invite, std::iter::once(user)).await?;
                }
            }
        }
        Ok(())
    }

    async fn event(&mut self, entry: &Logged, readers: &mut BTreeSet<UserNid>) -> Result<(), PushError> {
        let room = match self.inner.rooms.view_of(entry.room).await {
            // It was deleted.
            Err(RoomError::NoSuchRoom) => return Ok(()),
            room => room?,
        };
        let Some(item) = self.inner.unread.item(entry.room, entry.place).await? else { return Ok(()) };
        let pdu = Arc::clone(&item.event.pdu);
        let sender = self.inner.number(pdu.sender()).await?;
        readers.extend(sender);
        let mut invited = None;
        if *pdu.kind() == TimelineEventType::RoomMember
            && let Some(target) = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok())
            && let Some(target) = self.inner.number(target).await?
        {
            self.audience.member_changed(entry.room, target).await?;
            readers.insert(target);
            let is_invite = pdu.membership() == Some(ruma::events::room::member::MembershipState::Invite);
            invited = Some(target).filter(|_| is_invite);
        }
        let listeners = self.audience.of(&room).await?;
        if *pdu.kind() == TimelineEventType::RoomRedaction {
            readers.extend(listeners.iter().take(REDACTION_LOOKS_MAX).map(|(user, _)| *user));
        }
        if item.event.redacted_because.is_some() {
            return Ok(());
        }
        let joined = listeners.iter().filter(|(_, joined)| *joined < entry.place).map(|(user, _)| *user);
        let hearing = joined.chain(invited).filter(|user| Some(*user) != sender);
        self.tell(&room, &item, hearing).await
    }

    /// Queues an event for those of these users whom it notifies.
    async fn tell(
        &mut self,
        room: &RoomView,
        item: &TimelineItem,
        users: impl Iterator<Item = UserNid>,
    ) -> Result<(), PushError> {
        for (user, notice) in self.inner.told(room, item, users).await? {
            let what = Told::Event {
                room: room.nid,
                event: item.event.nid,
                tweaks: notice.tweaks.clone(),
                queued_ms: self.inner.clock.now_ms(),
            };
            self.queue(user, item.place, &QueueRow { user, what }).await?;
        }
        Ok(())
    }

    /// Queues something for each pusher of a user.
    async fn queue(&mut self, user: UserNid, place: Place, row: &QueueRow) -> Result<(), PushError> {
        for pusher in self.inner.accounts.pusher_nids(wardroom_accounts::UserNid::new(user.get())) {
            self.batch.put(&QUEUE, &queue_key(pusher, place), &Packed(row.clone()));
            self.woken.insert((pusher, user));
            self.rows += 1;
        }
        if self.rows >= ROWS_PER_COMMIT_MAX {
            // The cursor stays: should the rest not get written, this is written again to the same keys.
            self.commit().await?;
        }
        Ok(())
    }

    /// Queues the number of what is unread for those to whom it may be another than they were told.
    async fn badges(&mut self, readers: &BTreeSet<UserNid>, place: Place) -> Result<(), PushError> {
        for user in readers.iter().copied() {
            let account = wardroom_accounts::UserNid::new(user.get());
            let pushers = self.inner.accounts.pusher_nids(account);
            if pushers.is_empty() {
                continue;
            }
            let Some(id) = self.inner.name(user).await? else { continue };
            let unread = self.inner.badges.count(Whose { user: &id, nid: user }).await?;
            for pusher in pushers {
                if self.inner.queue.state(pusher).await?.badge != unread {
                    let key = (pusher, place.position(), BADGE_INDEX);
                    self.batch.put(&QUEUE, &key, &Packed(QueueRow { user, what: Told::Badge }));
                    self.woken.insert((pusher, user));
                    self.rows += 1;
                }
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The number of a user whom this server has heard of.
    pub(crate) async fn number(&self, user: &UserId) -> Result<Option<UserNid>, PushError> {
        Ok(self.accounts.user_nid(user).await?.map(|nid| UserNid::new(nid.get())))
    }

    /// The id of a user.
    pub(crate) async fn name(&self, user: UserNid) -> Result<Option<OwnedUserId>, PushError> {
        Ok(self.rooms.user_ids(&[user]).await?.pop())
    }

    /// The invitation of a user to a room that this server is not in, if it still is the one that came at `place`.
    pub(crate) async fn invitation(
        &self,
        user: UserNid,
        room: RoomNid,
        place: Place,
    ) -> Result<Option<TimelineItem>, PushError> {
        let entry = self.rooms.membership(user, room).await?;
        match entry.filter(|entry| entry.membership == Membership::Invite && entry.place == place) {
            Some(entry) => Ok(self.rooms.own_end(&entry).await?),
            None => Ok(None),
        }
    }

    /// Whom of these users an event notifies.
    ///
    /// Users who have the same rules have the same answer, except those whom the event names and those whose rules look
    /// for their display name: these are asked one by one.
    pub(crate) async fn told(
        &self,
        room: &RoomView,
        item: &TimelineItem,
        users: impl Iterator<Item = UserNid>,
    ) -> Result<Vec<(UserNid, Arc<Notice>)>, PushError> {
        let facts = self.unread.facts(room.nid, item).await?;
        let mut named = BTreeSet::new();
        for name in facts.named().collect::<BTreeSet<_>>() {
            if let Ok(user) = <&UserId>::try_from(name) {
                named.extend(self.number(user).await?);
            }
        }
        let mut answers: HashMap<usize, Answer> = HashMap::new();
        let mut told = Vec::new();
        for user in users {
            let rules = self.accounts.shared_push_rules(wardroom_accounts::UserNid::new(user.get())).await?;
            let alone = named.contains(&user) || looks_for_display_name(&rules, &mut answers);
            let notice = if alone {
                let Some(id) = self.name(user).await? else { continue };
                let whose = Whose { user: &id, nid: user };
                let actions = self.unread.actions(&rules, Some(whose), room, item, &facts).await?;
                Notice::of(actions).map(Arc::new)
            } else {
                let answer = answers.entry(Arc::as_ptr(&rules).addr()).or_insert_with(|| Answer::new(&rules));
                match &answer.notice {
                    Some(notice) => notice.clone(),
                    None => {
                        let actions = self.unread.actions(&rules, None, room, item, &facts).await?;
                        answer.notice.insert(Notice::of(actions).map(Arc::new)).clone()
                    }
                }
            };
            told.extend(notice.map(|notice| (user, notice)));
            tokio::task::consume_budget().await;
        }
        Ok(told)
    }
}

/// What shared rules say to an event, for users whom it does not name.
struct Answer {
    /// Keeps the rules where they are: their address stands for them.
    _rules: Arc<Ruleset>,
    display_name: bool,
    notice: Option<Option<Arc<Notice>>>,
}

impl Answer {
    fn new(rules: &Arc<Ruleset>) -> Self {
        #[expect(deprecated, reason = "no longer among the predefined rules, and still a condition")]
        let is_name =
            |condition: &ruma::push::PushCondition| matches!(condition, ruma::push::PushCondition::ContainsDisplayName);
        let conditional = rules.override_.iter().chain(&rules.underride);
        let display_name = conditional.filter(|rule| rule.enabled).any(|rule| rule.conditions.iter().any(is_name));
        Self { _rules: Arc::clone(rules), display_name, notice: None }
    }
}

/// Whether the answer of rules hangs on their user's display name.
fn looks_for_display_name(rules: &Arc<Ruleset>, answers: &mut HashMap<usize, Answer>) -> bool {
    answers.entry(Arc::as_ptr(rules).addr()).or_insert_with(|| Answer::new(rules)).display_name
}

#[cfg(test)]
mod tests {
    use ruma::push::{Action, HighlightTweakValue, SoundTweakValue, Tweak};

    use super::{Notice, tweaks};

    #[test]
    fn tweaks_are_told_by_name() {
        let highlight = Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes));
        let sound = Action::SetTweak(Tweak::Sound(SoundTweakValue::Default));
        assert_eq!(tweaks(&[Action::Notify, sound, highlight.clone()]), r#"{"highlight":true,"sound":"default"}"#);
        assert_eq!(Notice::of(Some(&[highlight])), None, "a tweak alone does not notify");
        assert_eq!(Notice::of(None), None);
        assert_eq!(Notice::of(Some(&[Action::Notify])).unwrap().tweaks, "{}");
    }
}
