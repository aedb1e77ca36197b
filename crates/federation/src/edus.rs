//! What other servers send besides events.

use crate::{Outbox, Partners, Parts, RemoteDevices};

/// What other servers send besides events.
#[derive(Clone, Debug)]
pub struct Edus {}

impl Edus {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners, _outbox: &Outbox, _devices: &RemoteDevices) -> Self {
        Self {}
    }

    /// Works until the server stops.
    pub(crate) async fn run(&self) {}
}
