//! What comes from other servers.
//!
//! A server speaks for its own users alone, and is heard where it shares a room with users of this one. What is wrong is
//! passed over. Messages to devices and changes of devices are durable when the server is told that its transaction was
//! taken; the rest is worth little a minute later and is no reason to refuse a transaction.

use std::time::Duration;

use ruma::{
    EventId, OwnedUserId, RoomId, ServerName,
    api::federation::transactions::edu::{DeviceListUpdateContent, Edu, SigningKeyUpdateContent, TypingContent},
    serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use wardroom_accounts::{
    AccountError, Availability, DeviceUpdate, PresenceElsewhere, RemoteDevice, ToDeviceMessages, ToDeviceTarget,
    Updated,
};
use wardroom_rooms::{RoomError, RoomNid};

use super::{
    Edus,
    erasure::ERASURE,
    waiting::WaitingReceipt,
    wire::{DirectToDevice, Envelope, PresenceEntry, PresencePush, ReceiptEntry, Receipts},
};
use crate::FederationError;

/// EDUs that one transaction may have (specification, "Transactions"); more are passed over.
const EDUS_MAX: usize = 100;
/// Users whose presence one EDU tells.
const PRESENCE_USERS_MAX: usize = 200;
/// Receipts that one EDU brings.
const RECEIPTS_MAX: usize = 500;
/// Events that one receipt names. The newest counts.
const RECEIPT_EVENTS_MAX: usize = 5;

impl Edus {
    /// Takes what a server sent with a transaction. What is wrong or not its own to say is passed over.
    ///
    /// # Errors
    /// When the store fails. The server has to send the transaction again then; what was taken is recognised.
    pub async fn receive(&self, origin: &ServerName, edus: Vec<Raw<Edu>>) -> Result<(), FederationError> {
        self.0.devices.heard_from(origin);
        for edu in edus.into_iter().take(EDUS_MAX) {
            let Ok(Envelope { edu_type, content }) = serde_json::from_str(edu.json().get()) else { continue };
            let taken = match edu_type.as_str() {
                "m.typing" => volatile(self.typing(origin, read(&content)).await),
                "m.receipt" => volatile(self.receipts(origin, read(&content)).await),
                "m.presence" => volatile(self.presence(origin, read(&content)).await),
                "m.device_list_update" => self.device_list_update(origin, read(&content)).await,
                "m.signing_key_update" => self.signing_key_update(origin, read(&content)).await,
                "m.direct_to_device" => self.direct_to_device(origin, read(&content)).await,
                ERASURE => self.erasure(origin, read(&content)).await,
                _ => Ok(()),
            };
            match taken {
                Err(error) if is_theirs(&error) => tracing::debug!(%origin, %error, "an EDU was passed over"),
                done => done?,
            }
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// The room, where users of this server are in it and its access control list lets the server take part.
    async fn open_room(&self, origin: &ServerName, room: &RoomId) -> Result<Option<RoomNid>, FederationError> {
        let Some(room) = self.0.rooms.room_nid(room).await? else { return Ok(None) };
        let open = self.0.rooms.is_resident(room).await? && self.0.rooms.admits_server(room, origin).await?;
        Ok(open.then_some(room))
    }

    async fn typing(&self, origin: &ServerName, content: Option<TypingContent>) -> Result<(), FederationError> {
        let Some(content) = content.filter(|content| content.user_id.server_name() == origin) else { return Ok(()) };
        if let Some(room) = self.open_room(origin, &content.room_id).await? {
            self.0.rooms.set_typing_elsewhere(room, &content.user_id, content.typing).await?;
        }
        Ok(())
    }

    async fn receipts(&self, origin: &ServerName, content: Option<Receipts>) -> Result<(), FederationError> {
        let mut left = RECEIPTS_MAX;
        for (room, mut kinds) in content.unwrap_or_default() {
            // Private receipts never leave a server; whatever else came would be none that anybody may see.
            let Some(users) = kinds.remove("m.read") else { continue };
            let Some(room) = self.open_room(origin, &room).await? else { continue };
            for (user, entry) in users {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                let Some(entry) = read::<ReceiptEntry>(&entry).filter(|_| user.server_name() == origin) else {
                    continue;
                };
                let (thread, ts_ms) = (entry.data.thread_id, entry.data.ts.map(u64::from));
                for event in entry.event_ids.into_iter().take(RECEIPT_EVENTS_MAX) {
                    let (user, thread) = (user.clone(), thread.clone());
                    self.receipt(WaitingReceipt { room, event, user, thread, ts_ms }).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes one receipt, or keeps it for a while where its event is still on its way.
    async fn receipt(&self, receipt: WaitingReceipt) -> Result<(), FederationError> {
        if self.set_receipt(&receipt).await? {
            return Ok(());
        }
        let event = receipt.event.clone();
        self.0.waiting.add(receipt);
        // It may have come in between.
        self.event_came(&event).await
    }

    async fn set_receipt(&self, receipt: &WaitingReceipt) -> Result<bool, FederationError> {
        let WaitingReceipt { room, event, user, thread, ts_ms } = receipt;
        Ok(self.0.rooms.set_receipt_elsewhere(*room, user, event, thread, *ts_ms).await?)
    }

    /// Takes the receipts that waited for an event, if it is here.
    pub(super) async fn event_came(&self, event: &EventId) -> Result<(), FederationError> {
        for receipt in self.0.waiting.of(event) {
            if !self.set_receipt(&receipt).await? {
                return Ok(());
            }
            self.0.waiting.remove(&receipt);
        }
        Ok(())
    }

    async fn presence(&self, origin: &ServerName, content: Option<PresencePush>) -> Result<(), FederationError> {
        let presence = self.0.accounts.presence();
        if !presence.is_enabled() {
            return Ok(());
        }
        for entry in content.map(|content| content.push).unwrap_or_default().iter().take(PRESENCE_USERS_MAX) {
            let entry = read::<PresenceEntry>(entry).filter(|entry| entry.user_id.server_name() == origin);
            let Some(entry) = entry else { continue };
            let Some(availability) = Availability::named(&entry.presence) else { continue };
            let Some(nid) = self.0.devices.neighbour(&entry.user_id).await? else { continue };
            let said = PresenceElsewhere {
                availability,
                currently_active: entry.currently_active,
                last_active_ago: entry.last_active_ago.map(|ago| Duration::from_millis(ago.into())),
                status_msg: entry.status_msg,
            };
            presence.set_elsewhere(nid, &entry.user_id, &said);
        }
        Ok(())
    }

    async fn device_list_update(
        &self,
        origin: &ServerName,
        content: Option<DeviceListUpdateContent>,
    ) -> Result<(), FederationError> {
        let Some(content) = content.filter(|content| content.user_id.server_name() == origin) else { return Ok(()) };
        if self.0.devices.neighbour(&content.user_id).await?.is_none() {
            return Ok(());
        }
        let update = DeviceUpdate {
            stream_id: content.stream_id.into(),
            prev_ids: content.prev_id.into_iter().map(u64::from).collect(),
            deleted: content.deleted.unwrap_or_default(),
            device: RemoteDevice {
                id: content.device_id,
                display_name: content.device_display_name,
                keys: content.keys.map(Raw::into_json),
            },
        };
        if self.0.accounts.update_remote_device(&content.user_id, &update).await? == Updated::Stale {
            self.0.devices.wake();
        }
        Ok(())
    }

    async fn signing_key_update(
        &self,
        origin: &ServerName,
        content: Option<SigningKeyUpdateContent>,
    ) -> Result<(), FederationError> {
        let Some(content) = content.filter(|content| content.user_id.server_name() == origin) else { return Ok(()) };
        if self.0.devices.neighbour(&content.user_id).await?.is_none() {
            return Ok(());
        }
        let master = content.master_key.as_ref().map(Raw::json);
        let self_signing = content.self_signing_key.as_ref().map(Raw::json);
        let updated = self.0.accounts.update_remote_cross_signing(&content.user_id, master, self_signing).await?;
        if updated == Updated::Stale {
            self.0.devices.wake();
        }
        Ok(())
    }

    async fn direct_to_device(
        &self,
        origin: &ServerName,
        content: Option<DirectToDevice>,
    ) -> Result<(), FederationError> {
        let Some(content) = content.filter(|content| content.sender.server_name() == origin) else { return Ok(()) };
        let to_target = |target| match target {
            DeviceIdOrAllDevices::AllDevices => ToDeviceTarget::AllDevices,
            DeviceIdOrAllDevices::DeviceId(id) => ToDeviceTarget::Device(id),
        };
        let local = |(user, _): &(OwnedUserId, _)| self.is_own(user.server_name());
        let messages: ToDeviceMessages = content
            .messages
            .into_iter()
            .filter(local)
            .map(|(user, devices)| {
                (user, devices.into_iter().map(|(target, content)| (to_target(target), content)).collect())
            })
            .collect();
        let (sender, id) = (&content.sender, content.message_id.as_str());
        self.0.accounts.receive_to_device(origin, sender, &content.kind, id, &messages).await?;
        Ok(())
    }
}

fn read<T: DeserializeOwned>(json: &RawValue) -> Option<T> {
    serde_json::from_str(json.get()).ok()
}

/// What is worth nothing later is not asked for again.
fn volatile(done: Result<(), FederationError>) -> Result<(), FederationError> {
    // Of rooms that one is invited to, say, no more is known than their name.
    if let Err(error) = done
        && !matches!(error, FederationError::Rooms(RoomError::NoSuchRoom))
    {
        tracing::warn!(%error, "something that another server told could not be taken in");
    }
    Ok(())
}

/// Whether what was sent is to blame: it would fail again.
fn is_theirs(error: &FederationError) -> bool {
    matches!(
        error,
        FederationError::Accounts(
            AccountError::Limit { .. }
                | AccountError::Invalid { .. }
                | AccountError::Malformed { .. }
                | AccountError::UnknownUser
        )
    )
}
