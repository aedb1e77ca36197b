//! Dates and times of FHIR (R4, `dateTime`): a year, a month, a day, or a moment.

use crate::timestamp;

const MS_PER_DAY: i64 = 86_400_000;

/// When a time begins, in milliseconds since 1970; days begin as in UTC. None where it is no time.
pub fn begin(text: &str) -> Option<i64> {
    if text.contains('T') {
        return timestamp::parse(text);
    }
    let (year, month, day) = parts(text)?;
    midnight(year, month.unwrap_or(1), day.unwrap_or(1))
}

/// When a time is over: a day ends with the day, a moment when it begins. None where it is no time.
pub fn end(text: &str) -> Option<i64> {
    if text.contains('T') {
        return timestamp::parse(text);
    }
    match parts(text)? {
        (year, None, _) => midnight(year.checked_add(1)?, 1, 1),
        (year, Some(12), None) => midnight(year.checked_add(1)?, 1, 1),
        (year, Some(month), None) => midnight(year, month.checked_add(1)?, 1),
        (year, Some(month), Some(day)) => midnight(year, month, day)?.checked_add(MS_PER_DAY),
    }
}

/// Year, month and day, as far as they are said.
fn parts(text: &str) -> Option<(u32, Option<u32>, Option<u32>)> {
    let mut parts = text.split('-').map(|part| part.parse::<u32>().ok().filter(|_| part.len() <= 4));
    let year = parts.next()??;
    let month = parts.next().map(|month| month.ok_or(())).transpose().ok()?;
    let day = parts.next().map(|day| day.ok_or(())).transpose().ok()?;
    parts.next().is_none().then_some((year, month, day))
}

fn midnight(year: u32, month: u32, day: u32) -> Option<i64> {
    timestamp::parse(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::{begin, end};

    #[test]
    fn times_are_as_long_as_they_are_said() {
        let moment = |text: &str| crate::timestamp::parse(text).unwrap();
        for (text, from, until) in [
            ("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2026-12-31", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2026-12-31T08:00:00+01:00", "2026-12-31T07:00:00Z", "2026-12-31T07:00:00Z"),
        ] {
            assert_eq!((begin(text), end(text)), (Some(moment(from)), Some(moment(until))), "{text}");
        }
        for nothing in ["", "soon", "2026-13", "2026-1-1-1", "2026-11-", "T"] {
            assert_eq!((begin(nothing), end(nothing)), (None, None), "{nothing}");
        }
    }
}
