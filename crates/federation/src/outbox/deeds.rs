//! What the audit trail hears of what was sent: one record for each room of a transaction that a server took, in the batch
//! that takes its events out of the queue.

use std::collections::BTreeMap;

use ruma::ServerName;
use wardroom_audit::{Act, Origin, Record};
use wardroom_rooms::{EventNid, NS_EVENT, NS_ROOM, RoomNid};
use wardroom_store::Batch;

use super::{Inner, queue::Load};
use crate::FederationError;

impl Inner {
    /// Adds the records of what a server took.
    pub(super) async fn record_taken(
        &self,
        batch: &mut Batch,
        server: &ServerName,
        load: &Load,
    ) -> Result<(), FederationError> {
        let mut by_room: BTreeMap<RoomNid, Vec<EventNid>> = BTreeMap::new();
        for queued in &load.events {
            by_room.entry(queued.room).or_default().push(queued.event);
        }
        for (room, events) in by_room {
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            let names = self.store.interner();
            let room = names.resolve(NS_ROOM, room.get()).await?;
            let ends = names.resolve_many(NS_EVENT, &[first.get(), last.get()]).await?;
            // Nobody asked for it now: the server does what follows from what was done before.
            let record = Record::by(Act::FederationSend, Origin::default()).detail("transaction");
            let mut record = record.servers(vec![server.to_string()]).count(events.len() as u64);
            let mut ends = ends.into_iter().map(|name| name.map(|name| name.to_string()));
            record.on.room = room.map(|room| room.to_string());
            record.on.event = ends.next().flatten();
            record.on.last = ends.next().flatten();
            self.audit.add(batch, record);
        }
        Ok(())
    }
}
