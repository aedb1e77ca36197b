//! `[server_notices]`

use ruma::{MxcUri, ServerName, UserId};
use serde::{Deserialize, Serialize};
use wardroom_admin_api::NoticeSettings;

const NAME_DEFAULT: &str = "Server notices";

/// Notices of the server to its users.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerNotices {
    /// Local part of the user who sends them. Empty: there are no notices.
    pub(crate) localpart: String,
    /// How that user is shown.
    pub(crate) display_name: String,
    /// Picture of that user; empty for none.
    pub(crate) avatar_url: String,
    /// Name of the room in which a user gets them.
    pub(crate) room_name: String,
}

impl Default for ServerNotices {
    fn default() -> Self {
        Self {
            localpart: String::new(),
            display_name: NAME_DEFAULT.to_owned(),
            avatar_url: String::new(),
            room_name: NAME_DEFAULT.to_owned(),
        }
    }
}

impl ServerNotices {
    pub(super) fn problems(&self, server: &ServerName) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.localpart.is_empty() && UserId::parse_with_server_name(self.localpart.as_str(), server).is_err() {
            problems.push("server_notices.localpart: is no local part of a user id".to_owned());
        }
        if !self.avatar_url.is_empty() && !<&MxcUri>::from(self.avatar_url.as_str()).is_valid() {
            problems.push("server_notices.avatar_url: is no mxc:// URI".to_owned());
        }
        problems
    }

    /// As the API wants them; none where there are no notices.
    pub(crate) fn settings(&self) -> Option<NoticeSettings> {
        let Self { localpart, display_name, avatar_url, room_name } = self.clone();
        (!localpart.is_empty()).then_some(NoticeSettings { localpart, display_name, avatar_url, room_name })
    }
}
