//! The outbox over the store in memory, with servers that answer as a test wants.

mod away;
mod sending;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName, owned_server_name};
use serde_json::{
    json,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use wardroom_clock::ManualClock;
use wardroom_rooms::{EventNid, Outgoing, Place, RoomError, RoomNid, WATCH_OUTGOING};
use wardroom_store::{Batch, Catalogue, Position, Store};

use super::{
    Outbox, OutgoingEdu,
    carrier::{Carrier, Numbered, Source, Transaction},
};
use crate::{PartnerError, TABLES};

/// Within this a condition holds, or the test fails.
const SOON: Duration = Duration::from_secs(180);
const START_MS: u64 = 1_700_000_000_000;

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// How a server answers.
#[derive(Clone, Debug)]
pub(super) enum Mood {
    Takes,
    /// Takes, but some events are not accepted.
    TakesBut(usize),
    Away,
    /// Not before the notice, and then it takes.
    Slow(Arc<Notify>),
    Refuses(StatusCode, &'static str),
    /// Refuses transactions with this in them.
    Dislikes(&'static str),
    /// Takes the transaction, and the answer gets lost.
    LosesAnswer,
}

#[derive(Debug, Default)]
pub(super) struct Servers {
    moods: Mutex<HashMap<OwnedServerName, Mood>>,
    everybody_is_away: Mutex<bool>,
    denied: Mutex<BTreeSet<OwnedServerName>>,
    /// Every attempt.
    pub(super) attempts: Mutex<Vec<(OwnedServerName, Transaction)>>,
    taken: Mutex<BTreeMap<OwnedServerName, Vec<Transaction>>>,
    at_once: AtomicUsize,
}

impl Servers {
    pub(super) fn set(&self, server: &ServerName, mood: Mood) {
        self.moods.lock().insert(server.to_owned(), mood);
    }

    pub(super) fn deny(&self, server: &ServerName, denied: bool) {
        if denied {
            self.denied.lock().insert(server.to_owned());
        } else {
            self.denied.lock().remove(server);
        }
    }

    pub(super) fn everybody_is_away(&self, away: bool) {
        *self.everybody_is_away.lock() = away;
    }

    pub(super) fn taken(&self, server: &ServerName) -> Vec<Transaction> {
        self.taken.lock().get(server).cloned().unwrap_or_default()
    }

    /// Events that a server took, as (room, event).
    pub(super) fn events(&self, server: &ServerName) -> Vec<(u64, u64)> {
        self.taken(server).iter().flat_map(|transaction| &transaction.pdus).map(|pdu| event(pdu)).collect()
    }

    /// Whether a server took an event.
    pub(super) fn has(&self, server: &ServerName, event: u64) -> bool {
        let wanted = format!("\"event\":{event},");
        let taken = self.taken.lock();
        let mut pdus = taken.get(server).into_iter().flatten().flat_map(|transaction| &transaction.pdus);
        pdus.any(|pdu| pdu.get().contains(&wanted))
    }

    pub(super) fn edus(&self, server: &ServerName) -> Vec<String> {
        self.taken(server).iter().flat_map(|transaction| &transaction.edus).map(|edu| edu.get().to_owned()).collect()
    }

    pub(super) fn attempts(&self, server: &ServerName) -> Vec<Transaction> {
        let attempts = self.attempts.lock();
        attempts.iter().filter(|(to, _)| to == server).map(|(_, transaction)| transaction.clone()).collect()
    }
}

pub(super) fn event(pdu: &RawJsonValue) -> (u64, u64) {
    let pdu: serde_json::Value = serde_json::from_str(pdu.get()).unwrap();
    (pdu["room"].as_u64().unwrap(), pdu["event"].as_u64().unwrap())
}

impl Carrier for Servers {
    fn admits(&self, server: &ServerName) -> bool {
        !self.denied.lock().contains(server)
    }

    fn carry<'a>(
        &'a self,
        server: &'a ServerName,
        transaction: Transaction,
    ) -> BoxFuture<'a, Result<usize, PartnerError>> {
        Box::pin(async move {
            assert!(transaction.pdus.len() <= 50 && transaction.edus.len() <= 100);
            self.at_once.fetch_add(1, Ordering::SeqCst);
            let away = *self.everybody_is_away.lock();
            if !away {
                self.attempts.lock().push((server.to_owned(), transaction.clone()));
            }
            let mood = if away { Mood::Away } else { self.moods.lock().get(server).cloned().unwrap_or(Mood::Takes) };
            let refused = |status, body: &str| PartnerError::Refused {
                status,
                errcode: "M_UNKNOWN".to_owned(),
                message: "no".to_owned(),
                body: Some(body.to_owned().into()),
            };
            let is_disliked =
                |what: &str| transaction.pdus.iter().chain(&transaction.edus).any(|json| json.get().contains(what));
            let answer = match mood {
                Mood::Takes => Ok(0),
                Mood::TakesBut(events) => Ok(events),
                Mood::Away => Err(PartnerError::Unreachable("nobody is there".to_owned())),
                Mood::Slow(notice) => {
                    notice.notified().await;
                    Ok(0)
                }
                Mood::Refuses(status, body) => Err(refused(status, body)),
                Mood::Dislikes(what) if is_disliked(what) => Err(refused(StatusCode::BAD_REQUEST, "{}")),
                Mood::Dislikes(_) => Ok(0),
                Mood::LosesAnswer => {
                    self.taken.lock().entry(server.to_owned()).or_default().push(transaction.clone());
                    Err(PartnerError::Unreachable("the connection broke".to_owned()))
                }
            };
            if answer.is_ok() {
                self.taken.lock().entry(server.to_owned()).or_default().push(transaction);
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }
}

/// Rooms that want to send.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    outgoing: Arc<Mutex<BTreeMap<(u64, u16), Outgoing>>>,
    gone: Mutex<BTreeSet<u64>>,
}

impl Source for Wanted {
    fn outgoing(&self, from: Place, _: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Outgoing>, RoomError>> {
        Box::pin(async move {
            let all = self.outgoing.lock();
            let page = all.range((from.position().get(), from.index())..).take(limit);
            Ok(page.map(|(_, entry)| entry.clone()).collect())
        })
    }

    fn taken_over(&self, batch: &mut Batch, entry: &Outgoing) {
        let (outgoing, key) = (Arc::clone(&self.outgoing), (entry.place.position().get(), entry.place.index()));
        batch.on_commit(move |_| drop(outgoing.lock().remove(&key)));
    }

    fn events<'a>(&'a self, room: RoomNid, events: &'a [EventNid]) -> BoxFuture<'a, Result<Numbered, RoomError>> {
        Box::pin(async move {
            let here = events.iter().filter(|event| !self.gone.lock().contains(&event.get()));
            let json = |event: &EventNid| {
                (*event, to_raw_value(&json!({ "room": room.get(), "event": event.get() })).unwrap())
            };
            Ok(here.map(json).collect())
        })
    }
}

pub(super) struct World {
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) servers: Arc<Servers>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) outbox: Outbox,
    running: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn start(
    store: &Store,
    clock: &Arc<ManualClock>,
    servers: &Arc<Servers>,
    wanted: &Arc<Wanted>,
) -> (Outbox, JoinHandle<()>) {
    let (carrier, source): (Arc<dyn Carrier>, Arc<dyn Source>) = (Arc::clone(servers) as _, Arc::clone(wanted) as _);
    let outbox = Outbox::over(
        owned_server_name!("here.example"),
        (store.clone(), wardroom_audit::AuditLog::silent()),
        Arc::clone(clock) as _,
        carrier,
        source,
    );
    let run = outbox.clone();
    (outbox, tokio::spawn(async move { run.run().await }))
}

impl World {
    pub(super) fn new() -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(START_MS));
        let (servers, wanted) = (Arc::default(), Arc::default());
        let (outbox, running) = start(&store, &clock, &servers, &wanted);
        Self { store, clock, servers, wanted, outbox, running }
    }

    /// Stops the outbox in the middle of what it does, and starts one that only has what is in the store.
    pub(super) async fn restart(&mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
        (self.outbox, self.running) = start(&self.store, &self.clock, &self.servers, &self.wanted);
    }

    /// Sends an event of a room.
    pub(super) async fn send(&self, room: u64, event: u64, servers: &[&ServerName]) {
        let servers: Vec<OwnedServerName> = servers.iter().map(|server| (*server).to_owned()).collect();
        let outgoing = Arc::clone(&self.wanted.outgoing);
        let mut batch = Batch::default();
        batch.touch(WATCH_OUTGOING);
        batch.on_commit(move |position| {
            let place = Place::new(position, 0);
            let entry = Outgoing { place, room: RoomNid::new(room), event: EventNid::new(event), servers };
            outgoing.lock().insert((position.get(), 0), entry);
        });
        self.store.commit(batch).await.unwrap();
    }

    pub(super) async fn queue(&self, server: &ServerName, number: usize) {
        let mut batch = Batch::default();
        self.outbox.queue_edu(&mut batch, server, edu("m.direct_to_device", None, number)).await.unwrap();
        self.store.commit(batch).await.unwrap();
    }

    /// Until sending to a server has failed so often in a row, and that is noted.
    pub(super) async fn failed(&self, server: &ServerName, failures: u64) {
        let wait = async {
            while !self.outbox.samples(10).await.unwrap().iter().any(|s| s.server == server && s.failures == failures) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(SOON, wait).await.expect("the failures are noted soon");
    }

    /// Moves the clock.
    pub(super) fn pass(&self, ms: u64) {
        self.clock.advance_ms(ms);
        self.outbox.wake();
    }

    /// Until nothing is left to be distributed.
    pub(super) async fn distributed(&self) {
        until(|| self.wanted.outgoing.lock().is_empty()).await;
    }
}

pub(super) fn edu(kind: &'static str, key: Option<&str>, number: usize) -> OutgoingEdu {
    let content = to_raw_value(&json!({ "number": number })).unwrap();
    OutgoingEdu { kind, coalesce: key.map(str::to_owned), content }
}

pub(super) fn edu_text(kind: &str, number: usize) -> String {
    format!("{{\"edu_type\":\"{kind}\",\"content\":{{\"number\":{number}}}}}")
}

/// Waits for a condition.
pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, wait).await.expect("the condition holds soon");
}
