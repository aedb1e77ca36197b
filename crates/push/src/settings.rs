//! What an operator decides about push notifications.

use wardroom_outbound::Ranges;

/// What the number at an application's icon counts (`counts.unread` of the push gateway API).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadgeCounts {
    /// Rooms in which something is unread, and invitations.
    #[default]
    Rooms,
    /// Unread messages, and invitations.
    Messages,
}

/// Settings of [`Push`](crate::Push).
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where push gateways may be.
    pub ranges: Ranges,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
    /// Whether gateways may be spoken to without TLS.
    pub allow_http: bool,
    /// Whether notifications hold what was said, by whom and where. Without, they name the event and the room only,
    /// whatever the pusher asks for.
    pub include_content: bool,
    /// What the number at an application's icon counts.
    pub badge: BadgeCounts,
}
