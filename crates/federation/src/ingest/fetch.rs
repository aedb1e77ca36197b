//! Fetches what an event needs before it can be received, with bounded work.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::{EventId, OwnedEventId, OwnedServerName, RoomId, ServerName};
use tokio::time::Instant;
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::{Before, Received, RoomError, Rooms, Standing};

use super::order::ancestors;
use crate::{
    PartnerError,
    ask::{Ask, MissingEvents, Raws},
};

/// Events asked for at once between an event and what is known.
const MISSING_EVENTS_LIMIT: u32 = 20;
/// Forward extremities named in such a question.
const EARLIEST_EVENTS_MAX: usize = 20;
/// Unknown events that one event may follow.
const MISSING_PREV_EVENTS_MAX: usize = 10;
/// Servers asked for the same thing.
const SERVERS_PER_QUESTION_MAX: usize = 4;
/// Events of a state and its authorization chain.
const STATE_EVENTS_MAX: usize = 200_000;
/// Up to so many events are asked for one by one, more as a whole state.
const ONE_BY_ONE_MAX: usize = 40;
/// Events asked for at the same time.
const AT_ONCE: usize = 8;

/// Why what is needed is not here.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Shortfall {
    /// Those who could have it cannot be asked now.
    #[error("the servers that could have what the event needs cannot be reached")]
    Unreachable,
    /// Those who could have it answered without it.
    #[error("{0}")]
    Withheld(&'static str),
    /// It takes more work than one event may cause.
    #[error("the event needs more requests than one event may cause")]
    Spent,
    /// The rooms say no, or fail.
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl Shortfall {
    /// Whether another attempt may end otherwise.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable | Self::Spent => true,
            Self::Withheld(_) => false,
            Self::Room(error) => {
                matches!(error, RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_) | RoomError::Lacking)
            }
        }
    }
}

impl From<PartnerError> for Shortfall {
    fn from(error: PartnerError) -> Self {
        match error {
            PartnerError::BackingOff | PartnerError::Unreachable(_) | PartnerError::Store(_) => Self::Unreachable,
            PartnerError::Refused { status, .. } if status.is_server_error() || status.as_u16() == 429 => {
                Self::Unreachable
            }
            PartnerError::Denied(_)
            | PartnerError::Refused { .. }
            | PartnerError::Malformed(_)
            | PartnerError::TooLong(_)
            | PartnerError::Setting(_) => Self::Withheld("a server does not tell what the event needs"),
        }
    }
}

/// What may still be done on one errand.
#[derive(Debug)]
pub(crate) struct Budget {
    requests: AtomicUsize,
    until: Instant,
}

impl Budget {
    /// So many requests, in so much time.
    pub(crate) fn new(requests: usize, time: Duration) -> Self {
        Self { requests: AtomicUsize::new(requests), until: Instant::now() + time }
    }

    fn take(&self) -> Result<(), Shortfall> {
        let left = self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() || Instant::now() >= self.until { Err(Shortfall::Spent) } else { Ok(()) }
    }
}

/// For which room something is fetched, and from whom.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) version: RoomVersion,
    /// Whom to ask, the most likely to know first.
    pub(crate) servers: Vec<OwnedServerName>,
    pub(crate) budget: Budget,
}

impl Errand<'_> {
    fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.iter().take(SERVERS_PER_QUESTION_MAX).map(AsRef::as_ref)
    }
}

/// Keeps what says most of several failures: that it may pass.
fn worse(before: Option<Shortfall>, now: Shortfall) -> Shortfall {
    before.filter(Shortfall::may_pass).unwrap_or(now)
}

/// Fetches events and puts them into their rooms.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub(crate) ask: Arc<dyn Ask>,
    pub(crate) rooms: Rooms,
}

impl Fetcher {
    /// Events of the errand's room whose signatures are right; the others are left out.
    pub(crate) async fn checked(&self, errand: &Errand<'_>, events: Raws) -> Vec<Arc<Pdu>> {
        let checked = self.ask.check(errand.version, events).await;
        let mut right: Vec<Arc<Pdu>> = checked.into_iter().filter_map(Result::ok).collect();
        right.retain(|event| event.room_id() == errand.room);
        right
    }

    /// Receives an event that a server sent, after what it follows.
    pub(crate) async fn place_sent(&self, errand: &Errand<'_>, event: Arc<Pdu>) -> Result<Received, Shortfall> {
        let lacking = self.rooms.lacking(errand.room, &event).await?;
        if !lacking.prev_events.is_empty() {
            self.catch_up(errand, &event).await?;
            let lacking = self.rooms.lacking(errand.room, &event).await?;
            if !lacking.prev_events.is_empty() {
                return Err(Shortfall::Withheld("the server does not tell the events that this one follows"));
            }
        }
        self.place(errand, event, Before::Derived).await
    }

    /// Receives the events between what is known and an event, as far as servers tell them.
    async fn catch_up(&self, errand: &Errand<'_>, event: &Pdu) -> Result<(), Shortfall> {
        let mut earliest = self.rooms.extremities(errand.room).await?;
        earliest.truncate(EARLIEST_EVENTS_MAX);
        let question = MissingEvents {
            room: errand.room.to_owned(),
            earliest,
            latest: vec![event.event_id().to_owned()],
            limit: MISSING_EVENTS_LIMIT,
        };
        let mut failure = None;
        for server in errand.servers() {
            errand.budget.take()?;
            match self.ask.missing_events(server, question.clone()).await {
                Ok(mut events) => {
                    events.truncate(MISSING_EVENTS_LIMIT as usize);
                    return self.place_pulled(errand, events, event).await;
                }
                Err(error) => failure = Some(worse(failure, error.into())),
            }
        }
        Err(failure.unwrap_or(Shortfall::Unreachable))
    }

    /// Receives events that lead up to another, oldest first. One that cannot be received holds up none of the others.
    async fn place_pulled(&self, errand: &Errand<'_>, events: Raws, before: &Pdu) -> Result<(), Shortfall> {
        let events = self.checked(errand, events).await;
        let mut failure = None;
        for event in ancestors(events, before.prev_events()) {
            match self.place_over_gap(errand, event).await {
                Ok(_) => {}
                Err(Shortfall::Spent) => return Err(Shortfall::Spent),
                Err(error) => failure = Some(worse(failure, error)),
            }
        }
        // What was withheld shows in what the event still lacks.
        match failure.filter(Shortfall::may_pass) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Receives an event; where events that it follows are missing, over the state that other servers tell of there.
    async fn place_over_gap(&self, errand: &Errand<'_>, event: Arc<Pdu>) -> Result<Received, Shortfall> {
        let missing = self.rooms.lacking(errand.room, &event).await?.prev_events;
        if missing.len() > MISSING_PREV_EVENTS_MAX {
            return Err(Shortfall::Withheld("the event follows too many events that are not here"));
        }
        let before = match missing.as_slice() {
            [] => Before::Derived,
            [only] if event.prev_events().len() == 1 => Before::Given(self.state_after(errand, only).await?),
            several => {
                for id in several {
                    self.place_afloat(errand, id).await?;
                }
                Before::Derived
            }
        };
        self.place(errand, event, before).await
    }

    /// Receives an event of which only the id is known, over the state that other servers tell of there.
    async fn place_afloat(&self, errand: &Errand<'_>, id: &EventId) -> Result<Received, Shortfall> {
        let state = self.state_before(errand, id).await?;
        let event = self.event(errand, id).await?;
        self.place(errand, event, Before::Given(state)).await
    }

    /// Receives an event after its authorization events were fetched.
    async fn place(&self, errand: &Errand<'_>, event: Arc<Pdu>, before: Before) -> Result<Received, Shortfall> {
        self.complete_auth(errand, &event).await?;
        Ok(self.rooms.receive(errand.room, event, before).await?)
    }

    /// Ids of the state after an event that has no place in the graph, all of them here.
    async fn state_after(&self, errand: &Errand<'_>, id: &EventId) -> Result<Vec<OwnedEventId>, Shortfall> {
        let mut state = self.state_before(errand, id).await?;
        if !self.rooms.not_here(errand.room, &[id.to_owned()]).await?.is_empty() {
            let event = self.event(errand, id).await?;
            self.complete_auth(errand, &event).await?;
            self.rooms.keep_outliers(errand.room, vec![event]).await?;
        }
        match self.rooms.standing(id).await? {
            // What the engine is given later takes the place of what it is given before.
            Some((_, Standing::Outlier | Standing::Timeline | Standing::SoftFailed, stored)) => {
                if stored.pdu.is_state() {
                    state.push(id.to_owned());
                }
                Ok(state)
            }
            Some((_, Standing::Rejected | Standing::RejectedOutlier, _)) => Ok(state),
            None => Err(Shortfall::Withheld("an event that others follow cannot be kept")),
        }
    }

    /// Ids of the state before an event, all of them here.
    pub(crate) async fn state_before(&self, errand: &Errand<'_>, id: &EventId) -> Result<Vec<OwnedEventId>, Shortfall> {
        let mut failure = None;
        for server in errand.servers() {
            match self.state_from(errand, server, id).await {
                Ok(state) => return Ok(state),
                Err(error @ (Shortfall::Spent | Shortfall::Room(_))) => return Err(error),
                Err(error) => failure = Some(worse(failure, error)),
            }
        }
        Err(failure.unwrap_or(Shortfall::Unreachable))
    }

    async fn state_from(
        &self,
        errand: &Errand<'_>,
        server: &ServerName,
        id: &EventId,
    ) -> Result<Vec<OwnedEventId>, Shortfall> {
        errand.budget.take()?;
        let (mut state, chain) = self.ask.state_ids(server, errand.room.to_owned(), id.to_owned()).await?;
        if state.is_empty() || state.len() + chain.len() > STATE_EVENTS_MAX {
            return Err(Shortfall::Withheld("a server tells of a state that no room has"));
        }
        let mut all: Vec<OwnedEventId> = state.iter().chain(&chain).cloned().collect();
        all.sort_unstable();
        all.dedup();
        let absent = self.rooms.not_here(errand.room, &all).await?;
        if absent.len() <= ONE_BY_ONE_MAX {
            self.keep_one_by_one(errand, server, absent).await?;
        } else {
            errand.budget.take()?;
            let told = self.ask.state(server, errand.room.to_owned(), id.to_owned()).await?;
            if told.len() > STATE_EVENTS_MAX {
                return Err(Shortfall::Withheld("a server tells of a state that no room has"));
            }
            let absent: HashSet<OwnedEventId> = absent.into_iter().collect();
            let mut events = self.checked(errand, told).await;
            events.retain(|event| absent.contains(event.event_id()));
            self.rooms.keep_outliers(errand.room, events).await?;
        }
        // Some may have been forged, or in no form that is allowed. The rest is the best that there is.
        let unknown = self.rooms.not_here(errand.room, &state).await?;
        if unknown.len() == state.len() {
            return Err(Shortfall::Withheld("a server tells of a state whose events nobody has"));
        }
        let unknown: HashSet<OwnedEventId> = unknown.into_iter().collect();
        state.retain(|id| !unknown.contains(id));
        Ok(state)
    }

    /// Fetches authorization events that are not here.
    pub(crate) async fn complete_auth(&self, errand: &Errand<'_>, event: &Pdu) -> Result<(), Shortfall> {
        let mut failure = None;
        for server in errand.servers() {
            let lacking = self.rooms.lacking(errand.room, event).await?.auth_events;
            if lacking.is_empty() {
                return Ok(());
            }
            match self.auth_from(errand, server, event).await {
                Ok(()) => {}
                Err(error @ (Shortfall::Spent | Shortfall::Room(_))) => return Err(error),
                Err(error) => failure = Some(worse(failure, error)),
            }
        }
        if self.rooms.lacking(errand.room, event).await?.auth_events.is_empty() {
            return Ok(());
        }
        Err(failure.unwrap_or(Shortfall::Withheld("no server tells the authorization events of the event")))
    }

    async fn auth_from(&self, errand: &Errand<'_>, server: &ServerName, event: &Pdu) -> Result<(), Shortfall> {
        errand.budget.take()?;
        let asked = self.ask.event_auth(server, errand.room.to_owned(), event.event_id().to_owned()).await;
        if let Ok(mut chain) = asked {
            chain.truncate(STATE_EVENTS_MAX);
            let events = self.checked(errand, chain).await;
            self.rooms.keep_outliers(errand.room, events).await?;
        }
        // Servers that have only heard of the event still may have what it needs.
        let lacking = self.rooms.lacking(errand.room, event).await?.auth_events;
        self.keep_one_by_one(errand, server, lacking).await
    }

    /// Fetches events one by one and keeps them as outliers; those that a server does not tell are left out.
    async fn keep_one_by_one(
        &self,
        errand: &Errand<'_>,
        server: &ServerName,
        ids: Vec<OwnedEventId>,
    ) -> Result<(), Shortfall> {
        if ids.is_empty() {
            return Ok(());
        }
        let asked = ids.into_iter().map(|id| async move {
            errand.budget.take()?;
            match self.ask.event(server, id).await.map_err(Shortfall::from) {
                Ok(event) => Ok(Some(event)),
                Err(error) if error.may_pass() => Err(error),
                Err(_) => Ok(None),
            }
        });
        let told: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        let told: Result<Vec<_>, Shortfall> = told.into_iter().collect();
        let events = self.checked(errand, told?.into_iter().flatten().collect()).await;
        Ok(self.rooms.keep_outliers(errand.room, events).await?)
    }

    /// One event, from whoever has it.
    async fn event(&self, errand: &Errand<'_>, id: &EventId) -> Result<Arc<Pdu>, Shortfall> {
        let mut failure = None;
        for server in errand.servers() {
            errand.budget.take()?;
            match self.ask.event(server, id.to_owned()).await {
                Ok(event) => {
                    let mut events = self.checked(errand, vec![event]).await;
                    if let Some(event) = events.pop().filter(|event| event.event_id() == id) {
                        return Ok(event);
                    }
                    failure = Some(worse(failure, Shortfall::Withheld("a server does not tell the event it names")));
                }
                Err(error) => failure = Some(worse(failure, error.into())),
            }
        }
        Err(failure.unwrap_or(Shortfall::Unreachable))
    }
}
