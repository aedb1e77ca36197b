//! Receipts for events that are still on their way: what servers say of an event may come before the event does.

use std::collections::VecDeque;

use parking_lot::Mutex;
use ruma::{EventId, OwnedEventId, OwnedUserId, events::receipt::ReceiptThread};
use wardroom_rooms::RoomNid;

/// Receipts that wait; beyond it the oldest are dropped.
const WAITING_MAX: usize = 1_000;

/// A receipt of a user of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitingReceipt {
    pub(super) room: RoomNid,
    pub(super) event: OwnedEventId,
    pub(super) user: OwnedUserId,
    pub(super) thread: ReceiptThread,
    pub(super) ts_ms: Option<u64>,
}

/// What waits, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct WaitingReceipts(Mutex<VecDeque<WaitingReceipt>>);

impl WaitingReceipts {
    /// Adds a receipt, in the place of an older one of the same user in the same thread.
    pub(super) fn add(&self, receipt: WaitingReceipt) {
        let mut waiting = self.0.lock();
        waiting.retain(|old| (old.room, &old.user, &old.thread) != (receipt.room, &receipt.user, &receipt.thread));
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(receipt);
    }

    /// What waits for an event.
    pub(super) fn of(&self, event: &EventId) -> Vec<WaitingReceipt> {
        self.0.lock().iter().filter(|receipt| receipt.event == event).cloned().collect()
    }

    pub(super) fn remove(&self, receipt: &WaitingReceipt) {
        self.0.lock().retain(|waiting| waiting != receipt);
    }
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedEventId, OwnedUserId, events::receipt::ReceiptThread};
    use wardroom_rooms::RoomNid;

    use super::{WAITING_MAX, WaitingReceipt, WaitingReceipts};

    fn receipt(user: usize, event: &str) -> WaitingReceipt {
        WaitingReceipt {
            room: RoomNid::new(1),
            event: OwnedEventId::try_from(event).unwrap(),
            user: OwnedUserId::try_from(format!("@u{user}:a.example")).unwrap(),
            thread: ReceiptThread::Unthreaded,
            ts_ms: None,
        }
    }

    #[test]
    fn a_user_waits_once_and_not_everybody_does() {
        let waiting = WaitingReceipts::default();
        waiting.add(receipt(0, "$a"));
        waiting.add(receipt(0, "$b"));
        let b = OwnedEventId::try_from("$b").unwrap();
        assert!(waiting.of(&OwnedEventId::try_from("$a").unwrap()).is_empty());
        assert_eq!(waiting.of(&b), [receipt(0, "$b")]);
        waiting.remove(&receipt(0, "$b"));
        assert!(waiting.of(&b).is_empty());
        for user in 0..WAITING_MAX + 5 {
            waiting.add(receipt(user, "$b"));
        }
        assert_eq!(waiting.of(&b).len(), WAITING_MAX);
        assert!(!waiting.of(&b).contains(&receipt(4, "$b")));
    }
}
