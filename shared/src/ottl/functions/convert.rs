//! Functions that turn a value into one of another type.

use super::types::{Kind, bool_like, double_like, int_like};
use super::{EvalError, Function, function, parameter};
use crate::ottl::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("Int", &[parameter("target", Kind::IntLike)], |call, env| {
        Ok(int_like(&call.value(0, env)?)?.map_or(Value::Nil, Value::Int))
    }),
    function("Double", &[parameter("target", Kind::DoubleLike)], |call, env| {
        Ok(double_like(&call.value(0, env)?)?.map_or(Value::Nil, Value::Double))
    }),
    function("Bool", &[parameter("target", Kind::BoolLike)], |call, env| {
        Ok(bool_like(&call.value(0, env)?)?.map_or(Value::Nil, Value::Bool))
    }),
    function("String", &[parameter("target", Kind::TextLike)], |call, env| {
        Ok(call.text_like(0, env)?.map_or(Value::Nil, Value::Text))
    }),
    function("Log", &[parameter("target", Kind::DoubleLike)], |call, env| {
        match double_like(&call.value(0, env)?)? {
            Some(number) if number > 0.0 || number.is_nan() => Ok(Value::Double(number.ln())),
            _ => Err(EvalError::fixed("only numbers above 0 have a logarithm")),
        }
    }),
    function(
        "ParseInt",
        &[parameter("target", Kind::Text), parameter("base", Kind::Int)],
        |call, env| {
            let text = call.text(0, env)?;
            let base = call.int(1, env)?;
            parse_int(text.as_bytes(), base).map(Value::Int)
        },
    ),
    function("Coalesce", &[parameter("values", Kind::Many(&Kind::Any))], |call, env| {
        for value in call.many(0) {
            match value.evaluate(env)? {
                Value::Nil => {}
                found => return Ok(found),
            }
        }
        Ok(Value::Nil)
    })
    .prepared_by(|arguments| match arguments {
        [super::Argument::Many(values)] if values.is_empty() => {
            Err((0, "must hold at least one value".to_owned()))
        }
        _ => Ok(super::Prepared::Nothing),
    }),
];

/// As Go's `ParseInt`: base 0 goes by the prefix (`0x`, `0o`, `0b`, `0`) and allows underscores.
fn parse_int(text: &[u8], base: i64) -> Result<i64, EvalError> {
    let invalid = || EvalError::fixed("the string is no integer of this base");
    if text.is_empty() {
        return Err(EvalError::fixed("the string is empty"));
    }
    let text = str::from_utf8(text).map_err(|_| invalid())?;
    let Ok(base @ (0 | 2..=36)) = u32::try_from(base) else {
        return Err(EvalError::fixed("a base is 0, or from 2 to 36"));
    };
    if base != 0 {
        return i64::from_str_radix(text, base).map_err(|_| invalid());
    }
    let (sign, digits) = match text.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", text),
    };
    let (base, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, digits.get(2..)),
        Some("0o") => (8, digits.get(2..)),
        Some("0b") => (2, digits.get(2..)),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, digits.get(1..)),
        _ => (10, Some(digits)),
    };
    let digits = digits.unwrap_or_default();
    // An underscore stands between digits, or between the prefix and them.
    let misplaced = digits.ends_with('_') || digits.contains("__");
    if misplaced || (base == 10 && digits.starts_with('_')) || digits.starts_with(['+', '-']) {
        return Err(invalid());
    }
    let digits = format!("{sign}{}", digits.replace('_', ""));
    i64::from_str_radix(&digits, base).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_parsed_as_go_does() {
        let ok = |text: &str, base| parse_int(text.as_bytes(), base).unwrap();
        assert_eq!(ok("ff", 16), 255);
        assert_eq!(ok("-12", 10), -12);
        assert_eq!(ok("+7", 8), 7);
        assert_eq!(ok("0xFF", 0), 255);
        assert_eq!(ok("-0b1_01", 0), -5);
        assert_eq!(ok("017", 0), 15);
        assert_eq!(ok("1_000", 0), 1000);
        assert_eq!(ok("0", 0), 0);
        for (text, base) in
            [("", 10), ("12", 1), ("12", 37), ("12", -1), ("1_0", 10), ("0xff", 16), ("1_", 0)]
        {
            assert!(parse_int(text.as_bytes(), base).is_err(), "{text} {base}");
        }
    }
}
