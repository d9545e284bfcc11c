//! Times read from text.

use super::{Item, MONTHS, Names, Unit, WEEKDAYS};
use crate::ottl::error::EvalError;
use crate::ottl::time::{Time, days_of};

/// What was read of a time.
#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    nanosecond: i64,
    offset: i64,
}

impl Parts {
    fn time(&self, now: Time) -> Option<Time> {
        match self.year {
            Some(year) => self.time_in(year),
            None => {
                let year = now.date().year;
                let week = 7 * 86_400 * 1_000_000_000;
                match self.time_in(year)? {
                    time if time > now.plus(week) => self.time_in(year - 1),
                    time => Some(time),
                }
            }
        }
    }

    fn time_in(&self, year: i64) -> Option<Time> {
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        let days = days_of(year, month, day);
        let date = Time::from_unix(days.checked_mul(86_400)?, 0).date();
        if (date.month, date.day) != (month, day) {
            return None;
        }
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let seconds = days * 86_400 + hour * 3600 + self.minute * 60 + self.second - self.offset;
        Some(Time::from_unix(seconds, self.nanosecond))
    }
}

/// Reads a text item by item.
pub(super) struct Reader<'t> {
    rest: &'t str,
    parts: Parts,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text, parts: Parts::default() }
    }

    /// The time that was read. One without a year is of the last twelve months, or of the next week.
    pub(super) fn finish(self, now: Time) -> Result<Time, EvalError> {
        if !self.rest.is_empty() {
            return Err(EvalError::fixed("the string is longer than the format"));
        }
        self.parts.time(now).ok_or(EvalError::fixed("there is no such day"))
    }

    /// Reads an item off the front; `None` if something else is there.
    pub(super) fn read(&mut self, item: Item) -> Option<()> {
        match item {
            Item::Literal(' ') => self.rest = self.rest.trim_start_matches(' '),
            Item::Literal(c) => self.rest = self.rest.strip_prefix(c)?,
            Item::Number(unit, _) => {
                self.rest = self.rest.trim_start();
                let number = self.digits(1, 2)?;
                let parts = &mut self.parts;
                let (place, range) = match unit {
                    Unit::Month => (parts.month.get_or_insert(0), 1..=12),
                    Unit::Day => (parts.day.get_or_insert(0), 1..=31),
                    Unit::Hour => (&mut parts.hour, 0..=23),
                    Unit::Hour12 => (&mut parts.hour, 0..=12),
                    Unit::Minute => (&mut parts.minute, 0..=59),
                    Unit::Second => (&mut parts.second, 0..=59),
                };
                *place = range.contains(&number).then_some(number)?;
            }
            Item::Year => self.parts.year = Some(self.digits(4, 4)?),
            Item::YearOfCentury => self.year_of_century()?,
            Item::AnyYear => match self.digits(4, 4) {
                Some(year) => self.parts.year = Some(year),
                None => self.year_of_century()?,
            },
            Item::Month(form) => self.parts.month = Some(self.name(&MONTHS, form)? + 1),
            Item::Weekday(form) => {
                self.name(&WEEKDAYS, form)?;
            }
            Item::AmPm(_) => {
                let (half, rest) = self.rest.split_at_checked(2)?;
                self.parts.afternoon = Some(match half {
                    "AM" | "am" => false,
                    "PM" | "pm" => true,
                    _ => return None,
                });
                self.rest = rest;
            }
            Item::Fraction(..) => self.fraction(),
            Item::Offset => self.offset()?,
            Item::StrictOffset(count, between) => self.strict_offset(count, between)?,
            Item::Zone => {
                self.rest = ["UTC", "GMT"].iter().find_map(|zone| self.rest.strip_prefix(zone))?;
            }
        }
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let length = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        digits.parse().ok()
    }

    fn year_of_century(&mut self) -> Option<()> {
        let year = self.digits(2, 2)?;
        self.parts.year = Some(if year >= 69 { 1900 + year } else { 2000 + year });
        Some(())
    }

    /// Case does not count.
    fn name(&mut self, names: &[&str], form: Names) -> Option<i64> {
        for (index, name) in (0..).zip(names) {
            let name = match form {
                Names::Short => name.get(..3)?,
                Names::Long => name,
            };
            if let Some((front, rest)) = self.rest.split_at_checked(name.len())
                && front.eq_ignore_ascii_case(name)
            {
                self.rest = rest;
                return Some(index);
            }
        }
        None
    }

    /// A point or comma and digits, if they are there.
    pub(super) fn fraction(&mut self) {
        let Some(digits) = self.rest.strip_prefix(['.', ',']) else { return };
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = digits.split_at_checked(length).unwrap_or_default();
        if digits.is_empty() {
            return;
        }
        let nanos: String = format!("{digits:0<9}").chars().take(9).collect();
        self.parts.nanosecond = nanos.parse().unwrap_or_default();
        self.rest = rest;
    }

    /// `Z`, `+01:00`, `+0100` or `+01`.
    fn offset(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Some(());
        }
        let rest = self.rest;
        for (count, between) in [(2, ":"), (2, ""), (1, "")] {
            if self.strict_offset(count, between).is_some() {
                return Some(());
            }
            self.rest = rest;
        }
        None
    }

    fn strict_offset(&mut self, count: usize, between: &str) -> Option<()> {
        let sign = match self.rest.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.rest = self.rest.get(1..)?;
        let mut offset = 0;
        for (part, unit) in [3600, 60, 1].into_iter().take(count).enumerate() {
            if part > 0 {
                self.rest = self.rest.strip_prefix(between)?;
            }
            offset += self.digits(2, 2)? * unit;
        }
        self.parts.offset = sign * offset;
        Some(())
    }
}
