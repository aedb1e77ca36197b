//! What leaves a record because somebody sees it: the one way by which events, files and answers to questions leave.
//!
//! Records are durable before the answer is given. Where one cannot be written, the answer is refused, unless the operator
//! wants otherwise.

use std::sync::Arc;

use ruma::{EventId, RoomId};
use wardroom_audit::{Act, AuditLog, ReadOf, Record, Sight};
use wardroom_rooms::{Actor, RoomError, Stored};
use wardroom_sync::RoomSights;
use wardroom_web::ApiError;

use crate::{ClientState, error};

impl ClientState {
    /// Records that an answer gives these events of a room away.
    pub(crate) async fn note_seen<'a>(
        &self,
        room: &RoomId,
        endpoint: &'static str,
        events: impl IntoIterator<Item = &'a Arc<Stored>>,
    ) -> Result<(), ApiError> {
        let events: Vec<Sight<'_>> = events.into_iter().map(|event| sight(event)).collect();
        let read = ReadOf { act: Act::RoomRead, object: room.as_str(), endpoint, events: &events, others: 0 };
        self.audit.read(&[read]).await.map_err(error::of_audit)
    }

    /// Records that an answer tells of an event, without giving it away: that is no evidence of its delivery.
    pub(crate) async fn note_told_of(
        &self,
        room: &RoomId,
        endpoint: &'static str,
        event: &EventId,
    ) -> Result<(), ApiError> {
        let events = [Sight::unnumbered(event.as_str())];
        let read = ReadOf { act: Act::RoomRead, object: room.as_str(), endpoint, events: &events, others: 0 };
        self.audit.read(&[read]).await.map_err(error::of_audit)
    }

    /// Records that an answer gives away what the rooms of a sync tell.
    pub(crate) async fn note_rooms_seen(&self, endpoint: &'static str, rooms: &[RoomSights]) -> Result<(), ApiError> {
        if rooms.is_empty() {
            return Ok(());
        }
        let events: Vec<Vec<Sight<'_>>> =
            rooms.iter().map(|room| room.events.iter().map(|event| sight(event)).collect()).collect();
        let reads = rooms.iter().zip(&events).map(|(room, events)| ReadOf {
            act: Act::RoomRead,
            object: room.room.as_str(),
            endpoint,
            events,
            others: room.stripped,
        });
        self.audit.read(&reads.collect::<Vec<_>>()).await.map_err(error::of_audit)
    }

    /// Records that an answer gives away so much of a room that is no event.
    pub(crate) async fn note_listed(
        &self,
        room: &RoomId,
        endpoint: &'static str,
        others: usize,
    ) -> Result<(), ApiError> {
        let others = u64::try_from(others).unwrap_or(u64::MAX);
        let read = ReadOf { act: Act::RoomRead, object: room.as_str(), endpoint, events: &[], others };
        self.audit.read(&[read]).await.map_err(error::of_audit)
    }

    /// Records that somebody asked for what is listed: the same again within some minutes is counted.
    pub(crate) async fn note_asked(&self, record: Record, found: usize) -> Result<(), ApiError> {
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        self.audit.repeated(record.count(found)).await.map_err(error::of_audit)
    }

    /// What was read of a room; records where the gate refused it.
    pub(crate) async fn may_read<T>(
        &self,
        reader: Actor<'_>,
        room: &RoomId,
        endpoint: &'static str,
        read: Result<T, RoomError>,
    ) -> Result<T, ApiError> {
        let failure = match read {
            Ok(read) => return Ok(read),
            Err(failure) => failure,
        };
        // An event that one may not see is told to be none, for whatever reason: the gate says which.
        if matches!(failure, RoomError::Forbidden(_) | RoomError::NoSuchEvent)
            && let Some(view) = self.rooms.view(room).await.map_err(error::of_room)?
            && let Err(RoomError::Forbidden(why)) = self.rooms.reader(reader, &view).await
        {
            let record = Record::of(Act::RoleCheck).room(room.as_str()).detail(format!("read {endpoint}")).why(why);
            self.audit.denied(record).await.map_err(error::of_audit)?;
        }
        Err(error::of_room(failure))
    }
}

fn sight(event: &Stored) -> Sight<'_> {
    Sight { number: event.nid.get(), id: event.pdu.event_id().as_str() }
}

/// Records that an answer gives a file away, or part of it.
pub(crate) async fn note_file(audit: &AuditLog, uri: &str, endpoint: &'static str) -> Result<(), ApiError> {
    let read = ReadOf { act: Act::MediaRead, object: uri, endpoint, events: &[], others: 1 };
    audit.read(&[read]).await.map_err(error::of_audit)
}
