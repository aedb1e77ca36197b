//! What is said of how long one room's events are kept, layer by layer.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use wardroom_audit::{Act, Record};
use wardroom_store::{Hash16, Json, Packed, Scan};

use super::{OVERRIDES, RETENTION_TYPES, TEMPLATE_OF, TERM_MS_MAX, Terms, terms_of};
use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
    room::{Room, RoomView},
    tables::Membership,
    writer::Writer,
};

/// Rooms for which administrators have set something that one answer looks at.
const OVERRIDES_LISTED_MAX: usize = 10_000;

/// What the record says when an administrator sets how long a room's events are kept; its name has the terms, as JSON.
pub const OVERRIDE_SET: &str = "retention.set";
/// What it says when that is taken back.
pub const OVERRIDE_REMOVED: &str = "retention.remove";

/// What an administrator has set for a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// How long its events are kept, whatever the room says.
    #[serde(flatten)]
    pub terms: Terms,
    /// What was said is deleted so many milliseconds after the last of it, instead of when the server says; 0 is never.
    #[serde(default, rename = "inactive_lifetime", skip_serializing_if = "Option::is_none")]
    pub inactive_ms: Option<u64>,
}

impl Override {
    /// Refuses what makes no sense, naming the field.
    fn check(self) -> Result<(), String> {
        self.terms.check()?;
        if self.inactive_ms.is_some_and(|ms| ms > TERM_MS_MAX) {
            return Err(format!("inactive_lifetime: must be at most {TERM_MS_MAX}"));
        }
        Ok(())
    }
}

/// What is said of how long one room's events are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionOf {
    /// By an administrator of the server.
    pub set: Option<Override>,
    /// By the room itself, before the server's limits.
    pub said: Option<Terms>,
    /// By the template that the room was made by.
    pub template: Option<Terms>,
}

impl Engine {
    /// What an administrator has set for a room.
    pub(crate) async fn retention_set(&self, room: RoomNid) -> Result<Option<Override>, RoomError> {
        Ok(self.store.latest().get(&OVERRIDES, &room).await?.map(|set| set.0))
    }

    /// The template that a room was made by.
    pub(crate) async fn template_of(&self, room: RoomNid) -> Result<Option<Hash16>, RoomError> {
        Ok(self.store.latest().get(&TEMPLATE_OF, &room).await?.map(|Packed(template)| template))
    }

    /// Has a room follow what its template says now.
    pub(super) async fn follow_template(self: &Arc<Self>, room: &Arc<Room>) -> Result<(), RoomError> {
        self.write(room, |writer| {
            async move {
                writer.quiet();
                // Said again, so that there is something to commit.
                writer.made_by(writer.template);
                let noted = writer.note_retention().await;
                writer.guard(noted)
            }
            .boxed()
        })
        .await
    }
}

impl Rooms {
    /// What is said of how long a room's events are kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retention_of(&self, room: &RoomView) -> Result<RetentionOf, RoomError> {
        let mut said = None;
        for kind in RETENTION_TYPES {
            if said.is_none() {
                let event = self.engine.state_event(room.nid, room.state, &kind.into(), "").await?;
                said = event.and_then(|event| terms_of(&event.pdu));
            }
        }
        let template = room.template.and_then(|template| self.engine.gate.terms_of_template(template));
        Ok(RetentionOf { set: room.retention_set, said, template })
    }

    /// What administrators have set for rooms that a user is in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retention_overrides_of(&self, user: UserNid) -> Result<Vec<(OwnedRoomId, Terms)>, RoomError> {
        let mut found = Vec::new();
        for (room, Json(set)) in
            self.engine.store.latest().scan(&OVERRIDES, Scan::all().limit(OVERRIDES_LISTED_MAX)).await?
        {
            if set.terms == Terms::default() {
                continue;
            }
            let entry = self.membership(user, room).await?;
            if entry.is_some_and(|entry| entry.membership == Membership::Join) {
                found.push((self.view_of(room).await?.id.clone(), set.terms));
            }
        }
        Ok(found)
    }

    /// Sets, or takes back, for how long a room's events are kept. It counts at once, for events of any age.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room, [`RoomError::InvalidParam`] where the terms make no sense; when
    /// the store fails.
    pub async fn set_retention_override(&self, room: &RoomId, set: Option<Override>) -> Result<(), RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NotFound("There is no such room."))?;
        if let Some(set) = set {
            set.check().map_err(RoomError::InvalidParam)?;
        }
        self.engine
            .write(&found, move |writer| {
                async move {
                    writer.set_override(set);
                    writer.record_override(set);
                    let noted = writer.note_retention().await;
                    writer.guard(noted)
                }
                .boxed()
            })
            .await
    }

    /// What templates say of how long events are kept has changed: the rooms that were made by one follow.
    ///
    /// # Errors
    /// When the store fails; rooms that were not reached follow with the next purge.
    pub async fn templates_changed(&self) -> Result<(), RoomError> {
        // Rooms that are not in memory read what is said when they are loaded.
        for room in self.engine.registry.loaded().await {
            if room.view().template.is_some() {
                match self.engine.follow_template(&room).await {
                    Ok(()) | Err(RoomError::NoSuchRoom) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl Writer {
    fn record_override(&mut self, set: Option<Override>) {
        let record = Record::by(Act::RoomChange, self.origin.clone()).room(self.view().id.as_str());
        let record = match set {
            Some(set) => record.detail(OVERRIDE_SET).name(serde_json::to_string(&set).unwrap_or_default()),
            None => record.detail(OVERRIDE_REMOVED),
        };
        self.engine.audit.add(&mut self.batch, record);
    }

    /// Works out the room's lifetime anew: what it follows from has changed.
    pub(crate) async fn note_retention(&mut self) -> Result<(), RoomError> {
        let mut said = None;
        for kind in RETENTION_TYPES {
            if said.is_none() {
                let event = self.state_event(&kind.into(), "").await?;
                said = event.and_then(|event| terms_of(&event.pdu));
            }
        }
        let template = self.template.and_then(|template| self.engine.gate.terms_of_template(template));
        let of = RetentionOf { set: self.retention_set, said, template };
        self.lifetime = self.engine.retention.lifetime(&of).ended(self.activity.ended_ms);
        Ok(())
    }

    fn set_override(&mut self, set: Option<Override>) {
        let room = self.nid();
        match set {
            Some(set) => self.batch.put(&OVERRIDES, &room, &Json(set)),
            None => self.batch.delete(&OVERRIDES, &room),
        }
        self.retention_set = set;
    }

    /// Notes the template that the room was made by.
    pub(crate) fn made_by(&mut self, template: Option<Hash16>) {
        if let Some(template) = template {
            self.batch.put(&TEMPLATE_OF, &self.nid(), &Packed(template));
        }
        self.template = template;
    }

    /// Takes over what is said of a room besides its state: what it says itself comes along as state.
    pub(crate) async fn inherit_retention(&mut self, from: &Self) -> Result<(), RoomError> {
        self.made_by(from.template);
        if from.retention_set.is_some() {
            self.set_override(from.retention_set);
        }
        self.note_retention().await
    }
}
