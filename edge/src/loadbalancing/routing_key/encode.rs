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

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::Writer;

    fn bytes(value: AnyValue<'_>) -> Vec<u8> {
        let mut key = Vec::new();
        put_value(&mut key, value);
        key
    }

    fn list(fill: impl Fn(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        fill(&mut writer);
        writer.into_vec()
    }

    #[test]
    fn no_value_is_the_beginning_of_another() {
        let one = list(|array| array.message(1, |value| value.bytes(1, b"a")));
        let two = list(|array| (0..2).for_each(|_| array.message(1, |value| value.bytes(1, b"a"))));
        let map = list(|map| map.string_attribute(1, b"a", b"b"));
        let values = [
            AnyValue::Empty,
            AnyValue::String(b""),
            AnyValue::String(b"a"),
            AnyValue::String(b"ab"),
            AnyValue::String(b"\x01"),
            AnyValue::Bytes(b"a"),
            AnyValue::Bool(false),
            AnyValue::Bool(true),
            AnyValue::Int(0),
            AnyValue::Int(1),
            AnyValue::Double(0.0),
            AnyValue::Double(1.0),
            AnyValue::Array(&[]),
            AnyValue::Array(&one),
            AnyValue::Array(&two),
            AnyValue::KeyValues(&[]),
            AnyValue::KeyValues(&map),
        ]
        .map(bytes);
        for (index, value) in values.iter().enumerate() {
            for (other_index, other) in values.iter().enumerate() {
                assert!(index == other_index || !other.starts_with(value), "{value:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_order_of_a_map_does_not_count_and_that_of_a_list_does() {
        let ab = list(|map| [b"a", b"b"].iter().for_each(|key| map.int_attribute(1, *key, 1)));
        let ba = list(|map| [b"b", b"a"].iter().for_each(|key| map.int_attribute(1, *key, 1)));
        assert_eq!(bytes(AnyValue::KeyValues(&ab)), bytes(AnyValue::KeyValues(&ba)));
        assert_ne!(bytes(AnyValue::Array(&ab)), bytes(AnyValue::Array(&ba)));
    }

    #[test]
    fn a_value_nested_without_end_is_taken_by_its_bytes() {
        let mut nested = Vec::new();
        for _ in 0..2_000 {
            nested = list(|array| array.message(1, |value| value.bytes(5, &nested)));
        }
        assert!(bytes(AnyValue::Array(&nested)).len() > 2_000);
    }
}
