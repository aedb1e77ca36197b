//! Who types, and who has read up to where.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedUserId, UserId, events::receipt::ReceiptType};
use serde::Serialize;
use wardroom_rooms::Receipt;

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

    fn tell_typing(&self, events: &mut Events, room: &Room<'_>, span: Span) {
        let (changed, user_ids) = self.syncer.rooms.typing(room.view.nid);
        let news = match span.since {
            None => !user_ids.is_empty(),
            Some(since) => changed > since && changed <= span.now,
        };
        if news {
            let content = Typing { user_ids: &user_ids };
            write_json(events.next(), &BareEvent { content: &content, kind: "m.typing" });
        }
    }

    /// One event for each thread: within one, a user has at most one receipt of a kind, so that none hides another.
    fn tell_receipts(&self, events: &mut Events, receipts: &[Receipt]) {
        let mut threads: BTreeMap<Option<&str>, Receipts<'_>> = BTreeMap::new();
        for receipt in receipts {
            // Nobody else may know of private receipts (specification, "Private read receipts").
            if receipt.kind == ReceiptType::ReadPrivate && receipt.user != self.user {
                continue;
            }
            let thread_id = receipt.thread.as_str();
            let by_kind = threads.entry(thread_id).or_default().entry(&receipt.event_id).or_default();
            let by_user = by_kind.entry(receipt.kind.as_str()).or_default();
            by_user.insert(&receipt.user_id, ReceiptData { ts: receipt.ts_ms, thread_id });
        }
        for content in threads.values() {
            write_json(events.next(), &BareEvent { content, kind: "m.receipt" });
        }
    }
}
