//! Names that users of this server may have: appendix "User Identifiers" of the specification.

use rand::RngExt as _;
use ruma::{OwnedUserId, ServerName, UserId};

use crate::AccountError;

/// Longest user id, in bytes, with sigil and server name.
const USER_ID_BYTES_MAX: usize = 255;
/// Letters of a name that the server makes up: 26^16 is more than 2^75.
const GENERATED_LETTERS: usize = 16;

/// The id of a new user. Capitals become small letters: clients send what people type, and ids differ in more than case.
///
/// # Errors
/// [`AccountError::InvalidUsername`] for empty and over-long names and for characters outside `a-z0-9._=-/+`.
pub(crate) fn new_user_id(localpart: &str, server_name: &ServerName) -> Result<OwnedUserId, AccountError> {
    if localpart.is_empty() {
        return Err(AccountError::InvalidUsername("The user name is empty."));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._=-/+".contains(&byte);
    if !localpart.bytes().all(allowed) {
        return Err(AccountError::InvalidUsername(
            "The user name may contain only the characters a-z, 0-9, and '._=-/+'.",
        ));
    }
    // '@', ':'
    if localpart.len() + server_name.as_str().len() + 2 > USER_ID_BYTES_MAX {
        return Err(AccountError::InvalidUsername("The user name is too long: a user id may have 255 bytes."));
    }
    let id = format!("@{}:{server_name}", localpart.to_ascii_lowercase());
    UserId::parse(id).map_err(|_| AccountError::InvalidUsername("This is not a valid user name."))
}

/// The local user that somebody means who types `name` to log in: a localpart or a full id, in any case.
/// `None` when no user of this server can have that name.
pub(crate) fn typed_user_id(name: &str, server_name: &ServerName) -> Option<OwnedUserId> {
    let localpart = match name.strip_prefix('@') {
        Some(full) => {
            let (localpart, server) = full.split_once(':')?;
            if server != server_name.as_str() {
                return None;
            }
            localpart
        }
        None => name,
    };
    new_user_id(localpart, server_name).ok()
}

/// A name for a user who did not ask for one.
#[expect(clippy::disallowed_methods, reason = "a made-up name only has to be new")]
pub(crate) fn generated_localpart(prefix: &str) -> String {
    let mut rng = rand::rng();
    let letters = (0..GENERATED_LETTERS).map(|_| char::from(rng.random_range(b'a'..=b'z')));
    prefix.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::server_name;

    use super::{generated_localpart, new_user_id, typed_user_id};

    #[test]
    fn names_follow_the_appendix() {
        let server = server_name!("hospital-a.example");
        assert_eq!(new_user_id("a.b_c=d-e/f+9", server).unwrap(), "@a.b_c=d-e/f+9:hospital-a.example");
        assert_eq!(new_user_id("Alice", server).unwrap(), "@alice:hospital-a.example");
        for bad in ["", "a b", "ä", "a:b", "@alice", "a!", "a\0", "a#b", "\u{1F600}"] {
            assert!(new_user_id(bad, server).is_err(), "{bad:?}");
        }
        let longest = 255 - 2 - server.as_str().len();
        assert_eq!(new_user_id(&"a".repeat(longest), server).unwrap().as_str().len(), 255);
        assert!(new_user_id(&"a".repeat(longest + 1), server).is_err());
    }

    #[test]
    fn a_login_name_is_a_localpart_or_a_full_id_of_this_server() {
        let server = server_name!("localhost:8008");
        for typed in ["alice", "Alice", "@alice:localhost:8008", "@ALICE:localhost:8008"] {
            assert_eq!(typed_user_id(typed, server).unwrap(), "@alice:localhost:8008", "{typed}");
        }
        for typed in
            ["", "@", "@alice", "@alice:elsewhere", "@alice:localhost", "alice:localhost:8008", "@:localhost:8008"]
        {
            assert!(typed_user_id(typed, server).is_none(), "{typed}");
        }
    }

    #[test]
    fn generated_names_are_valid_and_different() {
        let server = server_name!("localhost");
        let (one, two) = (generated_localpart("guest_"), generated_localpart("guest_"));
        assert_ne!(one, two);
        assert!(new_user_id(&one, server).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_strictly_valid(localpart in ".{0,300}") {
            if let Ok(id) = new_user_id(&localpart, server_name!("hospital-a.example")) {
                prop_assert!(id.validate_strict().is_ok());
            }
        }

        #[test]
        fn typing_anything_at_the_login_never_panics(name in ".{0,300}") {
            if let Some(id) = typed_user_id(&name, server_name!("hospital-a.example")) {
                prop_assert!(id.validate_strict().is_ok());
            }
        }
    }
}
