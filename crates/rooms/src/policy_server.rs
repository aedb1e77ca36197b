//! Rooms with a policy server: a server of their choice that looks at each event before it is sent, and signs it
//! ([Policy Servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers)).
//!
//! This crate knows which room has one, and whether it has signed; asking it is for `federation`, by the trait
//! [`PolicyServers`]. An event that it has not signed is not sent from here, and fails softly where it comes from
//! elsewhere.

use std::{fmt, sync::Arc};

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use ruma::{ServerName, events::StateEventType};
use wardroom_event::{Pdu, RoomPolicy};

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{NS_SERVER, ServerNid},
    receive::Before,
    room::RoomView,
    writer::Writer,
};

/// Events for which a policy server is asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// Why a policy server has not signed an event.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unsigned {
    /// It will not; this is what it says.
    #[error("{0}")]
    Refused(String),
    /// It cannot be asked, or its answer makes no sense.
    #[error("the room's policy server could not be asked: {0}")]
    Unreachable(String),
}

/// Asks policy servers.
pub trait PolicyServers: fmt::Debug + Send + Sync {
    /// The event with a policy server's signature. Must end within seconds: the room waits.
    fn sign<'a>(&'a self, via: &'a ServerName, event: &'a Pdu) -> BoxFuture<'a, Result<Pdu, Unsigned>>;
}

fn state_type() -> StateEventType {
    StateEventType::from("m.room.policy")
}

impl Rooms {
    /// Says who asks policy servers. Without, nothing is sent into rooms that have one. Counts the first time only.
    pub fn ask_policy_servers_by(&self, servers: Arc<dyn PolicyServers>) {
        // A second one is a mistake of whoever puts the parts together, and harmless.
        let _ = self.engine.policy_servers.set(servers);
    }

    /// Asks the room's policy server about an event of this server's that is not sent by the room's writer.
    pub(crate) async fn recommended(&self, room: &RoomView, event: Arc<Pdu>) -> Result<Arc<Pdu>, RoomError> {
        match self.engine.policy_of(room).await? {
            Some(policy) => self.engine.with_policy_signature(&policy, event).await,
            None => Ok(event),
        }
    }

    /// Events of other servers, with the signatures that they lack where the policy server gives them: its key may have
    /// changed since they were sent. The writer decides what becomes of those that still have none.
    pub(crate) async fn recommend(
        &self,
        room: &RoomView,
        events: Vec<(Arc<Pdu>, Before)>,
    ) -> Result<Vec<(Arc<Pdu>, Before)>, RoomError> {
        let Some(policy) = self.engine.policy_of(room).await? else { return Ok(events) };
        let policy = &policy;
        let asked = events.into_iter().map(|(event, before)| async move {
            match self.engine.with_policy_signature(policy, Arc::clone(&event)).await {
                Ok(signed) => (signed, before),
                Err(_) => (event, before),
            }
        });
        Ok(stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await)
    }
}

impl Engine {
    /// The room's policy server, if it has one now.
    async fn policy_of(&self, room: &RoomView) -> Result<Option<RoomPolicy>, RoomError> {
        let event = self.state_event(room.nid, room.state, &state_type(), "").await?;
        let Some(policy) = event.and_then(|event| RoomPolicy::of(&event.pdu)) else { return Ok(None) };
        let server = self.store.interner().known(NS_SERVER, policy.via().as_str()).await?.map(ServerNid::new);
        Ok(server.is_some_and(|server| room.servers.contains_key(&server)).then_some(policy))
    }

    /// An event with the policy server's signature: as it is if it has it or needs none, else once the server has
    /// signed.
    async fn with_policy_signature(&self, policy: &RoomPolicy, event: Arc<Pdu>) -> Result<Arc<Pdu>, RoomError> {
        if event.is_room_policy() || policy.has_signed(&event) {
            return Ok(event);
        }
        if policy.via() == self.server_name {
            return Err(RoomError::Forbidden("The room's policy server is this server, which is none.".to_owned()));
        }
        let Some(servers) = self.policy_servers.get() else {
            return Err(RoomError::PolicyServer("this server does not speak to others".to_owned()));
        };
        match servers.sign(policy.via(), &event).await {
            Ok(signed) if signed.event_id() == event.event_id() && policy.has_signed(&signed) => Ok(Arc::new(signed)),
            Ok(_) => {
                let sentence = "its signature is not of the key that the room has of it";
                Err(RoomError::PolicyServer(sentence.to_owned()))
            }
            Err(Unsigned::Refused(sentence)) => Err(RoomError::Forbidden(sentence)),
            Err(Unsigned::Unreachable(sentence)) => Err(RoomError::PolicyServer(sentence)),
        }
    }
}

impl Writer {
    /// The room's policy server, as this group leaves the room so far.
    async fn policy(&self) -> Result<Option<RoomPolicy>, RoomError> {
        let event = self.state_event(&state_type(), "").await?;
        let Some(policy) = event.and_then(|event| RoomPolicy::of(&event.pdu)) else { return Ok(None) };
        let server = self.engine.store.interner().known(NS_SERVER, policy.via().as_str()).await?.map(ServerNid::new);
        Ok(server.is_some_and(|server| self.servers.contains_key(&server)).then_some(policy))
    }

    /// An event of this server's as it may be sent: with the signature of the room's policy server, if it has one.
    pub(crate) async fn with_policy_signature(&self, event: Arc<Pdu>) -> Result<Arc<Pdu>, RoomError> {
        match self.policy().await? {
            Some(policy) => self.engine.with_policy_signature(&policy, event).await,
            None => Ok(event),
        }
    }

    /// Whether the room's policy server, if it has one, has signed an event that came in.
    pub(crate) async fn is_recommended(&self, event: &Pdu) -> Result<bool, RoomError> {
        let policy = self.policy().await?;
        Ok(policy.is_none_or(|policy| event.is_room_policy() || policy.has_signed(event)))
    }
}
