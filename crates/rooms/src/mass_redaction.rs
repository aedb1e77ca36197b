//! Redacting what a user sent, room by room, from the newest event on.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use wardroom_event::Action as PowerAction;
use wardroom_store::Batch;

use crate::{
    Actor, Rooms,
    error::RoomError,
    events::Stored,
    ids::{Place, UserNid},
    room::RoomView,
    tables::Membership,
    tasks::{Task, Work},
    timeline::TimelineRange,
};

/// Rooms that one request may name.
pub const REDACTION_ROOMS_MAX: usize = 1_000;
/// Events of one room that may be looked at.
pub const REDACTION_EVENTS_MAX: u64 = 100_000;
/// Events read at a time.
const PAGE_EVENTS: usize = 500;
/// Failures that are told.
const FAILURES_MAX: usize = 1_000;

/// The redaction of what a user sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MassRedaction {
    /// Whose events.
    pub user: OwnedUserId,
    /// Who wants it.
    pub requested_by: OwnedUserId,
    /// The number of who wants it.
    pub requester: UserNid,
    /// Where.
    pub rooms: Vec<OwnedRoomId>,
    /// Why, told with each redaction.
    pub reason: Option<String>,
    /// The user's events that are redacted in each room, the newest first, at most.
    pub limit: u64,
    /// Redactions by the hand of who wants it, also of what users of this server sent.
    #[serde(default)]
    pub by_requester: bool,
    /// Events that were redacted.
    #[serde(default)]
    pub redacted: u64,
    /// Events that could not be, and why.
    #[serde(default)]
    pub failed: BTreeMap<String, String>,
    /// Rooms that are done.
    #[serde(default)]
    rooms_done: usize,
}

impl MassRedaction {
    /// The redaction of everything that a user sent to these rooms.
    pub fn new(user: OwnedUserId, requested_by: OwnedUserId, requester: UserNid, rooms: Vec<OwnedRoomId>) -> Self {
        let (limit, failed) = (REDACTION_EVENTS_MAX, BTreeMap::new());
        let reason = None;
        Self {
            user,
            requested_by,
            requester,
            rooms,
            reason,
            limit,
            by_requester: false,
            redacted: 0,
            failed,
            rooms_done: 0,
        }
    }
}

fn redaction(task: &mut Task) -> Result<&mut MassRedaction, RoomError> {
    match &mut task.work {
        Work::Redact(redaction) => Ok(redaction),
        _ => Err(RoomError::inconsistent("a task of another kind")),
    }
}

impl Rooms {
    /// Has what a user sent redacted; answers the id of the task.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where that is being done already or too many rooms are named.
    pub async fn redact_user(&self, wish: MassRedaction) -> Result<String, RoomError> {
        if wish.rooms.len() > REDACTION_ROOMS_MAX {
            let sentence = format!("rooms: at most {REDACTION_ROOMS_MAX} rooms can be named at once.");
            return Err(RoomError::InvalidParam(sentence));
        }
        let user = wish.user.clone();
        let unlike = |work: &Work| matches!(work, Work::Redact(other) if other.user == user);
        self.add_task(Batch::default(), Work::Redact(wish), unlike).await
    }

    /// The rooms in which a user is or was joined.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rooms_ever_joined(&self, user: UserNid) -> Result<Vec<OwnedRoomId>, RoomError> {
        let mut rooms = Vec::new();
        for entry in self.memberships(user).await?.into_iter().filter(|entry| entry.was_joined) {
            match self.view_of(entry.room).await {
                Ok(view) => rooms.push(view.id.clone()),
                Err(RoomError::NoSuchRoom) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rooms)
    }

    pub(crate) async fn do_redaction(&self, task: &mut Task) -> Result<(), RoomError> {
        loop {
            let known = redaction(task)?.clone();
            let Some(room) = known.rooms.get(known.rooms_done) else { return Ok(()) };
            if let Some(view) = self.view(room).await? {
                self.redact_in(task, &known, &view).await?;
            }
            redaction(task)?.rooms_done += 1;
            self.save_task(task, Batch::default()).await?;
        }
    }

    async fn redact_in(&self, task: &mut Task, known: &MassRedaction, view: &RoomView) -> Result<(), RoomError> {
        let by = match self.redactor(known, view).await {
            Ok(by) => by,
            Err(RoomError::Forbidden(sentence)) => {
                note_failure(redaction(task)?, view.id.as_str(), sentence);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (mut to, mut looked_at, mut found) = (view.end, 0_u64, 0_u64);
        while looked_at < REDACTION_EVENTS_MAX && found < known.limit {
            let range = TimelineRange { from: Place::FIRST, to, backwards: true, limit: PAGE_EVENTS };
            let items = self.timeline(view.nid, range).await?;
            let Some(last) = items.last() else { return Ok(()) };
            to = last.place;
            looked_at += items.len() as u64;
            for item in items {
                if is_to_redact(&item.event, &known.user) && found < known.limit {
                    found += 1;
                    self.redact_one(task, (&by.0, by.1), view, item.event.pdu.event_id()).await?;
                }
            }
            self.save_task(task, Batch::default()).await?;
        }
        Ok(())
    }

    async fn redact_one(
        &self,
        task: &mut Task,
        (by, nid): (&UserId, UserNid),
        view: &RoomView,
        event: &EventId,
    ) -> Result<(), RoomError> {
        let actor = Actor { user: by, nid, device: None, guest: false };
        let reason = redaction(task)?.reason.clone();
        match self.redact_at_any_age(actor, &view.id, event, reason, None).await {
            Ok(_) => redaction(task)?.redacted += 1,
            Err(error @ (RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_))) => return Err(error),
            Err(error) => note_failure(redaction(task)?, event.as_str(), error.to_string()),
        }
        Ok(())
    }

    /// Who redacts: the user, where they are of this server and in the room, else who wants it, if in the room with
    /// the power to, else somebody here who has it.
    async fn redactor(&self, known: &MassRedaction, view: &RoomView) -> Result<(OwnedUserId, UserNid), RoomError> {
        let own = known.user.server_name() == self.engine.server_name;
        if own
            && !known.by_requester
            && let Some(nid) = self.engine.user_nid(&known.user).await?
            && self.is_joined_now(nid, view).await?
        {
            return Ok((known.user.clone(), nid));
        }
        if self.is_joined_now(known.requester, view).await? {
            return Ok((known.requested_by.clone(), known.requester));
        }
        self.somebody_who_may(view, PowerAction::Redact).await
    }

    async fn is_joined_now(&self, user: UserNid, view: &RoomView) -> Result<bool, RoomError> {
        let entry = self.engine.membership(user, view.nid).await?;
        Ok(entry.is_some_and(|entry| entry.membership == Membership::Join))
    }
}

/// Messages and what belongs to them. State stays: the room needs it.
fn is_to_redact(event: &Stored, user: &UserId) -> bool {
    let pdu = &event.pdu;
    pdu.sender() == user && !pdu.is_state() && event.redacted_because.is_none() && pdu.redacts().is_none()
}

fn note_failure(redaction: &mut MassRedaction, what: &str, why: String) {
    if redaction.failed.len() < FAILURES_MAX {
        redaction.failed.insert(what.to_owned(), why);
    }
}
