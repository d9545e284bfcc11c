//! Writes protobuf messages with exact lengths.

use std::ops::Range;

/// Appends fields to a message.
///
/// Nested messages are written in place: a byte is kept for the length, and the content moves up
/// only when the length turns out to need more.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty message with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes) }
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// The finished message.
    pub fn into_vec(self) -> Vec<u8> {
        self.buffer
    }

    /// Length in bytes so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets what was written and keeps the room.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Appends again what was written there.
    pub fn repeat(&mut self, written: Range<usize>) {
        self.buffer.extend_from_within(written);
    }

    /// Takes back all but the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// A varint field: integers, booleans, enums.
    #[inline]
    pub fn varint(&mut self, number: u32, value: u64) {
        match (u8::try_from(number << 3), u8::try_from(value)) {
            (Ok(tag @ ..0x80), Ok(value @ ..0x80)) => self.buffer.extend_from_slice(&[tag, value]),
            _ => {
                self.tag(number, 0);
                put_varint(&mut self.buffer, value);
            }
        }
    }

    /// A `sint32` or `sint64` field (zigzag).
    pub fn zigzag(&mut self, number: u32, value: i64) {
        self.varint(number, ((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A `fixed64` field.
    pub fn fixed64(&mut self, number: u32, value: u64) {
        self.tag(number, 1);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// A `fixed32` field.
    pub fn fixed32(&mut self, number: u32, value: u32) {
        self.tag(number, 5);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// A `double` field.
    pub fn double(&mut self, number: u32, value: f64) {
        self.fixed64(number, value.to_bits());
    }

    /// A string, bytes or ready-made message field.
    #[inline]
    pub fn bytes(&mut self, number: u32, content: &[u8]) {
        match (u8::try_from(number << 3 | 2), u8::try_from(content.len())) {
            (Ok(tag @ ..0x80), Ok(length @ ..0x80)) => {
                self.buffer.extend_from_slice(&[tag, length]);
            }
            _ => {
                self.tag(number, 2);
                put_varint(&mut self.buffer, content.len() as u64);
            }
        }
        self.buffer.extend_from_slice(content);
    }

    /// Fields that were already encoded, as they are.
    pub fn raw(&mut self, fields: &[u8]) {
        self.buffer.extend_from_slice(fields);
    }

    /// A packed `fixed64` or `double` field, from the values' bits.
    pub fn packed_fixed64(&mut self, number: u32, values: impl ExactSizeIterator<Item = u64>) {
        self.tag(number, 2);
        put_varint(&mut self.buffer, values.len() as u64 * 8);
        for value in values {
            self.buffer.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A packed varint field.
    pub fn packed_varint(&mut self, number: u32, values: impl Iterator<Item = u64> + Clone) {
        self.tag(number, 2);
        let length: usize = values.clone().map(varint_len).sum();
        put_varint(&mut self.buffer, length as u64);
        values.for_each(|value| put_varint(&mut self.buffer, value));
    }

    /// A nested message, written by `fill`.
    pub fn message(&mut self, number: u32, fill: impl FnOnce(&mut Writer)) {
        let start = self.begin(number, 0);
        fill(self);
        self.end(start, 0);
    }

    /// Begins a nested message of about this length; tells where its content begins.
    #[inline]
    pub(super) fn begin(&mut self, number: u32, expected: usize) -> usize {
        self.tag(number, 2);
        put_varint(&mut self.buffer, expected as u64); // room for the length, which is set at the end
        self.buffer.len()
    }

    /// Ends the message whose content begins at `start` and was expected to be this long. The
    /// content moves when its length takes more or fewer bytes than the expected one.
    #[inline]
    pub(super) fn end(&mut self, start: usize, expected: usize) {
        let length = self.buffer.len() - start;
        let (room, prefix) = (varint_len(expected as u64), varint_len(length as u64));
        let content = start - room + prefix;
        if prefix > room {
            self.buffer.resize(content + length, 0);
        }
        if prefix != room {
            self.buffer.copy_within(start..start + length, content);
            self.buffer.truncate(content + length);
        }
        let mut value = length as u64;
        for byte in &mut self.buffer[start - room..content] {
            *byte = (value & 0x7f) as u8 | if value >= 0x80 { 0x80 } else { 0 };
            value >>= 7;
        }
    }

    /// Writes `fields` where others were written before.
    pub(super) fn rewrite(&mut self, written: Range<usize>, fields: &[u8]) {
        self.buffer.splice(written, fields.iter().copied());
    }

    /// A `KeyValue` with a string value.
    pub fn string_attribute(&mut self, number: u32, key: &[u8], text: &[u8]) {
        self.attribute(number, key, |value| value.bytes(1, text));
    }

    /// A `KeyValue` with an integer value.
    pub fn int_attribute(&mut self, number: u32, key: &[u8], integer: i64) {
        self.attribute(number, key, |value| value.varint(3, integer.cast_unsigned()));
    }

    /// A `KeyValue` with a boolean value.
    pub fn bool_attribute(&mut self, number: u32, key: &[u8], flag: bool) {
        self.attribute(number, key, |value| value.varint(2, u64::from(flag)));
    }

    /// A `KeyValue` whose `AnyValue` is written by `fill`.
    pub fn attribute(&mut self, number: u32, key: &[u8], fill: impl FnOnce(&mut Writer)) {
        self.message(number, |entry| {
            entry.bytes(1, key);
            entry.message(2, fill);
        });
    }

    #[inline]
    fn tag(&mut self, number: u32, wire_type: u32) {
        put_varint(&mut self.buffer, u64::from(number << 3 | wire_type));
    }
}

/// Appends a base-128 varint.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the value is below 0x80 there")]
pub fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// How many bytes a varint takes.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Fields, Value};

    #[test]
    fn nested_messages_get_exact_lengths() {
        for size in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
            let content = vec![b'x'; size];
            let mut writer = Writer::new();
            writer.message(1, |outer| {
                outer.message(2, |inner| inner.raw(&content));
                outer.varint(3, 7);
            });
            let message = writer.into_vec();
            let outer = Fields::new(&message).next().unwrap().value.bytes().unwrap();
            let fields: Vec<_> = Fields::new(outer).map(|field| field.value).collect();
            assert_eq!(fields, [Value::Bytes(&content), Value::Varint(7)]);
        }
    }

    #[test]
    fn a_nested_message_may_become_shorter_or_longer_than_expected() {
        for expected in [0, 1, 127, 128, 16_383, 16_384] {
            for length in [0, 127, 128, 16_384] {
                let content = vec![b'x'; length];
                let mut writer = Writer::new();
                let start = writer.begin(2, expected);
                writer.raw(&content);
                writer.end(start, expected);
                writer.varint(3, 7);
                let fields: Vec<_> =
                    Fields::new(writer.as_slice()).map(|field| field.value).collect();
                assert_eq!(fields, [Value::Bytes(&content), Value::Varint(7)]);
            }
        }
    }

    #[test]
    fn a_varint_is_as_long_as_announced() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut buffer = Vec::new();
            put_varint(&mut buffer, value);
            assert_eq!(buffer.len(), varint_len(value), "{value}");
        }
    }

    #[test]
    fn zigzag_keeps_small_magnitudes_small() {
        let mut writer = Writer::new();
        writer.zigzag(6, -1);
        assert_eq!(writer.as_slice(), [0x30, 0x01]);
    }
}
