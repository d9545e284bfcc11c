//! Bytes of values such that different values have different bytes.
//!
//! Every value begins with its type, and what has no fixed length with its length, so that no
//! value's bytes are the beginning of another's: several in a row can be told apart. A map is
//! the sum of its entries' hashes, for their order does not count.

use shared::wire::write::put_varint;
use shared::wire::{AnyValue, Attributes};
use xxhash_rust::xxh3::xxh3_64;

/// Stands for a value that is missing, and ends a list.
const NONE: u8 = 0;
const EMPTY: u8 = 1;
const STRING: u8 = 2;
const FALSE: u8 = 3;
const TRUE: u8 = 4;
const INT: u8 = 5;
const DOUBLE: u8 = 6;
const BYTES: u8 = 7;
const LIST: u8 = 8;
const MAP: u8 = 9;
/// A list or map nested too deeply to look into, taken by its bytes.
const DEEP: u8 = 10;

/// How deep lists and maps are looked into.
const MAX_DEPTH: usize = 32;

/// Appends that a value is missing.
pub(super) fn put_missing(key: &mut Vec<u8>) {
    key.push(NONE);
}

/// Appends a text or other bytes, with their length.
pub(super) fn put_text(key: &mut Vec<u8>, text: &[u8]) {
    put_varint(key, text.len() as u64);
    key.extend_from_slice(text);
}

/// Appends a value.
pub(super) fn put_value(key: &mut Vec<u8>, value: AnyValue<'_>) {
    put_nested(key, value, 0);
}

/// Appends a digest of attributes, 16 bytes; returns how many attributes there are.
pub(super) fn put_set<'a>(
    key: &mut Vec<u8>,
    attributes: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>,
) -> u64 {
    put_entries(key, attributes, 0)
}

fn put_entries<'a>(
    key: &mut Vec<u8>,
    entries: impl Iterator<Item = (&'a [u8], AnyValue<'a>)>,
    depth: usize,
) -> u64 {
    let (start, mut sum, mut count) = (key.len(), 0_u64, 0_u64);
    for (name, value) in entries {
        put_text(key, name);
        put_nested(key, value, depth);
        sum = sum.wrapping_add(xxh3_64(&key[start..]));
        key.truncate(start);
        count += 1;
    }
    key.extend_from_slice(&sum.to_le_bytes());
    key.extend_from_slice(&count.to_le_bytes());
    count
}

fn put_nested(key: &mut Vec<u8>, value: AnyValue<'_>, depth: usize) {
    match value {
        AnyValue::Empty => key.push(EMPTY),
        AnyValue::String(text) => {
            key.push(STRING);
            put_text(key, text);
        }
        AnyValue::Bool(flag) => key.push(if flag { TRUE } else { FALSE }),
        AnyValue::Int(number) => {
            key.push(INT);
            key.extend_from_slice(&number.to_le_bytes());
        }
        AnyValue::Double(number) => {
            key.push(DOUBLE);
            key.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        AnyValue::Bytes(bytes) => {
            key.push(BYTES);
            put_text(key, bytes);
        }
        AnyValue::Array(content) | AnyValue::KeyValues(content) if depth == MAX_DEPTH => {
            key.push(DEEP);
            put_text(key, content);
        }
        AnyValue::Array(array) => {
            key.push(LIST);
            AnyValue::elements(array).for_each(|element| put_nested(key, element, depth + 1));
            key.push(NONE);
        }
        AnyValue::KeyValues(list) => {
            key.push(MAP);
            put_entries(key, Attributes::of_list(list), depth + 1);
        }
    }
}
