//! Rooms with a policy server: a server of their choice that looks at each event before it is sent, and signs it
//! ([Policy Servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers)).
//!
//! This crate knows which room has one, and whether it has signed; asking it is for `federation`, by the trait
//! [`PolicyServers`]. An event that it has not signed is not sent from here, and fails softly where it comes from
//! elsewhere. This server is the policy server of rooms that say so, with the key that it offers: it signs what the
//! authorization rules allow in the room as it is now, and the gate does.

use std::{fmt, sync::Arc};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use ruma::{ServerName, events::StateEventType};
use wardroom_audit::{Act, Outcome, Record};
use wardroom_event::{Pdu, RoomPolicy, SigningKey};

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

    /// Gives this server the key with which it signs as a policy server. Counts the first time only.
    pub fn be_policy_server(&self, key: Arc<SigningKey>) {
        let _ = self.engine.policy_key.set(key);
    }

    /// The public half of the key with which this server signs as a policy server: rooms name it in `m.room.policy`.
    pub fn policy_key(&self) -> Option<[u8; 32]> {
        self.engine.policy_key.get().map(|key| key.public_key())
    }

    /// The signature of this server, as the policy server of a room, for an event that somebody wants to send there. The
    /// event's own signatures have been checked.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] where this server is not the room's policy server, [`RoomError::Forbidden`] where it
    /// does not recommend the event.
    pub async fn sign_as_policy_server(&self, room: &RoomView, event: Arc<Pdu>) -> Result<String, RoomError> {
        let ours = self.engine.policy_of(room).await?.filter(|policy| policy.via() == self.engine.server_name);
        let (Some(policy), Some(key)) = (ours, self.engine.policy_key.get()) else { return Err(RoomError::NoSuchRoom) };
        if !policy.is_key(&key.public_key()) {
            return Err(RoomError::NoSuchRoom);
        }
        if event.is_room_policy() {
            let sentence = "Policy servers are not asked about the event that names them.";
            return Err(RoomError::Forbidden(sentence.to_owned()));
        }
        self.prepare_for(std::iter::once(&*event), room).await;
        let (room, asked) = (self.engine.room(room.nid).await?, Arc::clone(&event));
        let recommended = self
            .engine
            .write(&room, move |writer| async move { writer.require_recommendable(&asked).await }.boxed())
            .await;
        let outcome = match &recommended {
            Ok(()) => Outcome::Success,
            Err(RoomError::Forbidden(_)) => Outcome::Serious,
            Err(_) => Outcome::Major,
        };
        let record = Record::of(Act::PolicySign).room(event.room_id().as_str()).event(event.event_id().as_str());
        self.engine.audit.write(record.kind(event.kind().to_string()).outcome(outcome)).await?;
        recommended?;
        event.signature(key).map_err(|_| RoomError::inconsistent("event that is no object"))
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
        if policy.via() == self.engine.server_name {
            // The writer decides, and nothing is signed that it might not take.
            return Ok(events);
        }
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
            // What is sent from here has been put to the rules and to the gate.
            return match self.policy_key.get().filter(|key| policy.is_key(&key.public_key())) {
                Some(key) => signed_as_policy_server(&event, &self.server_name, key),
                None => {
                    let sentence = "The room's policy server is this server, but the room has another key of it.";
                    Err(RoomError::Forbidden(sentence.to_owned()))
                }
            };
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

fn signed_as_policy_server(event: &Pdu, server: &ServerName, key: &SigningKey) -> Result<Arc<Pdu>, RoomError> {
    event.cosigned(server, key).map(Arc::new).map_err(|error| RoomError::BadContent(error.to_string()))
}

impl Writer {
    /// Whether this server recommends an event as it would be received now.
    async fn require_recommendable(&self, event: &Pdu) -> Result<(), RoomError> {
        if let Err(sentence) = self.judge_by_state(event, self.head.state).await? {
            return Err(RoomError::Forbidden(sentence));
        }
        match self.ask_gate(event).await? {
            Some(sentence) => Err(RoomError::Forbidden(sentence)),
            None => Ok(()),
        }
    }

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
        let Some(policy) = self.policy().await? else { return Ok(true) };
        // Where this is the policy server, what it would sign is what it takes.
        let ours = policy.via() == self.engine.server_name
            && self.engine.policy_key.get().is_some_and(|key| policy.is_key(&key.public_key()));
        Ok(ours || event.is_room_policy() || policy.has_signed(event))
    }
}
