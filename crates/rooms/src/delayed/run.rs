//! Sends what is due.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use ruma::{CanonicalJsonObject, OwnedEventId, TransactionId, device_id, events::StateEventType};
use serde_json::value::RawValue as RawJsonValue;
use tokio::time::sleep;
use wardroom_store::{Batch, CommitError, Hash16, Packed, Scan};

use super::{DELAYED_DUE, DELAYED_FINAL, DELAYED_FINAL_KEPT, DelayedRecord, Outcome, millis};
use crate::{Actor, Engine, Rooms, error::RoomError};

/// Events that are sent at the same time.
const SENT_AT_ONCE: usize = 32;
/// The longest sleep: the clock may be set.
const SLEEP_MAX: Duration = Duration::from_mins(1);
/// Pause after a failure that may pass: a full disk, say.
const RETRY: Duration = Duration::from_secs(5);
/// Finalised events that are forgotten in one commit.
const FORGOTTEN_AT_ONCE: usize = 500;

/// Whether a failure is the event's own, so that trying again is of no use.
fn is_final(error: &RoomError) -> bool {
    !matches!(error, RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_))
}

/// Whether two texts are the same JSON: events are kept in canonical form, delayed ones as the client wrote them.
fn same_json(a: &RawJsonValue, b: &RawJsonValue) -> bool {
    let read = |json: &RawJsonValue| serde_json::from_str::<CanonicalJsonObject>(json.get()).ok();
    read(a).is_some_and(|a| Some(a) == read(b))
}

impl Rooms {
    /// Sends delayed events when they are due. To be spawned once; ends when the rooms are dropped or their store is
    /// closed, and keeps neither.
    pub fn run_delayed(&self) -> impl Future<Output = ()> + Send + use<> {
        run(Arc::downgrade(&self.engine))
    }

    /// Sends an event that waits, through the same checks as any other.
    pub(super) async fn send_waiting(&self, record: &DelayedRecord) -> Result<OwnedEventId, RoomError> {
        let (user, room) = (self.user_of(record.user).await?, self.view_of(record.room).await?);
        let content = RawJsonValue::from_string(record.content.clone());
        let content = content.map_err(|_| RoomError::inconsistent("content of a delayed event"))?;
        // No client has this device: its transactions are those of delayed events.
        let device = device_id!("delayed event");
        let actor = Actor { user: &user, nid: record.user, device: Some(device), guest: record.guest };
        let Some(state_key) = &record.state_key else {
            let transaction = <&TransactionId>::from(record.id.as_str());
            return self.send(actor, &room.id, &record.kind, content, Some(transaction)).await;
        };
        let kind = StateEventType::from(record.kind.as_str());
        // Sent and not noted before a crash: then it stands in the state already, sent after it was due.
        if let Some(now) = self.engine.state_event(room.nid, room.state, &kind, state_key).await?
            && user == now.pdu.sender()
            && now.pdu.origin_server_ts() >= record.due_ms()
            && same_json(now.pdu.content(), &content)
        {
            return Ok(now.pdu.event_id().to_owned());
        }
        self.set_state(actor, &room.id, &kind, state_key, content).await
    }

    /// Sends one event that is due.
    async fn send_due(&self, due_ms: u64, hash: Hash16) -> Result<(), RoomError> {
        let _alone = self.engine.delayed.lock_of(&hash).lock().await;
        let found = self.delayed_record(&hash).await;
        let (record, version) = match found {
            Ok(Some((record, version))) if record.outcome.is_none() && record.due_ms() == due_ms => (record, version),
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {
                // Its data key was destroyed with the room.
                let mut batch = Batch::default();
                batch.delete(&DELAYED_DUE, &(due_ms, hash));
                return self.engine.store.commit(batch).await.map(drop).map_err(RoomError::from);
            }
            Err(error) => return Err(error),
        };
        let outcome = match self.send_waiting(&record).await {
            Ok(event) => Outcome::Sent(event),
            Err(error) if is_final(&error) => Outcome::Failed(error.to_string()),
            Err(error) => return Err(error),
        };
        self.finalise(hash, record, version, outcome).await
    }

    /// Sends what is due, and tells how long until the next one is.
    async fn send_all_due(&self) -> Result<Duration, RoomError> {
        loop {
            let now_ms = self.engine.clock.now_ms();
            let scan = Scan::all().limit(SENT_AT_ONCE);
            let first = self.engine.store.latest().scan_keys(&DELAYED_DUE, scan).await?;
            let Some((next_ms, _)) = first.first().copied() else { return Ok(SLEEP_MAX) };
            if next_ms > now_ms {
                return Ok(Duration::from_millis(next_ms - now_ms).min(SLEEP_MAX));
            }
            let due = first.into_iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
            let sent = join_all(due.map(|(due_ms, hash)| self.send_due(due_ms, hash))).await;
            if let Some(error) = sent.into_iter().find_map(Result::err) {
                return Err(error);
            }
        }
    }

    /// Forgets what became of delayed events long ago.
    pub async fn forget_delayed(&self) -> Result<(), RoomError> {
        let before_ms = self.engine.clock.now_ms().saturating_sub(millis(DELAYED_FINAL_KEPT));
        loop {
            let scan = Scan::range(&0_u64, &before_ms).limit(FORGOTTEN_AT_ONCE);
            let old = self.engine.store.latest().scan(&DELAYED_FINAL, scan).await?;
            if old.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            for ((at_ms, hash), Packed(user)) in old {
                self.forget_final(&mut batch, user, at_ms, hash).await?;
            }
            self.engine.store.commit(batch).await?;
        }
    }
}

async fn run(engine: Weak<Engine>) {
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let rooms = Rooms { engine };
        let pause = match rooms.send_all_due().await {
            Ok(pause) => pause,
            Err(RoomError::Storage(text)) if text == CommitError::Closed.to_string() => return,
            Err(error) => {
                tracing::warn!(%error, "delayed events could not be sent; trying again");
                RETRY
            }
        };
        // What is scheduled meanwhile leaves a permit, so nothing is missed while nobody listens.
        let changed = Arc::clone(&rooms.engine.delayed.changed);
        drop(rooms);
        tokio::select! {
            () = sleep(pause) => {}
            () = changed.notified() => {}
        }
    }
}
