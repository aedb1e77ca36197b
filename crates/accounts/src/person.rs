//! What is kept of a person, sealed under a key of that person: profile, account data, devices and where they were seen, key
//! backups, messages that wait, pushers, filters, identities.
//!
//! To forget the person, the rows go, and then the key: copies of the store that still have the rows cannot be read any
//! more. A copy that comes back shows by [`PERSONS`] who was forgotten since it was made, whatever else it holds.

use ruma::{OwnedUserId, UserId};
use wardroom_store::{Batch, DataKey, Packed, ReadError, Scan, Scope, Store};

use crate::{
    AccountError, Accounts, UserNid,
    dehydrated::DEHYDRATED,
    error::{CONFLICT_ROUNDS_MAX, settled},
    keys::{
        end_own_keys,
        tables::{INBOXES, KEY_STATE},
    },
    sso::{SSO_DEVICES, SSO_USERS},
    tables::{
        ACCOUNT_DATA, ACCOUNT_DATA_CHANGES, DEVICES, DEVICES_SEEN, FILTERS, IDENTITIES, IDENTITY_OWNERS, NS_USER,
        PERSONS, PROFILE_FIELDS, PROFILES, PUSHERS, PUSHERS_BY_KEY, USERS, UserKey,
    },
};

/// What is kept of a person.
const PERSON: u8 = 5;
/// Rows read at a time.
const ROWS_PER_PAGE: usize = 1_000;

const fn scope(user: UserKey) -> Scope {
    Scope { kind: PERSON, a: user, b: 0 }
}

impl Accounts {
    /// The key that seals what is kept of a person.
    pub(crate) async fn person_key(&self, user: UserNid) -> Result<DataKey, AccountError> {
        Ok(self.0.store.data_key(scope(user.get())).await?)
    }

    /// Adds to a batch that what is kept of a person goes, but for what goes with the account.
    pub(crate) async fn end_person(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        let key = user.get();
        batch.delete_prefix(&ACCOUNT_DATA, &key);
        batch.delete_prefix(&ACCOUNT_DATA_CHANGES, &key);
        batch.delete_prefix(&FILTERS, &key);
        Self::end_backups(batch, user);
        batch.delete(&PROFILES, &key);
        batch.delete(&PROFILE_FIELDS, &key);
        self.end_identities(batch, user).await?;
        batch.delete_prefix(&SSO_USERS, &key);
        Ok(())
    }

    /// Drops what is kept of a person whose account is closed. Their key stays, for [`Accounts::destroy_person_key`].
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Contended`], or the store's.
    pub async fn forget_person(&self, user: &UserId) -> Result<(), AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, row, version) = self.user_row(user).await?.ok_or(AccountError::UnknownUser)?;
            if !row.deactivated {
                self.deactivate(user).await?;
                continue;
            }
            let mut batch = Batch::default();
            // Somebody may open the account again.
            batch.expect_version(&USERS, &nid.get(), Some(version));
            self.end_person(&mut batch, nid).await?;
            batch.touch(nid.watch_key());
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Destroys the key of a person of whom nothing is kept any more: older copies of the store have nothing of them either.
    /// The last step of an erasure; a store that is restored from before shows that it is due again until then.
    ///
    /// # Errors
    /// When the key cannot be destroyed, or the store fails.
    pub async fn destroy_person_key(&self, user: UserNid) -> Result<(), AccountError> {
        self.0.store.destroy_data_keys(&[scope(user.get())]).await?;
        let mut batch = Batch::default();
        batch.delete(&PERSONS, &user.get());
        self.0.store.commit(batch).await?;
        Ok(())
    }
}

/// Persons whose key was destroyed while what it sealed is there, as in a store that was restored from a copy from before
/// they were erased. What is left of them is taken away, and their accounts are closed; they are named again until
/// [`Accounts::destroy_person_key`], so that whoever knows what else there is can take that away too. To be asked before
/// anything else reads the store.
///
/// # Errors
/// When the store fails.
pub async fn erased_since(store: &Store) -> Result<Vec<(UserNid, OwnedUserId)>, AccountError> {
    let (mut found, mut scan) = (Vec::new(), Scan::all().limit(ROWS_PER_PAGE));
    loop {
        let view = store.latest();
        let users = view.scan_keys(&PERSONS, scan).await?;
        let Some(last) = users.last().copied() else { return Ok(found) };
        for user in users {
            if matches!(view.get(&PERSONS, &user).await, Err(ReadError::Shredded)) {
                remove_remains(store, user).await?;
                let name = store.interner().resolve(NS_USER, user).await?;
                let name = name.and_then(|name| OwnedUserId::try_from(&*name).ok());
                found.push((UserNid::new(user), name.ok_or(AccountError::Damaged("user number"))?));
            }
        }
        scan = Scan::all().after(&last).limit(ROWS_PER_PAGE);
    }
}

/// Takes away the rows of a person, which nobody can read.
async fn remove_remains(store: &Store, user: UserKey) -> Result<(), AccountError> {
    let (view, nid, mut batch) = (store.latest(), UserNid::new(user), Batch::default());
    if let Some(Packed(mut row)) = view.get(&USERS, &user).await? {
        (row.deactivated, row.admin, row.password) = (true, false, None);
        batch.put(&USERS, &user, &Packed(row));
    }
    for (_, device) in view.scan_keys(&KEY_STATE, Scan::prefix(&user)).await? {
        batch.delete_prefix(&INBOXES, &device);
    }
    for key in view.scan_keys(&PUSHERS_BY_KEY, Scan::all()).await?.into_iter().filter(|(_, owner)| *owner == user) {
        batch.delete(&PUSHERS_BY_KEY, &key);
    }
    for (hash, _) in view.scan(&IDENTITY_OWNERS, Scan::all()).await?.into_iter().filter(|(_, owner)| *owner == user) {
        batch.delete(&IDENTITY_OWNERS, &hash);
    }
    Accounts::end_backups(&mut batch, nid);
    end_own_keys(&mut batch, nid);
    batch.delete(&PROFILES, &user);
    batch.delete(&PROFILE_FIELDS, &user);
    batch.delete(&IDENTITIES, &user);
    macro_rules! all_of {
        ($($table:ident),*) => { $(batch.delete_prefix(&$table, &user);)* };
    }
    all_of!(DEVICES, DEVICES_SEEN, ACCOUNT_DATA, ACCOUNT_DATA_CHANGES, FILTERS, PUSHERS, DEHYDRATED, SSO_USERS);
    all_of!(SSO_DEVICES);
    store.commit(batch).await?;
    Ok(())
}
