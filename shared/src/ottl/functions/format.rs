//! `Format`: Go's `Sprintf`.
//!
//! Source: Go package `fmt`. Flags `-`, `+`, `0` and space, a width, a precision, and the verbs
//! `v s q d b o c x X e f F g t`; others are refused when the condition is read. A verb that does
//! not fit its value gives `%!d(string=hi)`, one without a value `%!d(MISSING)`, as in Go.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use super::types::Kind;
use super::{Argument, Call, Env, EvalError, Function, Prepared, function, parameter};
use crate::ottl::compare::MAX_VALUE_DEPTH;
use crate::ottl::time::format_duration;
use crate::ottl::value::{Message, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[function(
    "Format",
    &[parameter("format", Kind::LiteralText), parameter("vals", Kind::Many(&Kind::Any))],
    evaluate,
)
.prepared_by(prepare)];

/// Widths and precisions beyond this are refused.
const MAX_WIDTH: usize = 1000;

/// A format, taken apart.
pub(in crate::ottl) type Format = Vec<Piece>;

/// A part of a format.
#[derive(Debug)]
pub(in crate::ottl) enum Piece {
    Text(String),
    Verb(Verb),
}

/// `%-5.2f` and its like.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "flags are booleans")]
pub(in crate::ottl) struct Verb {
    verb: char,
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

fn prepare(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    let format = match arguments.first().and_then(Argument::constant) {
        Some((Value::Text(format), _)) => format.to_str(),
        _ => return Ok(Prepared::Nothing),
    };
    parse(&format).map(Prepared::Format).map_err(|problem| (0, problem))
}

fn parse(format: &str) -> Result<Format, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '0')) {
            match flag {
                '-' => verb.left = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                _ => verb.zero = true,
            }
        }
        verb.width = number(&mut chars)?;
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut chars)?);
        }
        match chars.next() {
            Some('%') => text.push('%'),
            Some(c) if "vsqdbocxXefFgt".contains(c) => {
                verb.verb = c;
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Verb(verb));
            }
            Some(c) => return Err(format!("unknown verb %{c}")),
            None => return Err("a % at the end".to_owned()),
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

fn number(chars: &mut Peekable<Chars<'_>>) -> Result<usize, String> {
    let mut number = 0_usize;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        number = number * 10 + digit.to_digit(10).map_or(0, |digit| digit as usize);
        if number > MAX_WIDTH {
            return Err(format!("a width or precision of more than {MAX_WIDTH}"));
        }
    }
    Ok(number)
}

fn evaluate<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let Prepared::Format(pieces) = &call.prepared else {
        return Err(EvalError::fixed("the format is no literal"));
    };
    let mut values = call.many(1).iter();
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Verb(verb) => match values.next() {
                Some(value) => verb.write(&mut out, &value.evaluate(env)?),
                None => push(&mut out, format_args!("%!{}(MISSING)", verb.verb)),
            },
        }
    }
    for (index, value) in values.enumerate() {
        let value = value.evaluate(env)?;
        let lead = if index == 0 { "%!(EXTRA " } else { ", " };
        push(&mut out, format_args!("{lead}{}={}", go_type(&value), plain(&value, 0)));
    }
    if call.many(1).len() > pieces.iter().filter(|piece| matches!(piece, Piece::Verb(_))).count() {
        out.push(')');
    }
    Ok(Value::Text(Text::Owned(out.into_bytes())))
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("strings take anything");
}

impl Verb {
    fn write(&self, out: &mut String, value: &Value<'_>) {
        let (mut text, numeric) = match self.convert(value) {
            Some(converted) => converted,
            None if matches!(value, Value::Nil) => (format!("%!{}(<nil>)", self.verb), false),
            None => (format!("%!{}({}={})", self.verb, go_type(value), plain(value, 0)), false),
        };
        if numeric && !text.starts_with('-') {
            let sign = if self.plus {
                "+"
            } else if self.space {
                " "
            } else {
                ""
            };
            text.insert_str(0, sign);
        }
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            out.push_str(&text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if self.zero && numeric {
            let digits = text.trim_start_matches(['-', '+', ' ']);
            out.push_str(text.get(..text.len() - digits.len()).unwrap_or_default());
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(digits);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(&text);
        }
    }

    /// The value without padding, and whether it is a number; nothing if the verb does not fit.
    fn convert(&self, value: &Value<'_>) -> Option<(String, bool)> {
        let cut = |text: String| match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        Some(match (self.verb, value) {
            ('v' | 'd', Value::Int(number)) | ('d', Value::Duration(number)) => {
                (number.to_string(), true)
            }
            ('v' | 'g', Value::Double(number)) => (general(*number, self.precision), true),
            ('v', _)
            | (
                's',
                Value::Text(_)
                | Value::TraceId(_)
                | Value::SpanId(_)
                | Value::Duration(_)
                | Value::Time(_)
                | Value::List(_),
            ) => (cut(plain(value, 0)), false),
            ('s', Value::Bytes(bytes)) => (cut(String::from_utf8_lossy(bytes).into_owned()), false),
            ('q', Value::Text(text)) => (format!("{:?}", cut(text.to_str().into_owned())), false),
            ('b', Value::Int(number)) => {
                (signed(*number, format!("{:b}", number.abs_diff(0))), true)
            }
            ('o', Value::Int(number)) => {
                (signed(*number, format!("{:o}", number.abs_diff(0))), true)
            }
            ('x', Value::Int(number)) => {
                (signed(*number, format!("{:x}", number.abs_diff(0))), true)
            }
            ('X', Value::Int(number)) => {
                (signed(*number, format!("{:X}", number.abs_diff(0))), true)
            }
            ('c', Value::Int(number)) => {
                let c = u32::try_from(*number).ok().and_then(char::from_u32);
                (c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string(), false)
            }
            ('x', Value::Text(text)) => (hex(text.as_bytes()), false),
            ('X', Value::Text(text)) => (hex(text.as_bytes()).to_uppercase(), false),
            ('x', Value::Bytes(bytes)) => (hex(bytes), false),
            ('X', Value::Bytes(bytes)) => (hex(bytes).to_uppercase(), false),
            ('f' | 'F', Value::Double(number)) => {
                (fixed(*number, self.precision.unwrap_or(6)), true)
            }
            ('e', Value::Double(number)) => {
                (exponential(*number, Some(self.precision.unwrap_or(6))), true)
            }
            ('t', Value::Bool(value)) => (value.to_string(), false),
            _ => return None,
        })
    }
}

fn signed(number: i64, digits: String) -> String {
    if number < 0 { format!("-{digits}") } else { digits }
}

fn hex(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&super::types::hex(bytes)).into_owned()
}

fn fixed(number: f64, precision: usize) -> String {
    match special(number) {
        Some(text) => text.to_owned(),
        None => format!("{number:.precision$}"),
    }
}

/// With at least two digits of exponent, as C has it.
fn exponential(number: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text.to_owned();
    }
    let digits = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// Without an exponent between 10^-4 and 10^precision; as few digits as needed.
fn general(number: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text.to_owned();
    }
    let digits = match precision {
        Some(precision) => format!("{number:.*e}", precision.max(1) - 1),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let significant = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let most = i32::try_from(precision.map_or(6, |precision| precision.max(1))).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= most {
        return exponential(number, Some(significant - 1));
    }
    let decimals = i32::try_from(significant).unwrap_or(i32::MAX) - 1 - exponent;
    // A number is rounded to its significant digits before its point is placed.
    let rounded: f64 = format!("{mantissa}e{exponent}").parse().unwrap_or(number);
    fixed(rounded, usize::try_from(decimals).unwrap_or_default())
}

fn special(number: f64) -> Option<&'static str> {
    match number {
        _ if number.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// What `%v` gives.
fn plain(value: &Value<'_>, depth: u32) -> String {
    if depth > MAX_VALUE_DEPTH {
        return "…".to_owned();
    }
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => general(*number, None),
        Value::Text(text) => text.to_str().into_owned(),
        Value::Bytes(bytes) => {
            let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
            format!("[{}]", numbers.join(" "))
        }
        Value::TraceId(id) => hex(id),
        Value::SpanId(id) => hex(id),
        Value::Time(time) => {
            let (day, clock) = time.day_and_clock();
            format!("{day} {clock} +0000 UTC")
        }
        Value::Duration(nanos) => format_duration(*nanos),
        Value::Map(map) => {
            let mut entries = Vec::new();
            map.each(|key, value| {
                let key = String::from_utf8_lossy(key);
                entries.push(format!("{key}:{}", plain(&value, depth + 1)));
            });
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
        Value::List(list) => {
            let mut items = Vec::new();
            list.each(|_, item| items.push(plain(&item, depth + 1)));
            format!("[{}]", items.join(" "))
        }
        Value::Message(_) => "{}".to_owned(),
    }
}

fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Double(_) => "float64",
        Value::Text(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::TraceId(_) => "pcommon.TraceID",
        Value::SpanId(_) => "pcommon.SpanID",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Map(_) => "pcommon.Map",
        Value::List(_) => "pcommon.Slice",
        Value::Message(message) => match message {
            Message::Events(_) => "ptrace.SpanEventSlice",
            Message::Links(_) => "ptrace.SpanLinkSlice",
            Message::Status => "ptrace.Status",
            Message::Points(_) => "pmetric.NumberDataPointSlice",
            Message::Exemplars { .. } => "pmetric.ExemplarSlice",
            Message::Quantiles(_) => "pmetric.SummaryDataPointValueAtQuantileSlice",
            Message::Buckets(_) => "pmetric.ExponentialHistogramDataPointBuckets",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_go_does() {
        assert_eq!(general(100_000.0, None), "100000");
        assert_eq!(general(1_000_000.0, None), "1e+06");
        assert_eq!(general(1_234_567.5, None), "1.2345675e+06");
        assert_eq!(general(0.0001, None), "0.0001");
        assert_eq!(general(0.000_01, None), "1e-05");
        assert_eq!(general(-2.5, None), "-2.5");
        assert_eq!(general(0.0, None), "0");
        assert_eq!(general(1234.5, Some(3)), "1.23e+03");
        assert_eq!(general(1.0, Some(3)), "1");
        assert_eq!(general(999.9, Some(3)), "1e+03");
        assert_eq!(exponential(1.5, Some(2)), "1.50e+00");
        assert_eq!(fixed(f64::NAN, 1), "NaN");
    }
}
