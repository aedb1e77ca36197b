//! Rooms of other servers.

use crate::{Ingest, Outbox, Partners, Parts};

/// Rooms of other servers.
#[derive(Clone, Debug)]
pub struct RemoteRooms {}

impl RemoteRooms {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners, _ingest: &Ingest, _outbox: &Outbox) -> Self {
        Self {}
    }
}
