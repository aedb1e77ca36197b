//! Short texts with a form of their own.

use wardroom_rooms::Place;
use wardroom_sync::SyncToken;

/// A token that is taken is one that the server could have given.
pub fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = text.parse::<SyncToken>() {
        assert_eq!(token.to_string().parse(), Ok(token));
        assert!(text.parse::<Place>().is_ok(), "pagination takes sync tokens");
    }
    if let Ok(place) = text.parse::<Place>() {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
}
