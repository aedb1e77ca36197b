//! Messages to the device (MSC3885), and what it has to know of keys (MSC3884).

use std::str::FromStr;

use wardroom_store::Position;

use super::{Cursors, Extending, Extensions};
use crate::{
    SyncError, hearing::Span, memberships::Known, response::Object, sliding::request::BadPos,
    to_device::TO_DEVICE_EVENTS_MAX,
};

/// Up to where messages to the device were told, as clients carry it around: `d<position>`. It outlives connections and
/// runs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceToken(pub(crate) Position);

impl std::fmt::Display for DeviceToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "d{}", self.0.get())
    }
}

impl FromStr for DeviceToken {
    type Err = BadPos;

    fn from_str(token: &str) -> Result<Self, BadPos> {
        // Digits alone: `parse` would take a sign as well.
        let digits = token.strip_prefix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(|number| Self(Position::new(number))).ok_or(BadPos)
    }
}

impl Extending<'_> {
    /// Tells messages to the device. The request says by its own token which ones it has; without one, all are told.
    pub(super) async fn messages(&mut self, told: &mut Extensions) -> Result<(), SyncError> {
        let asked = &self.asked.request.body.extensions.to_device;
        if !asked.is_on() {
            return Ok(());
        }
        let limit = asked.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(TO_DEVICE_EVENTS_MAX);
        let since = asked.since.map(|DeviceToken(since)| since.min(self.sight.now));
        let limit = limit.clamp(1, TO_DEVICE_EVENTS_MAX);
        let news = self.hearing.to_device_news(since, self.sight.now, limit).await?;
        told.has_news |= !news.events.is_empty();
        let mut section = Object::default();
        section.value("next_batch", &DeviceToken(news.told).to_string());
        section.raw("events", &news.events.end());
        told.object.object("to_device", section);
        Ok(())
    }

    /// Tells whose devices changed, and what is left of the device's own one-time keys.
    pub(super) async fn e2ee(
        &mut self,
        told: &mut Extensions,
        cursors: &mut Cursors,
        known: &Known,
    ) -> Result<(), SyncError> {
        if !self.asked.request.body.extensions.e2ee.is_on() {
            return Ok(());
        }
        let span = Span { since: cursors.devices, now: self.sight.now };
        let lists = self.hearing.device_list_news(span, known).await?;
        told.has_news |= !lists.is_empty() || self.hearing.key_counts_changed(span).await?;
        let mut section = Object::default();
        if !lists.is_empty() {
            section.value("device_lists", &lists);
        }
        let keys = self.hearing.key_counts().await?;
        section.value("device_one_time_keys_count", &keys.one_time);
        section.value("device_unused_fallback_key_types", &keys.unused_fallback);
        told.object.object("e2ee", section);
        cursors.devices = Some(span.now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wardroom_store::Position;

    use super::{BadPos, DeviceToken};

    #[test]
    fn a_token_survives_the_client() {
        let token = DeviceToken(Position::new(77));
        assert_eq!(token.to_string(), "d77");
        assert_eq!("d77".parse(), Ok(token));
        for junk in ["", "d", "77", "s77", "d-1", "d+1", "d1_2", "d99999999999999999999"] {
            assert_eq!(junk.parse::<DeviceToken>(), Err(BadPos), "{junk}");
        }
    }
}
