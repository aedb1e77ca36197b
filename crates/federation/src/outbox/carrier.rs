//! What the outbox needs of others: events to send, and somebody who carries them there.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use futures_util::future::BoxFuture;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName, UInt,
    api::federation::transactions::send_transaction_message, serde::Raw,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_rooms::{EventNid, Outgoing, Place, RoomError, RoomNid, Rooms};
use wardroom_store::{Batch, Position};

use crate::{Limits, PartnerError, Partners};

/// Time for a transaction, its answer included. Servers answer when they have looked at every event.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the answer: an event id and a sentence for each event.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What is sent in one request (server-server API, section "Transactions").
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    /// Its id: the same only for the same content.
    pub(super) id: String,
    /// `origin_server_ts`.
    pub(super) at_ms: u64,
    /// Events.
    pub(super) pdus: Vec<Box<RawJsonValue>>,
    /// What else.
    pub(super) edus: Vec<Box<RawJsonValue>>,
}

/// What a server answers to a transaction that it took. Not ruma's type, which wants `pdus` where there were none to
/// tell of, too: some servers leave it out.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    pdus: BTreeMap<String, Processed>,
}

/// What became of an event.
#[derive(Debug, Default, Deserialize)]
struct Processed {
    #[serde(default)]
    error: Option<IgnoredAny>,
}

/// Events as they are sent, each with its number.
pub(super) type Numbered = Vec<(EventNid, Box<RawJsonValue>)>;

/// Carries transactions to other servers.
pub(super) trait Carrier: Debug + Send + Sync + 'static {
    /// Whether anything may be sent to a server.
    fn admits(&self, server: &ServerName) -> bool;

    /// Sends a transaction; tells how many of its events the server did not accept.
    fn carry<'a>(
        &'a self,
        server: &'a ServerName,
        transaction: Transaction,
    ) -> BoxFuture<'a, Result<usize, PartnerError>>;
}

/// Has what is to be sent.
pub(super) trait Source: Debug + Send + Sync + 'static {
    /// As [`Rooms::outgoing`].
    fn outgoing(&self, from: Place, up_to: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Outgoing>, RoomError>>;

    /// As [`Rooms::taken_over`].
    fn taken_over(&self, batch: &mut Batch, entry: &Outgoing);

    /// Events of a room in the form that other servers understand, each with its number; those that are gone are left
    /// out.
    fn events<'a>(&'a self, room: RoomNid, events: &'a [EventNid]) -> BoxFuture<'a, Result<Numbered, RoomError>>;
}

/// Sends with the requests of [`Partners`].
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) origin: OwnedServerName,
    pub(super) partners: Partners,
}

impl Carrier for Signed {
    fn admits(&self, server: &ServerName) -> bool {
        self.partners.admits(server)
    }

    fn carry<'a>(
        &'a self,
        server: &'a ServerName,
        transaction: Transaction,
    ) -> BoxFuture<'a, Result<usize, PartnerError>> {
        let at = MilliSecondsSinceUnixEpoch(UInt::new_saturating(transaction.at_ms));
        let id = transaction.id.as_str().into();
        let mut request = send_transaction_message::v1::Request::new(id, self.origin.clone(), at);
        request.pdus = transaction.pdus;
        request.edus = transaction.edus.into_iter().map(Raw::from_json).collect();
        // The outbox knows best when to try again.
        let limits = Limits { timeout: TRANSACTION_TIMEOUT, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: true };
        Box::pin(async move {
            let answer = self.partners.signed_exchange(server, request, limits).await?;
            let answer: Answer =
                serde_json::from_slice(answer.body()).map_err(|error| PartnerError::Malformed(error.to_string()))?;
            Ok(answer.pdus.values().filter(|event| event.error.is_some()).count())
        })
    }
}

impl Source for Rooms {
    fn outgoing(&self, from: Place, up_to: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Outgoing>, RoomError>> {
        Box::pin(Self::outgoing(self, from, up_to, limit))
    }

    fn taken_over(&self, batch: &mut Batch, entry: &Outgoing) {
        Self::taken_over(self, batch, entry);
    }

    fn events<'a>(&'a self, room: RoomNid, events: &'a [EventNid]) -> BoxFuture<'a, Result<Numbered, RoomError>> {
        Box::pin(async move {
            let mut stored = Self::events(self, room, events).await?;
            let view = self.view_of(room).await?;
            // What waited for a server until its time was over is not told any more.
            stored.retain(|event| self.is_live(&view, event));
            let json = |bytes: &[u8]| serde_json::from_slice::<Box<RawJsonValue>>(bytes);
            let readable = stored.into_iter().filter_map(|event| Some((event.nid, json(event.pdu.json()).ok()?)));
            Ok(readable.collect())
        })
    }
}
