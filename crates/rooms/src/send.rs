//! Sending message and state events, and redacting them.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, RoomAliasId, RoomId, TransactionId, events::StateEventType};
use serde::Deserialize;
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};
use wardroom_event::redact;
use wardroom_store::Packed;

use crate::{
    Action, Actor, Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, UserNid},
    relations::{Related, Wish},
    room::RoomView,
    sealing::day_of,
    tables::TRANSACTIONS,
    writer::{NewEvent, Writer},
};

/// Domain of the keyed hash of a transaction.
const HASH_TRANSACTION: u8 = 2;
/// Domain of the keyed hash of a device.
const HASH_DEVICE: u8 = 3;

/// A transaction: the hash that finds it, and what its device gets back in `unsigned`.
#[derive(Clone, Debug)]
struct Transaction {
    hash: [u8; 16],
    device: [u8; 16],
    id: String,
}

impl Engine {
    pub(crate) fn device_hash(&self, actor: Actor<'_>) -> Option<[u8; 16]> {
        let device = actor.device?;
        let mut bytes = actor.nid.get().to_be_bytes().to_vec();
        bytes.extend_from_slice(device.as_bytes());
        Some(self.store.keyed_hash(HASH_DEVICE, &bytes))
    }

    /// A transaction id counts for one device, one room and one endpoint (specification, "Transaction identifiers").
    fn transaction(
        &self,
        actor: Actor<'_>,
        room: &RoomView,
        endpoint: &str,
        id: Option<&TransactionId>,
    ) -> Option<Transaction> {
        let (device, id) = (self.device_hash(actor)?, id?.as_str());
        let mut bytes = device.to_vec();
        bytes.extend_from_slice(&room.nid.get().to_be_bytes());
        bytes.extend_from_slice(endpoint.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
        Some(Transaction { hash: self.store.keyed_hash(HASH_TRANSACTION, &bytes), device, id: id.to_owned() })
    }
}

/// Whether a state event would only repeat the current one: same sender, same content.
fn says_the_same(current: &Stored, new: &NewEvent) -> bool {
    let parse = |content: &RawJsonValue| serde_json::from_str::<CanonicalJsonObject>(content.get()).ok();
    current.redacted_because.is_none()
        && current.pdu.sender() == new.sender
        && parse(current.pdu.content()).is_some_and(|content| parse(&new.content) == Some(content))
}

impl Writer {
    /// The event that an earlier request with the same transaction id made.
    async fn sent_before(&self, transaction: Option<&Transaction>) -> Result<Option<OwnedEventId>, RoomError> {
        let Some(transaction) = transaction else { return Ok(None) };
        let mut nid = self.transactions.get(&transaction.hash).copied();
        let today = day_of(self.now_ms);
        for day in [today, today.saturating_sub(1)] {
            if nid.is_none() {
                nid = self.engine.store.latest().get(&TRANSACTIONS, &(day, transaction.hash)).await?.map(|nid| nid.0);
            }
        }
        match nid {
            Some(nid) => Ok(self.event(nid).await?.map(|stored| stored.pdu.event_id().to_owned())),
            None => Ok(None),
        }
    }

    fn remember(&mut self, transaction: Option<&Transaction>, event: EventNid) {
        if let Some(transaction) = transaction {
            self.batch.put(&TRANSACTIONS, &(day_of(self.now_ms), transaction.hash), &Packed(event));
            self.transactions.insert(transaction.hash, event);
        }
    }

    /// Sends a redaction, and replaces the target by its redacted form in the same batch.
    async fn redact(
        &mut self,
        redaction: NewEvent,
        target: EventNid,
        related: Option<(UserNid, Wish)>,
    ) -> Result<Arc<Stored>, RoomError> {
        let target = self.event(target).await?.ok_or(RoomError::NoSuchEvent)?;
        if !self.may_redact(&redaction.sender, &target).await? {
            return Err(RoomError::Forbidden("You may not redact other users' events in this room.".to_owned()));
        }
        let redacted = redact(&target.pdu, None).map_err(|error| RoomError::BadContent(error.to_string()))?;
        let redaction = self.append(redaction).await?;
        if let Err(failure) = self.replace_redacted(&target, redacted, redaction.nid).await {
            self.fail(failure.clone());
            return Err(failure);
        }
        if let Some((user, wish)) = related {
            let noted = self.redact_related((&target, redaction.nid), user, wish).await;
            self.guard(noted)?;
        }
        Ok(redaction)
    }

    /// Whether a user may take away the content of somebody else's event.
    async fn may_redact(&self, sender: &ruma::UserId, target: &Stored) -> Result<bool, RoomError> {
        if target.pdu.sender() == sender {
            return Ok(true);
        }
        self.has_power_to_redact(sender).await
    }
}

/// A room cannot replace itself: clients would lead people round in circles.
fn check_tombstone(room: &RoomView, kind: &str, content: &RawJsonValue) -> Result<(), RoomError> {
    #[derive(Deserialize)]
    struct Content {
        replacement_room: String,
    }
    let names_itself = |content: Content| content.replacement_room == room.id.as_str();
    if kind == "m.room.tombstone" && serde_json::from_str(content.get()).is_ok_and(names_itself) {
        let sentence = "content of m.room.tombstone: `replacement_room` must be another room.";
        return Err(RoomError::BadContent(sentence.to_owned()));
    }
    Ok(())
}

impl Rooms {
    /// Sends a message event. With a transaction id, a retry returns the first request's event.
    pub async fn send(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        kind: &str,
        content: Box<RawJsonValue>,
        transaction: Option<&TransactionId>,
    ) -> Result<OwnedEventId, RoomError> {
        if kind == "m.room.redaction" {
            return self.send_redaction(actor, room, &content, transaction).await;
        }
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let view = found.view();
        self.engine.permit(actor, &view, Action::Send { kind, state_key: None }).await?;
        check_tombstone(&view, kind, &content)?;
        let transaction = self.engine.transaction(actor, &view, "send", transaction);
        let new = NewEvent {
            sender: actor.user.to_owned(),
            kind: kind.to_owned(),
            state_key: None,
            content,
            redacts: None,
            transaction: transaction.as_ref().map(|transaction| (transaction.device, transaction.id.clone())),
        };
        self.engine
            .write(&found, move |writer| {
                async move {
                    if let Some(sent) = writer.sent_before(transaction.as_ref()).await? {
                        return Ok(sent);
                    }
                    let stored = writer.append(new).await?;
                    writer.remember(transaction.as_ref(), stored.nid);
                    Ok(stored.pdu.event_id().to_owned())
                }
                .boxed()
            })
            .await
    }

    /// Sends a state event.
    pub async fn set_state(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        kind: &StateEventType,
        state_key: &str,
        content: Box<RawJsonValue>,
    ) -> Result<OwnedEventId, RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let view = found.view();
        if *kind == StateEventType::RoomCreate {
            return Err(RoomError::Forbidden("A room has one m.room.create event, its first.".to_owned()));
        }
        if *kind == StateEventType::RoomMember {
            return self.set_member_state(actor, &found, state_key, content).await;
        }
        let name = kind.to_string();
        self.engine.permit(actor, &view, Action::Send { kind: &name, state_key: Some(state_key) }).await?;
        check_tombstone(&view, &name, &content)?;
        if *kind == StateEventType::RoomCanonicalAlias {
            self.check_canonical_alias(&view, &content).await?;
        }
        let new = NewEvent::state(actor.user.to_owned(), &name, state_key, content);
        let (kind, state_key) = (kind.clone(), state_key.to_owned());
        self.engine
            .write(&found, move |writer| {
                async move {
                    // Bridges and calls say the same again and again: that is no news to anybody.
                    if let Some(current) = writer.state_event(&kind, &state_key).await?
                        && says_the_same(&current, &new)
                    {
                        return Ok(current.pdu.event_id().to_owned());
                    }
                    Ok(writer.append(new).await?.pdu.event_id().to_owned())
                }
                .boxed()
            })
            .await
    }

    /// Aliases that a canonical alias event newly names must lead to this room (specification, `M_BAD_ALIAS`).
    async fn check_canonical_alias(&self, room: &RoomView, content: &RawJsonValue) -> Result<(), RoomError> {
        #[derive(Default, Deserialize)]
        struct Content {
            #[serde(default)]
            alias: Option<String>,
            #[serde(default)]
            alt_aliases: Vec<String>,
        }
        impl Content {
            fn aliases(self) -> impl Iterator<Item = String> {
                self.alias.filter(|alias| !alias.is_empty()).into_iter().chain(self.alt_aliases)
            }
        }
        let new: Content = serde_json::from_str(content.get())
            .map_err(|error| RoomError::BadContent(format!("content of m.room.canonical_alias: {error}")))?;
        let old = self.engine.state_event(room.nid, room.state, &StateEventType::RoomCanonicalAlias, "").await?;
        let old = old.and_then(|stored| stored.pdu.content_as::<Content>().ok()).unwrap_or_default();
        let old: Vec<String> = old.aliases().collect();
        for alias in new.aliases().filter(|alias| !old.contains(alias)) {
            let parsed = <&RoomAliasId>::try_from(alias.as_str())
                .map_err(|_| RoomError::InvalidParam(format!("alias: {alias} is not a room alias")))?;
            if self.resolve_alias(parsed).await?.is_none_or(|target| target != room.id) {
                return Err(RoomError::BadAlias(alias));
            }
        }
        Ok(())
    }

    /// A redaction through the endpoint of message events: what it redacts stands in its content.
    async fn send_redaction(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        content: &RawJsonValue,
        transaction: Option<&TransactionId>,
    ) -> Result<OwnedEventId, RoomError> {
        #[derive(Deserialize)]
        struct Content {
            redacts: OwnedEventId,
            reason: Option<String>,
        }
        let content: Content = serde_json::from_str(content.get())
            .map_err(|error| RoomError::BadContent(format!("content of m.room.redaction: {error}")))?;
        self.redact(actor, room, &content.redacts, content.reason, transaction).await
    }

    /// Takes away the content of an event: one's own, or anybody's with the power to; of a message as long after it was
    /// sent as the server lets users do that.
    pub async fn redact(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        event: &EventId,
        reason: Option<String>,
        transaction: Option<&TransactionId>,
    ) -> Result<OwnedEventId, RoomError> {
        let related = Related { rel_types: &[], own_only: false };
        self.redact_with(related, actor, room, event, reason, transaction).await
    }

    /// As [`Rooms::redact`], with what relates to the event in these ways: that is redacted soon, as far as the user may.
    ///
    /// # Errors
    /// As [`Rooms::redact`]; [`RoomError::InvalidParam`] where too many types are named.
    pub async fn redact_with(
        &self,
        related: Related<'_>,
        actor: Actor<'_>,
        room: &RoomId,
        event: &EventId,
        reason: Option<String>,
        transaction: Option<&TransactionId>,
    ) -> Result<OwnedEventId, RoomError> {
        let wish = Wish::of(&self.engine, actor, related)?;
        if let Some(view) = self.view(room).await? {
            self.check_redactable(actor, &view, event).await?;
        }
        self.write_redaction(wish, actor, (room, event), reason, transaction).await
    }

    /// Refuses to take back a message that is too old for it, to those who may know of it.
    async fn check_redactable(&self, actor: Actor<'_>, room: &RoomView, event: &EventId) -> Result<(), RoomError> {
        let Some(limit) = self.engine.retention.redactable else { return Ok(()) };
        self.engine.permit(actor, room, Action::Redact).await?;
        let Some(nid) = self.engine.event_nid(event).await? else { return Ok(()) };
        let Some(target) = self.engine.event(room.nid, nid).await? else { return Ok(()) };
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let until_ms = target.age().born_ms().saturating_add(limit_ms);
        if target.pdu.is_state() || target.redacted_because.is_some() || self.engine.clock.now_ms() < until_ms {
            return Ok(());
        }
        let sentence =
            format!("event_id: messages can be redacted for {} seconds after they were sent.", limit.as_secs());
        Err(RoomError::Forbidden(sentence))
    }

    /// As [`Rooms::redact`], for administrators.
    pub(crate) async fn redact_at_any_age(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        event: &EventId,
        reason: Option<String>,
        transaction: Option<&TransactionId>,
    ) -> Result<OwnedEventId, RoomError> {
        self.write_redaction(None, actor, (room, event), reason, transaction).await
    }

    async fn write_redaction(
        &self,
        wish: Option<Wish>,
        actor: Actor<'_>,
        (room, event): (&RoomId, &EventId),
        reason: Option<String>,
        transaction: Option<&TransactionId>,
    ) -> Result<OwnedEventId, RoomError> {
        let found = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let view = found.view();
        self.engine.permit(actor, &view, Action::Redact).await?;
        let transaction = self.engine.transaction(actor, &view, "redact", transaction);
        let target = self.engine.event_nid(event).await?.ok_or(RoomError::NoSuchEvent)?;
        let mut content = serde_json::Map::new();
        content.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
        let in_content = view.version.rules().redaction.content_field_redacts;
        if in_content {
            content.insert("redacts".to_owned(), event.as_str().into());
        }
        let new = NewEvent {
            sender: actor.user.to_owned(),
            kind: "m.room.redaction".to_owned(),
            state_key: None,
            content: to_raw_value(&content).map_err(|error| RoomError::BadContent(error.to_string()))?,
            redacts: (!in_content).then(|| event.to_owned()),
            transaction: transaction.as_ref().map(|transaction| (transaction.device, transaction.id.clone())),
        };
        let user = actor.nid;
        self.engine
            .write(&found, move |writer| {
                async move {
                    if let Some(sent) = writer.sent_before(transaction.as_ref()).await? {
                        return Ok(sent);
                    }
                    let redaction = writer.redact(new, target, wish.map(|wish| (user, wish))).await?;
                    writer.remember(transaction.as_ref(), redaction.nid);
                    Ok(redaction.pdu.event_id().to_owned())
                }
                .boxed()
            })
            .await
    }
}
