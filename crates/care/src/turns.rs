//! One at a time, per user.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use ruma::{OwnedUserId, UserId};
use tokio::sync::OwnedMutexGuard;

/// Users beyond which those that nobody waits for are forgotten.
const USERS_KEPT: usize = 1_000;

/// Whose turn it is, by user.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<OwnedUserId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn; it lasts until what this returns is dropped.
    pub(crate) async fn take(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut users = self.0.lock();
            if let Some(turn) = users.get(user).and_then(Weak::upgrade) {
                turn
            } else {
                if users.len() >= USERS_KEPT {
                    users.retain(|_, turn| turn.strong_count() > 0);
                }
                let turn = Arc::new(tokio::sync::Mutex::new(()));
                users.insert(user.to_owned(), Arc::downgrade(&turn));
                turn
            }
        };
        turn.lock_owned().await
    }
}
