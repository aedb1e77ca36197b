//! Redacting an event with those that relate to it (MSC3912, "Redaction of related events").
//!
//! What somebody wishes to have redacted is kept with the redaction itself, in one batch. What relates to the event by then is
//! redacted behind the answer, by the hand of who asked; what another server sends later, when it comes. What that user may
//! not redact stays. A crash forgets nothing: what is due stands in [`RELATED_DUE`] until it is done.

use std::{sync::Arc, time::Duration};

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use wardroom_audit::{Origin, Who, origin};
use wardroom_store::{Batch, CommitError, Packed, Position, Profile, Scan, Seal, Table};

use super::{CHILDREN, Child, ParentFacts, Relation, rel_type_hash};
use crate::{
    Actor, Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, NS_USER, RoomNid, UserNid, WATCH_RELATED},
    room::RoomView,
    writer::Writer,
};

/// Types of relations that one request may name.
pub const RELATED_TYPES_MAX: usize = 50;
/// The type that means every type.
const ANY: &str = "*";
/// Rows read at a time.
const PAGE_ROWS: usize = 200;
/// How long to wait after a failure; doubled while it lasts.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who wishes to have what relates to an event redacted.
pub(crate) const RELATED_WISHES: Table<(RoomNid, EventNid, UserNid), Packed<Wish>> =
    Table::new(0x028C, "related_redactions", Profile::Point, Seal::System);
/// What has to be looked at for that: a child of an event, or [`ALL`] of them.
pub(crate) const RELATED_DUE: Table<(RoomNid, EventNid, EventNid), ()> =
    Table::new(0x028D, "related_redactions_due", Profile::Churn, Seal::System);
/// No event has this number.
const ALL: EventNid = EventNid::new(0);

/// What is to be redacted with an event.
#[derive(Clone, Copy, Debug)]
pub struct Related<'a> {
    /// Types of relations; `*` for all. Nothing where there are none.
    pub rel_types: &'a [String],
    /// Only what the user sent who asks.
    pub own_only: bool,
}

/// What is to be redacted with an event, at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// Keyed hashes of types of relations; none for all.
    rels: Option<Vec<u64>>,
    own_only: bool,
    guest: bool,
    /// The redaction of the event, which says why.
    redaction: EventNid,
    /// Kind of the relation that the event had, which decides what could relate to it.
    class: Option<u8>,
}

impl Wish {
    /// What somebody asks for; none where that is nothing.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where too much is named.
    pub(crate) fn of(engine: &Engine, by: Actor<'_>, asked: Related<'_>) -> Result<Option<Self>, RoomError> {
        if asked.rel_types.len() > RELATED_TYPES_MAX {
            let sentence = format!("with_rel_types: at most {RELATED_TYPES_MAX} types of relations can be named.");
            return Err(RoomError::InvalidParam(sentence));
        }
        if asked.rel_types.is_empty() {
            return Ok(None);
        }
        let hashes = || asked.rel_types.iter().map(|rel| rel_type_hash(&engine.store, rel)).collect();
        let rels = (!asked.rel_types.iter().any(|rel| rel == ANY)).then(hashes);
        Ok(Some(Self { rels, own_only: asked.own_only, guest: by.guest, redaction: ALL, class: None }))
    }

    /// With what the same user wished before.
    fn and(mut self, before: Self) -> Self {
        self.rels = match (self.rels, before.rels) {
            (Some(mut rels), Some(others)) => {
                rels.extend(others);
                rels.sort_unstable();
                rels.dedup();
                Some(rels)
            }
            _ => None,
        };
        self.own_only &= before.own_only;
        // The event was redacted then: its own relation is not to be seen any more.
        self.class = before.class;
        self
    }

    /// Whether a child of this event is meant. What does not meet the rules of its relation is none.
    fn means(&self, engine: &Engine, user: UserNid, parent: &ParentFacts, child: &Child) -> bool {
        let rel = |rel_type| rel_type_hash(&engine.store, rel_type);
        let is_valid = match child.rel {
            replacement if replacement == rel("m.replace") => parent.is_replaced_by(child),
            thread if thread == rel("m.thread") => parent.can_have_thread(),
            _ => true,
        };
        is_valid
            && self.rels.as_ref().is_none_or(|rels| rels.contains(&child.rel))
            && (!self.own_only || child.sender == user)
    }
}

impl Writer {
    /// Notes what is to be redacted with an event that is being redacted.
    pub(crate) async fn redact_related(
        &mut self,
        (target, redaction): (&Stored, EventNid),
        user: UserNid,
        wish: Wish,
    ) -> Result<(), RoomError> {
        let (room, class) = (self.nid(), Relation::of(&target.pdu).map(|relation| relation.class()));
        let wish = Wish { redaction, class, ..wish };
        let before = self.engine.store.latest().get(&RELATED_WISHES, &(room, target.nid, user)).await?;
        let wish = match before {
            Some(Packed(before)) => wish.and(before),
            None => wish,
        };
        self.batch.put(&RELATED_WISHES, &(room, target.nid, user), &Packed(wish));
        self.batch.put(&RELATED_DUE, &(room, target.nid, ALL), &());
        self.batch.touch(WATCH_RELATED);
        Ok(())
    }

    /// Notes that an event of another server has come whose parent was redacted with what relates to it.
    pub(super) async fn note_related(&mut self, child: &Stored, parent: EventNid) -> Result<(), RoomError> {
        if child.pdu.sender().server_name() == self.engine.server_name {
            return Ok(());
        }
        let wished = Scan::prefix(&(self.nid(), parent)).limit(1);
        if !self.engine.store.latest().scan_keys(&RELATED_WISHES, wished).await?.is_empty() {
            self.batch.put(&RELATED_DUE, &(self.nid(), parent, child.nid), &());
            self.batch.touch(WATCH_RELATED);
        }
        Ok(())
    }

    /// Forgets what was to be redacted with an event, since the event itself goes.
    pub(crate) async fn forget_related(&mut self, event: &Stored) -> Result<(), RoomError> {
        if event.redacted_because.is_none() {
            return Ok(());
        }
        let wishes = Scan::prefix(&(self.nid(), event.nid));
        for key in self.engine.store.latest().scan_keys(&RELATED_WISHES, wishes).await? {
            self.batch.delete(&RELATED_WISHES, &key);
        }
        Ok(())
    }
}

/// Something that is to be looked at.
type Due = (RoomNid, EventNid, EventNid);

/// Whose wish it is, and what it is.
type Wished = (OwnedUserId, UserNid, Wish);

impl Rooms {
    /// Redacts what relates to events that were redacted with it, for as long as it is polled.
    pub async fn run_related(self) {
        let mut noted = self.engine.store.watches().waiter([WATCH_RELATED]);
        let mut pause = FAILURE_PAUSE;
        loop {
            match self.redact_all_related().await {
                Ok(()) => {
                    pause = FAILURE_PAUSE;
                    noted.changed().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "related events could not be redacted; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(FAILURE_PAUSE_MAX);
                }
            }
        }
    }

    /// Does what is due once; what fails holds up nothing else.
    pub(crate) async fn redact_all_related(&self) -> Result<(), RoomError> {
        let (mut after, mut failure) = (None, None);
        loop {
            let mut scan = Scan::all().limit(PAGE_ROWS);
            if let Some(after) = after {
                scan = scan.after(&after);
            }
            let page = self.engine.store.latest().scan_versioned(&RELATED_DUE, scan).await?;
            let Some((last, ..)) = page.last() else { return failure.map_or(Ok(()), Err) };
            after = Some(*last);
            for (due, (), noted) in page {
                match self.redact_due(due).await {
                    // What cannot be read will not be read the next time: there is nothing to redact.
                    Ok(()) | Err(RoomError::NoSuchRoom | RoomError::NoSuchEvent) => {
                        self.related_done(due, noted).await?;
                    }
                    Err(error) => failure = Some(error),
                }
            }
        }
    }

    async fn related_done(&self, due: Due, noted: Position) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        batch.expect_version(&RELATED_DUE, &due, Some(noted));
        batch.delete(&RELATED_DUE, &due);
        match self.engine.store.commit(batch).await {
            // Noted again meanwhile, which has woken the next round.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn redact_due(&self, (room, parent, child): Due) -> Result<(), RoomError> {
        let (view, wishes) = (self.view_of(room).await?, self.wishes_of(room, parent).await?);
        let Some(redacted) = self.engine.event(room, parent).await? else { return Ok(()) };
        if child != ALL {
            let Some(event) = self.engine.event(room, child).await? else { return Ok(()) };
            let Some(child) = self.engine.child_of(&event).await? else { return Ok(()) };
            return self.redact_child(&view, &redacted, &wishes, &child).await;
        }
        let mut scan = Scan::prefix(&(room, parent)).limit(PAGE_ROWS);
        loop {
            let rows = self.engine.store.latest().scan(&CHILDREN, scan).await?;
            let Some((last, _)) = rows.last().copied() else { return Ok(()) };
            for (_, Packed(child)) in rows {
                self.redact_child(&view, &redacted, &wishes, &child).await?;
            }
            scan = Scan::prefix(&(room, parent)).after(&last).limit(PAGE_ROWS);
            tokio::task::consume_budget().await;
        }
    }

    async fn wishes_of(&self, room: RoomNid, parent: EventNid) -> Result<Vec<Wished>, RoomError> {
        let rows = self.engine.store.latest().scan(&RELATED_WISHES, Scan::prefix(&(room, parent))).await?;
        let mut wishes = Vec::with_capacity(rows.len());
        for ((_, _, nid), Packed(wish)) in rows {
            wishes.extend(self.user_ids(&[nid]).await?.pop().map(|user| (user, nid, wish)));
        }
        Ok(wishes)
    }

    /// Redacts a child by the hand of the first who wishes it and may.
    async fn redact_child(
        &self,
        room: &RoomView,
        parent: &Stored,
        wishes: &[Wished],
        child: &Child,
    ) -> Result<(), RoomError> {
        let Some(facts) = self.engine.facts_of(parent).await? else { return Ok(()) };
        for (user, nid, wish) in wishes {
            if !wish.means(&self.engine, *nid, &ParentFacts { class: wish.class, ..facts }, child) {
                continue;
            }
            let Some(event) = self.engine.event(room.nid, child.event).await? else { return Ok(()) };
            if event.redacted_because.is_some() {
                return Ok(());
            }
            let reason = self.engine.reason_of(room.nid, wish.redaction).await?;
            let actor = Actor { user, nid: *nid, device: None, guest: wish.guest };
            let redacting = self.redact_at_any_age(actor, &room.id, event.pdu.event_id(), reason, None);
            let who = Who { user: Some(user.to_string()), ..Who::default() };
            match origin::scope(Origin { who, request: None }, redacting).await {
                Ok(_) => return Ok(()),
                Err(error @ (RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_))) => return Err(error),
                Err(error) => tracing::debug!(%error, "a related event is left as it is"),
            }
        }
        Ok(())
    }
}

impl Engine {
    /// An event as a child; none where it is none.
    async fn child_of(&self, event: &Arc<Stored>) -> Result<Option<Child>, RoomError> {
        let Some(relation) = Relation::of(&event.pdu) else { return Ok(None) };
        let sender = self.store.interner().known(NS_USER, event.pdu.sender().as_str()).await?;
        Ok(sender.map(|sender| Child::of(&self.store, &event.pdu, &relation, event.nid, UserNid::new(sender))))
    }

    async fn facts_of(&self, parent: &Stored) -> Result<Option<ParentFacts>, RoomError> {
        let sender = self.store.interner().known(NS_USER, parent.pdu.sender().as_str()).await?;
        Ok(sender.map(|sender| ParentFacts::of(&self.store, &parent.pdu, UserNid::new(sender))))
    }

    /// Why an event was redacted, as far as that can still be read.
    async fn reason_of(&self, room: RoomNid, redaction: EventNid) -> Result<Option<String>, RoomError> {
        #[derive(Deserialize)]
        struct Content {
            reason: Option<String>,
        }
        let redaction = self.event(room, redaction).await?;
        Ok(redaction.and_then(|redaction| redaction.pdu.content_as::<Content>().ok()?.reason))
    }
}

#[cfg(test)]
mod tests;
