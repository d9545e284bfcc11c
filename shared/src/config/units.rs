//! Durations as Go writes them.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number, no unit, or an unknown unit.
    #[error("\"{0}\" is not a duration such as 500ms, 10s or 1h30m (units: ns, us, ms, s, m, h)")]
    Syntax(String),
    /// More than about 292 years, which is what Go's durations hold.
    #[error("\"{0}\" is too long a duration")]
    TooLong(String),
    /// Below zero.
    #[error("\"{0}\" must not be negative")]
    Negative(String),
}

/// Reads a duration: decimal numbers, each with a unit (`1h2m3.5s`); `0` needs none.
///
/// # Errors
/// [`DurationError`], whose text is fit for a user.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let negative = rest.starts_with('-');
    rest = rest.strip_prefix('-').unwrap_or(rest);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(syntax)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        nanos += scaled(number, unit_nanos(unit).ok_or_else(syntax)?).ok_or_else(syntax)?;
        rest = after;
    }
    if nanos > i64::MAX as u128 {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    if negative && nanos > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`, in whole nanoseconds.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
        return None;
    }
    let mut nanos = match whole {
        "" => 0,
        whole => whole.parse::<u128>().ok()? * unit,
    };
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        nanos += u128::from(digit - b'0') * scale;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, nanos: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        check("0", 0);
        check("10s", 10_000_000_000);
        check("1h2m3s500ms", 3_723_500_000_000);
        check("1.5h", 5_400_000_000_000);
        check(".5s", 500_000_000);
        check("10µs", 10_000);
        check("-0s", 0);
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["", "5", "s", "1d", "2M", "1..5s", "abc", ".s", "1h30"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Syntax(_))), "{text}");
        }
        assert!(matches!(parse_duration("-5s"), Err(DurationError::Negative(_))));
        assert!(matches!(parse_duration("9999999h"), Err(DurationError::TooLong(_))));
    }
}
