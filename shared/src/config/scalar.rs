//! What a plain scalar means: Go's `yaml.v3`, which the Collector reads with.
//!
//! YAML 1.2's core schema, and three leftovers of 1.1 that Go keeps: an integer with a leading
//! zero is octal, `0b` is binary, and underscores may stand between digits. `yes` and `on` are
//! text. Source: go-yaml v3 resolve.go, Go strconv.ParseInt with base 0.

use super::node::Data;

/// The value of unquoted `text`.
pub(super) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Data::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Data::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Data::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Data::String(text.to_owned());
    }
    let digits = text.replace('_', "");
    integer(&digits)
        .map(Data::Int)
        .or_else(|| float(&digits).map(Data::Float))
        .unwrap_or_else(|| Data::String(text.to_owned()))
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.strip_prefix('-')?),
        b'+' => (false, text.strip_prefix('+')?),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.as_str())
    } else {
        (10, lower.as_str())
    };
    // A second sign would be accepted by `from_str_radix`.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, base).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// Digits, a point, an exponent; no words (`inf`), which Rust would read as well.
fn float(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    match plain && text.contains(|c: char| c.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, data: impl Into<Option<Data>>) {
        assert_eq!(Some(resolve(text)), data.into(), "{text}");
    }

    #[test]
    fn nulls_and_booleans_are_the_core_schemas() {
        for text in ["", "~", "null", "Null", "NULL"] {
            check(text, Data::Null);
        }
        check("True", Data::Bool(true));
        check("FALSE", Data::Bool(false));
        for text in ["yes", "on", "y", "nULL", "tRue"] {
            check(text, Data::String(text.into()));
        }
    }

    #[test]
    fn integers_are_read_with_the_base_of_their_prefix() {
        check("0", Data::Int(0));
        check("+12", Data::Int(12));
        check("-0x1F", Data::Int(-31));
        check("0o17", Data::Int(15));
        check("0123", Data::Int(83));
        check("0b101", Data::Int(5));
        check("1_000", Data::Int(1000));
        check("9223372036854775807", Data::Int(i64::MAX));
        check("-9223372036854775808", Data::Int(i64::MIN));
    }

    #[test]
    fn other_numbers_are_floats() {
        check("1.5", Data::Float(1.5));
        check(".5", Data::Float(0.5));
        check("1e3", Data::Float(1000.0));
        check("089", Data::Float(89.0));
        check("18446744073709551616", Data::Float(18_446_744_073_709_551_616.0));
        check("-.inf", Data::Float(f64::NEG_INFINITY));
        assert!(matches!(resolve(".nan"), Data::Float(value) if value.is_nan()));
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in ["10s", "1.2.3.4", "-", "--1", "+-1", "0x", "0xzz", ".", "e5", "1-2", "inf"] {
            check(text, Data::String(text.into()));
        }
    }
}
