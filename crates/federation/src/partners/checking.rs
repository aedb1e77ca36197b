//! Checking the signatures and hashes of many events at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use ruma::{OwnedServerName, OwnedServerSigningKeyId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue as RawJsonValue;
use tokio::sync::Semaphore;
use wardroom_event::{Pdu, PublicKeys, RoomVersion, Verified, redact, required_servers, verify};

use super::{CheckedEvent, Partners, keyring::Wanted};

/// Events checked in one go on a thread.
const CHUNK_EVENTS: usize = 32;
/// Servers whose keys are fetched at the same time for one set of events.
const SERVERS_AT_ONCE: usize = 32;
/// How long a set of events waits for keys: those of servers that are gone are not worth more.
const KEYS_TIMEOUT: Duration = Duration::from_secs(60);

/// An event that was read, and whose keys it needs.
struct Unchecked {
    raw: Box<RawJsonValue>,
    pdu: Pdu,
    needs: Vec<(OwnedServerName, Wanted)>,
}

/// Threads that check events.
#[derive(Debug)]
pub(crate) struct Checkers(Semaphore);

impl Checkers {
    /// As many as there are processors: checking does nothing but calculate.
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)))
    }

    /// Does a piece of work for each item, in order, many at a time.
    async fn each<A, B>(
        &self,
        items: Vec<A>,
        work: impl Fn(A) -> Result<B, String> + Clone + Send + 'static,
    ) -> Vec<Result<B, String>>
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        let mut chunks = Vec::new();
        let mut items = items.into_iter();
        loop {
            let chunk: Vec<A> = items.by_ref().take(CHUNK_EVENTS).collect();
            if chunk.is_empty() {
                break;
            }
            let (length, work) = (chunk.len(), work.clone());
            chunks.push(async move {
                let _turn = self.0.acquire().await;
                let done = tokio::task::spawn_blocking(move || chunk.into_iter().map(work).collect::<Vec<_>>());
                done.await.unwrap_or_else(|_| (0..length).map(|_| Err("it could not be checked".to_owned())).collect())
            });
        }
        join_all(chunks).await.into_iter().flatten().collect()
    }
}

impl Partners {
    /// Checks events of one room exactly as they came: format, signatures with the keys of their servers (fetched where
    /// need be, in parallel), content hash. Events whose hash is wrong come back in their redacted form. The answers are in the
    /// order of the events.
    pub async fn check_events(&self, version: RoomVersion, events: Vec<Box<RawJsonValue>>) -> Vec<CheckedEvent> {
        let checkers = &self.inner.checkers;
        let read = checkers.each(events, move |raw| Unchecked::read(raw, version)).await;
        let keys = Arc::new(self.keys_for(read.iter().flatten()).await);
        let work = move |read: Result<Unchecked, String>| read?.check(&keys);
        checkers.each(read, work).await
    }

    async fn keys_for<'a>(&self, events: impl Iterator<Item = &'a Unchecked>) -> PublicKeys {
        let mut wanted: BTreeMap<OwnedServerName, Vec<Wanted>> = BTreeMap::new();
        for (server, want) in events.flat_map(|event| &event.needs) {
            wanted.entry(server.clone()).or_default().push(want.clone());
        }
        let mut keys = PublicKeys::new();
        let own = &self.inner.own_keys;
        if wanted.remove(&own.server_name).is_some() {
            own.add_to(&mut keys);
        }
        let fetched = stream::iter(wanted).map(async |(server, wanted)| {
            let known = self.keys_of(&server, &wanted).await.ok();
            (server, known)
        });
        let mut fetched = Box::pin(fetched.buffer_unordered(SERVERS_AT_ONCE));
        let collecting = async {
            while let Some((server, known)) = fetched.next().await {
                if let Some(known) = known {
                    known.add_to(&server, &mut keys);
                }
            }
        };
        // What is missing then fails its events.
        let _ = tokio::time::timeout(KEYS_TIMEOUT, collecting).await;
        drop(fetched);
        keys
    }
}

impl Unchecked {
    fn read(raw: Box<RawJsonValue>, version: RoomVersion) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            origin_server_ts: u64,
            #[serde(default)]
            signatures: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
        }
        let json = raw.get().as_bytes();
        let pdu = Pdu::parse(json, version).map_err(|error| error.to_string())?;
        let servers: BTreeSet<OwnedServerName> = required_servers(json, version).map_err(|error| error.to_string())?;
        let head: Head = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let mut needs = Vec::with_capacity(servers.len());
        for server in servers {
            let key_ids: Vec<OwnedServerSigningKeyId> = head
                .signatures
                .get(server.as_str())
                .into_iter()
                .flat_map(BTreeMap::keys)
                .filter_map(|id| OwnedServerSigningKeyId::try_from(id.as_str()).ok())
                .collect();
            if key_ids.is_empty() {
                return Err(format!("{server} has not signed it"));
            }
            needs.push((server, Wanted { key_ids, at_ms: head.origin_server_ts }));
        }
        Ok(Self { raw, pdu, needs })
    }

    fn check(self, keys: &PublicKeys) -> CheckedEvent {
        match verify(self.raw.get().as_bytes(), keys, self.pdu.version()) {
            Ok(Verified::All) => Ok(Arc::new(self.pdu)),
            Ok(Verified::Signatures) => redact(&self.pdu, None).map(Arc::new).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
