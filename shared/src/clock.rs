//! The two clocks that shells ask. Cores are told the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, monotonic. Follows tokio's clock, so that tests may pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Now, in nanoseconds since the Unix epoch; 0 if the machine's clock stands before it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

/// A time as people and JSON want it: `2026-08-21T09:30:00.25Z`, without needless zeros.
pub fn rfc3339(unix_ns: u64) -> String {
    let (seconds, nanos) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Seconds since the Unix epoch of a time such as `2026-08-21T09:30:00Z`, in UTC and since 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, _) = time.split_once('.').unwrap_or((time, ""));
    let numbers = |text: &str, separator| -> Option<[u64; 3]> {
        let numbers: Vec<u64> =
            text.split(separator).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(day, '-')?, numbers(time, ':')?);
    let is_valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second <= 60);
    if !is_valid {
        return None;
    }
    // Years that begin in March, as in `date`, backwards.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    Some((((days - 719_469) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Year, month and day of a day since 1970-01-01.
///
/// Counts years from March, so that a leap day is the last day of its year, in cycles of 400
/// years, which all have the same number of days.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01 to 1970-01-01
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // months from March have 153 days in every five
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let second = 1_000_000_000;
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400 * second), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(951_868_799 * second + 250_000_000), "2000-02-29T23:59:59.25Z");
        assert_eq!(rfc3339(4_107_542_400 * second), "2100-03-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn written_times_are_read_again() {
        for second in [0, 951_782_400, 951_868_799, 1_440_938_160, 4_107_542_400] {
            assert_eq!(parse_rfc3339(&rfc3339(second * 1_000_000_000)), Some(second));
        }
        assert_eq!(parse_rfc3339("2015-08-30T12:36:00.25Z"), Some(1_440_938_160));
        for text in ["", "2015-08-30", "2015-13-30T12:36:00Z", "2015-08-30T12:36:00+01:00"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(0);
        for days in 1..200_000 {
            let next = date(days);
            let first_of_month = next.2 == 1 && next.0 * 12 + next.1 == last.0 * 12 + last.1 + 1;
            let next_day = (next.0, next.1) == (last.0, last.1) && next.2 == last.2 + 1;
            assert!(first_of_month || next_day, "{last:?} then {next:?}");
            last = next;
        }
    }
}
