//! Account data: section "Client Config". Each row has one entry in `account_data_changes` under the position of its
//! newest write, so that a sync reads what changed as one range, however often it changed.

use std::fmt;

use serde_json::value::RawValue;
use wardroom_store::{Batch, DataKey, Packed, Position, Scan};

use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{ACCOUNT_DATA, ACCOUNT_DATA_CHANGES, AccountDataKey, AccountDataRow, GLOBAL, domain},
};

/// Largest content, in bytes of JSON.
pub const ACCOUNT_DATA_BYTES_MAX: usize = 512 * 1_024;
/// Longest type, in bytes.
pub const ACCOUNT_DATA_TYPE_BYTES_MAX: usize = 255;
/// Types per user and room (or without room).
pub const ACCOUNT_DATA_TYPES_MAX: usize = 1_000;
/// Changes read at a time.
const CHANGES_PAGE: usize = 1_000;

/// What account data belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataScope {
    /// The user alone.
    Global,
    /// The user in one room, by the room's number.
    Room(u64),
}

impl DataScope {
    fn key(self) -> u64 {
        match self {
            Self::Global => GLOBAL,
            Self::Room(nid) => nid,
        }
    }

    fn from_key(key: u64) -> Self {
        if key == GLOBAL { Self::Global } else { Self::Room(key) }
    }
}

/// One piece of account data.
#[derive(Clone)]
pub struct AccountDatum {
    /// What it belongs to.
    pub scope: DataScope,
    /// Event type.
    pub event_type: String,
    /// Content, a JSON object as the client wrote it.
    pub content: Box<RawValue>,
}

impl fmt::Debug for AccountDatum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountDatum").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Content of one type, `None` when it was never set.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_data(
        &self,
        user: UserNid,
        scope: DataScope,
        event_type: &str,
    ) -> Result<Option<Box<RawValue>>, AccountError> {
        let key = self.account_data_key(user, scope, event_type);
        let row = self.0.store.latest().get(&ACCOUNT_DATA, &key).await?;
        row.map(|Packed(row)| raw(row.content)).transpose()
    }

    /// Sets the content of one type for a client.
    ///
    /// # Errors
    /// [`AccountError::ReservedAccountData`] for types that have an endpoint of their own, [`AccountError::Invalid`] when
    /// the content is not an object, [`AccountError::Limit`], or the store's.
    pub async fn set_account_data(
        &self,
        user: UserNid,
        scope: DataScope,
        event_type: &str,
        content: &RawValue,
    ) -> Result<Position, AccountError> {
        if matches!(event_type, "m.fully_read" | "m.push_rules") {
            return Err(AccountError::ReservedAccountData);
        }
        self.write_account_data(user, scope, event_type, content).await
    }

    /// Sets the read marker (`m.fully_read`) of a user in a room to an event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_fully_read(
        &self,
        user: UserNid,
        room: u64,
        event_id: &ruma::EventId,
    ) -> Result<Position, AccountError> {
        let content = serde_json::json!({ "event_id": event_id });
        let content = serde_json::value::to_raw_value(&content).map_err(|_| AccountError::Damaged("event id"))?;
        self.write_account_data(user, DataScope::Room(room), "m.fully_read", &content).await
    }

    async fn write_account_data(
        &self,
        user: UserNid,
        scope: DataScope,
        event_type: &str,
        content: &RawValue,
    ) -> Result<Position, AccountError> {
        // A `RawValue` has no white space around it.
        if !content.get().starts_with('{') {
            return Err(AccountError::Invalid { field: "content", problem: "is not a JSON object" });
        }
        self.change_account_data(user, scope, event_type, |_| Ok(Some(content.get().to_owned()))).await
    }

    /// Reads, changes and writes one type. `change` gets the old content and returns the new one, or `None` to leave it.
    pub(crate) async fn change_account_data(
        &self,
        user: UserNid,
        scope: DataScope,
        event_type: &str,
        mut change: impl FnMut(Option<&str>) -> Result<Option<String>, AccountError>,
    ) -> Result<Position, AccountError> {
        if event_type.len() > ACCOUNT_DATA_TYPE_BYTES_MAX {
            let what = "The length of the type, in bytes,";
            return Err(AccountError::Limit { what, limit: ACCOUNT_DATA_TYPE_BYTES_MAX });
        }
        let key = self.account_data_key(user, scope, event_type);
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let view = self.0.store.latest();
            let stored = view.get_versioned(&ACCOUNT_DATA, &key).await?;
            let (old, version) = match stored {
                Some((Packed(row), version)) => (Some(row.content), Some(version)),
                None => (None, None),
            };
            let Some(content) = change(old.as_deref())? else {
                return Ok(version.unwrap_or(Position::ZERO));
            };
            if version.is_none() {
                self.check_room_for_type(user, scope).await?;
            }
            let mut batch = Batch::default();
            batch.expect_version(&ACCOUNT_DATA, &key, version);
            if let Some(version) = version {
                batch.delete(&ACCOUNT_DATA_CHANGES, &(key.0, version, key.1, key.2));
            }
            self.put_account_data(&mut batch, key, event_type, content, &self.person_key(user).await?)?;
            if event_type == "m.push_rules" {
                self.0.rulesets.forget_on_commit(&mut batch, user);
            }
            self.0.contact_rules.forget_on_commit(&mut batch, user, event_type);
            if let Some(position) = settled(self.0.store.commit(batch).await)? {
                return Ok(position);
            }
        }
        Err(AccountError::Contended)
    }

    /// Adds a row with its change entry and the wake-up to the batch; an older change entry is the caller's to delete.
    pub(crate) fn put_account_data(
        &self,
        batch: &mut Batch,
        key: AccountDataKey,
        event_type: &str,
        content: String,
        person: &DataKey,
    ) -> Result<(), AccountError> {
        if content.len() > ACCOUNT_DATA_BYTES_MAX {
            let what = "The size of the account data, in bytes,";
            return Err(AccountError::Limit { what, limit: ACCOUNT_DATA_BYTES_MAX });
        }
        let row = AccountDataRow { event_type: event_type.to_owned(), content };
        batch.put_sealed(&ACCOUNT_DATA, &key, &Packed(row), person);
        batch.put(&ACCOUNT_DATA_CHANGES, &(key.0, Position::COMMIT, key.1, key.2), &());
        batch.touch(UserNid::new(key.0).watch_key());
        Ok(())
    }

    pub(crate) fn account_data_key(&self, user: UserNid, scope: DataScope, event_type: &str) -> AccountDataKey {
        (user.get(), scope.key(), self.0.store.keyed_hash(domain::ACCOUNT_DATA_TYPE, event_type.as_bytes()))
    }

    async fn check_room_for_type(&self, user: UserNid, scope: DataScope) -> Result<(), AccountError> {
        let scan = Scan::prefix(&(user.get(), scope.key())).limit(ACCOUNT_DATA_TYPES_MAX);
        if self.0.store.latest().scan_keys(&ACCOUNT_DATA, scan).await?.len() >= ACCOUNT_DATA_TYPES_MAX {
            let what = "The number of types of account data";
            return Err(AccountError::Limit { what, limit: ACCOUNT_DATA_TYPES_MAX });
        }
        Ok(())
    }

    /// Everything that belongs to the user alone.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_account_data(&self, user: UserNid) -> Result<Vec<AccountDatum>, AccountError> {
        self.all_in(user, DataScope::Global).await
    }

    /// Everything that belongs to the user in one room.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_room_account_data(&self, user: UserNid, room: u64) -> Result<Vec<AccountDatum>, AccountError> {
        self.all_in(user, DataScope::Room(room)).await
    }

    async fn all_in(&self, user: UserNid, scope: DataScope) -> Result<Vec<AccountDatum>, AccountError> {
        let scan = Scan::prefix(&(user.get(), scope.key()));
        let rows = self.0.store.latest().scan(&ACCOUNT_DATA, scan).await?;
        rows.into_iter().map(|(key, Packed(row))| datum(&key, row)).collect()
    }

    /// What changed after `since` and not after `up_to`, global and in rooms, in the order of the changes. Something that
    /// changed again after `up_to` may be missing: the next call finds it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_data_since(
        &self,
        user: UserNid,
        since: Position,
        up_to: Position,
    ) -> Result<Vec<AccountDatum>, AccountError> {
        let mut found = Vec::new();
        if up_to <= since {
            return Ok(found);
        }
        let from = (user.get(), Position::new(since.get().saturating_add(1)));
        let to = (user.get(), Position::new(up_to.get().saturating_add(1)));
        let view = self.0.store.latest();
        let mut scan = Scan::range(&from, &to).limit(CHANGES_PAGE);
        loop {
            let page = view.scan_keys(&ACCOUNT_DATA_CHANGES, scan).await?;
            let keys: Vec<AccountDataKey> = page.iter().map(|&(user, _, room, kind)| (user, room, kind)).collect();
            let rows = view.multi_get(&ACCOUNT_DATA, &keys).await?;
            for (key, row) in keys.iter().zip(rows) {
                if let Some(Packed(row)) = row {
                    found.push(datum(key, row)?);
                }
            }
            match page.last() {
                Some(last) if page.len() == CHANGES_PAGE => {
                    scan = Scan::range(&from, &to).after(last).limit(CHANGES_PAGE);
                }
                _ => return Ok(found),
            }
        }
    }
}

fn datum(key: &AccountDataKey, row: AccountDataRow) -> Result<AccountDatum, AccountError> {
    let scope = DataScope::from_key(key.1);
    Ok(AccountDatum { scope, event_type: row.event_type, content: raw(row.content)? })
}

fn raw(content: String) -> Result<Box<RawValue>, AccountError> {
    RawValue::from_string(content).map_err(|_| AccountError::Damaged("account data"))
}
