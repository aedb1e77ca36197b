//! Times for people to read.

const MS_PER_MINUTE: u64 = 60_000;
const MINUTES_PER_DAY: u64 = 24 * 60;
/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const DAYS_BEFORE_1970: u64 = 719_468;
/// Days of 400 years: then the calendar repeats itself.
const DAYS_PER_ERA: u64 = 146_097;

/// A time in milliseconds since 1970 as `2026-11-23 18:05 UTC`.
pub(crate) fn utc(ms: u64) -> String {
    let minutes = ms / MS_PER_MINUTE;
    let (days, minute) = (minutes / MINUTES_PER_DAY + DAYS_BEFORE_1970, minutes % MINUTES_PER_DAY);
    // Years begin in March here, so that the day that only some have is their last.
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let leap_days = day_of_era / 1_460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399_999, "2000-02-28 23:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (1_700_000_000_000, "2023-11-14 22:13 UTC"),
            (1_709_164_800_000, "2024-02-29 00:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00 UTC"),
            (1_798_761_599_000, "2026-12-31 23:59 UTC"),
        ] {
            assert_eq!(utc(ms), text);
        }
        assert!(!utc(u64::MAX).is_empty());
    }
}
