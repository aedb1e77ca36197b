//! Whose devices or keys changed: section "Tracking the device list for a user".
//!
//! One log over all users, with one row per user under the position of the newest change. A sync reads the part of the
//! log behind its token, so no change is missed, whoever shared a room with whom when it was made, and whatever woke the
//! sync. Who shares a room with the user is not known here; [`Audience`] tells whom to wake.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use wardroom_store::{Batch, Position, Scan, WatchKey};

use crate::{
    AccountError, Accounts, UserNid,
    keys::tables::{DEVICE_LIST_CHANGES, DEVICE_LIST_LAST, SIGNED_USERS},
};

/// Rows of the log read at a time.
const CHANGES_PAGE: usize = 1_000;

/// What to touch so that everybody wakes who tracks the devices of a user.
pub trait Audience: Send + Sync + 'static {
    /// The watch keys of the rooms that the user is joined to.
    fn of(&self, user: UserNid) -> Pin<Box<dyn Future<Output = Vec<WatchKey>> + Send + '_>>;
}

impl fmt::Debug for dyn Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audience")
    }
}

impl Accounts {
    /// Says who is woken by changes of devices and keys from now on. Only the first call counts. Without it the changes
    /// are heard of all the same, by whatever the next sync of each listener is.
    pub fn set_audience(&self, audience: Box<dyn Audience>) {
        // A second audience would be that of another composition of the same accounts, over the same rooms.
        let _ = self.0.audience.set(audience);
    }

    /// Adds a change of the user's devices or keys to the batch, and wakes everybody who tracks them.
    pub(crate) async fn announce_devices(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        self.note_devices(batch, user).await?;
        if let Some(audience) = self.0.audience.get() {
            for key in audience.of(user).await {
                batch.touch(key);
            }
        }
        Ok(())
    }

    /// Adds a change of the user's devices to the batch that nobody but the user's own devices is woken for.
    pub(crate) async fn note_devices(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        let key = user.get();
        let last = self.0.store.latest().get_versioned(&DEVICE_LIST_LAST, &key).await?.map(|((), version)| version);
        batch.expect_version(&DEVICE_LIST_LAST, &key, last);
        if let Some(last) = last {
            batch.delete(&DEVICE_LIST_CHANGES, &(last, key));
        }
        batch.put(&DEVICE_LIST_LAST, &key, &());
        batch.put(&DEVICE_LIST_CHANGES, &(Position::COMMIT, key), &());
        batch.touch(user.watch_key());
        let newest = Arc::clone(&self.0.newest_device_change);
        batch.on_commit(move |position| {
            newest.fetch_max(position.get(), Ordering::SeqCst);
        });
        Ok(())
    }

    /// Users whose devices or cross-signing keys changed in (since, up_to]. Somebody whose devices changed again after
    /// `up_to` may be missing: the next call finds them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device_list_changes(&self, since: Position, up_to: Position) -> Result<Vec<UserNid>, AccountError> {
        let mut users = Vec::new();
        // Of changes before the store was opened nobody knows without looking. What is published has been noted.
        let newest = Position::new(self.0.newest_device_change.load(Ordering::SeqCst)).max(self.0.store.opened_at());
        if up_to <= since || newest <= since {
            return Ok(users);
        }
        let view = self.0.store.latest();
        let mut scan = Scan::range(&next(since), &next(up_to)).limit(CHANGES_PAGE);
        loop {
            let page = view.scan_keys(&DEVICE_LIST_CHANGES, scan.clone()).await?;
            users.extend(page.iter().map(|(_, user)| UserNid::new(*user)));
            match page.last() {
                Some(last) if page.len() == CHANGES_PAGE => scan = scan.after(last),
                _ => return Ok(users),
            }
        }
    }

    /// Users whose master key this user signed in (since, up_to]: news to the user's own devices alone.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signed_users(
        &self,
        user: UserNid,
        since: Position,
        up_to: Position,
    ) -> Result<Vec<UserNid>, AccountError> {
        let mut users = Vec::new();
        if up_to <= since {
            return Ok(users);
        }
        let view = self.0.store.latest();
        let mut scan = Scan::range(&(user.get(), next(since)), &(user.get(), next(up_to))).limit(CHANGES_PAGE);
        loop {
            let page = view.scan_keys(&SIGNED_USERS, scan.clone()).await?;
            users.extend(page.iter().map(|(_, _, signed)| UserNid::new(*signed)));
            match page.last() {
                Some(last) if page.len() == CHANGES_PAGE => scan = scan.after(last),
                _ => return Ok(users),
            }
        }
    }
}

/// The first position behind `position`.
pub(crate) fn next(position: Position) -> Position {
    Position::new(position.get().saturating_add(1))
}
