//! What is sent to other servers.

use crate::{Partners, Parts};

/// What is sent to other servers.
#[derive(Clone, Debug)]
pub struct Outbox {}

impl Outbox {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }

    /// Works until the server stops.
    pub(crate) async fn run(&self) {}
}
