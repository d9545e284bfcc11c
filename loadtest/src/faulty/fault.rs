//! What a backend may do wrong.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use shared::config::units::parse_duration;

/// How a backend treats requests. Counted are the requests since this fault was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// As it should.
    None,
    /// Takes them, and answers after a while.
    Delay(Duration),
    /// Answers UNAVAILABLE.
    Unavailable,
    /// Answers `RESOURCE_EXHAUSTED` with a `RetryInfo` of this delay.
    Exhausted(Duration),
    /// Takes them but for so many items, and says so.
    Partial(usize),
    /// Answers `INVALID_ARGUMENT` to a request with a poisoned span: one whose id is a multiple
    /// of this.
    Poison(u64),
    /// Listens no more, and resets the connections it had.
    Refuse,
    /// Resets the connection of each such request in the middle of it, and takes nothing.
    Reset(u64),
    /// Takes them, and resets the connection of each such request before it has answered.
    LoseAnswers(u64),
}

impl Fault {
    /// Whether a request with a span of this id is rejected for good.
    pub fn poisons(self, span_id: u64) -> bool {
        matches!(self, Fault::Poison(multiple) if span_id.is_multiple_of(multiple))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::None => f.write_str("none"),
            Fault::Delay(delay) => write!(f, "delay {}ms", delay.as_millis()),
            Fault::Unavailable => f.write_str("unavailable"),
            Fault::Exhausted(delay) => write!(f, "exhausted {}ms", delay.as_millis()),
            Fault::Partial(items) => write!(f, "partial {items}"),
            Fault::Poison(multiple) => write!(f, "poison {multiple}"),
            Fault::Refuse => f.write_str("refuse"),
            Fault::Reset(every) => write!(f, "reset {every}"),
            Fault::LoseAnswers(every) => write!(f, "lose-answers {every}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameter) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let duration = || {
            parse_duration(parameter)
                .map_err(|error| format!("{name} takes a duration as in \"{name} 2s\": {error}"))
        };
        let number = || match parameter.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} takes a number as in \"{name} 10\"")),
        };
        Ok(match name {
            "none" => Fault::None,
            "delay" => Fault::Delay(duration()?),
            "unavailable" => Fault::Unavailable,
            "exhausted" => Fault::Exhausted(duration()?),
            "partial" => Fault::Partial(usize::try_from(number()?).unwrap_or(usize::MAX)),
            "poison" => Fault::Poison(number()?),
            "refuse" => Fault::Refuse,
            "reset" => Fault::Reset(number()?),
            "lose-answers" => Fault::LoseAnswers(number()?),
            _ => return Err(format!("{name:?} is no fault")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        for fault in [
            Fault::None,
            Fault::Delay(Duration::from_secs(2)),
            Fault::Unavailable,
            Fault::Exhausted(Duration::from_millis(500)),
            Fault::Partial(3),
            Fault::Poison(500),
            Fault::Refuse,
            Fault::Reset(1),
            Fault::LoseAnswers(10),
        ] {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        for text in ["", "delay", "partial 0", "partial x", "explode"] {
            assert!(text.parse::<Fault>().is_err(), "{text:?}");
        }
    }
}
