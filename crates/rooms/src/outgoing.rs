//! Events that have to reach other servers. They are noted in the batch of the event itself; whoever sends them takes
//! them over in the batch that makes them its own.

use ruma::OwnedServerName;
use wardroom_store::{Batch, Packed, Position, Scan};

use crate::{
    Rooms,
    error::RoomError,
    ids::{EventNid, Place, RoomNid},
    tables::OUTGOING,
};

/// An event that has to reach other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where in the log.
    pub place: Place,
    /// The room.
    pub room: RoomNid,
    /// The event.
    pub event: EventNid,
    /// The servers.
    pub servers: Vec<OwnedServerName>,
}

impl Rooms {
    /// Events that have to reach other servers, from a place on, up to and with the commit at `up_to`, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outgoing(&self, from: Place, up_to: Position, limit: usize) -> Result<Vec<Outgoing>, RoomError> {
        let end = Place::after(up_to);
        if from >= end {
            return Ok(Vec::new());
        }
        let key = |place: Place| (place.position(), place.index());
        let scan = Scan::range(&key(from), &key(end)).limit(limit);
        let rows = self.engine.store.latest().scan(&OUTGOING, scan).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for ((position, index), Packed(record)) in rows {
            let servers = self.engine.server_names(&record.servers).await?;
            let place = Place::new(position, index);
            entries.push(Outgoing { place, room: record.room, event: record.event, servers });
        }
        Ok(entries)
    }

    /// Drops an entry of [`Rooms::outgoing`] in the batch that takes it over.
    pub fn taken_over(&self, batch: &mut Batch, entry: &Outgoing) {
        batch.delete(&OUTGOING, &(entry.place.position(), entry.place.index()));
    }
}
