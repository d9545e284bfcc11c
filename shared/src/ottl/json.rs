//! Values as JSON, as functions see values that are no strings.
//!
//! Source: github.com/goccy/go-json `Marshal`, as called by contrib pkg/ottl/expression.go: keys
//! sorted, `<`, `>` and `&` escaped, bytes in base64, doubles as JavaScript writes them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::compare::MAX_VALUE_DEPTH;
use super::error::EvalError;
use super::time::Time;
use super::value::Value;

/// A finite double as JSON has it: digits up to 10^21, then with an exponent.
pub(super) struct Double(pub(super) f64);

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
            return write!(f, "{}", self.0);
        }
        let digits = format!("{:e}", self.0);
        match digits.split_once('e') {
            Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                write!(f, "{mantissa}e+{exponent}")
            }
            _ => f.write_str(&digits),
        }
    }
}

/// `value` as JSON.
pub(super) fn write(value: &Value<'_>) -> Result<Vec<u8>, EvalError> {
    let mut json = Vec::new();
    append(&mut json, value, 0)?;
    Ok(json)
}

fn append(json: &mut Vec<u8>, value: &Value<'_>, depth: u32) -> Result<(), EvalError> {
    if depth > MAX_VALUE_DEPTH {
        return Err(EvalError::fixed("the value is nested too deep"));
    }
    match value {
        Value::Nil => json.extend_from_slice(b"null"),
        Value::Bool(value) => json.extend_from_slice(value.to_string().as_bytes()),
        Value::Int(number) | Value::Duration(number) => {
            json.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Double(number) if number.is_finite() => {
            json.extend_from_slice(Double(*number).to_string().as_bytes());
        }
        Value::Double(_) => return Err(EvalError::fixed("JSON has no such number")),
        Value::Text(text) => append_text(json, &text.to_str()),
        Value::Bytes(bytes) => append_text(json, &STANDARD.encode(bytes)),
        Value::TraceId(id) => append_numbers(json, id),
        Value::SpanId(id) => append_numbers(json, id),
        Value::Time(time) => append_text(json, &rfc3339(*time)),
        Value::Map(map) => {
            let mut result = Ok(());
            let mut entries = BTreeMap::new();
            map.each(|key, value| {
                let mut inner = Vec::new();
                if let Err(error) = append(&mut inner, &value, depth + 1) {
                    result = Err(error);
                }
                entries.insert(key.to_vec(), inner);
            });
            result?;
            json.push(b'{');
            for (index, (key, value)) in entries.iter().enumerate() {
                json.extend_from_slice(if index > 0 { b"," } else { b"" });
                append_text(json, &String::from_utf8_lossy(key));
                json.push(b':');
                json.extend_from_slice(value);
            }
            json.push(b'}');
        }
        Value::List(list) => {
            let mut result = Ok(());
            json.push(b'[');
            list.each(|index, value| {
                json.extend_from_slice(if index > 0 { b"," } else { b"" });
                if let Err(error) = append(json, &value, depth + 1) {
                    result = Err(error);
                }
            });
            json.push(b']');
            result?;
        }
        // Go shows none of their fields.
        Value::Message(_) => json.extend_from_slice(b"{}"),
    }
    Ok(())
}

fn append_numbers(json: &mut Vec<u8>, id: &[u8]) {
    let numbers: Vec<_> = id.iter().map(u8::to_string).collect();
    json.extend_from_slice(format!("[{}]", numbers.join(",")).as_bytes());
}

fn append_text(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    for c in text.chars() {
        match c {
            '"' => json.extend_from_slice(b"\\\""),
            '\\' => json.extend_from_slice(b"\\\\"),
            '\n' => json.extend_from_slice(b"\\n"),
            '\r' => json.extend_from_slice(b"\\r"),
            '\t' => json.extend_from_slice(b"\\t"),
            '\0'..=' ' if c != ' ' => escape(json, c),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escape(json, c),
            c => json.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    json.push(b'"');
}

fn escape(json: &mut Vec<u8>, c: char) {
    json.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
}

/// In UTC, with as many digits of the second as there are.
fn rfc3339(time: Time) -> String {
    let (day, time) = time.day_and_clock();
    format!("{day}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ottl::value::{List, Map, Text};

    #[test]
    fn doubles_are_written_as_javascript_does() {
        let written = |number: f64| Double(number).to_string();
        assert_eq!(written(1.0), "1");
        assert_eq!(written(-0.5), "-0.5");
        assert_eq!(written(1e-6), "0.000001");
        assert_eq!(written(1.5e-7), "1.5e-7");
        assert_eq!(written(1e20), "100000000000000000000");
        assert_eq!(written(1e21), "1e+21");
        assert_eq!(written(0.0), "0");
    }

    #[test]
    fn keys_are_sorted_and_html_is_escaped() {
        let entries = vec![
            (Text::Borrowed(b"b"), Value::text(b"<\x01\">")),
            (Text::Borrowed(b"a"), Value::List(List::Items(vec![Value::Nil, Value::Int(1)]))),
        ];
        let json = write(&Value::Map(Map::Entries(entries))).unwrap();
        assert_eq!(str::from_utf8(&json).unwrap(), r#"{"a":[null,1],"b":"\u003c\u0001\"\u003e"}"#);
    }

    #[test]
    fn values_nested_too_deep_are_an_error() {
        let mut value = Value::Int(1);
        for _ in 0..100 {
            value = Value::List(List::Items(vec![value]));
        }
        assert!(write(&value).is_err());
    }
}
