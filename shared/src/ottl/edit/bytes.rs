//! Messages with some of their fields changed: what is not named is copied as it stands.

use std::borrow::Cow;

use crate::ottl::compare::MAX_VALUE_DEPTH;
use crate::ottl::error::EvalError;
use crate::ottl::value::{Map, Text, Value};
use crate::wire::{AnyValue, Attributes, DataKind, Fields, Writer};

/// The highest index at which a list that is not there yet can be begun.
const MAX_NEW_INDEX: usize = 1000;

/// `message` without the fields under `numbers`, with what `write` writes in place of the first.
///
/// Where there was none, the new fields come before the last one, so that an id that stands first
/// or last still does: readers find it faster.
pub(in crate::ottl) fn replace(
    message: &[u8],
    numbers: &[u32],
    write: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let (mut length, mut last, mut exists) = (0, 0, false);
    for field in Fields::new(message) {
        last = length;
        length += field.raw.len();
        exists |= numbers.contains(&field.number);
    }
    let mut new = Writer::with_capacity(message.len() + 64);
    let mut write = Some(write);
    let mut at = 0;
    for field in Fields::new(message) {
        let is_replaced = numbers.contains(&field.number);
        if (is_replaced || (!exists && at == last && at > 0))
            && let Some(write) = write.take()
        {
            write(&mut new);
        }
        if !is_replaced {
            new.raw(field.raw);
        }
        at += field.raw.len();
    }
    if let Some(write) = write {
        write(&mut new);
    }
    // What is not framed as fields stays behind them, and ends their reading as before.
    new.raw(message.get(length..).unwrap_or_default());
    new.into_vec()
}

/// The content of a message under `number`; of several, all that they hold.
pub(in crate::ottl) fn merged(message: &[u8], number: u32) -> Cow<'_, [u8]> {
    let mut contents = Fields::new(message)
        .filter(|field| field.number == number)
        .filter_map(|field| field.value.bytes());
    let first = contents.next().unwrap_or_default();
    match contents.next() {
        None => Cow::Borrowed(first),
        Some(second) => {
            let mut all = [first, second].concat();
            contents.for_each(|content| all.extend_from_slice(content));
            Cow::Owned(all)
        }
    }
}

/// The metric with `data` as its only data, of `kind`.
pub(in crate::ottl) fn replace_data(metric: &[u8], kind: Option<DataKind>, data: &[u8]) -> Vec<u8> {
    replace(metric, &[5, 7, 9, 10, 11], |metric| {
        if let Some(kind) = kind {
            metric.bytes(kind.field(), data);
        }
    })
}

/// An entry of a map that is being changed.
#[derive(Debug, Clone)]
pub(in crate::ottl) struct Entry<'a> {
    pub(in crate::ottl) key: Text<'a>,
    pub(in crate::ottl) value: Value<'a>,
    /// The `KeyValue` message as it stood, as long as the entry is not changed.
    raw: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    pub(in crate::ottl) fn new(key: Text<'a>, value: Value<'a>) -> Self {
        Self { key, value, raw: None }
    }

    pub(in crate::ottl) fn set_key(&mut self, key: Text<'a>) {
        self.key = key;
        self.raw = None;
    }

    pub(in crate::ottl) fn set_value(&mut self, value: Value<'a>) {
        self.value = value;
        self.raw = None;
    }
}

/// The entries of a map, to be changed.
pub(in crate::ottl) fn entries(map: Map<'_>) -> Vec<Entry<'_>> {
    match map {
        Map::Fields { message, number } => raw_entries(message, number).collect(),
        Map::Resource(resource) => {
            resource.messages().flat_map(|message| raw_entries(message, 1)).collect()
        }
        Map::Scope(scope) => {
            scope.scope_messages().flat_map(|message| raw_entries(message, 3)).collect()
        }
        built => {
            built.into_entries().into_iter().map(|(key, value)| Entry::new(key, value)).collect()
        }
    }
}

fn raw_entries(message: &[u8], number: u32) -> impl Iterator<Item = Entry<'_>> {
    let raws = Fields::new(message)
        .filter(move |field| field.number == number)
        .filter_map(|field| field.value.bytes());
    Attributes::new(message, number).zip(raws).map(|((key, value), raw)| Entry {
        key: Text::Borrowed(key),
        value: Value::from(value),
        raw: Some(raw),
    })
}

/// `message` with these entries under `number`, and no others.
pub(in crate::ottl) fn replace_entries(
    message: &[u8],
    number: u32,
    entries: &[Entry<'_>],
) -> Result<Vec<u8>, EvalError> {
    let mut result = Ok(());
    let new = replace(message, &[number], |message| {
        for entry in entries {
            match entry.raw {
                Some(raw) => message.bytes(number, raw),
                None => message.message(number, |new| {
                    new.bytes(1, entry.key.as_bytes());
                    new.message(2, |any| {
                        if let Err(error) = write_value(any, &entry.value) {
                            result = Err(error);
                        }
                    });
                }),
            }
        }
    });
    result.map(|()| new)
}

/// `message` with another `AnyValue` under `key`, made of the one that is there or of nothing.
pub(in crate::ottl) fn put_entry(
    message: &[u8],
    number: u32,
    key: &[u8],
    value: impl FnOnce(&[u8]) -> Result<Vec<u8>, EvalError>,
) -> Result<Vec<u8>, EvalError> {
    let found = Attributes::new(message, number).unread().position(|(name, _)| name == key);
    let old = found.and_then(|index| Attributes::new(message, number).unread().nth(index));
    let any = value(old.map(|(_, any)| any).unwrap_or_default())?;
    let raws = Fields::new(message)
        .filter(|field| field.number == number)
        .filter_map(|field| field.value.bytes());
    Ok(replace(message, &[number], |message| {
        for (index, raw) in raws.enumerate() {
            match found == Some(index) {
                true => message.bytes(number, &replace(raw, &[2], |entry| entry.bytes(2, &any))),
                false => message.bytes(number, raw),
            }
        }
        if found.is_none() {
            message.message(number, |entry| {
                entry.bytes(1, key);
                entry.bytes(2, &any);
            });
        }
    }))
}

/// An `AnyValue` message with `new` where `keys` lead to; what is missing on the way is added.
///
/// Source: contrib pkg/ottl/contexts/internal/ctxutil, `SetIndexableValue`.
pub(in crate::ottl) fn put(
    any: &[u8],
    keys: &[Value<'_>],
    new: &[u8],
) -> Result<Vec<u8>, EvalError> {
    let Some((key, rest)) = keys.split_first() else { return Ok(new.to_vec()) };
    let mut message = Writer::new();
    match (AnyValue::read(any), key) {
        (AnyValue::KeyValues(list), Value::Text(key)) => {
            let list = put_entry(list, 1, key.as_bytes(), |old| put(old, rest, new))?;
            message.bytes(6, &list);
        }
        (AnyValue::Array(array), Value::Int(index)) => {
            message.bytes(5, &put_item(array, *index, |old| put(old, rest, new))?);
        }
        (AnyValue::Empty, Value::Text(key)) => {
            let list = put_entry(&[], 1, key.as_bytes(), |old| put(old, rest, new))?;
            message.bytes(6, &list);
        }
        (AnyValue::Empty, Value::Int(index)) => {
            let index = usize::try_from(*index).ok().filter(|index| *index <= MAX_NEW_INDEX);
            let index = index.ok_or(OUT_OF_BOUNDS)?;
            let item = put(&[], rest, new)?;
            message.message(5, |array| {
                (0..index).for_each(|_| array.bytes(1, b""));
                array.bytes(1, &item);
            });
        }
        (AnyValue::KeyValues(_), other) => {
            return Err(EvalError::wrong_type("a string as key of a map", other.type_name()));
        }
        (AnyValue::Array(_), other) => {
            return Err(EvalError::wrong_type("an integer as key of a list", other.type_name()));
        }
        (AnyValue::Empty, other) => {
            return Err(EvalError::wrong_type("a string or an integer as key", other.type_name()));
        }
        (other, _) => {
            let found = Value::from(other).type_name();
            return Err(EvalError::wrong_type("a map or a list to set something in", found));
        }
    }
    Ok(message.into_vec())
}

const OUT_OF_BOUNDS: EvalError = EvalError::fixed("the index is out of bounds");

fn put_item(
    array: &[u8],
    index: i64,
    value: impl FnOnce(&[u8]) -> Result<Vec<u8>, EvalError>,
) -> Result<Vec<u8>, EvalError> {
    let index = usize::try_from(index).map_err(|_| OUT_OF_BOUNDS)?;
    let items = || {
        Fields::new(array).filter(|field| field.number == 1).filter_map(|field| field.value.bytes())
    };
    let new = value(items().nth(index).ok_or(OUT_OF_BOUNDS)?)?;
    Ok(replace(array, &[1], |array| {
        for (position, item) in items().enumerate() {
            array.bytes(1, if position == index { &new } else { item });
        }
    }))
}

/// Writes a value's `AnyValue` message.
///
/// # Errors
/// If it is of a type that cannot be stored: an id, a time, a duration or a message.
pub(in crate::ottl) fn write_value(any: &mut Writer, value: &Value<'_>) -> Result<(), EvalError> {
    write_nested(any, value, 0)
}

fn write_nested(any: &mut Writer, value: &Value<'_>, depth: u32) -> Result<(), EvalError> {
    if depth > MAX_VALUE_DEPTH {
        return Err(EvalError::fixed("the value is nested too deep"));
    }
    match value {
        Value::Nil => {}
        Value::Bool(flag) => any.varint(2, u64::from(*flag)),
        Value::Int(number) => any.varint(3, number.cast_unsigned()),
        Value::Double(number) => any.double(4, *number),
        Value::Text(text) => any.bytes(1, text.as_bytes()),
        Value::Bytes(bytes) => any.bytes(7, bytes),
        Value::List(list) => {
            let mut result = Ok(());
            any.message(5, |array| {
                list.each(|_, item| {
                    array.message(1, |any| {
                        if let Err(error) = write_nested(any, &item, depth + 1) {
                            result = Err(error);
                        }
                    });
                });
            });
            result?;
        }
        Value::Map(map) => {
            let mut result = Ok(());
            any.message(6, |list| {
                map.each(|key, item| {
                    list.attribute(1, key, |any| {
                        if let Err(error) = write_nested(any, &item, depth + 1) {
                            result = Err(error);
                        }
                    });
                });
            });
            result?;
        }
        Value::TraceId(_)
        | Value::SpanId(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Message(_) => {
            return Err(EvalError::wrong_type("a value that can be stored", value.type_name()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_field_keeps_the_first_and_the_last_where_they_are() {
        let mut message = Writer::new();
        message.bytes(5, b"name");
        message.bytes(1, b"id");
        let new = replace(message.as_slice(), &[9], |message| message.varint(9, 1));
        let numbers: Vec<_> = Fields::new(&new).map(|field| field.number).collect();
        assert_eq!(numbers, [5, 9, 1]);
        assert_eq!(replace(b"", &[9], |message| message.varint(9, 1)), [0x48, 1]);
    }

    #[test]
    fn what_breaks_the_framing_stays_where_it_was() {
        let broken = [0x08, 1, 0x12, 5, b'x'];
        let new = replace(&broken, &[1], |message| message.varint(1, 2));
        assert_eq!(new, [0x08, 2, 0x12, 5, b'x']);
    }

    #[test]
    fn a_new_list_has_a_limit() {
        let at = |index| put(b"", &[Value::Int(index)], b"");
        assert!(at(1000).is_ok());
        assert_eq!(at(1001), Err(OUT_OF_BOUNDS));
        assert_eq!(at(-1), Err(OUT_OF_BOUNDS));
    }
}
