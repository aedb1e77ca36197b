//! What the audit trail hears of rooms: each event leaves one record, in the batch that brings it.
//!
//! Who asks may be somebody else than the sender: an administrator who acts by a user's hand, or the server itself. Then the
//! record names both. Contents, names and reasons stay out of it; what a state event said before and after is told by
//! hashes.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, OwnedEventId, RoomId, UserId};
use serde::Deserialize;
use wardroom_audit::{Act, Origin, Outcome, Record, hash, origin};
use wardroom_event::Pdu;
use wardroom_store::Batch;

use crate::{
    Engine,
    error::RoomError,
    events::Stored,
    gate::Action,
    ids::{Slot, is_member},
    tables::{Membership, Standing},
    writer::Writer,
};

/// An event of another server that says that it was sent so much later than now is noted: a clock is wrong, or somebody lies.
const CLOCK_AHEAD_MS: u64 = 5 * 60 * 1_000;

/// SHA-256 of a content as canonical JSON, in hexadecimal digits; none where it is no JSON that can be canonical.
fn hash_of(pdu: &Pdu) -> Option<String> {
    let content: CanonicalJsonObject = serde_json::from_str(pdu.content().get()).ok()?;
    Some(hash(serde_json::to_vec(&content).ok()?))
}

/// The event that another one replaces (specification, "Event replacements"). Encrypted events say it in the clear.
fn replaces(pdu: &Pdu) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: RelatesTo,
    }
    #[derive(Deserialize)]
    struct RelatesTo {
        rel_type: String,
        event_id: OwnedEventId,
    }
    const RELATION: &str = "m.replace";
    if pdu.is_state() || !pdu.content().get().contains(RELATION) {
        return None;
    }
    let relation = pdu.content_as::<Content>().ok()?.relates_to;
    (relation.rel_type == RELATION).then_some(relation.event_id)
}

/// What a membership event does; none where somebody who is in the room only changed how they are shown.
fn membership_act(pdu: &Pdu, before: Option<Membership>) -> Option<Act> {
    let own = pdu.state_key() == Some(pdu.sender().as_str());
    Some(match (Membership::from(&pdu.membership()?), before) {
        (Membership::Join, Some(Membership::Join)) => return None,
        (Membership::Join, _) => Act::MemberJoin,
        (Membership::Invite, _) => Act::MemberInvite,
        (Membership::Knock, _) => Act::MemberKnock,
        (Membership::Ban, _) => Act::MemberBan,
        (Membership::Leave, Some(Membership::Ban)) => Act::MemberUnban,
        (Membership::Leave, _) if own => Act::MemberLeave,
        (Membership::Leave, _) => Act::MemberKick,
    })
}

/// Adds who and what a record is about that is not the asker's own doing: as whom it is done.
fn by(act: Act, origin: &Origin, sender: &UserId) -> Record {
    let mut record = Record::by(act, origin.clone());
    if record.who.user.as_deref() != Some(sender.as_str()) {
        record.who.on_behalf_of = Some(sender.to_string());
    }
    record
}

impl Action<'_> {
    /// The word of records.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Invite(_) => "invite",
            Self::Kick(_) => "kick",
            Self::Ban(_) => "ban",
            Self::Unban(_) => "unban",
            Self::Send { .. } => "send",
            Self::Redact => "redact",
            Self::Read => "read",
            Self::Glimpse => "glimpse",
            Self::Report => "report",
            Self::Signal => "signal",
            Self::Name => "name",
        }
    }
}

impl Writer {
    /// The state event in whose place an event comes.
    pub(crate) async fn replaced(&self, slot: Option<Slot>) -> Result<Option<Arc<Stored>>, RoomError> {
        let Some(slot) = slot else { return Ok(None) };
        let found = self.engine.tries.get(&self.store, Some(&self.overlay), self.nid(), self.head.state, slot).await?;
        match found {
            Some(nid) => self.event(nid).await,
            None => Ok(None),
        }
    }

    /// Leaves the record of an event that is being added, whoever sent it.
    pub(crate) fn record_event(&mut self, pdu: &Pdu, standing: Standing, before: Option<&Stored>) {
        let local = pdu.sender().server_name() == self.engine.server_name;
        let brought = self.origin.who.server.is_some();
        let record = if local && !brought && standing == Standing::Timeline {
            self.record_of_own(pdu, before.map(|stored| &*stored.pdu))
        } else {
            self.record_of_other(pdu, standing, before.map(|stored| &*stored.pdu))
        };
        let room = pdu.room_id().as_str();
        let record = record.room(room);
        self.engine.audit.add(&mut self.batch, record);
        if standing == Standing::Timeline {
            self.record_admission(pdu, before.map(|stored| &*stored.pdu));
        }
    }

    fn record_of_own(&self, pdu: &Pdu, before: Option<&Pdu>) -> Record {
        let (id, kind) = (pdu.event_id().as_str(), pdu.kind().to_string());
        let of = |act| by(act, &self.origin, pdu.sender()).kind(kind.clone());
        if let Some(target) = pdu.redacts() {
            return of(Act::EventRedact).event(target.as_str()).name(id);
        }
        if let Some(target) = replaces(pdu) {
            return of(Act::EventEdit).event(target.as_str()).name(id);
        }
        if !is_member(pdu.kind()) {
            let record = of(if pdu.is_state() { Act::RoomChange } else { Act::EventSend }).event(id);
            return with_hashes(record, pdu, before);
        }
        let act = membership_act(pdu, membership(before)).unwrap_or(Act::RoomChange);
        of(act).event(id).user(pdu.state_key().unwrap_or_default())
    }

    fn record_of_other(&self, pdu: &Pdu, standing: Standing, before: Option<&Pdu>) -> Record {
        let refused = matches!(standing, Standing::SoftFailed | Standing::Rejected | Standing::RejectedOutlier);
        let record = Record::by(Act::FederationReceive, self.origin.clone()).kind(pdu.kind().to_string()).count(1);
        let record = record.event(pdu.event_id().as_str());
        let is_ahead = pdu.origin_server_ts() > self.now_ms.saturating_add(CLOCK_AHEAD_MS);
        let record = if is_ahead { record.detail("ahead") } else { record };
        let record = match pdu.state_key() {
            Some(user) if is_member(pdu.kind()) => record.user(user),
            _ => with_hashes(record, pdu, before),
        };
        record.outcome(if refused { Outcome::Serious } else { Outcome::Success })
    }

    /// That the room's policy let somebody in, where it has one.
    fn record_admission(&mut self, pdu: &Pdu, before: Option<&Pdu>) {
        let action = match membership_act(pdu, membership(before)) {
            Some(Act::MemberJoin) => "join",
            Some(Act::MemberInvite) => "invite",
            Some(Act::MemberKnock) => "knock",
            _ => return,
        };
        if self.policy.is_none() {
            return;
        }
        let record = by(Act::RoleCheck, &self.origin, pdu.sender()).detail(action);
        let record = record.room(pdu.room_id().as_str()).user(pdu.state_key().unwrap_or_default());
        self.engine.audit.add(&mut self.batch, record);
    }

    /// Leaves one record of what happens to several events at once.
    pub(crate) fn record_several(&mut self, act: Act, events: &[OwnedEventId], what: &str) {
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let record = Record::by(act, self.origin.clone()).room(self.view().id.as_str());
            let record = record.detail(what).count(events.len() as u64).event(first.as_str()).last(last.as_str());
            self.engine.audit.add(&mut self.batch, record);
        }
    }
}

impl Engine {
    /// Records that the gate refused somebody something, before they hear it. Who only looks is recorded by whoever asked
    /// on their behalf.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) async fn record_refusal(
        &self,
        (user, action): (&UserId, Action<'_>),
        room: &RoomId,
        sentence: &str,
    ) -> Result<(), RoomError> {
        if matches!(action, Action::Read | Action::Glimpse) {
            return Ok(());
        }
        let record = by(Act::RoleCheck, &origin::current(), user).room(room.as_str()).detail(action.word());
        let record = match action {
            Action::Invite(target) | Action::Kick(target) | Action::Ban(target) | Action::Unban(target) => {
                record.user(target.as_str())
            }
            _ => record,
        };
        Ok(self.audit.denied(record.why(sentence)).await?)
    }

    /// Leaves the record of something that the current request does to a room, without an event.
    pub(crate) fn record_change(&self, batch: &mut Batch, act: Act, room: &RoomId, what: &str) {
        self.audit.add(batch, Record::of(act).room(room.as_str()).detail(what));
    }
}

fn membership(event: Option<&Pdu>) -> Option<Membership> {
    event.and_then(Pdu::membership).as_ref().map(Membership::from)
}

fn with_hashes(record: Record, pdu: &Pdu, before: Option<&Pdu>) -> Record {
    if !pdu.is_state() {
        return record;
    }
    let record = match before.and_then(hash_of) {
        Some(old) => record.old(old),
        None => record,
    };
    match hash_of(pdu) {
        Some(new) => record.new(new),
        None => record,
    }
}
