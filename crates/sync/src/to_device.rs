//! Messages to the device, and what it has to know of its keys: sections "Send-to-Device messaging" and "End-to-End
//! Encryption", "Extensions to /sync".

use wardroom_accounts::KeyCounts;
use wardroom_store::Position;

use crate::{
    SyncError,
    hearing::{Hearing, Span},
    response::Events,
};

/// Messages of one answer (specification, "Send-to-Device messaging", "Server behaviour").
pub(crate) const TO_DEVICE_EVENTS_MAX: usize = 100;

/// Messages that are news to a device.
#[derive(Debug)]
pub(crate) struct ToDeviceNews {
    pub(crate) events: Events,
    /// Up to where messages are told with these.
    pub(crate) told: Position,
}

impl Hearing<'_> {
    /// The messages that came for the device behind `told`, up to `now`, the oldest `limit` of them. Without `told`,
    /// all that were not delivered.
    #[expect(clippy::wrong_self_convention, reason = "to the device go messages: nothing is converted")]
    pub(crate) async fn to_device_news(
        &self,
        told: Option<Position>,
        now: Position,
        limit: usize,
    ) -> Result<ToDeviceNews, SyncError> {
        let mut news = ToDeviceNews { events: Events::default(), told: now };
        let device = self.session.device_ref();
        if !self.moved(device.watch_key(), Span { since: told, now }) {
            return Ok(news);
        }
        let accounts = &self.syncer.accounts;
        let found = accounts.to_device_events(device.nid, told.unwrap_or_default(), now, limit + 1).await?;
        for message in found.iter().take(limit) {
            news.events.next().extend_from_slice(&message.json);
        }
        // The next one is there, but not in this answer.
        if found.len() > limit {
            news.told = found[..limit].last().map_or_else(|| told.unwrap_or_default(), |last| last.position);
        }
        Ok(news)
    }

    /// What the device has to know of its keys, if that changed in a span.
    pub(crate) async fn key_counts_changed(&self, span: Span) -> Result<bool, SyncError> {
        if span.since.is_none() || !self.moved(self.session.device_ref().watch_key(), span) {
            return Ok(false);
        }
        Ok(span.has(self.key_counts().await?.changed))
    }

    /// What the device has to know of its keys: it is in every answer.
    pub(crate) async fn key_counts(&self) -> Result<KeyCounts, SyncError> {
        Ok(self.syncer.accounts.key_counts(self.session.device_ref()).await?)
    }

    /// Deletes the messages that the device has shown to have.
    pub(crate) async fn forget_delivered(&self, told: Position) -> Result<(), SyncError> {
        Ok(self.syncer.accounts.forget_to_device(self.session.device_nid, told).await?)
    }
}
