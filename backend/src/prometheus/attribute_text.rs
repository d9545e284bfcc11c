//! Values of attributes as values of labels.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use shared::wire::{AnyValue, Attributes};

/// How deep the text of arrays and maps goes.
const MAX_DEPTH: u32 = 8;

/// UTF-8 by contract; what is none becomes a replacement character.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A value as text; arrays and maps as JSON.
pub(crate) fn text(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::String(text) => lossy(text),
        AnyValue::Empty => String::new(),
        AnyValue::Bytes(bytes) => base64(bytes),
        other => {
            let mut out = String::new();
            write_json(&mut out, other, 0);
            out
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn write_json(out: &mut String, value: AnyValue<'_>, depth: u32) {
    match value {
        AnyValue::Empty => out.push_str("null"),
        AnyValue::String(text) => write_json_string(out, &lossy(text)),
        AnyValue::Bool(flag) => out.push_str(if flag { "true" } else { "false" }),
        AnyValue::Int(integer) => {
            let _infallible = write!(out, "{integer}");
        }
        AnyValue::Double(double) => write_json_number(out, double),
        AnyValue::Bytes(bytes) => write_json_string(out, &base64(bytes)),
        AnyValue::Array(_) | AnyValue::KeyValues(_) if depth == MAX_DEPTH => out.push_str("null"),
        AnyValue::Array(array) => {
            out.push('[');
            for (index, element) in AnyValue::elements(array).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(out, element, depth + 1);
            }
            out.push(']');
        }
        AnyValue::KeyValues(list) => {
            let entries: BTreeMap<String, AnyValue<'_>> =
                Attributes::of_list(list).map(|(key, value)| (lossy(key), value)).collect();
            out.push('{');
            for (index, (key, element)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(out, &key);
                out.push(':');
                write_json(out, element, depth + 1);
            }
            out.push('}');
        }
    }
}

fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// As Go's JSON writes it: with an exponent below 1e-6 and from 1e21 on.
fn write_json_number(out: &mut String, number: f64) {
    let magnitude = number.abs();
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let _infallible = write!(out, "{number:e}");
    } else {
        let _infallible = write!(out, "{number}");
    }
}
