//! Sync tokens: `next_batch` and `since` of `GET /_matrix/client/v3/sync`.

use std::{fmt, str::FromStr};

use wardroom_store::Position;

/// A place on the one log, as clients carry it around: everything up to and including this position was told.
///
/// Written `s<position>`. Pagination takes the same token as the boundary right behind that position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncToken(Position);

impl SyncToken {
    /// The token of a position.
    pub const fn new(position: Position) -> Self {
        Self(position)
    }

    /// The position.
    pub const fn position(self) -> Position {
        self.0
    }
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0.get())
    }
}

/// Text that is no sync token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("since: is not a token that this server gave")]
pub struct BadToken;

impl FromStr for SyncToken {
    type Err = BadToken;

    fn from_str(token: &str) -> Result<Self, BadToken> {
        // Digits alone: `parse` would take a sign as well.
        let digits = token.strip_prefix('s').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let position = digits.and_then(|digits| digits.parse().ok()).ok_or(BadToken)?;
        Ok(Self(Position::new(position)))
    }
}

#[cfg(test)]
mod tests {
    use super::{BadToken, SyncToken};
    use proptest::prelude::*;
    use wardroom_store::Position;

    proptest! {
        #[test]
        fn every_token_survives_the_client(position: u64) {
            let token = SyncToken::new(Position::new(position));
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn what_is_taken_for_a_token_looks_like_one(text in "s?[-+ 0-9]{0,22}|\\PC{0,12}") {
            if text.parse::<SyncToken>().is_ok() {
                let digits = text.strip_prefix('s');
                prop_assert!(digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit())), "{:?}", text);
            }
        }
    }

    #[test]
    fn a_token_survives_the_client() {
        let token = SyncToken::new(Position::new(77));
        assert_eq!(token.to_string(), "s77");
        assert_eq!("s77".parse(), Ok(token));
        for junk in ["", "s", "77", "t1_2", "s-1", "s+1", "s1_2", "s99999999999999999999", " s1", "s 1"] {
            assert_eq!(junk.parse::<SyncToken>(), Err(BadToken), "{junk}");
        }
    }
}
