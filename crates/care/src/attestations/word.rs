//! The signed word of a server about the roles of one of its users: what is in it, and what is believed of it.
//!
//! ```json5
//! { "sub": "@bob:h2.example", "roles": ["physician@h2/cardiology"], "org": "h2.example", "aud": "h1.example",
//!   "room_id": "!ward7:h1.example", "iat": 1700000000000, "exp": 1700086400000, "jti": "...", "signatures": {...} }
//! ```
//!
//! Times are milliseconds since 1970, as everywhere in Matrix.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};

use crate::{role::Role, roles::ROLES_PER_SOURCE_MAX};

/// For how long a word is good at most, 24 hours.
pub(super) const LIFETIME_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// How far another server's clock may be ahead of this one's, 5 minutes.
pub(super) const SKEW_MS_MAX: u64 = 5 * 60 * 1_000;
/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 128;

/// What a server says of a user, before it is signed. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attestation {
    /// The user.
    pub sub: OwnedUserId,
    /// Roles that the user has now, in their canonical form.
    pub roles: Vec<String>,
    /// The user's server, which says so.
    pub org: OwnedServerName,
    /// When it says so.
    pub iat: u64,
    /// Until when that is good.
    pub exp: u64,
    /// Whom it says it to.
    pub aud: OwnedServerName,
    /// By which the word is told from every other one of the server.
    pub jti: String,
    /// The room about which it was asked.
    pub room_id: OwnedRoomId,
}

/// What a word has to be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) user: &'a UserId,
    pub(super) room: &'a RoomId,
    /// This server.
    pub(super) told_to: &'a ServerName,
    pub(super) now_ms: u64,
}

/// What is believed of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) roles: BTreeSet<Role>,
    pub(super) said_ms: u64,
    pub(super) until_ms: u64,
    pub(super) jti: String,
}

impl Word {
    /// Reads a word whose signature is the one of the user's server.
    ///
    /// # Errors
    /// A sentence that names the field at fault.
    pub(super) fn read(json: &[u8], about: About<'_>) -> Result<Self, String> {
        let said: Attestation = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let right = [
            ("sub", said.sub == about.user),
            ("org", said.org == about.user.server_name()),
            ("aud", said.aud == about.told_to),
            ("room_id", said.room_id == about.room),
            ("jti", (1..=JTI_BYTES_MAX).contains(&said.jti.len())),
            ("iat", said.iat <= about.now_ms.saturating_add(SKEW_MS_MAX)),
            ("exp", said.exp > about.now_ms && said.exp > said.iat && said.exp - said.iat <= LIFETIME_MS_MAX),
            ("roles", said.roles.len() <= ROLES_PER_SOURCE_MAX),
        ];
        if let Some((field, _)) = right.into_iter().find(|(_, right)| !right) {
            return Err(format!("{field}: is not what it has to be"));
        }
        let roles = said.roles.iter().map(|role| Role::parse(role)).collect::<Result<_, _>>();
        let roles = roles.map_err(|error| format!("roles: one of them {error}"))?;
        Ok(Self { roles, said_ms: said.iat, until_ms: said.exp, jti: said.jti })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{room_id, server_name, user_id};
    use serde_json::{Value, json};

    use super::{About, LIFETIME_MS_MAX, SKEW_MS_MAX, Word};

    const NOW_MS: u64 = 1_700_000_000_000;

    fn about() -> About<'static> {
        About {
            user: user_id!("@bob:h2.example"),
            room: room_id!("!r:h1.example"),
            told_to: server_name!("h1.example"),
            now_ms: NOW_MS,
        }
    }

    fn good() -> Value {
        json!({
            "sub": "@bob:h2.example", "roles": ["physician@h2/cardiology", "physician@h2/cardiology"],
            "org": "h2.example", "aud": "h1.example", "room_id": "!r:h1.example",
            "iat": NOW_MS - 1_000, "exp": NOW_MS + 1_000, "jti": "1", "more": true,
        })
    }

    #[test]
    fn a_good_word_is_believed() {
        let word = Word::read(good().to_string().as_bytes(), about()).unwrap();
        assert_eq!((word.roles.len(), word.said_ms, word.until_ms), (1, NOW_MS - 1_000, NOW_MS + 1_000));
        let mut ahead = good();
        ahead["iat"] = json!(NOW_MS + SKEW_MS_MAX);
        ahead["exp"] = json!(NOW_MS + SKEW_MS_MAX + LIFETIME_MS_MAX);
        Word::read(ahead.to_string().as_bytes(), about()).unwrap();
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (field, wrong) in [
            ("sub", json!("@eve:h2.example")),
            ("org", json!("h3.example")),
            ("aud", json!("h3.example")),
            ("room_id", json!("!s:h1.example")),
            ("jti", json!("")),
            ("jti", json!("x".repeat(129))),
            ("iat", json!(NOW_MS + SKEW_MS_MAX + 1)),
            ("exp", json!(NOW_MS)),
            ("exp", json!(NOW_MS - 1_000 + LIFETIME_MS_MAX + 1)),
            ("roles", json!(["physician"])),
            ("roles", json!(vec!["physician@h2"; 201])),
        ] {
            let mut word = good();
            word[field] = wrong;
            let sentence = Word::read(word.to_string().as_bytes(), about()).unwrap_err();
            assert!(sentence.starts_with(&format!("{field}: ")), "{field}: {sentence}");
        }
        let mut backwards = good();
        backwards["iat"] = json!(NOW_MS + 2_000);
        Word::read(backwards.to_string().as_bytes(), about()).unwrap_err();
    }

    proptest! {
        #[test]
        fn junk_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Word::read(&bytes, about()).is_err());
        }

        #[test]
        fn no_value_of_a_field_is_taken_for_a_good_one(field in "sub|org|aud|room_id|roles", text in "\\PC{0,30}") {
            let mut word = good();
            word[&field] = json!(text);
            prop_assert!(Word::read(word.to_string().as_bytes(), about()).is_err());
        }
    }
}
