//! Which media: `mxc://server/id`, checked as the specification's security considerations ask for.

use std::fmt;

use ruma::{OwnedServerName, ServerName};

/// Longest media id that is looked for. Ids of this server have 24 characters.
const ID_CHARS_MAX: usize = 255;

/// The number of a local user, as `accounts` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserNid(u64);

impl UserNid {
    /// The user with this number.
    pub const fn new(nid: u64) -> Self {
        Self(nid)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The address of one media.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MediaId {
    server: OwnedServerName,
    id: String,
}

/// The parts are no address of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMediaId {
    /// The server's name is none.
    #[error("serverName: this is no name of a server.")]
    Server,
    /// The id has other characters than `A-Za-z0-9_-`, none, or too many.
    #[error("mediaId: it must be 1 to 255 characters of A-Z a-z 0-9 _ and -.")]
    Id,
}

impl MediaId {
    /// The media of these parts of an `mxc://` URI.
    ///
    /// # Errors
    /// When a part cannot be one.
    pub fn parse(server: &str, id: &str) -> Result<Self, InvalidMediaId> {
        let server = ServerName::parse(server).map_err(|_| InvalidMediaId::Server)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if id.is_empty() || id.len() > ID_CHARS_MAX || !id.bytes().all(allowed) {
            return Err(InvalidMediaId::Id);
        }
        Ok(Self { server, id: id.to_owned() })
    }

    /// An id that was just made, or that a row holds.
    pub(crate) const fn known(server: OwnedServerName, id: String) -> Self {
        Self { server, id }
    }

    /// The server it comes from.
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// The part behind the server's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `mxc://` URI.
    pub fn uri(&self) -> String {
        format!("mxc://{}/{}", self.server, self.id)
    }
}

impl fmt::Debug for MediaId {
    /// Says nothing: whoever knows the id may read the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MediaId")
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidMediaId, MediaId};

    #[test]
    fn only_what_cannot_lead_elsewhere_is_an_id() {
        let media = MediaId::parse("a.example:8448", "aZ09_-").unwrap();
        assert_eq!(media.uri(), "mxc://a.example:8448/aZ09_-");
        for id in ["", ".", "..", "a/b", "a%2e", "ä", "a b", "a\0", &"x".repeat(256)] {
            assert_eq!(MediaId::parse("a.example", id), Err(InvalidMediaId::Id), "{id}");
        }
        for server in ["", "a/b", "..%2f", "a b", "http://a.example"] {
            assert_eq!(MediaId::parse(server, "x"), Err(InvalidMediaId::Server), "{server}");
        }
    }
}
