//! Times in the format of C's `strftime`, read and written.
//!
//! Source: contrib internal/coreinternal/timeutils: numbers may lack their leading zero when they
//! are read, `%z` takes `Z`, `+01:00`, `+0100` and `+01`, and names of months and days are English.
//!
//! Ours: the only time zone known by name is UTC; there is no database of the others.

mod read;

use super::error::EvalError;
use super::time::{Date, Time};
use read::Reader;

/// A format, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Literal(char),
    /// A number, and how it is padded when written.
    Number(Unit, Pad),
    /// Four digits; or two as well, when it is read.
    Year,
    YearOfCentury,
    /// As `Year`, but two digits are taken as well.
    AnyYear,
    Month(Names),
    Weekday(Names),
    AmPm(AmPm),
    /// A point or comma and so many digits at most; left out when zero.
    Fraction(char, usize),
    /// `Z` or an offset.
    Offset,
    /// An offset with so many parts, and what is between them.
    StrictOffset(usize, &'static str),
    Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Month,
    Day,
    Hour,
    Hour12,
    Minute,
    Second,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pad {
    Zero,
    Space,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Short,
    Long,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AmPm {
    Capitals,
    Small,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Calendar {
    /// Takes a format apart.
    pub(super) fn parse(format: &str) -> Result<Self, String> {
        if format.is_empty() {
            return Err("the format is empty".to_owned());
        }
        if format.contains(|c: char| c.is_ascii_digit()) {
            return Err("a format has no digits".to_owned());
        }
        let mut items = Vec::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                items.push(Item::Literal(c));
                continue;
            }
            let directive = chars.next().ok_or("a % at the end")?;
            if let 'L' | 'f' | 's' = directive {
                let Some(Item::Literal(point @ ('.' | ','))) = items.pop() else {
                    return Err(format!("%{directive} needs a point or a comma in front"));
                };
                let digits = match directive {
                    'L' => 3,
                    'f' => 6,
                    _ => 9,
                };
                items.push(Item::Fraction(point, digits));
                continue;
            }
            add(&mut items, directive)?;
        }
        Ok(Self { items })
    }

    /// Reads a time. One without a year is of the last twelve months, or of the next week.
    pub(super) fn read(&self, text: &str, now: Time) -> Result<Time, EvalError> {
        let mut reader = Reader::new(text);
        let mut items = self.items.iter().peekable();
        while let Some(item) = items.next() {
            let read = reader.read(*item);
            // Go takes a fraction behind the seconds also where the format has none.
            if let Item::Number(Unit::Second, _) = item
                && !matches!(items.peek(), Some(Item::Fraction(..)))
            {
                reader.fraction();
            }
            read.ok_or_else(|| EvalError::detailed(format!("{text:?} is not in the format")))?;
        }
        reader.finish(now)
    }

    /// Writes a time.
    pub(super) fn write(&self, time: Time) -> String {
        let date = time.date();
        let mut text = String::new();
        for item in &self.items {
            text.push_str(&item.write(&date));
        }
        text
    }
}

fn add(items: &mut Vec<Item>, directive: char) -> Result<(), String> {
    let zero = |unit| Item::Number(unit, Pad::Zero);
    let item = match directive {
        'Y' => Item::Year,
        'y' => Item::YearOfCentury,
        'm' => zero(Unit::Month),
        'o' => Item::Number(Unit::Month, Pad::Space),
        'q' => Item::Number(Unit::Month, Pad::None),
        'b' | 'h' => Item::Month(Names::Short),
        'B' => Item::Month(Names::Long),
        'd' => zero(Unit::Day),
        'e' => Item::Number(Unit::Day, Pad::Space),
        'g' => Item::Number(Unit::Day, Pad::None),
        'a' => Item::Weekday(Names::Short),
        'A' => Item::Weekday(Names::Long),
        'H' => zero(Unit::Hour),
        'I' => zero(Unit::Hour12),
        'l' => Item::Number(Unit::Hour12, Pad::None),
        'p' => Item::AmPm(AmPm::Capitals),
        'P' => Item::AmPm(AmPm::Small),
        'M' => zero(Unit::Minute),
        'S' => zero(Unit::Second),
        'z' => Item::Offset,
        'Z' => Item::Zone,
        'i' => Item::StrictOffset(1, ""),
        'j' => Item::StrictOffset(2, ":"),
        'k' => Item::StrictOffset(3, ":"),
        'w' => Item::StrictOffset(3, ""),
        'n' => Item::Literal('\n'),
        't' => Item::Literal('\t'),
        '%' => Item::Literal('%'),
        'D' | 'x' => {
            items.extend([zero(Unit::Month), Item::Literal('/'), zero(Unit::Day)]);
            items.extend([Item::Literal('/'), Item::AnyYear]);
            return Ok(());
        }
        'F' => return compound(items, "Y-m-d"),
        'T' | 'X' => return compound(items, "H:M:S"),
        'r' => return compound(items, "I:M:S P"),
        'R' => return compound(items, "H:M"),
        'c' => return compound(items, "a b d H:M:S Y"),
        _ => return Err(format!("unknown directive %{directive}")),
    };
    items.push(item);
    Ok(())
}

/// Adds directives that stand for others.
fn compound(items: &mut Vec<Item>, directives: &str) -> Result<(), String> {
    for c in directives.chars() {
        match c.is_ascii_alphabetic() {
            true => add(items, c)?,
            false => items.push(Item::Literal(c)),
        }
    }
    Ok(())
}

impl Item {
    fn write(self, date: &Date) -> String {
        match self {
            Item::Literal(c) => c.to_string(),
            Item::Number(unit, pad) => {
                let number = match unit {
                    Unit::Month => date.month,
                    Unit::Day => date.day,
                    Unit::Hour => date.hour,
                    Unit::Hour12 => (date.hour + 11) % 12 + 1,
                    Unit::Minute => date.minute,
                    Unit::Second => date.second,
                };
                match pad {
                    Pad::Zero => format!("{number:02}"),
                    Pad::Space => format!("{number:2}"),
                    Pad::None => number.to_string(),
                }
            }
            Item::Year | Item::AnyYear => format!("{:04}", date.year),
            Item::YearOfCentury => format!("{:02}", date.year.rem_euclid(100)),
            Item::Month(names) => name(&MONTHS, date.month - 1, names).to_owned(),
            Item::Weekday(names) => name(&WEEKDAYS, date.weekday, names).to_owned(),
            Item::AmPm(case) => match (case, date.hour >= 12) {
                (AmPm::Capitals, false) => "AM".to_owned(),
                (AmPm::Capitals, true) => "PM".to_owned(),
                (AmPm::Small, false) => "am".to_owned(),
                (AmPm::Small, true) => "pm".to_owned(),
            },
            Item::Fraction(point, digits) => {
                let fraction = format!("{:09}", date.nanosecond);
                match fraction.get(..digits).unwrap_or_default().trim_end_matches('0') {
                    "" => String::new(),
                    fraction => format!("{point}{fraction}"),
                }
            }
            Item::Offset => "Z".to_owned(),
            Item::StrictOffset(parts, between) => format!("+{}", vec!["00"; parts].join(between)),
            Item::Zone => "UTC".to_owned(),
        }
    }
}

fn name(names: &[&'static str], index: i64, form: Names) -> &'static str {
    let name = usize::try_from(index).ok().and_then(|index| names.get(index)).copied();
    match form {
        Names::Short => name.and_then(|name| name.get(..3)),
        Names::Long => name,
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, text: &str, nanos: i64) {
        let now = Time::from_unix(1_700_000_000, 0); // 2023-11-14
        let time = Calendar::parse(format).unwrap().read(text, now).unwrap();
        assert_eq!(time.unix_nanos(), nanos, "{text}");
    }

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn times_are_read() {
        check("%Y-%m-%dT%H:%M:%SZ", "2023-05-26T12:34:56Z", 1_685_104_496 * SECOND);
        check("%Y-%m-%d %H:%M:%S %z", "2023-05-26 14:34:56.25 +02:00", 1_685_104_496_250_000_000);
        check("%F %T.%L%j", "2023-5-26 12:34:56.1-01:00", 1_685_108_096_100_000_000);
        check("%D %r", "5/26/23 12:34:56 pm", 1_685_104_496 * SECOND);
        check("%c %Z", "Fri May 26 12:34:56 2023 UTC", 1_685_104_496 * SECOND);
        check("%B %d %y", "may  6 70", 10_800_000 * SECOND);
        // Without a year: the last twelve months, or the next week.
        check("%b %d", "Jan 01", 1_672_531_200 * SECOND);
        check("%b %d", "Nov 20", 1_700_438_400 * SECOND);
        check("%b %d", "Dec 24", 1_671_840_000 * SECOND);
    }

    #[test]
    fn what_is_no_time_is_an_error() {
        let calendar = Calendar::parse("%Y-%m-%d").unwrap();
        for text in ["", "2023-13-01", "2023-02-29", "23-02-01", "2023-02-01x", "2023/02/01"] {
            assert!(calendar.read(text, Time::from_unix(0, 0)).is_err(), "{text}");
        }
        for format in ["", "%", "%Q", "%L", "2006", "%S%f"] {
            assert!(Calendar::parse(format).is_err(), "{format}");
        }
    }

    #[test]
    fn times_are_written() {
        let write = |format: &str, nanos| {
            Calendar::parse(format).unwrap().write(Time::from_unix(1_685_104_496, nanos))
        };
        assert_eq!(write("%Y-%m-%dT%H:%M:%S.%L%z", 250_000_000), "2023-05-26T12:34:56.25Z");
        assert_eq!(write("%a %A %b %B %e %l %p %P", 0), "Fri Friday May May 26 12 PM pm");
        assert_eq!(write("%D %T.%f %j %w %Z%%", 0), "05/26/2023 12:34:56 +00:00 +000000 UTC%");
    }
}
