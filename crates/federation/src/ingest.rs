//! Events that other servers send.
//!
//! An event whose predecessors and authorization events are here is received at once. One that lacks some is kept
//! durably, its sender hears that it arrived, and a task of its room fetches what it needs: a room with gaps, or whose
//! servers are slow, holds up no other.

pub(crate) mod fetch;
mod flight;
pub(crate) mod invites;
mod lanes;
pub(crate) mod order;
pub(crate) mod staging;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_accounts::Accounts;
use wardroom_clock::SharedClock;
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::{Before, Received, RoomError, RoomNid, Rooms, Standing};
use wardroom_store::{Batch, Store};

use self::{
    fetch::{Errand, Fetcher, Shortfall},
    flight::{Boarding, Flights},
    lanes::Lanes,
    staging::Staging,
};
use crate::{Partners, Parts, ask::Ask};

/// What became of one event: the reason, where it was not taken.
type Taken = Result<(), String>;

/// Events that other servers send. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Ingest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    server_name: OwnedServerName,
    rooms: Rooms,
    accounts: Accounts,
    store: Store,
    clock: SharedClock,
    stopping: tokio_util::sync::CancellationToken,
    pub(crate) fetcher: Fetcher,
    staging: Staging,
    lanes: Lanes,
    flights: Flights,
}

/// An event as it came, with its id.
struct Incoming {
    id: OwnedEventId,
    raw: Box<RawJsonValue>,
}

impl Ingest {
    pub(crate) fn new(parts: &Parts, partners: &Partners) -> Self {
        Self::with(parts, Arc::new(partners.clone()))
    }

    pub(crate) fn with(parts: &Parts, ask: Arc<dyn Ask>) -> Self {
        let inner = Inner {
            server_name: parts.server_name.clone(),
            rooms: parts.rooms.clone(),
            accounts: parts.accounts.clone(),
            store: parts.store.clone(),
            clock: Arc::clone(&parts.clock),
            stopping: parts.stopping.clone(),
            fetcher: Fetcher { ask, rooms: parts.rooms.clone() },
            staging: Staging(parts.store.clone()),
            lanes: Lanes::default(),
            flights: Flights::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes the events of one transaction and says what became of each (`PUT /_matrix/federation/v1/send/{txnId}`):
    /// `Ok` means that it is part of its room, was refused by the room's rules, or is kept durably until what it needs
    /// has been fetched. What is not taken has the reason why not. What has no event id is left out: JSON that is no
    /// event, and events of rooms that this server has never heard of, whose version it cannot know.
    pub async fn receive_transaction(
        &self,
        origin: &ServerName,
        pdus: Vec<Box<RawJsonValue>>,
    ) -> BTreeMap<OwnedEventId, Result<(), String>> {
        let mut by_room: BTreeMap<OwnedRoomId, Vec<Box<RawJsonValue>>> = BTreeMap::new();
        for pdu in pdus {
            if let Some(room) = room_of(&pdu) {
                by_room.entry(room).or_default().push(pdu);
            }
        }
        let rooms = by_room
            .into_iter()
            .map(|(room, pdus)| async move { self.inner.receive_in_room(origin, &room, pdus).await });
        join_all(rooms).await.into_iter().flatten().collect()
    }

    /// Receives one event of another server after all that it needs, before this returns.
    pub(crate) async fn receive(&self, errand: &Errand<'_>, event: Arc<Pdu>) -> Result<Received, Shortfall> {
        self.inner.fetcher.place_sent(errand, event).await
    }

    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.inner.fetcher
    }

    /// Works off what waits, until the server stops.
    pub(crate) async fn run(&self) {
        if let Err(error) = self.inner.resume().await {
            tracing::error!(%error, "events that wait for others cannot be read");
        }
    }
}

/// The room that an event says it is of. The create events of rooms whose ids they make say none, but nobody sends
/// those to a server that is in the room.
fn room_of(pdu: &RawJsonValue) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Fields {
        room_id: OwnedRoomId,
    }
    serde_json::from_str::<Fields>(pdu.get()).ok().map(|fields| fields.room_id)
}

impl Inner {
    /// Takes events of one room.
    async fn receive_in_room(
        self: &Arc<Self>,
        origin: &ServerName,
        room: &RoomId,
        pdus: Vec<Box<RawJsonValue>>,
    ) -> Vec<(OwnedEventId, Taken)> {
        let refuse = |version: RoomVersion, pdus: Vec<Box<RawJsonValue>>, reason: &str| {
            let events = incoming(version, pdus);
            events.into_iter().map(|event| (event.id, Err(reason.to_owned()))).collect()
        };
        let (nid, version) = match self.resident_room(room).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.receive_elsewhere(origin, room, pdus).await,
            Err(error) => {
                tracing::error!(%error, "a room cannot be read for events of another server");
                return refuse(RoomVersion::V11, pdus, "the server failed");
            }
        };
        match self.rooms.admits_server(nid, origin).await {
            Ok(true) => self.take(origin, room, nid, incoming(version, pdus), version).await,
            Ok(false) => refuse(version, pdus, "the room's access control list does not admit your server"),
            Err(error) => {
                tracing::error!(%error, "a room's access control list cannot be read");
                refuse(version, pdus, "the server failed")
            }
        }
    }

    /// Number and version of a room, if this server is in it.
    async fn resident_room(&self, room: &RoomId) -> Result<Option<(RoomNid, RoomVersion)>, RoomError> {
        let Some(view) = self.rooms.view(room).await? else { return Ok(None) };
        Ok(self.rooms.is_resident(view.nid).await?.then_some((view.nid, view.version)))
    }

    /// Takes events of a room that this server is in. Those that another transaction brings at the same moment are left
    /// to it, unless they fail there: its copy may have been spoilt.
    async fn take(
        self: &Arc<Self>,
        origin: &ServerName,
        room: &RoomId,
        nid: RoomNid,
        events: Vec<Incoming>,
        version: RoomVersion,
    ) -> Vec<(OwnedEventId, Taken)> {
        let (mut taken, mut todo) = (Vec::with_capacity(events.len()), events);
        while !todo.is_empty() {
            let (mut ours, mut theirs, mut boarded) = (Vec::new(), Vec::new(), Vec::new());
            for event in todo {
                match self.has_place(nid, &event.id).await {
                    Ok(true) => taken.push((event.id, Ok(()))),
                    Ok(false) => match self.flights.board(&event.id) {
                        Boarding::First(flight) => {
                            boarded.push(flight);
                            ours.push(event);
                        }
                        Boarding::Underway(landing) => theirs.push((event, landing)),
                    },
                    Err(error) => {
                        tracing::error!(%error, "an event cannot be looked up");
                        taken.push((event.id, Err("the server failed".to_owned())));
                    }
                }
            }
            for (id, result) in self.take_ours(origin, room, nid, version, ours).await {
                if let Some(flight) = boarded.iter_mut().find(|flight| flight.is_of(&id)) {
                    flight.land(result.is_ok());
                }
                taken.push((id, result));
            }
            drop(boarded);
            todo = Vec::new();
            for (event, landing) in theirs {
                if landing.arrived().await {
                    taken.push((event.id, Ok(())));
                } else {
                    todo.push(event);
                }
            }
        }
        taken
    }

    /// Whether an event is part of its room's graph.
    async fn has_place(&self, room: RoomNid, id: &OwnedEventId) -> Result<bool, RoomError> {
        let standing = self.rooms.standing(id).await?;
        Ok(standing.is_some_and(|(nid, standing, _)| {
            nid == room && matches!(standing, Standing::Timeline | Standing::SoftFailed | Standing::Rejected)
        }))
    }

    /// Checks events and puts them into their room, or where they wait.
    async fn take_ours(
        self: &Arc<Self>,
        origin: &ServerName,
        room: &RoomId,
        nid: RoomNid,
        version: RoomVersion,
        events: Vec<Incoming>,
    ) -> Vec<(OwnedEventId, Taken)> {
        if events.is_empty() {
            return Vec::new();
        }
        let (ids, raws): (Vec<OwnedEventId>, Vec<_>) = events.into_iter().map(|event| (event.id, event.raw)).unzip();
        let checked = self.fetcher.ask.check(version, raws).await;
        let mut taken = Vec::with_capacity(ids.len());
        let mut right = Vec::with_capacity(ids.len());
        for (id, checked) in ids.into_iter().zip(checked) {
            match checked {
                Ok(event) if event.room_id() == room => right.push(event),
                Ok(_) => taken.push((id, Err("room_id: not the room of this event".to_owned()))),
                Err(reason) => taken.push((id, Err(reason))),
            }
        }
        let events = right.iter().map(|event| (Arc::clone(event), Before::Derived)).collect();
        let received = match self.rooms.receive_many(room, events).await {
            Ok(received) => received,
            Err(error) => right.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut lacking = Vec::new();
        for (event, received) in right.into_iter().zip(received) {
            match received {
                Err(RoomError::Lacking) => lacking.push(event),
                Ok(_) => taken.push((event.event_id().to_owned(), Ok(()))),
                Err(error) => taken.push((event.event_id().to_owned(), Err(told(&error)))),
            }
        }
        taken.extend(self.stage(origin, nid, lacking).await);
        taken
    }

    /// Keeps events until what they need has been fetched.
    async fn stage(
        self: &Arc<Self>,
        origin: &ServerName,
        room: RoomNid,
        events: Vec<Arc<Pdu>>,
    ) -> Vec<(OwnedEventId, Taken)> {
        let ids = |events: &[Arc<Pdu>], result: &Taken| -> Vec<_> {
            events.iter().map(|event| (event.event_id().to_owned(), result.clone())).collect()
        };
        if events.is_empty() {
            return Vec::new();
        }
        if !self.lanes.reserve(room, events.len()) {
            return ids(&events, &Err("too many events of this room wait for events that are not here".to_owned()));
        }
        let now_ms = self.clock.now_ms();
        let mut batch = Batch::default();
        for (index, event) in (0_u16..).zip(&events) {
            Staging::add(&mut batch, index, room, origin, now_ms, event);
        }
        match self.store.commit(batch).await {
            Ok(_) => {
                self.wake(room);
                ids(&events, &Ok(()))
            }
            Err(error) => {
                self.lanes.release(room, events.len());
                tracing::error!(%error, "events that wait for others cannot be kept");
                ids(&events, &Err("the server failed".to_owned()))
            }
        }
    }
}

/// Events with their ids, each once; what is no event is left out.
fn incoming(version: RoomVersion, pdus: Vec<Box<RawJsonValue>>) -> Vec<Incoming> {
    let mut seen = HashSet::with_capacity(pdus.len());
    let events = pdus.into_iter().filter_map(|raw| {
        let id = Pdu::parse(raw.get().as_bytes(), version).ok()?.event_id().to_owned();
        seen.insert(id.clone()).then_some(Incoming { id, raw })
    });
    events.collect()
}

/// What a server is told of a failure; not what failed inside.
fn told(error: &RoomError) -> String {
    match error {
        RoomError::Storage(_) => {
            tracing::error!(%error, "an event of another server cannot be received");
            "the server failed".to_owned()
        }
        other => other.to_string(),
    }
}
