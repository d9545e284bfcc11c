//! Attributes and their values, read in place.

use super::field::{Fields, Value};

/// A value of an attribute or a log body, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyValue<'a> {
    /// No value was set.
    Empty,
    /// UTF-8 by contract; not checked.
    String(&'a [u8]),
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// The `ArrayValue` message; [`AnyValue::elements`] reads it.
    Array(&'a [u8]),
    /// The `KeyValueList` message; [`Attributes::of_list`] reads it.
    KeyValues(&'a [u8]),
    /// Opaque bytes.
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// Reads an `AnyValue` message. Of several values the last one counts.
    pub fn read(message: &'a [u8]) -> Self {
        let mut value = AnyValue::Empty;
        for field in Fields::new(message) {
            value = match (field.number, field.value) {
                (1, Value::Bytes(text)) => AnyValue::String(text),
                (2, Value::Varint(bits)) => AnyValue::Bool(bits != 0),
                (3, Value::Varint(bits)) => AnyValue::Int(bits.cast_signed()),
                (4, Value::Fixed64(bits)) => AnyValue::Double(f64::from_bits(bits)),
                (5, Value::Bytes(array)) => AnyValue::Array(array),
                (6, Value::Bytes(list)) => AnyValue::KeyValues(list),
                (7, Value::Bytes(bytes)) => AnyValue::Bytes(bytes),
                _ => value,
            };
        }
        value
    }

    /// The text of a string value, else nothing.
    #[inline]
    pub fn as_string(self) -> Option<&'a [u8]> {
        match self {
            AnyValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an `ArrayValue` message, as given by [`AnyValue::Array`].
    pub fn elements(array: &'a [u8]) -> impl Iterator<Item = AnyValue<'a>> {
        Fields::new(array)
            .filter(|field| field.number == 1)
            .filter_map(|field| field.value.bytes())
            .map(AnyValue::read)
    }
}

/// The `KeyValue` entries that a message holds under one field number.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    fields: Fields<'a>,
    number: u32,
    /// The tag of the entries, if it is one byte.
    tag: Option<u8>,
}

impl<'a> Attributes<'a> {
    /// The attributes of `message` under `number`: 1 in a resource, 3 in a scope, 9 in a span.
    #[inline]
    pub fn new(message: &'a [u8], number: u32) -> Self {
        let tag = u8::try_from(number << 3 | 2).ok().filter(|tag| *tag < 0x80);
        Self { fields: Fields::new(message), number, tag }
    }

    /// The entries of a `KeyValueList` message, as given by [`AnyValue::KeyValues`].
    pub fn of_list(list: &'a [u8]) -> Self {
        Self::new(list, 1)
    }

    /// The first value under `key`.
    pub fn get(self, key: &[u8]) -> Option<AnyValue<'a>> {
        let mut attributes = self;
        while let Some(entry) = attributes.next_entry() {
            let (name, value) = split_entry(entry);
            if name == key {
                return Some(value.map_or(AnyValue::Empty, AnyValue::read));
            }
        }
        None
    }

    /// The same, with the `AnyValue` message of each value unread: passing over the attributes that
    /// are not wanted costs half as much.
    #[inline]
    pub fn unread(self) -> Unread<'a> {
        Unread(self)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
    fn next_entry(&mut self) -> Option<&'a [u8]> {
        match self.tag.and_then(|tag| self.fields.next_tagged(tag)) {
            Some(entry) => Some(entry),
            None => self.next_entry_of_any_form(),
        }
    }

    #[inline(never)]
    fn next_entry_of_any_form(&mut self) -> Option<&'a [u8]> {
        loop {
            let field = self.fields.next()?;
            if field.number == self.number
                && let Value::Bytes(entry) = field.value
            {
                return Some(entry);
            }
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], AnyValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = split_entry(self.next_entry()?);
        Some((key, value.map_or(AnyValue::Empty, AnyValue::read)))
    }
}

/// See [`Attributes::unread`].
#[derive(Debug, Clone)]
pub struct Unread<'a>(Attributes<'a>);

impl<'a> Iterator for Unread<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_entry().map(unread_entry)
    }
}

/// Reads a `KeyValue` message into its key and its value's message, which is empty if there is
/// none.
#[inline(always)]
#[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
pub(super) fn unread_entry(entry: &[u8]) -> (&[u8], &[u8]) {
    match split_usual_entry(entry) {
        Some(split) => split,
        None => {
            let (key, value) = split_any_entry(entry);
            (key, value.unwrap_or_default())
        }
    }
}

/// Reads a `KeyValue` message into its key and its value's message.
#[inline]
fn split_entry(entry: &[u8]) -> (&[u8], Option<&[u8]>) {
    if let Some((key, value)) = split_usual_entry(entry) {
        return (key, Some(value));
    }
    split_any_entry(entry)
}

#[inline(never)]
fn split_any_entry(entry: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (mut key, mut value) = (&[][..], None);
    for field in Fields::new(entry) {
        match (field.number, field.value) {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = Some(bytes),
            _ => {}
        }
    }
    (key, value)
}

/// The same for the one form that nearly all entries have: a short key, then the value and
/// nothing behind it. Looking up one attribute passes over many entries, so this pays.
#[inline(always)]
#[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
fn split_usual_entry(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, length @ ..0x80, rest @ ..] = entry else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, value) = match rest {
        [0x12, length @ ..0x80, value @ ..] => (usize::from(*length), value),
        [0x12, low, high @ 1..0x80, value @ ..] => {
            (usize::from(low & 0x7f) | usize::from(*high) << 7, value)
        }
        _ => return None,
    };
    (length == value.len()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn resource() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.string_attribute(1, b"service.name", b"checkout");
        writer.int_attribute(1, b"process.pid", -42);
        writer.into_vec()
    }

    #[test]
    fn attributes_are_found_by_key() {
        let resource = resource();
        let get = |key: &[u8]| Attributes::new(&resource, 1).get(key);
        assert_eq!(get(b"service.name"), Some(AnyValue::String(b"checkout")));
        assert_eq!(get(b"process.pid"), Some(AnyValue::Int(-42)));
        assert_eq!(get(b"absent"), None);
        let unread = Attributes::new(&resource, 1).unread();
        let read: Vec<_> = unread.map(|(key, value)| (key, AnyValue::read(value))).collect();
        assert_eq!(read, Attributes::new(&resource, 1).collect::<Vec<_>>());
    }

    #[test]
    fn of_two_entries_with_one_key_the_first_counts() {
        let mut writer = Writer::new();
        writer.string_attribute(1, b"k", b"first");
        writer.string_attribute(1, b"k", b"second");
        let message = writer.into_vec();
        assert_eq!(Attributes::new(&message, 1).get(b"k"), Some(AnyValue::String(b"first")));
    }

    #[test]
    fn entries_of_any_form_are_read() {
        let long_key = [b'k'; 200];
        for key in [&b""[..], b"k", &long_key] {
            let mut writer = Writer::new();
            writer.attribute(1, key, |value| value.bytes(1, &[b'x'; 300]));
            writer.message(1, |entry| {
                // The value first, and a field that OTLP does not know behind the key.
                entry.message(2, |value| value.varint(3, 5));
                entry.bytes(1, b"reversed");
                entry.varint(9, 1);
            });
            writer.message(1, |entry| {
                // Of a field that occurs twice the last one counts.
                entry.bytes(1, b"first");
                entry.message(2, |value| value.varint(3, 6));
                entry.bytes(1, b"last");
            });
            writer.message(1, |entry| entry.bytes(1, b"no value"));
            let message = writer.into_vec();
            let get = |key: &[u8]| Attributes::new(&message, 1).get(key);
            assert_eq!(get(key), Some(AnyValue::String(&[b'x'; 300])));
            assert_eq!(get(b"reversed"), Some(AnyValue::Int(5)));
            assert_eq!((get(b"first"), get(b"last")), (None, Some(AnyValue::Int(6))));
            assert_eq!(get(b"no value"), Some(AnyValue::Empty));
        }
    }
}
