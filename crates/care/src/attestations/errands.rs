//! What other servers are asked without anybody waiting for the answer.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, ServerName, UserId};
use tokio::sync::Notify;

/// Errands that wait for one server; who finds no place is looked at again with everybody else.
const WAITING_MAX: usize = 10_000;

/// Why a user's server is asked, the most urgent first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Errand {
    /// It took back what it said.
    Revocation,
    /// Somebody in this room lacks a role, and their server was not asked.
    First(OwnedRoomId),
    /// What it said ends soon.
    Renewal,
}

/// What waits, by server.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: Mutex<HashMap<OwnedServerName, BTreeSet<(Errand, OwnedUserId)>>>,
    more: Notify,
}

impl Errands {
    /// Adds one; each is there once.
    pub(super) fn add(&self, user: &UserId, errand: Errand) {
        let mut waiting = self.waiting.lock();
        let of_server = waiting.entry(user.server_name().to_owned()).or_default();
        if of_server.len() < WAITING_MAX && of_server.insert((errand, user.to_owned())) {
            self.more.notify_one();
        }
    }

    /// The servers for which something waits.
    pub(super) fn servers(&self) -> Vec<OwnedServerName> {
        self.waiting.lock().keys().cloned().collect()
    }

    /// Takes the most urgent one.
    pub(super) fn next(&self, server: &ServerName) -> Option<(Errand, OwnedUserId)> {
        let mut waiting = self.waiting.lock();
        let of_server = waiting.get_mut(server)?;
        let next = of_server.pop_first();
        if of_server.is_empty() {
            waiting.remove(server);
        }
        next
    }

    /// Has it looked again what is due: something new was heard.
    pub(super) fn wake(&self) {
        self.more.notify_one();
    }

    /// Waits until one was added, or something new was heard.
    pub(super) async fn added(&self) {
        self.more.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, server_name, user_id};

    use super::{Errand, Errands};

    #[test]
    fn the_most_urgent_comes_first_and_each_once() {
        let (errands, bob) = (Errands::default(), user_id!("@bob:h2.example"));
        let first = Errand::First(owned_room_id!("!r:h1.example"));
        for errand in [Errand::Renewal, first.clone(), Errand::Revocation, first.clone()] {
            errands.add(bob, errand);
        }
        let server = server_name!("h2.example");
        assert_eq!(errands.servers(), [server]);
        let mut taken = Vec::new();
        while let Some((errand, _)) = errands.next(server) {
            taken.push(errand);
        }
        assert_eq!(taken, [Errand::Revocation, first, Errand::Renewal]);
        assert!(errands.servers().is_empty());
    }
}
