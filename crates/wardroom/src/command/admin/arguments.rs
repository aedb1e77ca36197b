//! What commands are told: points in time, users, rooms.

use std::str::FromStr;

use ruma::{OwnedRoomOrAliasId, OwnedUserId, ServerName, UserId};
use wardroom_clock::{Clock as _, SystemClock, timestamp};

/// Milliseconds of the units in which spans of time are given.
const UNITS_MS: [(char, u64); 4] = [('m', 60_000), ('h', 3_600_000), ('d', 86_400_000), ('w', 7 * 86_400_000)];

/// A point in time, as RFC 3339 or as a span from now on (`8h`); in milliseconds since 1970.
pub(super) fn point(text: &str) -> Result<u64, String> {
    point_after(text, SystemClock.now_ms())
}

/// As [`point`], and yet to come.
pub(super) fn future(text: &str) -> Result<u64, String> {
    let now_ms = SystemClock.now_ms();
    match point_after(text, now_ms) {
        Ok(ms) if ms <= now_ms => Err("this is in the past".to_owned()),
        found => found,
    }
}

fn point_after(text: &str, now_ms: u64) -> Result<u64, String> {
    let wrong = || "this is no time, as in 2027-01-31T18:00:00+01:00, 30m, 8h, 30d or 2w".to_owned();
    if let Some(ms) = timestamp::parse(text) {
        return u64::try_from(ms).map_err(|_| wrong());
    }
    let unit_ms = |unit: char| UNITS_MS.iter().find(|(known, _)| *known == unit).map(|(_, ms)| *ms);
    let mut letters = text.chars();
    let unit_ms = letters.next_back().and_then(unit_ms).ok_or_else(wrong)?;
    let count: u64 = Some(letters.as_str())
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(wrong)?;
    // What the server can count to, it can be told.
    count
        .checked_mul(unit_ms)
        .and_then(|ms| now_ms.checked_add(ms))
        .filter(|ms| i64::try_from(*ms).is_ok())
        .ok_or_else(wrong)
}

/// A user: an id, or the name of a user of the server that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UserArgument {
    Id(OwnedUserId),
    Name(String),
}

impl FromStr for UserArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('@') {
            let id = UserId::parse(text);
            return id.map(Self::Id).map_err(|_| "this is no user id, as in @maria:hospital-a.example".to_owned());
        }
        if text.is_empty() || text.contains([':', '/', ' ']) {
            return Err("this is neither a user id nor the name of a user of this server".to_owned());
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl UserArgument {
    /// The id, with the server that is asked.
    pub(super) fn on(&self, server: &ServerName) -> Result<OwnedUserId, String> {
        match self {
            Self::Id(id) => Ok(id.clone()),
            Self::Name(name) => UserId::parse_with_server_name(name.as_str(), server)
                .map_err(|_| format!("{name}: this cannot be the name of a user")),
        }
    }
}

/// A room: its id or an alias.
pub(super) fn room(text: &str) -> Result<OwnedRoomOrAliasId, String> {
    text.try_into().map_err(|_| "this is neither a room id nor an alias, as in #ward-7:hospital-a.example".to_owned())
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::{UserArgument, future, point_after, room};

    #[test]
    fn times_are_points_or_spans() {
        assert_eq!(point_after("8h", 1_000), Ok(28_801_000));
        assert_eq!(point_after("30d", 0), Ok(2_592_000_000));
        assert_eq!(point_after("2w", 0), Ok(1_209_600_000));
        assert_eq!(point_after("2011-03-13T08:06:40+01:00", 5), Ok(1_300_000_000_000));
        for wrong in ["", "h", "8", "8x", "-8h", "+8h", "1.5h", "8 h", "99999999999999999999h", "9999999999999w", "ü"]
        {
            assert!(point_after(wrong, 1).is_err(), "{wrong}");
        }
        assert!(future("2011-03-13T08:06:40+01:00").unwrap_err().contains("past"));
    }

    #[test]
    fn users_have_ids_or_names() {
        let server = server_name!("a.example");
        let on = |text: &str| text.parse::<UserArgument>().and_then(|user| user.on(server)).map(|id| id.to_string());
        assert_eq!(on("maria").unwrap(), "@maria:a.example");
        assert_eq!(on("@maria:b.example").unwrap(), "@maria:b.example");
        for wrong in ["", "@maria", "maria:b.example", "ma ria", "@:"] {
            assert!(on(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rooms_have_ids_or_aliases() {
        assert!(room("!a:b.example").is_ok() && room("#a:b.example").is_ok() && room("!31hneApxJ_1o").is_ok());
        assert!(room("a").is_err() && room("@a:b").is_err());
    }
}
