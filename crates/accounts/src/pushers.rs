//! Pushers: section "Push Notifications". A pusher belongs to the device that set it, and ends with it in the same
//! batch. What is sent to push gateways is the business of crate `push`.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use serde_json::value::RawValue;
use wardroom_store::{Batch, Hash16, Json, Position, Scan, Store};

use crate::{
    AccountError, Accounts, Session, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    secret,
    tables::{DEVICES, PUSHERS, PUSHERS_BY_KEY, PUSHERS_CHANGED, PusherRow, domain},
};

/// Pushers one user may have.
pub const PUSHERS_PER_USER_MAX: usize = 100;
/// Longest push key, in bytes (specification).
pub const PUSHKEY_BYTES_MAX: usize = 512;
/// Longest id of an application, in characters (specification).
pub const APP_ID_CHARS_MAX: usize = 64;
/// Longest name of an application or a device, language or profile tag, in characters.
pub const PUSHER_TEXT_CHARS_MAX: usize = 256;
/// Largest `data` of a pusher, in bytes of JSON.
pub const PUSHER_DATA_BYTES_MAX: usize = 8 * 1_024;
/// Rows read at a time.
const ROWS_PER_PAGE: usize = 1_000;
/// Users whose pushers of one key a pusher without `append` ends.
const SAME_KEY_USERS_MAX: usize = 1_000;

/// What a client says of a pusher.
#[derive(Clone)]
pub struct NewPusher {
    /// Where the gateway delivers to.
    pub pushkey: String,
    /// The application.
    pub app_id: String,
    /// The application's name, for people.
    pub app_display_name: String,
    /// The device's name, for people.
    pub device_display_name: String,
    /// Profile tag.
    pub profile_tag: Option<String>,
    /// Preferred language.
    pub lang: String,
    /// What the gateway is told, a JSON object, and `url` within it.
    pub data: Box<RawValue>,
}

/// A pusher.
#[derive(Clone)]
pub struct Pusher {
    /// Number, unique on this server and never used again. Changing a pusher keeps it, replacing one does not.
    pub nid: u64,
    /// What the client said.
    pub is: NewPusher,
    /// When the client said it last, in milliseconds since the epoch.
    pub updated_ms: u64,
    /// Hash of the id of the device that set it.
    device: Hash16,
}

// Push keys are secrets of a kind: who knows one may wake the device.
impl fmt::Debug for NewPusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPusher").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").field("nid", &self.nid).finish_non_exhaustive()
    }
}

impl Pusher {
    fn from_row(row: PusherRow) -> Result<Self, AccountError> {
        let data = RawValue::from_string(row.data).map_err(|_| AccountError::Damaged("pusher"))?;
        let is = NewPusher {
            pushkey: row.pushkey,
            app_id: row.app_id,
            app_display_name: row.app_display_name,
            device_display_name: row.device_display_name,
            profile_tag: row.profile_tag,
            lang: row.lang,
            data,
        };
        Ok(Self { nid: row.nid, is, updated_ms: row.updated_ms, device: row.device })
    }
}

/// Who has pushers, in memory: asked for every event. Kept in step by the hooks of the commits that change them.
#[derive(Default)]
pub(crate) struct PusherIndex {
    /// Numbers of pushers with the hashes of their keys, by user.
    by_user: RwLock<HashMap<u64, Vec<(u64, Hash16)>>>,
    /// Counts changes.
    generation: AtomicU64,
}

impl PusherIndex {
    pub(crate) async fn load(store: &Store) -> Result<Self, AccountError> {
        let index = Self::default();
        let mut scan = Scan::all().limit(ROWS_PER_PAGE);
        loop {
            let rows = store.latest().scan(&PUSHERS, scan).await?;
            let Some(last) = rows.last().map(|(key, _)| *key) else { return Ok(index) };
            for ((user, key), Json(row)) in rows {
                index.enter(user, row.nid, key);
            }
            scan = Scan::all().after(&last).limit(ROWS_PER_PAGE);
        }
    }

    fn enter(&self, user: u64, nid: u64, key: Hash16) {
        let mut by_user = self.by_user.write();
        let pushers = by_user.entry(user).or_default();
        // Applications set their pusher again at each start: that changes nothing here.
        if !pushers.contains(&(nid, key)) {
            pushers.push((nid, key));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn leave(&self, user: u64, nid: u64) {
        let mut by_user = self.by_user.write();
        if let Some(pushers) = by_user.get_mut(&user) {
            pushers.retain(|(other, _)| *other != nid);
            if pushers.is_empty() {
                by_user.remove(&user);
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl Accounts {
    fn pusher_key(&self, app_id: &str, pushkey: &str) -> Hash16 {
        // The length keeps the border between the two apart.
        let name = format!("{}:{app_id}{pushkey}", app_id.len());
        self.0.store.keyed_hash(domain::PUSHER, name.as_bytes())
    }

    /// Sets a pusher of the session's device: makes it, or changes the user's pusher of the same application and push
    /// key. Unless it is to be one more (`append`), the same pushers of other users end.
    ///
    /// # Errors
    /// [`AccountError::Limit`], [`AccountError::Invalid`], [`AccountError::UnknownDevice`] when the device was logged
    /// out in the meantime, or the store's.
    pub async fn set_pusher(&self, session: &Session, pusher: NewPusher, append: bool) -> Result<(), AccountError> {
        check(&pusher)?;
        let (user, store) = (session.nid.get(), &self.0.store);
        let key = self.pusher_key(&pusher.app_id, &pusher.pushkey);
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let view = store.latest();
            let mut batch = Batch::default();
            let device = view.get_versioned(&DEVICES, &session.device_key).await?;
            let (_, device) = device.ok_or(AccountError::UnknownDevice)?;
            batch.expect_version(&DEVICES, &session.device_key, Some(device));
            self.expect_pushers(&mut batch, user).await?;
            batch.put(&PUSHERS_CHANGED, &user, &());
            let before = view.get_versioned(&PUSHERS, &(user, key)).await?;
            batch.expect_version(&PUSHERS, &(user, key), before.as_ref().map(|(_, version)| *version));
            if before.is_none() {
                let scan = Scan::prefix(&user).limit(PUSHERS_PER_USER_MAX);
                if view.scan_keys(&PUSHERS, scan).await?.len() >= PUSHERS_PER_USER_MAX {
                    let what = "The number of your pushers";
                    return Err(AccountError::Limit { what, limit: PUSHERS_PER_USER_MAX });
                }
            }
            let nid = before.map_or_else(secret::device_number, |(Json(row), _)| row.nid);
            let row = self.pusher_row(nid, session, pusher.clone());
            batch.put_sealed(&PUSHERS, &(user, key), &Json(row), &self.person_key(session.nid).await?);
            batch.put(&PUSHERS_BY_KEY, &(key, user), &());
            if !append {
                self.end_same_pushers(&mut batch, key, user).await?;
            }
            let index = Arc::clone(&self.0.pushers);
            batch.on_commit(move |_| index.enter(user, nid, key));
            if settled(store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// The id of the device that set a pusher of a user; none where it has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device_of_pusher(&self, user: UserNid, pusher: &Pusher) -> Result<Option<String>, AccountError> {
        let row = self.0.store.latest().get(&DEVICES, &(user.get(), pusher.device)).await?;
        Ok(row.map(|row| row.0.device_id))
    }

    fn pusher_row(&self, nid: u64, session: &Session, pusher: NewPusher) -> PusherRow {
        PusherRow {
            nid,
            device: session.device_key.1,
            updated_ms: self.now_ms(),
            pushkey: pusher.pushkey,
            app_id: pusher.app_id,
            app_display_name: pusher.app_display_name,
            device_display_name: pusher.device_display_name,
            profile_tag: pusher.profile_tag,
            lang: pusher.lang,
            data: pusher.data.get().to_owned(),
        }
    }

    /// Makes the batch fail if the user sets a pusher before it.
    async fn expect_pushers(&self, batch: &mut Batch, user: u64) -> Result<(), AccountError> {
        let changed = self.0.store.latest().get_versioned(&PUSHERS_CHANGED, &user).await?;
        batch.expect_version(&PUSHERS_CHANGED, &user, changed.map(|((), version)| version));
        Ok(())
    }

    /// Adds the end of other users' pushers of this key to the batch.
    async fn end_same_pushers(&self, batch: &mut Batch, key: Hash16, but: u64) -> Result<(), AccountError> {
        let view = self.0.store.latest();
        let same = view.scan_keys(&PUSHERS_BY_KEY, Scan::prefix(&key).limit(SAME_KEY_USERS_MAX)).await?;
        for (_, user) in same.into_iter().filter(|(_, user)| *user != but) {
            if let Some((Json(row), version)) = view.get_versioned(&PUSHERS, &(user, key)).await? {
                self.end_pusher(batch, user, key, row.nid, version);
            }
        }
        Ok(())
    }

    fn end_pusher(&self, batch: &mut Batch, user: u64, key: Hash16, nid: u64, version: Position) {
        batch.expect_version(&PUSHERS, &(user, key), Some(version));
        batch.delete(&PUSHERS, &(user, key));
        batch.delete(&PUSHERS_BY_KEY, &(key, user));
        let index = Arc::clone(&self.0.pushers);
        batch.on_commit(move |_| index.leave(user, nid));
    }

    /// Adds the end of the pushers of some of the user's devices to the batch that ends those devices.
    pub(crate) async fn end_pushers(
        &self,
        batch: &mut Batch,
        user: UserNid,
        ends: impl Fn(&Hash16) -> bool,
    ) -> Result<(), AccountError> {
        let user = user.get();
        let mut own = Batch::default();
        self.expect_pushers(&mut own, user).await?;
        let rows = self.0.store.latest().scan_versioned(&PUSHERS, Scan::prefix(&user)).await?;
        for ((_, key), Json(row), version) in rows.into_iter().filter(|(_, Json(row), _)| ends(&row.device)) {
            self.end_pusher(&mut own, user, key, row.nid, version);
        }
        batch.append(own);
        Ok(())
    }

    /// Ends a user's pusher of this application and push key, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_pusher(&self, user: UserNid, app_id: &str, pushkey: &str) -> Result<(), AccountError> {
        let key = self.pusher_key(app_id, pushkey);
        self.delete_pusher_where(user, |other, _| other == key).await
    }

    /// Ends the pusher with this number, if there still is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_pusher_by_nid(&self, user: UserNid, nid: u64) -> Result<(), AccountError> {
        self.delete_pusher_where(user, |_, other| other == nid).await
    }

    async fn delete_pusher_where(
        &self,
        user: UserNid,
        is_it: impl Fn(Hash16, u64) -> bool,
    ) -> Result<(), AccountError> {
        let user = user.get();
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let rows = self.0.store.latest().scan_versioned(&PUSHERS, Scan::prefix(&user)).await?;
            let found = rows.into_iter().find(|((_, key), Json(row), _)| is_it(*key, row.nid));
            let Some(((_, key), Json(row), version)) = found else { return Ok(()) };
            let mut batch = Batch::default();
            self.end_pusher(&mut batch, user, key, row.nid, version);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// A user's pushers, those longest unchanged first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pushers(&self, user: UserNid) -> Result<Vec<Pusher>, AccountError> {
        let rows = self.0.store.latest().scan(&PUSHERS, Scan::prefix(&user.get())).await?;
        let pushers = rows.into_iter().map(|(_, Json(row))| Pusher::from_row(row));
        let mut pushers = pushers.collect::<Result<Vec<_>, _>>()?;
        pushers.sort_by_key(|pusher| (pusher.updated_ms, pusher.nid));
        Ok(pushers)
    }

    /// A user's pusher by number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pusher(&self, user: UserNid, nid: u64) -> Result<Option<Pusher>, AccountError> {
        let key = {
            let by_user = self.0.pushers.by_user.read();
            by_user.get(&user.get()).and_then(|own| own.iter().find(|(other, _)| *other == nid)).map(|(_, key)| *key)
        };
        let Some(key) = key else { return Ok(None) };
        let row = self.0.store.latest().get(&PUSHERS, &(user.get(), key)).await?;
        row.filter(|Json(row)| row.nid == nid).map(|Json(row)| Pusher::from_row(row)).transpose()
    }

    /// Numbers of a user's pushers, from memory.
    pub fn pusher_nids(&self, user: UserNid) -> Vec<u64> {
        let by_user = self.0.pushers.by_user.read();
        by_user.get(&user.get()).map(|own| own.iter().map(|(nid, _)| *nid).collect()).unwrap_or_default()
    }

    /// Whether a user has pushers, from memory.
    pub fn has_pushers(&self, user: UserNid) -> bool {
        self.0.pushers.by_user.read().contains_key(&user.get())
    }

    /// The users who have pushers, each with the numbers of theirs, from memory.
    pub fn users_with_pushers(&self) -> Vec<(UserNid, Vec<u64>)> {
        let by_user = self.0.pushers.by_user.read();
        let nids = |own: &Vec<(u64, Hash16)>| own.iter().map(|(nid, _)| *nid).collect();
        by_user.iter().map(|(user, own)| (UserNid::new(*user), nids(own))).collect()
    }

    /// Another number after every change of anybody's pushers.
    pub fn pushers_generation(&self) -> u64 {
        self.0.pushers.generation.load(Ordering::Acquire)
    }
}

fn check(pusher: &NewPusher) -> Result<(), AccountError> {
    let invalid = |field, problem| Err(AccountError::Invalid { field, problem });
    if pusher.pushkey.is_empty() || pusher.pushkey.len() > PUSHKEY_BYTES_MAX {
        return invalid("pushkey", "must be 1 to 512 bytes long");
    }
    let app_id_chars = pusher.app_id.chars().count();
    if app_id_chars == 0 || app_id_chars > APP_ID_CHARS_MAX {
        return invalid("app_id", "must be 1 to 64 characters long");
    }
    let texts = [
        ("app_display_name", Some(&pusher.app_display_name)),
        ("device_display_name", Some(&pusher.device_display_name)),
        ("lang", Some(&pusher.lang)),
        ("profile_tag", pusher.profile_tag.as_ref()),
    ];
    for (field, text) in texts {
        if text.is_some_and(|text| text.chars().count() > PUSHER_TEXT_CHARS_MAX) {
            return invalid(field, "must be at most 256 characters long");
        }
    }
    if !pusher.data.get().starts_with('{') {
        return invalid("data", "must be a JSON object");
    }
    if pusher.data.get().len() > PUSHER_DATA_BYTES_MAX {
        return invalid("data", "must be at most 8192 bytes of JSON");
    }
    Ok(())
}
