//! The event next to a time, in rooms whose history is not all here (specification, server-server API,
//! `GET /timestamp_to_event/{roomId}`).

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedServerName, UInt,
    api::{Direction, federation::event::get_event_by_timestamp::v1 as get_event_by_timestamp},
};
use wardroom_rooms::{Place, RoomView, Standing};

use super::{Inner, RemoteError, RemoteRooms};
use crate::ask::Ask;

/// Servers asked for the same time.
const SERVERS_MAX: usize = 3;
/// How often history is fetched to make the event one that clients can read.
const BACKFILLS_MAX: usize = 5;

impl RemoteRooms {
    /// The event closest to a time that other servers know of, where this server's history has gaps and `here`, the time
    /// of the closest event that it knows, is further away. Its id and time. The history is fetched towards it, so that
    /// the event can be read then unless it is far away.
    ///
    /// # Errors
    /// When the store fails. Servers that cannot be asked, or tell nothing, are no failure.
    pub async fn event_near(
        &self,
        room: &RoomView,
        time_ms: u64,
        backwards: bool,
        here: Option<u64>,
    ) -> Result<Option<(OwnedEventId, u64)>, RemoteError> {
        let inner = &self.inner;
        if inner.rooms.gap(room.nid, Place::LAST, Place::FIRST).await?.is_none() {
            return Ok(None);
        }
        let servers = inner.admitted(inner.rooms.servers(room.nid).await?.to_vec())?;
        for server in servers.iter().take(SERVERS_MAX) {
            let Some((event, told_ms)) = inner.event_near_of(server, room, time_ms, backwards).await else { continue };
            if here.is_some_and(|here| here.abs_diff(time_ms) <= told_ms.abs_diff(time_ms)) {
                continue;
            }
            for _ in 0..BACKFILLS_MAX {
                let standing = inner.rooms.standing(&event).await?;
                if standing.is_some_and(|(_, standing, _)| standing == Standing::Timeline)
                    || !self.backfill(room, Place::LAST, Place::FIRST).await.unwrap_or(false)
                {
                    break;
                }
            }
            return Ok(Some((event, told_ms)));
        }
        Ok(None)
    }
}

impl Inner {
    /// What one server tells, once the event itself bears it out.
    async fn event_near_of(
        &self,
        server: &OwnedServerName,
        room: &RoomView,
        time_ms: u64,
        backwards: bool,
    ) -> Option<(OwnedEventId, u64)> {
        let time = MilliSecondsSinceUnixEpoch(UInt::new_saturating(time_ms));
        let direction = if backwards { Direction::Backward } else { Direction::Forward };
        let request = get_event_by_timestamp::Request::new(room.id.clone(), time, direction);
        let told = self.ask(server, request).await.ok()?;
        let event = Ask::event(&self.partners, server, told.event_id.clone()).await.ok()?;
        let event = self.partners.check_events(room.version, vec![event]).await.pop()?.ok()?;
        let told_ms = event.origin_server_ts();
        let right_side = if backwards { told_ms <= time_ms } else { told_ms >= time_ms };
        (event.event_id() == told.event_id && event.room_id() == room.id && right_side)
            .then_some((told.event_id, told_ms))
    }
}
