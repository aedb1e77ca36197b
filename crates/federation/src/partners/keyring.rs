//! Keys of other servers: fetched, remembered, and asked for again within bounds.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use quick_cache::sync::Cache;
use ruma::{OwnedServerName, OwnedServerSigningKeyId, ServerName};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wardroom_clock::SharedClock;
use wardroom_event::{PublicKey, PublicKeys};
use wardroom_store::{Batch, Hash16, Packed, Profile, Seal, Store, Table};

use super::{Limits, PartnerError, client::Client, key_document::KeyDocument, locks::Locks};

/// Keys of other servers.
pub(crate) const SERVER_KEYS: Table<Hash16, Packed<Row>> =
    Table::new(0x0500, "server_keys", Profile::Point, Seal::System).compressed();

/// Documents of servers that had keys which newer ones have not.
pub(crate) const OLDER_DOCUMENTS: Table<Hash16, Packed<Vec<Older>>> =
    Table::new(0x0503, "older_key_documents", Profile::Point, Seal::System).compressed();

/// Keeps the hashes of server names apart from other hashes.
const NAME_DOMAIN: u8 = 0x60;

/// A key is believed for this long after it was fetched, whatever the server says (section "Publishing keys").
const BELIEVED_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// How long a document is taken for what its server publishes now.
const CURRENT_MS: u64 = 10 * 60 * 1_000;
/// Servers whose keys are kept in memory.
const SERVERS_CACHED_MAX: usize = 4_096;
/// Keys of one server that are kept, old ones included.
const KEYS_MAX: usize = 64;
/// Servers whose last attempts are remembered.
const ATTEMPTS_MAX: usize = 20_000;
/// Shortest time between two attempts at one server; each failure in a row doubles it.
const ATTEMPT_MS: u64 = 5 * 1_000;
/// Longest time between two attempts at a server that answers, but has not the wanted keys: it may get them any moment.
const VAIN_LONGEST_MS: u64 = 60 * 1_000;
/// Longest time between two attempts.
const ATTEMPT_LONGEST_MS: u64 = 5 * 60 * 1_000;
/// Attempts at a server that others can cause beyond that pace, one after the other.
const FOR_OTHERS_AT_ONCE: u64 = 6;
/// Time after which another one of these is free.
const FOR_OTHERS_MS: u64 = 60 * 1_000;
/// Older documents of one server that are kept.
const OLDER_DOCUMENTS_MAX: usize = 8;
/// Bytes of all of them.
const OLDER_BYTES_MAX: usize = 256 * 1024;
/// Documents fetched at the same time of servers whose keys are known, and as many again of strangers: these cannot
/// keep those waiting.
const FETCHES_MAX: usize = 32;
/// How long a fetch waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for fetching one document.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest document.
const DOCUMENT_BYTES_MAX: usize = 128 * 1024;
/// Longest answer of a notary.
const NOTARY_ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A stored key document and what was learnt from it and its predecessors.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    server: String,
    document: Vec<u8>,
    document_valid_until_ts: u64,
    fetched_ms: u64,
    keys: Vec<(String, [u8; 32], u64)>,
}

/// An older document at rest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Older {
    document: Vec<u8>,
    key_ids: Vec<String>,
}

/// What is known of a server's keys.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The newest document, as it came.
    pub(crate) document: Bytes,
    /// Until when that says it is good.
    pub(crate) document_valid_until_ts: u64,
    /// When it was fetched.
    pub(crate) fetched_ms: u64,
    /// All keys, each with the last moment at which it may sign.
    pub(crate) keys: BTreeMap<OwnedServerSigningKeyId, PublicKey>,
}

impl Known {
    /// What is known after another document.
    fn after(before: Option<&Self>, document: KeyDocument, now_ms: u64) -> Self {
        let mut keys = before.map(|before| before.keys.clone()).unwrap_or_default();
        for (id, key, expired_ts) in document.old {
            keys.insert(id, PublicKey { key, valid_until_ts: expired_ts });
        }
        let valid_until_ts = document.valid_until_ts.min(now_ms.saturating_add(BELIEVED_MS));
        for (id, key) in document.current {
            keys.insert(id, PublicKey { key, valid_until_ts });
        }
        while keys.len() > KEYS_MAX {
            // The one that expired first: it has the least left to prove.
            let oldest = keys.iter().min_by_key(|(_, key)| key.valid_until_ts).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            keys.remove(&oldest);
        }
        let document_valid_until_ts = document.valid_until_ts;
        Self { document: document.json, document_valid_until_ts, fetched_ms: now_ms, keys }
    }

    /// Whether one of these keys may sign at this moment.
    pub(crate) fn has(&self, wanted: &Wanted) -> bool {
        wanted.key_ids.iter().any(|id| self.keys.get(id).is_some_and(|key| key.valid_until_ts >= wanted.at_ms))
    }

    /// The keys that may sign at this moment.
    pub(crate) fn valid_at(&self, at_ms: u64) -> impl Iterator<Item = (OwnedServerSigningKeyId, [u8; 32])> + '_ {
        self.keys.iter().filter(move |(_, key)| key.valid_until_ts >= at_ms).map(|(id, key)| (id.clone(), key.key))
    }

    /// Adds the keys to those that events are checked with.
    pub(crate) fn add_to(&self, server: &ServerName, keys: &mut PublicKeys) {
        for (id, key) in &self.keys {
            keys.insert(server.to_owned(), id.clone(), key.clone());
        }
    }

    fn row(&self, server: &ServerName) -> Row {
        Row {
            server: server.to_string(),
            document: self.document.to_vec(),
            document_valid_until_ts: self.document_valid_until_ts,
            fetched_ms: self.fetched_ms,
            keys: self.keys.iter().map(|(id, key)| (id.to_string(), key.key, key.valid_until_ts)).collect(),
        }
    }

    fn of_row(row: Row) -> Self {
        let keys = row.keys.into_iter().filter_map(|(id, key, valid_until_ts)| {
            Some((OwnedServerSigningKeyId::try_from(id).ok()?, PublicKey { key, valid_until_ts }))
        });
        Self {
            keys: keys.collect(),
            document: row.document.into(),
            document_valid_until_ts: row.document_valid_until_ts,
            fetched_ms: row.fetched_ms,
        }
    }
}

/// One of these keys is wanted, and it must be good at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key_ids: Vec<OwnedServerSigningKeyId>,
    pub(crate) at_ms: u64,
}

/// For whom a server is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempts {
    /// This server, which need not know again so soon.
    Own,
    /// Others, who say how good the keys have to be: some attempts more.
    ForOthers,
}

#[derive(Clone, Copy)]
struct Attempt {
    failures: u32,
    next_ms: u64,
}

/// Keys of other servers.
pub(crate) struct Keyring {
    client: Arc<Client>,
    store: Store,
    clock: SharedClock,
    notaries: Vec<OwnedServerName>,
    known: Cache<OwnedServerName, Arc<Known>>,
    attempts: Cache<OwnedServerName, Attempt>,
    /// When each of the attempts for others would have been due at their pace.
    for_others: Cache<OwnedServerName, u64>,
    locks: Locks,
    acquaintances: Semaphore,
    strangers: Semaphore,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Keyring {
    pub(crate) fn new(client: Arc<Client>, store: Store, clock: SharedClock, notaries: Vec<OwnedServerName>) -> Self {
        Self {
            client,
            store,
            clock,
            notaries,
            known: Cache::new(SERVERS_CACHED_MAX),
            attempts: Cache::new(ATTEMPTS_MAX),
            for_others: Cache::new(ATTEMPTS_MAX),
            locks: Locks::default(),
            acquaintances: Semaphore::new(FETCHES_MAX),
            strangers: Semaphore::new(FETCHES_MAX),
        }
    }

    /// What is known of a server's keys without asking anybody.
    pub(crate) async fn known(&self, server: &ServerName) -> Result<Option<Arc<Known>>, PartnerError> {
        if let Some(known) = self.known.get(server) {
            return Ok(Some(known));
        }
        let row = self.store.latest().get(&SERVER_KEYS, &self.hash(server)).await;
        let Some(Packed(row)) = row.map_err(|error| PartnerError::Store(error.to_string()))? else { return Ok(None) };
        let known = Arc::new(Known::of_row(row));
        self.known.insert(server.to_owned(), Arc::clone(&known));
        Ok(Some(known))
    }

    /// The keys of a server; they are fetched if one that is wanted is not known, or not for long enough. That it is
    /// known afterwards is not said.
    ///
    /// # Errors
    /// When nothing is known of the server and nothing can be fetched.
    pub(crate) async fn with(&self, server: &ServerName, wanted: &[Wanted]) -> Result<Arc<Known>, PartnerError> {
        let enough = |known: &Known| wanted.iter().all(|wanted| known.has(wanted));
        self.fetch_unless(server, enough, Attempts::Own).await
    }

    /// The keys that a server publishes now, asked for again where what is known is not of the last minutes, or has none of
    /// those that are wanted.
    ///
    /// # Errors
    /// When nothing is known of the server and nothing can be fetched.
    pub(crate) async fn current(
        &self,
        server: &ServerName,
        wanted: &[OwnedServerSigningKeyId],
    ) -> Result<Vec<(OwnedServerSigningKeyId, [u8; 32])>, PartnerError> {
        let now_ms = self.clock.now_ms();
        let keys_of = |known: &Known| {
            let good_until_ms = known.document_valid_until_ts.min(known.fetched_ms.saturating_add(BELIEVED_MS));
            let document = KeyDocument::read(server, known.document.clone()).ok();
            document.filter(|_| good_until_ms >= now_ms).map(|document| document.current).unwrap_or_default()
        };
        let enough = |known: &Known| {
            known.fetched_ms.saturating_add(CURRENT_MS) >= now_ms
                && keys_of(known).iter().any(|(id, _)| wanted.contains(id))
        };
        let known = self.fetch_unless(server, enough, Attempts::Own).await?;
        Ok(keys_of(&known))
    }

    /// The key documents of a server in which these keys are: the newest, asked for again unless it is good until a
    /// moment, and older ones for keys that it does not publish any more. Just the newest if none of them is known.
    ///
    /// # Errors
    /// As [`Keyring::with`].
    pub(crate) async fn documents_until(
        &self,
        server: &ServerName,
        key_ids: &[OwnedServerSigningKeyId],
        at_ms: u64,
    ) -> Result<Vec<Bytes>, PartnerError> {
        let has_all = |known: &Known| key_ids.iter().all(|id| known.keys.contains_key(id));
        let enough = |known: &Known| known.document_valid_until_ts >= at_ms && has_all(known);
        let newest = self.fetch_unless(server, enough, Attempts::ForOthers).await?.document.clone();
        let newest_keys = KeyDocument::read(server, newest.clone()).map(|document| document.key_ids());
        let newest_keys = newest_keys.unwrap_or_default();
        let mut wanted: Vec<&OwnedServerSigningKeyId> = key_ids.iter().collect();
        wanted.retain(|id| !newest_keys.contains(id));
        if wanted.is_empty() {
            return Ok(vec![newest]);
        }
        let mut documents = Vec::new();
        if wanted.len() < key_ids.len() {
            documents.push(newest.clone());
        }
        for older in self.older_documents(server).await? {
            let has = |id: &OwnedServerSigningKeyId| older.key_ids.iter().any(|key| key == id.as_str());
            if wanted.iter().any(|id| has(id)) {
                wanted.retain(|id| !has(id));
                documents.push(older.document.into());
            }
        }
        Ok(if documents.is_empty() { vec![newest] } else { documents })
    }

    /// Documents that had keys which newer ones have not, the newest first.
    async fn older_documents(&self, server: &ServerName) -> Result<Vec<Older>, PartnerError> {
        let rows = self.store.latest().get(&OLDER_DOCUMENTS, &self.hash(server)).await;
        let rows = rows.map_err(|error| PartnerError::Store(error.to_string()))?;
        Ok(rows.map(|Packed(rows)| rows).unwrap_or_default())
    }

    /// The older documents once `document` takes the place of the newest one.
    async fn older_after(
        &self,
        server: &ServerName,
        before: Option<&Known>,
        document: &KeyDocument,
    ) -> Result<Option<Vec<Older>>, PartnerError> {
        let Some(before) = before.and_then(|before| KeyDocument::read(server, before.document.clone()).ok()) else {
            return Ok(None);
        };
        let kept = document.key_ids();
        if before.key_ids().iter().all(|id| kept.contains(id)) {
            return Ok(None);
        }
        let key_ids = before.key_ids().iter().map(ToString::to_string).collect();
        let mut older = self.older_documents(server).await?;
        older.insert(0, Older { document: before.json.to_vec(), key_ids });
        let mut bytes = 0;
        older.truncate(OLDER_DOCUMENTS_MAX);
        older.retain(|older| {
            bytes += older.document.len();
            bytes <= OLDER_BYTES_MAX
        });
        Ok(Some(older))
    }

    /// Whether a server may be asked once more for others although it was asked a moment ago.
    fn may_ask_for_others(&self, server: &ServerName, now_ms: u64) -> bool {
        let due_ms = self.for_others.peek(server).unwrap_or(0).max(now_ms);
        if due_ms - now_ms > (FOR_OTHERS_AT_ONCE - 1) * FOR_OTHERS_MS {
            return false;
        }
        self.for_others.insert(server.to_owned(), due_ms.saturating_add(FOR_OTHERS_MS));
        true
    }

    async fn fetch_unless(
        &self,
        server: &ServerName,
        enough: impl Fn(&Known) -> bool,
        attempts: Attempts,
    ) -> Result<Arc<Known>, PartnerError> {
        if let Some(known) = self.known(server).await?.filter(|known| enough(known)) {
            return Ok(known);
        }
        // One at a time for each server; whoever waited finds what the first one fetched.
        let lock = self.locks.of(server);
        let _guard = lock.lock().await;
        let known = self.known(server).await?;
        if let Some(known) = known.as_ref().filter(|known| enough(known)) {
            return Ok(Arc::clone(known));
        }
        let now_ms = self.clock.now_ms();
        let last = self.attempts.peek(server);
        let too_soon = last.is_some_and(|last| last.next_ms > now_ms);
        if too_soon && !(attempts == Attempts::ForOthers && self.may_ask_for_others(server, now_ms)) {
            return known.ok_or(PartnerError::BackingOff);
        }
        let fetched = self.fetch(server, known.as_deref()).await;
        let longest_ms = if fetched.is_ok() { VAIN_LONGEST_MS } else { ATTEMPT_LONGEST_MS };
        let failures = match &fetched {
            Ok(known) if enough(known) => 0,
            // In vain: whoever makes up key ids has the server asked ever more seldom.
            _ => last.map_or(0, |last| last.failures).saturating_add(1),
        };
        let wait_ms = ATTEMPT_MS.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest_ms);
        let attempt = Attempt { failures, next_ms: self.clock.now_ms().saturating_add(wait_ms) };
        // Attempts beyond the pace do not slow down the others.
        if !too_soon {
            self.attempts.insert(server.to_owned(), attempt);
        }
        match (fetched, known) {
            (Ok(known), _) | (Err(_), Some(known)) => Ok(known),
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, server: &ServerName, before: Option<&Known>) -> Result<Arc<Known>, PartnerError> {
        let turns = if before.is_some() { &self.acquaintances } else { &self.strangers };
        let turn = tokio::time::timeout(TURN_TIMEOUT, turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(PartnerError::BackingOff)?;
        let document = match self.document_of_origin(server).await {
            Ok(document) => document,
            Err(error) => match self.document_of_notaries(server).await {
                Some(document) => document,
                None => return Err(error),
            },
        };
        let older = self.older_after(server, before, &document).await?;
        let known = Arc::new(Known::after(before, document, self.clock.now_ms()));
        let mut batch = Batch::default();
        if let Some(older) = older {
            batch.put(&OLDER_DOCUMENTS, &self.hash(server), &Packed(older));
        }
        batch.put(&SERVER_KEYS, &self.hash(server), &Packed(known.row(server)));
        let written = self.store.commit(batch).await;
        written.map_err(|error| PartnerError::Store(error.to_string()))?;
        self.known.insert(server.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    /// The document that the server itself publishes.
    pub(crate) async fn document_of_origin(&self, server: &ServerName) -> Result<KeyDocument, PartnerError> {
        let request = Request::builder().method(Method::GET).uri("/_matrix/key/v2/server").body(Bytes::new());
        let request = request.map_err(|error| PartnerError::Malformed(error.to_string()))?;
        let limits = Limits { timeout: FETCH_TIMEOUT, answer_bytes_max: DOCUMENT_BYTES_MAX, ignore_backoff: true };
        let (_, _, body) = self.client.exchange(server, request, limits).await?;
        KeyDocument::read(server, body).map_err(|reason| PartnerError::Malformed(format!("its keys: {reason}")))
    }

    /// The newest document that a notary has. Any server can make up a document of another, so its signature counts.
    async fn document_of_notaries(&self, server: &ServerName) -> Option<KeyDocument> {
        #[derive(Deserialize)]
        struct Answer {
            server_keys: Vec<Box<serde_json::value::RawValue>>,
        }
        for notary in self.notaries.iter().filter(|notary| *notary != server) {
            let keys = match self.known(notary).await {
                Ok(Some(known)) if known.valid_at(self.clock.now_ms()).next().is_some() => known,
                _ => match self.document_of_origin(notary).await {
                    Ok(document) => Arc::new(Known::after(None, document, self.clock.now_ms())),
                    Err(_) => continue,
                },
            };
            let body = serde_json::json!({ "server_keys": { server.as_str(): {} } }).to_string();
            let request = Request::builder()
                .method(Method::POST)
                .uri("/_matrix/key/v2/query")
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(Bytes::from(body));
            let Ok(request) = request else { continue };
            let limits =
                Limits { timeout: FETCH_TIMEOUT, answer_bytes_max: NOTARY_ANSWER_BYTES_MAX, ignore_backoff: false };
            let Ok((_, _, body)) = self.client.exchange(notary, request, limits).await else { continue };
            let Ok(answer) = serde_json::from_slice::<Answer>(&body) else { continue };
            let documents = answer.server_keys.iter().filter_map(|document| {
                let document = KeyDocument::read(server, Bytes::copy_from_slice(document.get().as_bytes())).ok()?;
                document.is_signed_by(notary, keys.valid_at(self.clock.now_ms())).then_some(document)
            });
            if let Some(document) = documents.max_by_key(|document| document.valid_until_ts) {
                return Some(document);
            }
        }
        None
    }

    fn hash(&self, server: &ServerName) -> Hash16 {
        self.store.keyed_hash(NAME_DOMAIN, server.as_str().as_bytes())
    }
}
