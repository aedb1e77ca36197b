//! The keys of scopes, apart from the data that they seal.
//!
//! ```text
//! keys/db             an engine of its own: wrapped keys by id, ids by scope
//! keys/shred.journal  what was destroyed
//! keys/kept.journal   what must outlive a restore of the database
//! ```
//!
//! Copies of the database hold no key of a scope, so with the newest copy of the keys they show nothing that was
//! destroyed since. Every row is sealed with the wrapping key. A key is on stable storage before anything is sealed with
//! it, whatever [`crate::Options::sync`] says.
//!
//! A destruction takes these steps, and counts from the second on:
//!
//! 1. nothing is sealed or opened with the keys any more;
//! 2. the journal notes the scopes, durably;
//! 3. the rows are deleted, durably;
//! 4. the files of the engine are rewritten without them, and looked at;
//! 5. a row says up to which number the journal is carried out.
//!
//! A crash in between leaves a journal that is ahead of that row: opening repeats steps 3 to 5.

mod copy;
mod erasing;
mod journal;
mod kept;
mod opening;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use zeroize::Zeroize as _;

pub use self::copy::{KeysCopy, replay_journal};
use self::{
    erasing::Erasure,
    journal::{Contents, Journal, JournalFault},
    kept::{Kept, KeptFile},
};
pub(crate) use self::{erasing::ranges_of_scopes, journal::ScopeRange, opening::VaultPlace};
use crate::{
    Batch, CommitError, DataKey, Packed, Position, Scope, Table, Value,
    engine::{Engine, Range, Reach},
    internal::{KEYS, NEXT_KEY, SCOPES},
    keyring::Unread,
    keys::{KeyRecord, Purpose, WRAPPING_KEY_ID},
    sealing::{self, Header, Nonces},
};

/// Ids of scoped keys begin here; those below are the store's own, which are part of its database.
pub(crate) const SCOPED_KEY_ID_MIN: u32 = 1 << 31;
/// Keys that are made in one write.
const KEYS_AT_ONCE: usize = 1_000;
/// Rows of scopes that are read at a time.
const SCOPES_PER_PAGE: usize = 10_000;

/// Somebody who waits for the key of a scope.
struct Wanted {
    scope: Scope,
    answer: oneshot::Sender<Result<DataKey, CommitError>>,
}

/// What destructions share.
struct State {
    /// None in memory.
    journal: Option<Journal>,
    /// Noted in the journal, and then not deleted because the engine failed: the next destruction deletes them first.
    undeleted: Vec<(Scope, u32)>,
    /// Deleted, and perhaps still in files.
    unerased: Vec<Erasure>,
}

/// The keys of scopes.
pub(crate) struct Vault {
    engine: Arc<dyn Engine>,
    wrapping: DataKey,
    store_id: [u8; 16],
    /// No key from this id on was ever made. Durable.
    next: AtomicU32,
    wanted: Mutex<Vec<Wanted>>,
    /// Held by who makes the keys that are wanted.
    making: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    /// What must outlive a restore.
    kept: Mutex<Kept>,
    /// Held while files are rewritten or copied.
    files: Mutex<()>,
    opened: Instant,
    opened_unix_seconds: u64,
}

impl Vault {
    pub(crate) fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// No key from this id on was ever made.
    pub(crate) fn next_id(&self) -> u32 {
        self.next.load(Ordering::Acquire)
    }

    fn now_unix_seconds(&self) -> u64 {
        self.opened_unix_seconds + self.opened.elapsed().as_secs()
    }

    /// The key of this id. None if it was never made.
    pub(crate) fn key(&self, id: u32, reach: Reach) -> Result<DataKey, Unread> {
        let absent = if id < self.next_id() { Unread::Shredded } else { Unread::Corrupt };
        let record = read_key(&*self.engine, &self.wrapping, id, reach)?.ok_or(absent)?;
        Ok(DataKey::new(id, &record.material)?)
    }

    /// The id of the scope's key, if it has one.
    pub(crate) fn id_of(&self, scope: &Scope, reach: Reach) -> Result<Option<u32>, Unread> {
        let id = self.read(&SCOPES, scope, reach)?;
        id.map(|id| u32::try_from(id).map_err(|_| Unread::Corrupt)).transpose()
    }

    /// Keeps an entry, durably.
    pub(crate) fn keep(&self, entry: Bytes) -> Result<(), CommitError> {
        match &mut *self.kept.lock() {
            Kept::Memory(entries) => entries.push(entry),
            Kept::File(file) => file.append(&[entry]).map_err(JournalFault::from)?,
        }
        Ok(())
    }

    /// Everything that was kept, in the order in which it was.
    pub(crate) fn kept(&self) -> Result<Vec<Bytes>, CommitError> {
        match &*self.kept.lock() {
            Kept::Memory(entries) => Ok(entries.clone()),
            Kept::File(file) => Ok(file.entries()?),
        }
    }

    /// A row of the vault.
    fn read<K: crate::Key, V: Value>(&self, table: &Table<K, V>, key: &K, reach: Reach) -> Result<Option<V>, Unread> {
        read_row(&*self.engine, &self.wrapping, table, key, reach)
    }

    /// The key of a scope, made if there is none. Whoever asks at the same time waits for the same write.
    pub(crate) async fn make(self: &Arc<Self>, scope: Scope) -> Result<DataKey, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.wanted.lock().push(Wanted { scope, answer });
        let turn = Arc::clone(&self.making).lock_owned().await;
        // Perhaps somebody else took the own one, and it is answered.
        let group = std::mem::take(&mut *self.wanted.lock());
        if !group.is_empty() {
            let vault = Arc::clone(self);
            // It has the turn, also if this caller gives up.
            let work = move || {
                vault.answer(group);
                drop(turn);
            };
            let made = tokio::task::spawn_blocking(work).await;
            made.map_err(|_| CommitError::Engine("the making of a key was interrupted".into()))?;
        }
        answered.await.map_err(|_| CommitError::Engine("the making of a key was interrupted".into()))?
    }

    fn answer(&self, mut group: Vec<Wanted>) {
        while !group.is_empty() {
            let later = group.split_off(group.len().min(KEYS_AT_ONCE));
            let scopes: Vec<Scope> = group.iter().map(|wanted| wanted.scope).collect();
            let made = self.make_keys(&scopes);
            for Wanted { scope, answer } in group {
                let answered = match &made {
                    Ok(keys) => keys.get(&scope).cloned().ok_or(CommitError::Engine("a key was not made".into())),
                    Err(error) => Err(error.clone()),
                };
                let _ = answer.send(answered);
            }
            group = later;
        }
    }

    fn make_keys(&self, scopes: &[Scope]) -> Result<HashMap<Scope, DataKey>, CommitError> {
        let mut keys = HashMap::with_capacity(scopes.len());
        let mut batch = Batch::default();
        let first = self.next_id();
        let mut next = first;
        for scope in scopes {
            if keys.contains_key(scope) {
                continue;
            }
            let key = match self.id_of(scope, Reach::Disk)? {
                Some(id) => self.key(id, Reach::Disk)?,
                None => {
                    let record = KeyRecord::random(Purpose::Scope(*scope))?;
                    let key = DataKey::new(next, &record.material)?;
                    batch.put_sealed(&KEYS, &next, &Packed(record), &self.wrapping);
                    batch.put(&SCOPES, scope, &u64::from(next));
                    next = next.checked_add(1).ok_or(CommitError::Engine("no ids for keys are left".into()))?;
                    key
                }
            };
            keys.insert(*scope, key);
        }
        if next > first {
            batch.put(&NEXT_KEY, &(), &u64::from(next));
            self.write(batch)?;
            self.next.store(next, Ordering::Release);
        }
        Ok(keys)
    }

    /// Writes durably.
    fn write(&self, mut batch: Batch) -> Result<(), CommitError> {
        batch.seal(Position::ZERO, &self.wrapping, &mut Nonces::default())?;
        Ok(self.engine.write(&mut batch.changes(), true)?)
    }

    /// The scopes of a range that have a key, with its id.
    pub(crate) fn living(&self, scopes: ScopeRange) -> Result<Vec<(Scope, u32)>, Unread> {
        let mut found = Vec::new();
        let mut from = scopes.from;
        loop {
            let page = self.living_page(ScopeRange { from, ..scopes }, SCOPES_PER_PAGE)?;
            let last = page.last().map(|(scope, _)| scope.b);
            let full = page.len() == SCOPES_PER_PAGE;
            found.extend(page);
            match last {
                Some(last) if full && last < scopes.to => from = last + 1,
                _ => return Ok(found),
            }
        }
    }

    fn living_page(&self, scopes: ScopeRange, limit: usize) -> Result<Vec<(Scope, u32)>, Unread> {
        let bound = |b| SCOPES.row_key(&Scope { kind: scopes.kind, a: scopes.a, b });
        let mut end = bound(scopes.to);
        // Behind the last key itself.
        end.push(0);
        let profile = SCOPES.spec().profile;
        let range = Range { profile, start: bound(scopes.from), end, reverse: false, limit };
        let mut rows = Vec::new();
        self.engine.scan(&range, Reach::Disk, &mut |key, value| rows.push((key.to_vec(), value.to_vec())))?;
        let open = |(row_key, sealed): (Vec<u8>, Vec<u8>)| {
            let mut key = row_key.get(2..).ok_or(Unread::Corrupt)?;
            let scope = <Scope as crate::Key>::decode(&mut key)?;
            let id = u64::decode(sealing::open(&row_key, sealed, self.wrapping.cipher())?)?;
            Ok((scope, u32::try_from(id).map_err(|_| Unread::Corrupt)?))
        };
        rows.into_iter().map(open).collect()
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

/// Reads a row that is sealed with the wrapping key.
fn read_row<K: crate::Key, V: Value>(
    engine: &dyn Engine,
    wrapping: &DataKey,
    table: &Table<K, V>,
    key: &K,
    reach: Reach,
) -> Result<Option<V>, Unread> {
    let row_key = table.row_key(key);
    let Some(sealed) = engine.get(table.spec().profile, &row_key, reach)? else { return Ok(None) };
    Ok(Some(V::decode(sealing::open(&row_key, sealed, wrapping.cipher())?)?))
}

/// Reads a data key.
pub(crate) fn read_key(
    engine: &dyn Engine,
    wrapping: &DataKey,
    id: u32,
    reach: Reach,
) -> Result<Option<KeyRecord>, Unread> {
    let row_key = KEYS.row_key(&id);
    let Some(sealed) = engine.get(KEYS.spec().profile, &row_key, reach)? else { return Ok(None) };
    if Header::of(&sealed)?.key_id != WRAPPING_KEY_ID {
        return Err(Unread::Corrupt);
    }
    let opened = sealing::open(&row_key, sealed, wrapping.cipher())?;
    let record = postcard::from_bytes(&opened).map_err(|_| Unread::Corrupt)?;
    if let Ok(mut bytes) = opened.try_into_mut() {
        bytes.zeroize();
    }
    Ok(Some(record))
}
