//! Times and durations, as Go has them.

use super::error::EvalError;

const SECOND: i64 = 1_000_000_000;

/// A point in time, in UTC, in nanoseconds from the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(i128);

impl Time {
    /// A time from a timestamp of OTLP.
    ///
    /// Timestamps of the year 2262 and later come before 1970, as they do in the Collector.
    pub(super) fn from_timestamp(nanos: u64) -> Self {
        Self(i128::from(nanos.cast_signed()))
    }

    pub(super) fn from_unix(seconds: i64, nanos: i64) -> Self {
        Self(i128::from(seconds) * i128::from(SECOND) + i128::from(nanos))
    }

    /// Nanoseconds from the epoch; wraps beyond the year 2262.
    #[allow(clippy::cast_possible_truncation, reason = "wraps, as in Go")]
    pub(super) fn unix_nanos(self) -> i64 {
        self.0 as i64
    }

    /// Units of `nanos` nanoseconds from the epoch, rounded down.
    #[allow(clippy::cast_possible_truncation, reason = "all times come from 64-bit seconds")]
    pub(super) fn unix(self, nanos: i64) -> i64 {
        self.0.div_euclid(i128::from(nanos)) as i64
    }

    /// Whole seconds from the epoch, rounded down, and nanoseconds above them.
    #[allow(clippy::cast_possible_truncation, reason = "all times come from 64-bit seconds")]
    pub(super) fn seconds_and_nanos(self) -> (i64, u32) {
        let second = i128::from(SECOND);
        (self.0.div_euclid(second) as i64, self.0.rem_euclid(second) as u32)
    }

    /// Year, month, day and so on, in UTC.
    pub(super) fn date(self) -> Date {
        let (seconds, nanosecond) = self.seconds_and_nanos();
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        Date {
            year,
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            nanosecond: i64::from(nanosecond),
            weekday: (days + 4).rem_euclid(7), // the epoch was a Thursday
        }
    }

    /// `2023-11-14` and `22:13:20.5`, with as many digits of the second as there are.
    pub(super) fn day_and_clock(self) -> (String, String) {
        let date = self.date();
        let fraction = match date.nanosecond {
            0 => String::new(),
            nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
        };
        let day = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
        let clock = format!("{:02}:{:02}:{:02}{fraction}", date.hour, date.minute, date.second);
        (day, clock)
    }

    /// The last multiple of `nanos` since the year 1, as Go counts them; the time itself for 0.
    pub(super) fn truncate(self, nanos: i64) -> Self {
        const YEAR_ONE: i128 = -62_135_596_800 * 1_000_000_000;
        match nanos {
            1.. => Self(self.0 - (self.0 - YEAR_ONE).rem_euclid(i128::from(nanos))),
            _ => self,
        }
    }

    /// The time `nanos` later.
    pub(super) fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(i128::from(nanos)))
    }

    /// Nanoseconds since an earlier time; the longest duration if there are more.
    pub(super) fn since(self, earlier: Time) -> i64 {
        let nanos = self.0.saturating_sub(earlier.0);
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }
}

/// A time as calendars and clocks have it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) nanosecond: i64,
    /// From 0, which is Sunday.
    pub(super) weekday: i64,
}

/// Year, month and day of a day since 1970-01-01.
///
/// Counts years from March, so that a leap day is the last day of its year, in cycles of 400
/// years, which all have the same number of days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468); // from 0000-03-01 to 1970-01-01
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // months from March have 153 days in every five
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + carry, month, day)
}

/// Days since 1970-01-01 of a day of the calendar: the inverse of [`civil`].
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12; // from March
    let day = (153 * month + 2) / 5 + day - 1;
    cycle * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

/// Reads a duration as Go writes it: `1h30m`, `-1.5s`, `.5ms`, `100us`, `0`.
///
/// Source: Go `time.ParseDuration`.
pub(super) fn parse_duration(text: &[u8]) -> Result<i64, EvalError> {
    let invalid = || {
        let text = String::from_utf8_lossy(text);
        EvalError::detailed(format!("{text:?} is no duration, such as \"1h30m\" or \"1.5s\""))
    };
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    // Magnitudes are summed unsigned, since that of the lowest duration is 2^63.
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (nanos, behind) = duration_part(rest).ok_or_else(invalid)?;
        total = total.checked_add(nanos).ok_or_else(invalid)?;
        rest = behind;
    }
    let nanos = match negative {
        true => 0_i64.checked_sub_unsigned(total),
        false => i64::try_from(total).ok(),
    };
    nanos.ok_or_else(invalid)
}

/// Reads a number and its unit.
fn duration_part(text: &[u8]) -> Option<(u64, &[u8])> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        rest => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_length =
        rest.iter().position(|byte| *byte == b'.' || byte.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_length)?;
    let unit = nanos_of_unit(unit)?;
    let mut nanos = 0_u64;
    for digit in whole {
        nanos = nanos.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    nanos = nanos.checked_mul(unit)?;
    // Digits of the fraction that cannot make a nanosecond are passed over.
    let (mut numerator, mut scale) = (0_u64, 1.0);
    for digit in fraction {
        let Some(next) = numerator.checked_mul(10) else { break };
        let Some(next) = next.checked_add(u64::from(digit - b'0')) else { break };
        numerator = next;
        scale *= 10.0;
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "computed in doubles, as in Go; less than one unit"
    )]
    let part = (numerator as f64 * (unit as f64 / scale)) as u64;
    Some((nanos.checked_add(part)?, rest))
}

/// Writes a duration as Go does: `1h30m0s`, `1.5s`, `100ms`, `0s`.
pub(super) fn format_duration(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let with_fraction = |unit: u64, digits: usize| {
        let fraction = format!("{:0digits$}", magnitude % unit);
        match fraction.trim_end_matches('0') {
            "" => String::new(),
            fraction => format!(".{fraction}"),
        }
    };
    let text = match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{magnitude}ns"),
        1_000..1_000_000 => format!("{}{}µs", magnitude / 1_000, with_fraction(1_000, 3)),
        1_000_000..1_000_000_000 => {
            format!("{}{}ms", magnitude / 1_000_000, with_fraction(1_000_000, 6))
        }
        _ => {
            let seconds = magnitude / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let fraction = with_fraction(1_000_000_000, 9);
            let rest = format!("{}{fraction}s", seconds % 60);
            match (hours, minutes) {
                (0, 0) => rest,
                (0, minutes) => format!("{minutes}m{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
            }
        }
    };
    if nanos < 0 { format!("-{text}") } else { text }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(length)
}

fn nanos_of_unit(unit: &[u8]) -> Option<u64> {
    match unit {
        b"ns" => Some(1),
        // The micro sign and the Greek letter.
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => Some(1_000),
        b"ms" => Some(1_000_000),
        b"s" => Some(1_000_000_000),
        b"m" => Some(60 * 1_000_000_000),
        b"h" => Some(3_600 * 1_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_dates_on_both_sides_of_the_epoch() {
        let date = |seconds| {
            let date = Time::from_unix(seconds, 0).date();
            (date.year, date.month, date.day, date.hour, date.weekday)
        };
        assert_eq!(date(0), (1970, 1, 1, 0, 4));
        assert_eq!(date(-1), (1969, 12, 31, 23, 3));
        assert_eq!(date(951_782_400), (2000, 2, 29, 0, 2));
        assert_eq!(date(-11_644_473_600), (1601, 1, 1, 0, 1));
        for days in (-800_000..800_000).step_by(97) {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }

    #[test]
    fn differences_of_times_stop_at_the_longest_duration() {
        let (early, late) = (Time::from_unix(-9_000_000_000, 0), Time::from_unix(9_000_000_000, 0));
        assert_eq!(late.since(early), i64::MAX);
        assert_eq!(early.since(late), i64::MIN);
        assert_eq!(late.since(late.plus(-5)), 5);
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for text in ["0s", "1ns", "1.5µs", "100ms", "1.000000001s", "1m0.5s", "1h0m0s", "-2h30m1s"]
        {
            assert_eq!(format_duration(parse_duration(text.as_bytes()).unwrap()), text);
        }
    }

    #[test]
    fn durations_have_gos_syntax() {
        let ok = |text: &str| parse_duration(text.as_bytes()).unwrap();
        assert_eq!(ok("0"), 0);
        assert_eq!(ok("-0"), 0);
        assert_eq!(ok("1h30m"), 5_400 * SECOND);
        assert_eq!(ok("-1.5s"), -1_500_000_000);
        assert_eq!(ok(".5ms"), 500_000);
        assert_eq!(ok("5.s"), 5 * SECOND);
        assert_eq!(ok("1us2µs3μs4ns"), 6_004);
        assert_eq!(ok("1.00000000000000000001h"), 3_600 * SECOND);
        assert_eq!(ok("9223372036854775807ns"), i64::MAX);
        assert_eq!(ok("-9223372036854775808ns"), i64::MIN);
        for text in ["", "1", "-", "s", ".s", "1d", "1h-1m", "1 s", "9223372036854775808ns", "3e2s"]
        {
            assert!(parse_duration(text.as_bytes()).is_err(), "{text}");
        }
    }
}
