//! Events that wait until what they need has been fetched. They are durable: their sender was told that they arrived.

use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use wardroom_event::Pdu;
use wardroom_rooms::RoomNid;
use wardroom_store::{Batch, CommitError, Json, Position, Profile, ReadError, Scan, Seal, Store, Table};

/// Events that wait in one room.
pub(crate) const STAGED_PER_ROOM_MAX: usize = 1_000;
/// Events that wait in all rooms.
pub(crate) const STAGED_MAX: usize = 20_000;

/// Where an event waits: its room, and in what order it came.
pub(crate) type StagedKey = (RoomNid, Position, u16);

/// An event that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StagedRow {
    /// Who sent it.
    pub(crate) origin: OwnedServerName,
    /// When it came, in milliseconds since 1970.
    pub(crate) received_ms: u64,
    /// The event after its check, redacted where its hash was wrong.
    pub(crate) event: String,
}

pub(crate) const STAGED: Table<StagedKey, Json<StagedRow>> =
    Table::new(0x0520, "staged_events", Profile::Churn, Seal::System).compressed();

/// Reads and writes what waits.
#[derive(Clone, Debug)]
pub(crate) struct Staging(pub(crate) Store);

impl Staging {
    /// Adds an event to a batch; `index` tells those of one batch apart.
    pub(crate) fn add(
        batch: &mut Batch,
        index: u16,
        room: RoomNid,
        origin: &ServerName,
        received_ms: u64,
        event: &Pdu,
    ) {
        let row = StagedRow {
            origin: origin.to_owned(),
            received_ms,
            event: String::from_utf8_lossy(event.json()).into_owned(),
        };
        batch.put(&STAGED, &(room, Position::COMMIT, index), &Json(row));
    }

    /// Where events wait in a room, in the order in which they came.
    pub(crate) async fn keys(&self, room: RoomNid) -> Result<Vec<StagedKey>, ReadError> {
        self.0.latest().scan_keys(&STAGED, Scan::prefix(&room).limit(STAGED_PER_ROOM_MAX)).await
    }

    /// What waits at a place.
    pub(crate) async fn get(&self, key: &StagedKey) -> Result<Option<StagedRow>, ReadError> {
        Ok(self.0.latest().get(&STAGED, key).await?.map(|Json(row)| row))
    }

    /// Drops an event that waits no longer.
    pub(crate) async fn remove(&self, key: &StagedKey) -> Result<(), CommitError> {
        let mut batch = Batch::default();
        batch.delete(&STAGED, key);
        self.0.commit(batch).await.map(drop)
    }

    /// The rooms in which events wait, with how many.
    pub(crate) async fn rooms(&self) -> Result<Vec<(RoomNid, usize)>, ReadError> {
        let (mut rooms, mut scan): (Vec<(RoomNid, usize)>, _) = (Vec::new(), Scan::all().limit(STAGED_PER_ROOM_MAX));
        loop {
            let page = self.0.latest().scan_keys(&STAGED, scan).await?;
            for (room, ..) in &page {
                match rooms.last_mut() {
                    Some((last, count)) if last == room => *count += 1,
                    _ => rooms.push((*room, 1)),
                }
            }
            match page.last() {
                Some(last) if page.len() == STAGED_PER_ROOM_MAX => {
                    scan = Scan::all().after(last).limit(STAGED_PER_ROOM_MAX);
                }
                _ => return Ok(rooms),
            }
        }
    }
}
