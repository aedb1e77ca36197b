//! Events that other servers send.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, ServerName};
use serde_json::value::RawValue as RawJsonValue;

use crate::{Partners, Parts};

/// Events that other servers send. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Ingest {}

impl Ingest {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }

    /// Takes the events of one transaction and says what became of each (`PUT /_matrix/federation/v1/send/{txnId}`):
    /// `Ok` means that it is part of its room, was refused by the room's rules, or is kept durably until what it needs
    /// has been fetched. Events of rooms that this server is not in, and what is no event, have the reason why not;
    /// what has no event id (because it is not JSON of an event) is left out.
    pub async fn receive_transaction(
        &self,
        _origin: &ServerName,
        _pdus: Vec<Box<RawJsonValue>>,
    ) -> BTreeMap<OwnedEventId, Result<(), String>> {
        BTreeMap::new()
    }
}
