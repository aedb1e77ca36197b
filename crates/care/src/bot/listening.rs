//! Follows the log of all rooms for what concerns the server's own user.

use std::{collections::HashMap, time::Duration};

use ruma::{
    UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use wardroom_event::Pdu;
use wardroom_rooms::{
    EventNid, Follower, Happened, LOG_PAGE_MAX, Logged, Membership, MembershipEntry, Place, RoomError, RoomNid,
    RoomView, UserNid,
};
use wardroom_store::{Batch, Packed, Position};

use super::{
    answer::{ENCRYPTED, HELP, TOO_MUCH},
    command::Command,
};
use crate::{
    Care, CareError,
    direct::{CHATS, notice},
    service_user::actor,
};

/// Entries after which the cursor is saved even if nothing concerned the bot.
const UNSAVED_ENTRIES_MAX: usize = 500;
/// How long the cursor may stay unsaved while nothing happens.
const UNSAVED_MAX: Duration = Duration::from_secs(1);
/// How long to wait for more after something happened.
const GATHER: Duration = Duration::from_millis(50);
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Attempts at an entry of the log.
const ATTEMPTS_MAX: u32 = 5;
/// Messages and invitations of one user that are answered in [`WINDOW_MS`].
const ANSWERS_MAX: u32 = 30;
/// Ten minutes.
const WINDOW_MS: u64 = 10 * 60 * 1_000;
/// Users whose messages are counted.
const USERS_COUNTED_MAX: usize = 10_000;

/// Reads what people write. There is one.
#[derive(Debug)]
pub(super) struct Listener {
    care: Care,
    own: UserNid,
    /// What comes next.
    cursor: Place,
    /// Entries behind the saved cursor.
    unsaved: usize,
    /// Something was done since the cursor was saved.
    acted: bool,
    /// The entry that failed last, and how often.
    stuck: (Place, u32),
    /// Since when how many messages of whom were answered.
    answered: HashMap<UserNid, (u64, u32)>,
}

impl Listener {
    /// Listens for as long as it is polled.
    pub(super) async fn run(care: Care) {
        let mut published = care.0.store.published();
        let mut listener = loop {
            match Self::start(care.clone()).await {
                Ok(listener) => break listener,
                Err(error) => tracing::warn!(%error, "the access bot could not be started; trying again"),
            }
            sleep(FAILURE_PAUSE).await;
        };
        loop {
            let now = *published.borrow_and_update();
            if let Err(error) = listener.listen(now).await {
                tracing::warn!(%error, "the access bot could not read on; trying again");
                sleep(FAILURE_PAUSE).await;
                published.mark_changed();
                continue;
            }
            if listener.unsaved == 0 {
                if published.changed().await.is_err() {
                    return;
                }
            } else if let Err(_quiet) = timeout(UNSAVED_MAX, published.changed()).await
                && let Err(error) = listener.save().await
            {
                tracing::warn!(%error, "how far the access bot has read could not be saved");
            }
            sleep(GATHER).await;
        }
    }

    async fn start(care: Care) -> Result<Self, CareError> {
        let own = UserNid::new(care.0.service.account().await?.nid.get());
        let cursor = care.0.rooms.follow(Follower::Access).await?;
        let (stuck, answered) = ((Place::FIRST, 0), HashMap::new());
        Ok(Self { care, own, cursor, unsaved: 0, acted: false, stuck, answered })
    }

    /// Reads up to what is published.
    async fn listen(&mut self, now: Position) -> Result<(), CareError> {
        loop {
            let page = self.care.0.rooms.log(self.cursor, now).await?;
            for entry in &page {
                if let Err(error) = self.entry(entry).await {
                    self.pass_over(entry.place, error)?;
                }
                self.cursor = entry.place.next();
                self.unsaved += 1;
                tokio::task::consume_budget().await;
            }
            if self.acted || self.unsaved >= UNSAVED_ENTRIES_MAX {
                self.save().await?;
            }
            if page.len() < LOG_PAGE_MAX {
                return Ok(());
            }
        }
    }

    async fn save(&mut self) -> Result<(), CareError> {
        let mut batch = Batch::default();
        self.care.0.rooms.followed(&mut batch, Follower::Access, self.cursor);
        self.care.0.store.commit(batch).await?;
        (self.unsaved, self.acted) = (0, false);
        Ok(())
    }

    /// Lets an entry go that cannot be dealt with, whatever is tried: it must not hold up what comes behind it for ever.
    fn pass_over(&mut self, place: Place, error: CareError) -> Result<(), CareError> {
        let (before, attempts) = self.stuck;
        let attempts = if before == place { attempts + 1 } else { 1 };
        self.stuck = (place, attempts);
        if attempts < ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::error!(%error, "the access bot cannot deal with an entry in the log of rooms and passes over it");
        Ok(())
    }

    async fn entry(&mut self, entry: &Logged) -> Result<(), CareError> {
        let Happened::Event(event) = entry.what else { return Ok(()) };
        let Some(own) = self.care.0.rooms.membership(self.own, entry.room).await? else { return Ok(()) };
        let dealt_with = match own.membership {
            Membership::Invite => self.invited(entry.room).await,
            Membership::Join => self.heard(entry, event, &own).await,
            _ => Ok(()),
        };
        match dealt_with {
            // The room was deleted.
            Err(CareError::Rooms(RoomError::NoSuchRoom)) => Ok(()),
            dealt_with => dealt_with,
        }
    }

    /// Accepts an invitation to a direct chat, and declines others.
    async fn invited(&mut self, room: RoomNid) -> Result<(), CareError> {
        let care = self.care.clone();
        let inner = &*care.0;
        // The server may be on its way into the room by this very invitation.
        let _moving = inner.service.moving().await;
        let invitation = inner.rooms.membership(self.own, room).await?;
        let Some(invitation) = invitation.filter(|entry| entry.membership == Membership::Invite) else {
            return Ok(());
        };
        self.acted = true;
        let view = inner.rooms.view_of(room).await?;
        let event = inner.rooms.events(room, &[invitation.event]).await?.pop();
        let own = actor(inner.service.id(), self.own);
        if let Some(event) = event
            && let Some(user) = self.chats_with(&view, &event.pdu).await?
            && self.count(user) < ANSWERS_MAX
        {
            let mut batch = Batch::default();
            batch.put(&CHATS, &room, &Packed(user));
            inner.store.commit(batch).await?;
            match inner.rooms.join(own, &view.id, inner.service.profile(), None).await {
                Err(RoomError::Forbidden(_)) => {}
                joined => return Ok(joined?),
            }
        }
        match inner.rooms.leave(own, &view.id, None).await {
            Err(RoomError::Forbidden(_)) => Ok(()),
            left => Ok(left?),
        }
    }

    /// With whom the bot is alone in a direct chat, where this is an invitation to one.
    async fn chats_with(&self, view: &RoomView, invitation: &Pdu) -> Result<Option<UserNid>, CareError> {
        #[derive(Deserialize)]
        struct Content {
            #[serde(default)]
            is_direct: bool,
        }
        let is_direct = invitation.content_as::<Content>().is_ok_and(|content| content.is_direct);
        let alone = view.joined == 1 && view.invited == 1;
        if !is_direct || !alone || view.policy.is_some() || view.room_type.is_some() {
            return Ok(None);
        }
        let user = match self.care.acting_account(invitation.sender()).await {
            Err(CareError::Refused(_)) => return Ok(None),
            account => UserNid::new(account?.nid.get()),
        };
        let there = self.care.0.rooms.membership(user, view.nid).await?;
        Ok(there.filter(|entry| entry.membership == Membership::Join).map(|_| user))
    }

    /// Something happened in a room that the bot is in.
    async fn heard(&mut self, entry: &Logged, event: EventNid, own: &MembershipEntry) -> Result<(), CareError> {
        let Some(Packed(user)) = self.care.0.store.latest().get(&CHATS, &entry.room).await? else { return Ok(()) };
        let view = self.care.0.rooms.view_of(entry.room).await?;
        if view.policy.is_some() || view.joined != 2 || view.invited != 0 {
            return Ok(());
        }
        let Some(stored) = self.care.0.rooms.events(entry.room, &[event]).await?.pop() else { return Ok(()) };
        if stored.redacted_because.is_some() {
            return Ok(());
        }
        let pdu = &stored.pdu;
        match pdu.kind() {
            TimelineEventType::RoomEncryption if pdu.is_state() => self.say_encrypted(&view).await,
            TimelineEventType::RoomMember if own.place == entry.place && is_own_join(pdu, self.care.0.service.id()) => {
                self.greet(&view, event, own).await
            }
            TimelineEventType::RoomMessage if !pdu.is_state() => self.message(&view, user, event, pdu).await,
            _ => Ok(()),
        }
    }

    /// Says how to talk to the bot, to somebody who asked it in.
    async fn greet(&mut self, view: &RoomView, event: EventNid, own: &MembershipEntry) -> Result<(), CareError> {
        if own.previous != Some(Membership::Invite) {
            return Ok(());
        }
        let rooms = &self.care.0.rooms;
        if rooms.state_event(view.nid, view.state, &StateEventType::RoomEncryption, "").await?.is_some() {
            return self.say_encrypted(view).await;
        }
        self.say(view, &format!("greeting {}", event.get()), HELP).await
    }

    async fn say_encrypted(&mut self, view: &RoomView) -> Result<(), CareError> {
        // The same transaction whatever it follows from, so that it is said once.
        self.say(view, "encrypted", ENCRYPTED).await
    }

    async fn say(&mut self, view: &RoomView, transaction: &str, text: &str) -> Result<(), CareError> {
        self.acted = true;
        match self.care.0.service.send(&view.id, transaction, notice(text)?).await {
            // Put out meanwhile, or kept from speaking.
            Err(CareError::Rooms(RoomError::Forbidden(_))) => Ok(()),
            said => said.map(drop),
        }
    }

    async fn message(&mut self, view: &RoomView, user: UserNid, event: EventNid, pdu: &Pdu) -> Result<(), CareError> {
        let Some(text) = text_of(pdu) else { return Ok(()) };
        let writer = match self.care.acting_account(pdu.sender()).await {
            Err(CareError::Refused(_)) => return Ok(()),
            writer => writer?,
        };
        if UserNid::new(writer.nid.get()) != user {
            return Ok(());
        }
        let transaction = format!("answer {}", event.get());
        match self.count(user) {
            ANSWERS_MAX => self.say(view, &transaction, TOO_MUCH).await,
            count if count > ANSWERS_MAX => Ok(()),
            _ => {
                let command = Command::read(&text, writer.id.server_name());
                let answer = self.care.obey(&writer.id, command, event).await?;
                self.say(view, &transaction, &answer).await
            }
        }
    }

    /// Counts a message or an invitation of a user. Returns how many there were before it.
    fn count(&mut self, user: UserNid) -> u32 {
        let now_ms = self.care.now_ms();
        if self.answered.len() >= USERS_COUNTED_MAX {
            self.answered.retain(|_, (since_ms, _)| now_ms < since_ms.saturating_add(WINDOW_MS));
        }
        if self.answered.len() >= USERS_COUNTED_MAX {
            self.answered.clear();
        }
        let counted = self.answered.entry(user).or_insert((now_ms, 0));
        if now_ms >= counted.0.saturating_add(WINDOW_MS) {
            *counted = (now_ms, 0);
        }
        let before = counted.1;
        counted.1 = before.saturating_add(1);
        before
    }
}

/// Whether an event is the joining of the bot.
fn is_own_join(pdu: &Pdu, own: &UserId) -> bool {
    pdu.state_key() == Some(own.as_str()) && pdu.membership() == Some(MembershipState::Join)
}

/// What somebody wrote; none of notices, and of messages that replace earlier ones.
fn text_of(pdu: &Pdu) -> Option<String> {
    #[derive(Deserialize)]
    struct Relation {
        rel_type: Option<String>,
    }
    #[derive(Deserialize)]
    struct Content {
        msgtype: String,
        body: String,
        #[serde(rename = "m.relates_to")]
        relates_to: Option<Relation>,
    }
    let content: Content = pdu.content_as().ok()?;
    let replaces = content.relates_to.and_then(|to| to.rel_type).is_some_and(|kind| kind == "m.replace");
    (content.msgtype == "m.text" && !replaces).then_some(content.body)
}
