//! What goes to other servers.
//!
//! One task follows what happens: the log of rooms, the log of devices, messages that wait for other servers, presence
//! and typing. What must not get lost is handed to the outbox in the batch that takes it off its list.

use std::{collections::BTreeMap, time::Duration};

use ruma::{
    OwnedServerName, UserId,
    events::{TimelineEventType, receipt::ReceiptThread, room::member::MembershipState},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, sleep, sleep_until};
use wardroom_accounts::{Availability, PresenceView, UserNid as AccountNid, WATCH_OUTGOING};
use wardroom_rooms::{Follower, Happened, LOG_PAGE_MAX, Logged, Membership, Place, Receipt, RoomNid, UserNid};
use wardroom_store::{Batch, Position, WatchKey};

use super::{
    Edus,
    wire::{OutgoingData, OutgoingEntry, OutgoingKind, OutgoingPresence, OutgoingPresenceEntry, OutgoingReceipt},
};
use crate::{FederationError, OutgoingEdu};

/// How long what happens is collected before it is told: many things at once cost one look.
const COLLECT: Duration = Duration::from_millis(20);
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Attempts at an entry of the log.
const ATTEMPTS_MAX: u32 = 5;
/// Entries of the log after which the cursor is saved.
const UNSAVED_ENTRIES_MAX: usize = 500;
/// How long the cursor may stay unsaved.
const UNSAVED_MAX: Duration = Duration::from_secs(2);
/// Messages to devices that one commit hands over.
const TO_DEVICE_PAGE: usize = 64;
/// How often other servers are told again who is there: they forget after half an hour.
const PRESENCE_AGAIN: Duration = Duration::from_mins(20);
/// Changes of presence that are told together.
const PRESENCE_CHANGES_MAX: usize = 2_000;
/// Members of a room whose presence is told to a server that comes into it.
const INTRODUCED_MAX: usize = 100;
/// Members read at a time.
const MEMBERS_PAGE: usize = 1_000;
/// Users of this server that a room may have left for others to be looked at because one of them leaves: with more
/// there was always one who stayed.
const LAST_MEMBERS: usize = 1;

/// Where the task stands.
struct Telling {
    cursor: Place,
    saved_at: Instant,
    unsaved: usize,
    /// The entry that failed last, and how often.
    stuck: (Place, u32),
    devices: Position,
    to_device: Position,
    presence: Position,
    presence_again: Instant,
    /// What failed is told once.
    failing: bool,
}

impl Edus {
    /// Tells other servers what happens until the server stops.
    pub(super) async fn tell(&self) {
        self.0.rooms.follow_typing();
        let mut telling = loop {
            match self.begin_telling().await {
                Ok(telling) => break telling,
                Err(error) => tracing::warn!(%error, "other servers cannot be told what happens yet"),
            }
            sleep(FAILURE_PAUSE).await;
        };
        let mut published = self.0.store.published();
        loop {
            let now = *published.borrow_and_update();
            if let Err(error) = self.tell_news(&mut telling, now).await {
                if !std::mem::replace(&mut telling.failing, true) {
                    tracing::warn!(%error, "other servers cannot be told what happens; trying again");
                }
                sleep(FAILURE_PAUSE).await;
                continue;
            }
            telling.failing = false;
            let save_at = if telling.unsaved > 0 { telling.saved_at + UNSAVED_MAX } else { telling.presence_again };
            tokio::select! {
                changed = published.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep(COLLECT).await;
                }
                () = sleep_until(save_at.min(telling.presence_again)) => {}
            }
        }
    }

    async fn begin_telling(&self) -> Result<Telling, FederationError> {
        Ok(Telling {
            cursor: self.0.rooms.follow(Follower::Edus).await?,
            saved_at: Instant::now(),
            unsaved: 0,
            stuck: (Place::FIRST, 0),
            devices: self.device_cursor().await?,
            to_device: Position::ZERO,
            presence: self.0.store.position(),
            presence_again: Instant::now(),
            failing: false,
        })
    }

    /// Tells what happened up to a position.
    async fn tell_news(&self, telling: &mut Telling, now: Position) -> Result<(), FederationError> {
        self.tell_typing().await;
        self.follow_rooms(telling, now).await?;
        self.0.devices.followed_up_to(now);
        self.hand_over_to_device(telling).await?;
        self.tell_device_changes(telling, now).await?;
        self.tell_presence(telling, now).await;
        Ok(())
    }

    async fn follow_rooms(&self, telling: &mut Telling, now: Position) -> Result<(), FederationError> {
        loop {
            let page = self.0.rooms.log(telling.cursor, now).await?;
            for entry in &page {
                if let Err(error) = self.entry(entry).await {
                    if telling.stuck.0 != entry.place {
                        telling.stuck = (entry.place, 0);
                    }
                    telling.stuck.1 += 1;
                    if telling.stuck.1 < ATTEMPTS_MAX {
                        return Err(error);
                    }
                    tracing::warn!(%error, "something that happened in a room is not told to other servers");
                }
                telling.cursor = entry.place.next();
                telling.unsaved += 1;
            }
            let due = telling.unsaved > 0 && telling.saved_at.elapsed() >= UNSAVED_MAX;
            if due || telling.unsaved >= UNSAVED_ENTRIES_MAX {
                let mut batch = Batch::default();
                self.0.rooms.followed(&mut batch, Follower::Edus, telling.cursor);
                self.0.store.commit(batch).await?;
                telling.unsaved = 0;
                telling.saved_at = Instant::now();
            }
            if page.len() < LOG_PAGE_MAX {
                return Ok(());
            }
        }
    }

    async fn entry(&self, entry: &Logged) -> Result<(), FederationError> {
        match entry.what {
            Happened::Afar(_) => Ok(()),
            Happened::Read(user) => self.tell_receipts(entry.room, user, entry.place.position()).await,
            Happened::Event(event) => {
                let found = self.0.rooms.events(entry.room, &[event]).await?;
                let Some(stored) = found.first() else { return Ok(()) };
                let pdu = &stored.pdu;
                self.event_came(pdu.event_id()).await?;
                if *pdu.kind() != TimelineEventType::RoomMember {
                    return Ok(());
                }
                let Some(user) = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok()) else { return Ok(()) };
                match pdu.membership() {
                    Some(MembershipState::Join) => self.came(entry, user).await,
                    Some(MembershipState::Leave | MembershipState::Ban) => self.went(entry.room, user).await,
                    _ => Ok(()),
                }
            }
        }
    }

    /// Somebody joined a room, or has a new name in it.
    async fn came(&self, entry: &Logged, user: &UserId) -> Result<(), FederationError> {
        let Some(nid) = self.0.accounts.user_nid(user).await? else { return Ok(()) };
        let member = self.0.rooms.membership(UserNid::new(nid.get()), entry.room).await?;
        if member.is_none_or(|member| member.membership != Membership::Join || member.place != entry.place) {
            return Ok(());
        }
        if self.is_own(user.server_name()) {
            let known = self.servers_in_other_rooms(UserNid::new(nid.get()), entry.room).await?;
            let mut servers = self.others_in(entry.room).await?;
            servers.retain(|server| !known.contains(server));
            self.introduce(user, &servers).await?;
            self.0.accounts.presence().tell_again(nid);
            return Ok(());
        }
        for local in self.0.rooms.local_members(entry.room).await?.iter().take(INTRODUCED_MAX) {
            let Some(local) = self.0.accounts.user_nid(local).await? else { continue };
            let view = self.0.accounts.presence().of(local);
            if let Some(view) = view.filter(|view| view.availability != Availability::Offline) {
                self.signal_presence(&view, &[user.server_name().to_owned()]);
            }
        }
        Ok(())
    }

    /// Servers that a user shares another room with.
    async fn servers_in_other_rooms(
        &self,
        user: UserNid,
        room: RoomNid,
    ) -> Result<std::collections::HashSet<OwnedServerName>, FederationError> {
        let mut servers = std::collections::HashSet::new();
        for entry in self.0.rooms.memberships(user).await? {
            if entry.membership == Membership::Join && entry.room != room {
                servers.extend(self.others_in(entry.room).await?);
            }
        }
        Ok(servers)
    }

    /// Somebody left a room: changes of devices may not have reached this server since.
    async fn went(&self, room: RoomNid, user: &UserId) -> Result<(), FederationError> {
        if !self.is_own(user.server_name()) {
            let Some(nid) = self.0.accounts.user_nid(user).await? else { return Ok(()) };
            return self.may_have_parted(nid, room).await;
        }
        if self.0.rooms.local_members(room).await?.len() > LAST_MEMBERS {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = self.0.rooms.members(room, Membership::Join, after, MEMBERS_PAGE).await?;
            after = page.last().copied();
            for member in &page {
                self.may_have_parted(AccountNid::new(member.get()), room).await?;
            }
            if page.len() < MEMBERS_PAGE {
                return Ok(());
            }
        }
    }

    /// A user of another server may have ceased to share a room with anybody here, be it for a moment.
    async fn may_have_parted(&self, user: AccountNid, room: RoomNid) -> Result<(), FederationError> {
        use wardroom_accounts::ListState;
        if self.0.accounts.remote_list(user).await? == ListState::Unknown {
            return Ok(());
        }
        let nid = UserNid::new(user.get());
        if self.0.rooms.shares_a_room_here(nid, Some(room)).await? {
            return Ok(());
        }
        if self.0.rooms.shares_a_room_here(nid, None).await? {
            self.0.accounts.spoil_remote_lists(&[user]).await?;
            self.0.devices.wake();
        } else {
            self.0.accounts.drop_remote_lists(&[user]).await?;
        }
        Ok(())
    }

    async fn tell_receipts(&self, room: RoomNid, user: UserNid, at: Position) -> Result<(), FederationError> {
        let Some(user) = self.0.rooms.user_ids(&[user]).await?.pop().map(|id| (user, id)) else { return Ok(()) };
        if !self.is_own(user.1.server_name()) {
            return Ok(());
        }
        let servers = self.others_in(room).await?;
        if servers.is_empty() {
            return Ok(());
        }
        let view = self.0.rooms.view_of(room).await?;
        for receipt in self.0.rooms.receipts_moved(user.0, room, at).await? {
            let Receipt { user_id, thread, event_id, ts_ms, .. } = &receipt;
            let thread_id = match thread {
                ReceiptThread::Main => Some("main"),
                ReceiptThread::Thread(root) => Some(root.as_str()),
                _ => None,
            };
            let data = OutgoingData { ts: *ts_ms, thread_id };
            let entry = OutgoingEntry { data, event_ids: [event_id] };
            let kind = OutgoingKind { read: BTreeMap::from([(&**user_id, entry)]) };
            let content = OutgoingReceipt(BTreeMap::from([(&*view.id, kind)]));
            let key = format!("{} {user_id} {}", view.id, thread_id.unwrap_or_default());
            self.signal(&servers, "m.receipt", &key, &content);
        }
        Ok(())
    }

    async fn tell_typing(&self) {
        #[derive(Serialize)]
        struct Content<'a> {
            room_id: &'a ruma::RoomId,
            user_id: &'a UserId,
            typing: bool,
        }
        for change in self.0.rooms.take_typing_changes() {
            let told = async {
                let servers = self.others_in(change.room).await?;
                if servers.is_empty() {
                    return Ok(());
                }
                let view = self.0.rooms.view_of(change.room).await?;
                let content = Content { room_id: &view.id, user_id: &change.user, typing: change.typing };
                let key = format!("{} {}", view.id, change.user);
                self.signal(&servers, "m.typing", &key, &content);
                Ok::<_, FederationError>(())
            };
            if let Err(error) = told.await {
                tracing::debug!(%error, "typing is not told to other servers");
            }
        }
    }

    async fn tell_device_changes(&self, telling: &mut Telling, now: Position) -> Result<(), FederationError> {
        let users = self.0.accounts.device_list_changes(telling.devices, now).await?;
        for user in &users {
            self.tell_devices(*user).await?;
        }
        telling.devices = now;
        if !users.is_empty() {
            self.save_device_cursor(now).await?;
        }
        Ok(())
    }

    /// Hands messages to devices of other servers to the outbox.
    async fn hand_over_to_device(&self, telling: &mut Telling) -> Result<(), FederationError> {
        let watched = self.0.store.watches().last(WatchKey { kind: WATCH_OUTGOING, id: 0 });
        if telling.to_device > Position::ZERO && watched <= telling.to_device {
            return Ok(());
        }
        let seen = watched.max(self.0.store.opened_at());
        loop {
            let page = self.0.accounts.outgoing_to_device(TO_DEVICE_PAGE).await?;
            if page.is_empty() {
                telling.to_device = seen;
                return Ok(());
            }
            let mut batch = Batch::default();
            for message in &page {
                let edu = OutgoingEdu { kind: "m.direct_to_device", coalesce: None, content: message.content.clone() };
                match self.0.outbox.queue_edu(&mut batch, &message.server, edu).await {
                    Err(error @ FederationError::TooLarge { .. }) => {
                        tracing::warn!(server = %message.server, %error, "a message to a device is not sent");
                    }
                    done => done?,
                }
                self.0.accounts.handed_over(&mut batch, message);
            }
            self.0.store.commit(batch).await?;
        }
    }

    async fn tell_presence(&self, telling: &mut Telling, now: Position) {
        let presence = self.0.accounts.presence();
        if !presence.is_enabled() {
            return;
        }
        let mut views = Vec::new();
        if presence.newest_change() > telling.presence {
            views = presence.changes(telling.presence, now, PRESENCE_CHANGES_MAX);
        }
        telling.presence = now;
        if Instant::now() >= telling.presence_again {
            telling.presence_again = Instant::now() + PRESENCE_AGAIN;
            views.extend(presence.present(PRESENCE_CHANGES_MAX));
        }
        for view in views.iter().filter(|view| self.is_own(view.user.server_name())) {
            match self.0.rooms.servers_of_acquaintances(&view.user).await {
                Ok(servers) => self.signal_presence(view, &servers),
                Err(error) => tracing::debug!(%error, "presence is not told to other servers"),
            }
        }
    }

    fn signal_presence(&self, view: &PresenceView, servers: &[OwnedServerName]) {
        let entry = OutgoingPresenceEntry {
            user_id: &view.user,
            presence: view.availability.name(),
            status_msg: view.status_msg.as_deref(),
            last_active_ago: view.last_active_ago_ms.unwrap_or_default(),
            currently_active: view.currently_active,
        };
        self.signal(servers, "m.presence", view.user.as_str(), &OutgoingPresence { push: [entry] });
    }

    fn signal(&self, servers: &[OwnedServerName], kind: &'static str, key: &str, content: &impl Serialize) {
        let Ok(content): Result<Box<RawValue>, _> = to_raw_value(content) else { return };
        for server in servers {
            let edu = OutgoingEdu { kind, coalesce: Some(key.to_owned()), content: content.clone() };
            self.0.outbox.signal(server, edu);
        }
    }
}
