//! Telling the members of this server that messages of a room are going to be deleted: before that happens for the first
//! time, and when it is going to happen earlier than they know.
//!
//! Whether there is something to tell is looked at with each purge, whatever the reason: what a room says, what an
//! administrator or a template says, another configuration. What is to be told stands in the batch that notes that it is
//! known; whoever tells it takes it from there, a page of members at a time, and each of them by a transaction of its own.
//! So each is told once, and nobody is left out by a crash.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, events::StateEventType};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use wardroom_store::{Batch, CommitError, Packed, Scan};

use super::{Lifetime, NOTICES, PERISHABLE, TOLD};
use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
    room::RoomView,
    tables::Membership,
};

/// Members who are told in one step.
const MEMBERS_AT_ONCE: usize = 100;
/// Rooms looked through for one whose members can be told.
const NOTICES_READ_MAX: usize = 100;

/// What members are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warning {
    /// Messages are kept for less long than before.
    Shorter,
    /// Messages are going to be deleted for the first time.
    First,
    /// Nobody has said anything for long: what was said is going to be deleted.
    Inactive,
    /// Nobody has said anything for long, and nothing that was said is left: the room is going to be removed.
    Unused,
}

impl Warning {
    /// Where it waits: what becomes of messages, and what becomes of the room, are told apart, and of each the newest.
    const fn place(self) -> u8 {
        match self {
            Self::Shorter | Self::First => 0,
            Self::Inactive | Self::Unused => 1,
        }
    }
}

/// What members of one room have still to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoticeRow {
    warning: Warning,
    /// When it came to be known, in milliseconds since 1970.
    at_ms: u64,
    /// How long messages are kept.
    max_ms: Option<u64>,
    /// When something is deleted, in milliseconds since 1970.
    due_ms: u64,
    /// The last of those who were told.
    after: Option<UserNid>,
}

/// What members of one room know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// For how long messages are kept.
    max_ms: Option<u64>,
    /// Since when they know of the first purge, in milliseconds since 1970.
    first_ms: Option<u64>,
}

/// What some members of a room are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionNotice {
    /// The room.
    pub room: OwnedRoomId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Who made it.
    pub creator: Option<OwnedUserId>,
    /// What they are told.
    pub warning: Warning,
    /// How long messages are kept, in milliseconds.
    pub max_ms: Option<u64>,
    /// When something is deleted, in milliseconds since 1970.
    pub due_ms: u64,
    /// Those members. Each has to be told under [`RetentionNotice::transaction`].
    pub users: Vec<OwnedUserId>,
    /// By which a repeated notice is recognized.
    pub transaction: String,
    told: Notified,
}

/// How far members of a room were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    row: (RoomNid, u8),
    version: wardroom_store::Position,
    /// The last of them; none where there are no more.
    last: Option<UserNid>,
}

impl RetentionNotice {
    /// That these members were told.
    pub fn told(&self) -> Notified {
        self.told.clone()
    }
}

/// Wakes who tells.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    added: Notify,
}

/// What has to be written, and whether the purge has to wait.
struct Judged {
    told: Told,
    row: Option<NoticeRow>,
}

impl Told {
    /// What is to be told by what members know, and by when the first message goes.
    fn judge(
        known: Option<Self>,
        lifetime: Lifetime,
        first_due_ms: Option<u64>,
        now_ms: u64,
        before_ms: u64,
    ) -> Judged {
        let soon = first_due_ms.filter(|due_ms| now_ms.saturating_add(before_ms) >= *due_ms);
        let known_max = known.map(|known| known.max_ms);
        let shorter = known_max.is_some_and(|known| match (known, lifetime.max_ms) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(known), Some(now)) => now < known,
        });
        let first = soon.is_some() && known.is_none_or(|known| known.first_ms.is_none());
        let warning = if shorter { Some(Warning::Shorter) } else { first.then_some(Warning::First) };
        let first_ms = known.and_then(|known| known.first_ms).or(first.then_some(now_ms));
        let due_ms = first_due_ms.unwrap_or_else(|| now_ms.saturating_add(lifetime.max_ms.unwrap_or_default()));
        let row = warning.map(|warning| NoticeRow {
            warning,
            at_ms: now_ms,
            max_ms: lifetime.max_ms,
            due_ms: due_ms.max(now_ms),
            after: None,
        });
        Judged { told: Self { max_ms: lifetime.max_ms, first_ms }, row }
    }
}

impl Engine {
    /// When members are told, before something is deleted, in milliseconds; none where they are told nothing.
    pub(crate) fn notice_ms(&self) -> Option<u64> {
        let before = self.retention.notice_before;
        (!before.is_zero()).then(|| u64::try_from(before.as_millis()).unwrap_or(u64::MAX))
    }

    /// Notes that the members of a room are to be told that it ends.
    pub(crate) fn warn(&self, batch: &mut Batch, room: RoomNid, warning: Warning, now_ms: u64, due_ms: u64) {
        let row = NoticeRow { warning, at_ms: now_ms, max_ms: None, due_ms, after: None };
        batch.put(&NOTICES, &(room, warning.place()), &Packed(row));
        self.wake_tellers(batch);
    }

    fn wake_tellers(&self, batch: &mut Batch) {
        let notices = Arc::clone(&self.notices);
        batch.on_commit(move |_| notices.added.notify_one());
    }

    /// Notes what members of a room have to be told of its purge; tells whether that may begin.
    pub(super) async fn announce(&self, room: &RoomView, now_ms: u64) -> Result<bool, RoomError> {
        let Some(before_ms) = self.notice_ms() else { return Ok(true) };
        let store = self.store.latest();
        let known = store.get_versioned(&TOLD, &room.nid).await?;
        let (told, version) = (known.as_ref().map(|(Packed(told), _)| *told), known.as_ref().map(|(_, at)| *at));
        let known_all = |told: Told| told.first_ms.is_some() && told.max_ms == room.lifetime.max_ms;
        let judged = if told.is_some_and(known_all) {
            None
        } else {
            let oldest = store.scan(&PERISHABLE, Scan::prefix(&room.nid).limit(1)).await?.pop();
            let due_ms = oldest.zip(room.lifetime.max_ms).map(|(((_, born_ms, _), received_ms), max_ms)| {
                born_ms.saturating_add(max_ms).max(received_ms.saturating_add(room.lifetime.min_ms))
            });
            Some(Told::judge(told, room.lifetime, due_ms, now_ms, before_ms))
        };
        if let Some(Judged { told: now, row }) = &judged
            && told != Some(*now)
        {
            let mut batch = Batch::default();
            batch.expect_version(&TOLD, &room.nid, version);
            batch.put(&TOLD, &room.nid, &Packed(*now));
            if let Some(row) = row {
                batch.put(&NOTICES, &(room.nid, row.warning.place()), &Packed(row.clone()));
                self.wake_tellers(&mut batch);
            }
            self.store.commit(batch).await?;
        }
        let first_ms = judged.map(|judged| judged.told).or(told).and_then(|told| told.first_ms);
        // Where nobody was told, no message goes by what is said of the room yet.
        let waited = first_ms.is_none_or(|first_ms| now_ms >= first_ms.saturating_add(before_ms));
        Ok(waited || !self.retention.notice_blocks)
    }
}

impl Rooms {
    /// Waits until there may be something to tell.
    pub async fn notice_added(&self) {
        self.engine.notices.added.notified().await;
    }

    /// What members of some room have to be told next, if anything.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_notice(&self) -> Result<Option<RetentionNotice>, RoomError> {
        let scan = Scan::all().limit(NOTICES_READ_MAX);
        for (at, Packed(row), version) in self.engine.store.latest().scan_versioned(&NOTICES, scan).await? {
            let view = match self.view_of(at.0).await {
                Ok(view) => view,
                Err(RoomError::NoSuchRoom) => {
                    self.note_told(&Notified { row: at, version, last: None }).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            return self.notice_of(&view, row, version).await.map(Some);
        }
        Ok(None)
    }

    async fn notice_of(
        &self,
        view: &RoomView,
        row: NoticeRow,
        version: wardroom_store::Position,
    ) -> Result<RetentionNotice, RoomError> {
        let members = self.members(view.nid, Membership::Join, row.after, MEMBERS_AT_ONCE).await?;
        let last = members.last().copied();
        let own = self.engine.gate.own_user();
        let users = self.local_among(&members).await?.into_iter().map(|(user, _)| user);
        let name = self.engine.state_event(view.nid, view.state, &StateEventType::RoomName, "").await?;
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let create = self.engine.event(view.nid, view.create).await?;
        Ok(RetentionNotice {
            room: view.id.clone(),
            name: name.and_then(|name| name.pdu.content_as::<Named>().ok()).map(|named| named.name),
            creator: create.map(|create| create.pdu.sender().to_owned()),
            warning: row.warning,
            max_ms: row.max_ms,
            due_ms: row.due_ms,
            users: users.filter(|user| own != Some(user)).collect(),
            transaction: format!("retention-{}-{}-{}", view.nid.get(), row.warning.place(), row.at_ms),
            told: Notified { row: (view.nid, row.warning.place()), version, last },
        })
    }

    /// Notes that members were told; others are next. What there is to tell anew meanwhile stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_told(&self, told: &Notified) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        batch.expect_version(&NOTICES, &told.row, Some(told.version));
        match told.last {
            None => batch.delete(&NOTICES, &told.row),
            Some(last) => {
                let Some(Packed(row)) = self.engine.store.latest().get(&NOTICES, &told.row).await? else {
                    return Ok(());
                };
                batch.put(&NOTICES, &told.row, &Packed(NoticeRow { after: Some(last), ..row }));
            }
        }
        match self.engine.store.commit(batch).await {
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
