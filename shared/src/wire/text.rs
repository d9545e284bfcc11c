//! The Collector's text of a value.
//!
//! Source: collector `pdata/pcommon/value.go`, and Go's `encoding/json` for what is nested.

use std::io::Write as _;

use super::attribute::{AnyValue, Attributes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How deep values are looked into; what is deeper is `null`. Decoders stop there, too.
const MAX_DEPTH: usize = 100;

/// Appends the text of a value. A list or map is JSON; if there is a number in it that JSON does
/// not know, it is empty.
pub fn put_text(key: &mut Vec<u8>, value: AnyValue<'_>) {
    match value {
        AnyValue::Empty => {}
        AnyValue::String(text) => key.extend_from_slice(text),
        AnyValue::Bytes(bytes) => put_base64(key, bytes),
        AnyValue::Double(number) if number.is_nan() => key.extend_from_slice(b"NaN"),
        AnyValue::Double(f64::INFINITY) => key.extend_from_slice(b"Infinity"),
        AnyValue::Double(f64::NEG_INFINITY) => key.extend_from_slice(b"-Infinity"),
        AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) => drop(put_json(key, value, 0)),
        AnyValue::Array(_) | AnyValue::KeyValues(_) => {
            let start = key.len();
            if put_json(key, value, 0).is_none() {
                key.truncate(start);
            }
        }
    }
}

/// Appends JSON; `None` if it cannot be written.
fn put_json(key: &mut Vec<u8>, value: AnyValue<'_>, depth: usize) -> Option<()> {
    match value {
        AnyValue::Bool(flag) => key.extend_from_slice(if flag { b"true" } else { b"false" }),
        AnyValue::Int(number) => put(key, format_args!("{number}")),
        AnyValue::Double(number) if number.is_finite() => put_double(key, number),
        AnyValue::Double(_) => return None,
        AnyValue::String(text) => put_json_text(key, text),
        AnyValue::Bytes(bytes) if !bytes.is_empty() => {
            key.push(b'"');
            put_base64(key, bytes);
            key.push(b'"');
        }
        AnyValue::Array(array) if depth < MAX_DEPTH => {
            key.push(b'[');
            for (index, element) in AnyValue::elements(array).enumerate() {
                if index > 0 {
                    key.push(b',');
                }
                put_json(key, element, depth + 1)?;
            }
            key.push(b']');
        }
        AnyValue::KeyValues(list) if depth < MAX_DEPTH => put_json_map(key, list, depth)?,
        AnyValue::Empty | AnyValue::Bytes(_) | AnyValue::Array(_) | AnyValue::KeyValues(_) => {
            key.extend_from_slice(b"null");
        }
    }
    Some(())
}

/// Sorted by key; of several entries with one key the last counts.
fn put_json_map(key: &mut Vec<u8>, list: &[u8], depth: usize) -> Option<()> {
    let mut entries: Vec<_> = Attributes::of_list(list).collect();
    entries.reverse();
    entries.sort_by_key(|(name, _)| *name);
    entries.dedup_by_key(|(name, _)| *name);
    key.push(b'{');
    for (index, (name, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            key.push(b',');
        }
        put_json_text(key, name);
        key.push(b':');
        put_json(key, value, depth + 1)?;
    }
    key.push(b'}');
    Some(())
}

/// As JavaScript writes numbers: the shortest digits, an exponent from 1e21 on and below 1e-6.
fn put_double(key: &mut Vec<u8>, number: f64) {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        put(key, format_args!("{digits}e{sign}{exponent}"));
    } else {
        put(key, format_args!("{number}"));
    }
}

/// A JSON string as Go writes it without care for HTML.
fn put_json_text(key: &mut Vec<u8>, text: &[u8]) {
    key.push(b'"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => key.extend_from_slice(b"\\\""),
                '\\' => key.extend_from_slice(b"\\\\"),
                '\u{8}' => key.extend_from_slice(b"\\b"),
                '\u{c}' => key.extend_from_slice(b"\\f"),
                '\n' => key.extend_from_slice(b"\\n"),
                '\r' => key.extend_from_slice(b"\\r"),
                '\t' => key.extend_from_slice(b"\\t"),
                '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                    put(key, format_args!("\\u{:04x}", u32::from(character)));
                }
                character => {
                    let mut bytes = [0; 4];
                    key.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                }
            }
        }
        // Each byte of what is not UTF-8.
        chunk.invalid().iter().for_each(|_| key.extend_from_slice(b"\\ufffd"));
    }
    key.push(b'"');
}

fn put_base64(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(STANDARD.encode(bytes).as_bytes());
}

fn put(key: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    key.write_fmt(text).expect("a vector takes any text");
}
