//! Roles across servers: `care` decides what is asked, believed and taken back, `federation` carries it.

use futures_util::{FutureExt as _, future::BoxFuture};
use ruma::{RoomId, ServerName, UserId};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_care::{Attesters, Tellers, Unheard};
use wardroom_federation::{AttestationError, Outbox, OutgoingEdu, RemoteAttestations};
use wardroom_store::Batch;

/// Asks other servers about the roles of their users.
#[derive(Debug)]
pub(crate) struct Asking(pub(crate) RemoteAttestations);

impl Attesters for Asking {
    fn ask<'a>(&'a self, user: &'a UserId, room: &'a RoomId) -> BoxFuture<'a, Result<Vec<u8>, Unheard>> {
        let asked = async move {
            self.0.ask(user, room).await.map_err(|error| match error {
                AttestationError::Refused => Unheard::Refused,
                AttestationError::Unsigned(sentence) => Unheard::Untrustworthy(sentence),
                AttestationError::Partner(error) => Unheard::Unreachable(error.to_string()),
            })
        };
        asked.boxed()
    }
}

/// Tells other servers what is taken back.
#[derive(Debug)]
pub(crate) struct Telling(pub(crate) Outbox);

impl Tellers for Telling {
    fn tell<'a>(
        &'a self,
        batch: &'a mut Batch,
        server: &'a ServerName,
        kind: &'static str,
        content: Box<RawJsonValue>,
    ) -> BoxFuture<'a, Result<(), String>> {
        let edu = OutgoingEdu { kind, coalesce: None, content };
        async move { self.0.queue_edu(batch, server, edu).await.map_err(|error| error.to_string()) }.boxed()
    }
}
