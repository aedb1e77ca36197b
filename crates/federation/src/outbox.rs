//! What is sent to other servers.

use ruma::ServerName;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_store::Batch;

use crate::{FederationError, Partners, Parts};

/// Something other than an event that is sent to another server (server-server API, section "EDUs").
#[derive(Clone, Debug)]
pub struct OutgoingEdu {
    /// `edu_type`, such as `m.typing`.
    pub kind: &'static str,
    /// Of those with the same kind and key that wait for the same server, only the newest is sent. Only for
    /// [`Outbox::signal`].
    pub coalesce: Option<String>,
    /// `content`, a JSON object.
    pub content: Box<RawJsonValue>,
}

/// What is sent to other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Outbox {}

impl Outbox {
    pub(crate) fn new(_parts: &Parts, _partners: &Partners) -> Self {
        Self {}
    }

    /// Adds something that must not get lost to a batch: it is sent when the batch is committed, and again until the
    /// server takes it. What is queued by one batch is sent in that order.
    ///
    /// # Errors
    /// [`FederationError::TooLarge`]; when the store cannot be read. The batch is as it was then.
    #[expect(clippy::unused_async, reason = "names of servers become numbers in the store")]
    pub async fn queue_edu(
        &self,
        _batch: &mut Batch,
        _server: &ServerName,
        _edu: OutgoingEdu,
    ) -> Result<(), FederationError> {
        Ok(())
    }

    /// Sends something that loses its worth quickly, such as typing: it may get lost when the server cannot be reached,
    /// when this one stops, or when there is too much of it.
    pub fn signal(&self, _server: &ServerName, _edu: OutgoingEdu) {}

    /// A server has sent us something: it is there again. What waits for it is tried soon.
    #[expect(clippy::unused_async, reason = "names of servers become numbers in the store")]
    pub async fn heard_from(&self, _server: &ServerName) {}

    /// Looks at once at what waits, also for servers that were not admitted before.
    pub fn wake(&self) {}

    /// Works until the server stops.
    pub(crate) async fn run(&self) {}
}
