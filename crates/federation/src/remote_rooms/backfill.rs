//! Filling gaps in timelines from other servers (specification, server-server API, "Backfilling and retrieving missing
//! events").

use std::{collections::HashSet, sync::Arc, time::Duration};

use ruma::{EventId, OwnedEventId, OwnedServerName, RoomId};
use wardroom_event::Pdu;
use wardroom_rooms::{Before, Gap, Place, RoomView};

use super::{Inner, RemoteError, RemoteRooms};
use crate::{
    PartnerError,
    ask::Ask as _,
    ingest::{
        fetch::{Budget, Errand, Fetcher, Shortfall},
        order::ancestors,
    },
};

/// Events asked for at once.
const BACKFILL_LIMIT: u32 = 100;
/// Events that a question starts from.
const STARTS_MAX: usize = 20;
/// Servers asked to fill one gap.
const SERVERS_MAX: usize = 4;
/// Time for one gap. Somebody waits for a page.
const TIME_MAX: Duration = Duration::from_secs(40);
/// Requests that one gap may cause.
const REQUESTS_MAX: usize = 200;
/// Places in what a server tells at which the state has to be asked for.
const STATES_MAX: usize = 4;

impl RemoteRooms {
    /// Fills the newest gap of a room's timeline at or below `from` and above `down_to` from the servers in the room, as
    /// far as one question goes. Whether there was one, and something came.
    ///
    /// # Errors
    /// As [`RemoteError`] says: the gap is as it was then.
    pub async fn backfill(&self, room: &RoomView, from: Place, down_to: Place) -> Result<bool, RemoteError> {
        let inner = &self.inner;
        if inner.rooms.gap(room.nid, from, down_to).await?.is_none() {
            return Ok(false);
        }
        let _turn = inner.filling.take(&room.id).await;
        // Whoever had the turn before may have filled it.
        let Some(gap) = inner.rooms.gap(room.nid, from, down_to).await? else { return Ok(true) };
        let filled = tokio::time::timeout(TIME_MAX, inner.fill(room, &gap)).await;
        filled.unwrap_or(Err(RemoteError::Timeout))
    }
}

impl RemoteRooms {
    /// Fetches the newest of the history of a room that was just entered, while nobody waits: it is read next.
    pub(super) fn fetch_history_of(&self, room: &RoomId) {
        let (rooms, room) = (self.clone(), room.to_owned());
        let fetching = async move {
            let Ok(Some(view)) = rooms.inner.rooms.view(&room).await else { return };
            if let Err(error) = rooms.backfill(&view, Place::LAST, Place::FIRST).await {
                tracing::info!(%error, "the history of a room that was entered could not be fetched");
            }
        };
        tokio::spawn(self.inner.stopping.clone().run_until_cancelled_owned(fetching));
    }
}

impl Inner {
    async fn fill(&self, room: &RoomView, gap: &Gap) -> Result<bool, RemoteError> {
        let servers = self.rooms.servers(room.nid).await?;
        let servers = self.admitted(servers.to_vec())?;
        let mut failure = None;
        for (index, server) in servers.iter().enumerate().take(SERVERS_MAX) {
            // Whoever tells the events is asked first for what they need.
            let mut asked: Vec<OwnedServerName> = servers.clone();
            asked.swap(0, index);
            let budget = Budget::new(REQUESTS_MAX, TIME_MAX);
            let errand = Errand { room: &room.id, version: room.version, servers: asked, budget };
            match self.fill_from(server, &errand, gap).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failure = Some(super::telling(failure, error)),
            }
        }
        failure.map_or(Ok(false), Err)
    }

    /// Fills a gap with what one server tells. Whether it told anything of use.
    async fn fill_from(&self, server: &OwnedServerName, errand: &Errand<'_>, gap: &Gap) -> Result<bool, RemoteError> {
        let fetcher = self.ingest.fetcher();
        let starts: Vec<OwnedEventId> = gap.missing.iter().take(STARTS_MAX).cloned().collect();
        let room: &RoomId = errand.room;
        let told = self.partners.backfill(server, room.to_owned(), starts, BACKFILL_LIMIT).await?;
        let told = told.into_iter().take(BACKFILL_LIMIT as usize).collect();
        let events = fetcher.checked(errand, told).await;
        let events = with_auth(fetcher, errand, ancestors(events, missing(gap))).await.map_err(of_shortfall)?;
        // What only an event leads to that cannot be kept is left out with it.
        let events = ancestors(events, missing(gap));
        let placed = with_states(fetcher, errand, events).await.map_err(of_shortfall)?;
        if placed.is_empty() {
            return Ok(false);
        }
        let left = self.rooms.fill_gap(gap, placed).await?;
        Ok(left.as_ref() != Some(gap))
    }
}

fn missing(gap: &Gap) -> impl Iterator<Item = &EventId> {
    gap.missing.iter().map(AsRef::as_ref)
}

/// The events whose authorization events are here or among those before them, or can be had.
async fn with_auth(fetcher: &Fetcher, errand: &Errand<'_>, events: Vec<Arc<Pdu>>) -> Result<Vec<Arc<Pdu>>, Shortfall> {
    let (mut among, mut kept) = (HashSet::new(), Vec::with_capacity(events.len()));
    for event in events {
        let lacking = fetcher.rooms.lacking(errand.room, &event).await?.auth_events;
        if !lacking.iter().all(|id| among.contains(id)) {
            match fetcher.complete_auth(errand, &event).await {
                Ok(()) => {}
                Err(Shortfall::Withheld(_)) => continue,
                Err(error) => return Err(error),
            }
        }
        among.insert(event.event_id().to_owned());
        kept.push(event);
    }
    Ok(kept)
}

fn of_shortfall(error: Shortfall) -> RemoteError {
    match error {
        Shortfall::Room(error) => error.into(),
        Shortfall::Withheld(what) => RemoteError::Untrustworthy(what),
        Shortfall::Unreachable | Shortfall::Spent => PartnerError::Unreachable(error.to_string()).into(),
    }
}

/// The events with where the state before each comes from. Where it takes more states than are asked for, the oldest
/// events are left for the next time.
async fn with_states(
    fetcher: &Fetcher,
    errand: &Errand<'_>,
    events: Vec<Arc<Pdu>>,
) -> Result<Vec<(Arc<Pdu>, Before)>, Shortfall> {
    let mut unplaced: HashSet<OwnedEventId> = HashSet::new();
    for event in &events {
        unplaced.extend(fetcher.rooms.lacking(errand.room, event).await?.prev_events);
    }
    let events = newest_with_few_starts(events, &unplaced);
    let starts = starts(&events, &unplaced);
    let mut placed = Vec::with_capacity(events.len());
    for event in events {
        let before = if starts.contains(event.event_id()) {
            Before::Given(fetcher.state_before(errand, event.event_id()).await?)
        } else {
            Before::Derived
        };
        placed.push((event, before));
    }
    Ok(placed)
}

/// Events that follow one which is neither among those before them nor placed.
fn starts(events: &[Arc<Pdu>], unplaced: &HashSet<OwnedEventId>) -> HashSet<OwnedEventId> {
    let among: HashSet<&EventId> = events.iter().map(|event| event.event_id()).collect();
    let is_missing = |id: &EventId| unplaced.contains(id) && !among.contains(id);
    let starts = events.iter().filter(|event| event.prev_events().any(is_missing));
    starts.map(|event| event.event_id().to_owned()).collect()
}

/// The newest of the events for which the state has to be asked for in few places. Oldest first.
fn newest_with_few_starts(mut events: Vec<Arc<Pdu>>, unplaced: &HashSet<OwnedEventId>) -> Vec<Arc<Pdu>> {
    while events.len() > 1 && starts(&events, unplaced).len() > STATES_MAX {
        events = events.split_off(events.len().div_ceil(2));
    }
    events
}
