//! Who types, and who has read up to where.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedUserId, UserId, events::receipt::ReceiptType};
use serde::Serialize;
use wardroom_rooms::Receipt;
use wardroom_store::Position;

use super::Room;
use crate::{
    SyncError,
    account_data::BareEvent,
    hearing::{Hearing, Span},
    response::{Events, write_json},
};

/// Ephemeral events of a room.
#[derive(Debug, Default)]
pub(super) struct Ephemeral {
    pub(super) events: Events,
    /// The user has read on, which moves the unread counts, told or not.
    pub(super) own_receipt: bool,
}

/// Content of `m.typing`.
#[derive(Serialize)]
struct Typing<'a> {
    user_ids: &'a [OwnedUserId],
}

/// What a receipt says besides who and where.
#[derive(Serialize)]
struct ReceiptData<'a> {
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
}

/// Content of `m.receipt`: by event, kind and user.
type Receipts<'a> = BTreeMap<&'a OwnedEventId, BTreeMap<&'a str, BTreeMap<&'a UserId, ReceiptData<'a>>>>;

impl Hearing<'_> {
    /// Ephemeral events of a span; where everything is news, who types now and all receipts.
    pub(super) async fn ephemeral(&self, room: &Room<'_>, span: Span) -> Result<Ephemeral, SyncError> {
        let mut told = Ephemeral::default();
        if self.filter.admits_ephemeral(&room.view.id, "m.typing") {
            self.tell_typing(&mut told.events, room, span);
        }
        let receipts = match span.since {
            None => self.syncer.rooms.receipts(room.view.nid).await?,
            Some(_) if !self.moved(room.view.nid.watch(), span) => Vec::new(),
            Some(since) => self.syncer.rooms.receipts_since(room.view.nid, since, span.now).await?,
        };
        told.own_receipt = receipts.iter().any(|receipt| receipt.user == self.user);
        if self.filter.admits_ephemeral(&room.view.id, "m.receipt") {
            self.tell_receipts(&mut told.events, &receipts);
        }
        Ok(told)
    }

    /// Tells who types, where that is news.
    pub(crate) fn tell_typing(&self, events: &mut Events, room: &Room<'_>, span: Span) {
        let (changed, mut user_ids) = self.syncer.rooms.typing(room.view.nid);
        user_ids.retain(|user| !self.ignored.contains(user));
        let news = match span.since {
            // That somebody has stopped is news to who may have heard of the typing elsewhere.
            None => changed > Position::ZERO,
            Some(since) => changed > since && changed <= span.now,
        };
        if news {
            let content = Typing { user_ids: &user_ids };
            write_json(events.next(), &BareEvent { content: &content, kind: "m.typing" });
        }
    }

    /// One event, or more where a user has read one event in several threads: its content holds one of them.
    pub(crate) fn tell_receipts(&self, events: &mut Events, receipts: &[Receipt]) {
        let mut contents: Vec<Receipts<'_>> = Vec::new();
        for receipt in receipts {
            // Nobody else may know of private receipts (specification, "Private read receipts").
            if receipt.kind == ReceiptType::ReadPrivate && receipt.user != self.user {
                continue;
            }
            if self.ignored.contains(&receipt.user_id) {
                continue;
            }
            let (event, kind) = (&receipt.event_id, receipt.kind.as_str());
            let is_free = |content: &Receipts<'_>| {
                let by_user = content.get(event).and_then(|by_kind| by_kind.get(kind));
                by_user.is_none_or(|by_user| !by_user.contains_key(&*receipt.user_id))
            };
            let free = contents.iter().position(is_free).unwrap_or_else(|| {
                contents.push(Receipts::new());
                contents.len() - 1
            });
            let by_user = contents[free].entry(event).or_default().entry(kind).or_default();
            by_user.insert(&receipt.user_id, ReceiptData { ts: receipt.ts_ms, thread_id: receipt.thread.as_str() });
        }
        for content in &contents {
            write_json(events.next(), &BareEvent { content, kind: "m.receipt" });
        }
    }
}
