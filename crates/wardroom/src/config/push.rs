//! `[push]`

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Push notifications.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Push {
    /// Whether notifications hold what was said, by whom and in which room.
    pub(crate) include_content: bool,
    /// What the number at an application's icon counts.
    pub(crate) badge: Badge,
    /// Whether gateways may be spoken to without TLS.
    pub(crate) allow_http: bool,
    /// Addresses of gateways that are spoken to although `federation.deny_ip_ranges` has them.
    pub(crate) allow_ip_ranges: Vec<IpNet>,
}

/// What the number at an application's icon counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Badge {
    /// Rooms in which something is unread, and invitations.
    #[default]
    Rooms,
    /// Unread messages, and invitations.
    Messages,
}

impl Default for Push {
    fn default() -> Self {
        Self { include_content: true, badge: Badge::Rooms, allow_http: false, allow_ip_ranges: Vec::new() }
    }
}
