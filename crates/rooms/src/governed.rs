//! Rooms in which the gate decides by a state event of theirs ([`Gate::policy_type`](crate::Gate::policy_type)).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use ruma::{
    UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};
use wardroom_event::Pdu;
use wardroom_store::{Position, Profile, Scan, Seal, Table};

use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{RoomNid, UserNid, WATCH_POLICIES},
    room::RoomView,
    tables::Membership,
    writer::{NewEvent, Writer},
};

/// The rooms with such a policy now.
pub(crate) static GOVERNED: Table<RoomNid, ()> = Table::new(0x0272, "governed_rooms", Profile::Scan, Seal::System);

/// Who came to be in such a room, until somebody has looked whether they may be: another server may have let them in, and
/// what follows their joining brings them along. Of rooms whose members this server keeps
/// ([`Gate::keeps_members`](crate::Gate::keeps_members)), also who went.
pub(crate) static ARRIVALS: Table<(RoomNid, UserNid), ()> =
    Table::new(0x0273, "arrivals", Profile::Churn, Seal::System);

/// Rooms whose policy changed, or who may do what in one that has one, until somebody has looked who may be there.
pub(crate) static CHANGED: Table<RoomNid, ()> = Table::new(0x0274, "changed_policies", Profile::Churn, Seal::System);

impl Engine {
    /// Whether events of this type are what the gate decides by.
    pub(crate) fn is_policy(&self, kind: &TimelineEventType) -> bool {
        self.gate.policy_type().is_some_and(|policy| *kind == TimelineEventType::from(policy.clone()))
    }

    /// Whether the gate can decide by an event that is to be sent.
    pub(crate) fn check_policy(&self, new: &NewEvent) -> Result<(), RoomError> {
        let kind = self.gate.policy_type().filter(|_| new.state_key.as_deref() == Some(""));
        match kind.filter(|kind| new.kind == kind.to_string()) {
            Some(_) => self.gate.check_policy(&new.content).map_err(RoomError::BadContent),
            None => Ok(()),
        }
    }
}

impl Writer {
    /// Notes what the gate decides by from now on.
    pub(crate) fn note_policy(&mut self, event: Option<&Stored>) {
        let had_one = self.policy.is_some();
        self.policy = event.and_then(|event| self.engine.gate.read_policy(event));
        let room = self.nid();
        match &self.policy {
            Some(_) => self.batch.put(&GOVERNED, &room, &()),
            None if had_one => self.batch.delete(&GOVERNED, &room),
            None => return,
        }
        self.note_changed();
    }

    /// Notes that everybody in a room with a policy is to be looked at: who may do what there changed.
    pub(crate) fn note_powers(&mut self) {
        if self.policy.is_some() {
            self.note_changed();
        }
    }

    fn note_changed(&mut self) {
        self.batch.put(&CHANGED, &self.nid(), &());
        self.batch.touch(WATCH_POLICIES);
    }

    /// Notes who came to be in a room with a policy, and that the server's own user is not any more; and who comes and
    /// goes where this server keeps the members.
    pub(crate) fn note_arrival(&mut self, user: (UserNid, &str), membership: Membership) {
        if self.engine.gate.keeps_members(self.nid()) {
            self.batch.put(&ARRIVALS, &(self.nid(), user.0), &());
            self.batch.touch(WATCH_POLICIES);
        }
        if self.policy.is_none() {
            return;
        }
        if matches!(membership, Membership::Join | Membership::Invite | Membership::Knock) {
            self.batch.put(&ARRIVALS, &(self.nid(), user.0), &());
            self.batch.touch(WATCH_POLICIES);
        } else if self.engine.gate.own_user().is_some_and(|own| own == user.1) {
            self.note_changed();
        }
    }

    /// As [`Writer::note_policy`], where the state changed by more than one event.
    pub(crate) async fn note_policy_of_state(&mut self) -> Result<(), RoomError> {
        let kind: Option<StateEventType> = self.engine.gate.policy_type().cloned();
        if let Some(kind) = kind {
            let event = self.state_event(&kind, "").await?;
            self.note_policy(event.as_deref());
        }
        Ok(())
    }
}

impl Rooms {
    /// Has the gate find out what it does not know yet of those who sent events, and of those who are invited.
    pub(crate) async fn prepare_for(&self, events: impl Iterator<Item = &Pdu>, room: &RoomView) {
        let mut users = BTreeSet::new();
        for event in events {
            users.insert(event.sender());
            if event.membership() == Some(MembershipState::Invite) {
                users.extend(event.state_key().and_then(|key| <&UserId>::try_from(key).ok()));
            }
        }
        join_all(users.into_iter().map(|user| self.engine.gate.prepare(user, room))).await;
    }

    /// Who came to be in rooms with a policy, or came or went where this server keeps the members, and was not looked at
    /// since, at most so many; [`Rooms::arrivals_seen`] takes them away.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn arrivals(&self, limit: usize) -> Result<Vec<((RoomNid, UserNid), Position)>, RoomError> {
        Ok(self.engine.store.marks(&ARRIVALS, limit).await?)
    }

    /// These were looked at. Who came again meanwhile stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn arrivals_seen(&self, arrivals: &[((RoomNid, UserNid), Position)]) -> Result<(), RoomError> {
        Ok(self.engine.store.unmark(&ARRIVALS, arrivals).await?)
    }

    /// Rooms whose policy changed, or who may do what in a room with one, and that were not looked at since, at most so
    /// many; [`Rooms::changes_seen`] takes them away.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn changed_policies(&self, limit: usize) -> Result<Vec<(RoomNid, Position)>, RoomError> {
        Ok(self.engine.store.marks(&CHANGED, limit).await?)
    }

    /// These were looked at. What changed again meanwhile stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn changes_seen(&self, changes: &[(RoomNid, Position)]) -> Result<(), RoomError> {
        Ok(self.engine.store.unmark(&CHANGED, changes).await?)
    }

    /// Rooms in which the gate decides by an event of theirs, in the order of their numbers: at most so many, after
    /// that one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn governed(&self, after: Option<RoomNid>, limit: usize) -> Result<Vec<RoomNid>, RoomError> {
        let scan = match &after {
            Some(after) => Scan::all().after(after),
            None => Scan::all(),
        };
        Ok(self.engine.store.latest().scan_keys(&GOVERNED, scan.limit(limit)).await?)
    }
}
