//! Sync tokens: `next_batch` and `since` of `GET /_matrix/client/v3/sync`.

use std::{fmt, str::FromStr};

use wardroom_store::Position;

/// A place on the one log, as clients carry it around: everything up to and including this position was told, except
/// messages to the device, of which there may be more than one answer takes.
///
/// Written `s<position>`, or `s<position>_<position>` where messages to the device were told up to the second position
/// only. Pagination takes the same token as the boundary right behind the first position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncToken {
    position: Position,
    to_device: Position,
}

impl SyncToken {
    /// The token of a position.
    pub const fn new(position: Position) -> Self {
        Self { position, to_device: position }
    }

    /// The token of a position, where messages to the device were told up to another one. A later one is no other.
    pub fn with_to_device(position: Position, to_device: Position) -> Self {
        Self { position, to_device: to_device.min(position) }
    }

    /// The position.
    pub const fn position(self) -> Position {
        self.position
    }

    /// Up to where messages to the device were told.
    pub const fn to_device(self) -> Position {
        self.to_device
    }

    /// The same, or the newest place there is: a token of a store that was set back names a position that is not
    /// reached yet.
    pub(crate) fn at_most(self, now: Position) -> Self {
        Self { position: self.position.min(now), to_device: self.to_device.min(now) }
    }
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.position.get())?;
        if self.to_device == self.position { Ok(()) } else { write!(f, "_{}", self.to_device.get()) }
    }
}

/// Text that is no sync token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("since: is not a token that this server gave")]
pub struct BadToken;

impl FromStr for SyncToken {
    type Err = BadToken;

    fn from_str(token: &str) -> Result<Self, BadToken> {
        let numbers = token.strip_prefix('s').ok_or(BadToken)?;
        let (position, to_device) = match numbers.split_once('_') {
            Some((position, to_device)) => (number(position)?, Some(number(to_device)?)),
            None => (number(numbers)?, None),
        };
        match to_device {
            // Ours never do that.
            Some(to_device) if to_device >= position => Err(BadToken),
            to_device => Ok(Self { position, to_device: to_device.unwrap_or(position) }),
        }
    }
}

fn number(digits: &str) -> Result<Position, BadToken> {
    // Digits alone: `parse` would take a sign as well.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadToken);
    }
    digits.parse().map(Position::new).map_err(|_| BadToken)
}

#[cfg(test)]
mod tests {
    use super::{BadToken, SyncToken};
    use proptest::prelude::*;
    use wardroom_store::Position;

    proptest! {
        #[test]
        fn every_token_survives_the_client(position: u64, to_device: u64) {
            let token = SyncToken::with_to_device(Position::new(position), Position::new(to_device));
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn what_is_taken_for_a_token_looks_like_one(text in "s?[-+ 0-9]{0,21}_?[-+0-9]{0,3}|\\PC{0,12}") {
            if text.parse::<SyncToken>().is_ok() {
                let numbers = text.strip_prefix('s').unwrap_or("-");
                prop_assert!(numbers.chars().all(|c| c.is_ascii_digit() || c == '_'), "{:?}", text);
            }
        }
    }

    #[test]
    fn a_token_survives_the_client() {
        let token = SyncToken::new(Position::new(77));
        assert_eq!(token.to_string(), "s77");
        assert_eq!("s77".parse(), Ok(token));
        let token = SyncToken::with_to_device(Position::new(77), Position::new(5));
        assert_eq!(token.to_string(), "s77_5");
        assert_eq!("s77_5".parse(), Ok(token));
        assert_eq!(SyncToken::with_to_device(Position::new(7), Position::new(9)), SyncToken::new(Position::new(7)));
        for junk in [
            "",
            "s",
            "77",
            "t1_2",
            "s-1",
            "s+1",
            "s1_2",
            "s2_2",
            "s2_",
            "s_1",
            "s3_+1",
            "s3_1_1",
            "s3_99999999999999999999",
            "s99999999999999999999",
            " s1",
            "s 1",
        ] {
            assert_eq!(junk.parse::<SyncToken>(), Err(BadToken), "{junk}");
        }
    }
}
