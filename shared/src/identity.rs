//! Hashes that tell attribute sets apart, whatever the order of their entries.

use crate::wire::AnyValue;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// A set of attributes as a number: the sum of its entries' hashes, so order does not count.
///
/// 128 bits make an accidental collision impossible in practice.
pub fn hash_attributes<'a>(attributes: impl IntoIterator<Item = (&'a [u8], AnyValue<'a>)>) -> u128 {
    let mut sum = 0_u128;
    for (key, value) in attributes {
        sum = sum.wrapping_add(hash_attribute(key, value));
    }
    sum
}

fn hash_attribute(key: &[u8], value: AnyValue<'_>) -> u128 {
    let (tag, scalar, bytes) = match value {
        AnyValue::Empty => (0_u8, [0; 8], &[][..]),
        AnyValue::String(text) => (1, [0; 8], text),
        AnyValue::Bool(flag) => (2, u64::from(flag).to_le_bytes(), &[][..]),
        AnyValue::Int(integer) => (3, integer.to_le_bytes(), &[][..]),
        AnyValue::Double(double) => (4, double.to_bits().to_le_bytes(), &[][..]),
        AnyValue::Array(array) => (5, [0; 8], array),
        AnyValue::KeyValues(list) => (6, [0; 8], list),
        AnyValue::Bytes(bytes) => (7, [0; 8], bytes),
    };
    let length = 8 + key.len() + 9 + bytes.len();
    let mut buffer = [0_u8; 128];
    // Hashing one short slice is several times faster than feeding a hasher in pieces.
    if let Some(entry) = buffer.get_mut(..length) {
        let (front, rest) = entry.split_at_mut(8);
        front.copy_from_slice(&(key.len() as u64).to_le_bytes());
        let (front, rest) = rest.split_at_mut(key.len());
        front.copy_from_slice(key);
        rest[0] = tag;
        rest[1..9].copy_from_slice(&scalar);
        rest[9..].copy_from_slice(bytes);
        return xxh3_128(entry);
    }
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(&[tag]);
    hasher.update(&scalar);
    hasher.update(bytes);
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_count_but_content_does() {
        let (a, b) = ((&b"a"[..], AnyValue::Int(1)), (&b"b"[..], AnyValue::String(b"x")));
        assert_eq!(hash_attributes([a, b]), hash_attributes([b, a]));
        assert_ne!(hash_attributes([a]), hash_attributes([a, b]));
        let text = (&b"a"[..], AnyValue::String(b"1"));
        assert_ne!(hash_attributes([a]), hash_attributes([text]));
        let (split, other) = ((&b"ab"[..], AnyValue::Empty), (&b"a"[..], AnyValue::Empty));
        assert_ne!(hash_attributes([split]), hash_attributes([other]));
    }

    #[test]
    fn a_long_value_hashes_like_any_other() {
        let long = vec![b'x'; 4000];
        let same = long.clone();
        let entry = |text| (&b"k"[..], AnyValue::String(text));
        assert_eq!(hash_attributes([entry(&long)]), hash_attributes([entry(&same)]));
        assert_ne!(hash_attributes([entry(&long)]), hash_attributes([entry(&long[1..])]));
    }
}
