//! The attributes of a message, to be changed.

use std::borrow::Cow;

use crate::wire::{Attributes, Fields, Value, Writer};

/// The attributes of one message after the other; its room is kept.
///
/// What is not changed keeps its bytes, and so does everything else in the message.
#[derive(Debug, Default)]
pub(crate) struct AttributeList<'a> {
    /// Field of the attributes in their message.
    number: u32,
    entries: Vec<Entry<'a>>,
    is_changed: bool,
}

#[derive(Debug)]
struct Entry<'a> {
    key: Cow<'a, [u8]>,
    /// The `AnyValue` message.
    value: Cow<'a, [u8]>,
    /// The whole field as it came; `None` once it is another.
    raw: Option<&'a [u8]>,
}

impl<'a> AttributeList<'a> {
    /// Reads the attributes under `number` of a message, which may come in several pieces.
    pub(crate) fn read(&mut self, number: u32, pieces: impl Iterator<Item = &'a [u8]>) {
        (self.number, self.is_changed) = (number, false);
        self.entries.clear();
        for field in pieces.flat_map(Fields::new) {
            if is_attribute(number, field.number, field.value)
                && let Some((key, value)) = Attributes::new(field.raw, number).unread().next()
            {
                let (key, value) = (Cow::Borrowed(key), Cow::Borrowed(value));
                self.entries.push(Entry { key, value, raw: Some(field.raw) });
            }
        }
    }

    /// Whether anything is other than it was read.
    pub(crate) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The value under `key`, as an `AnyValue` message.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Cow<'a, [u8]>> {
        self.entries.iter().find(|entry| *entry.key == *key).map(|entry| &entry.value)
    }

    /// Sets the value under `key` where there is one.
    pub(crate) fn update(&mut self, key: &[u8], value: Cow<'a, [u8]>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| *entry.key == *key)
            && entry.value != value
        {
            (entry.value, entry.raw) = (value, None);
            self.is_changed = true;
        }
    }

    /// Adds a value under `key` where there is none.
    pub(crate) fn insert(&mut self, key: Cow<'a, [u8]>, value: Cow<'a, [u8]>) {
        if self.get(&key).is_none() {
            self.entries.push(Entry { key, value, raw: None });
            self.is_changed = true;
        }
    }

    /// Sets the value under `key`.
    pub(crate) fn upsert(&mut self, key: Cow<'a, [u8]>, value: Cow<'a, [u8]>) {
        match self.get(&key) {
            Some(_) => self.update(&key, value),
            None => self.insert(key, value),
        }
    }

    /// Removes everything under the keys that `is_meant` is true for.
    pub(crate) fn remove(&mut self, is_meant: impl Fn(&[u8]) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|entry| !is_meant(&entry.key));
        self.is_changed |= self.entries.len() != before;
    }

    /// Changes the values under the keys that `is_meant` is true for.
    pub(crate) fn replace(
        &mut self,
        is_meant: impl Fn(&[u8]) -> bool,
        mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) {
        for entry in self.entries.iter_mut().filter(|entry| is_meant(&entry.key)) {
            if let Some(value) = change(&entry.value) {
                (entry.value, entry.raw) = (Cow::Owned(value), None);
                self.is_changed = true;
            }
        }
    }

    /// Writes the message with these attributes in place of its own; `pieces` are those that were
    /// read. Where it had none, they stand before its last field, so that a trace id that comes
    /// first or last does so still.
    pub(crate) fn write<'m>(
        &self,
        pieces: &(impl Iterator<Item = &'m [u8]> + Clone),
        new: &mut Writer,
    ) {
        let fields = || pieces.clone().flat_map(Fields::new);
        let is_own = |number, value| is_attribute(self.number, number, value);
        let mut place = fields().position(|field| is_own(field.number, field.value));
        if place.is_none() {
            place = fields().count().checked_sub(1);
        }
        for (index, field) in fields().enumerate() {
            if Some(index) == place {
                self.write_entries(new);
            }
            if !is_own(field.number, field.value) {
                new.raw(field.raw);
            }
        }
        if place.is_none() {
            self.write_entries(new);
        }
    }

    fn write_entries(&self, new: &mut Writer) {
        for entry in &self.entries {
            match entry.raw {
                Some(raw) => new.raw(raw),
                None => new.attribute(self.number, &entry.key, |value| value.raw(&entry.value)),
            }
        }
    }
}

fn is_attribute(wanted: u32, number: u32, value: Value<'_>) -> bool {
    number == wanted && matches!(value, Value::Bytes(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{AnyValue, Span};

    fn span(attributes: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(1, &[7; 16]);
        for (key, text) in attributes {
            writer.string_attribute(9, key, text);
        }
        writer.bytes(5, b"name");
        writer.into_vec()
    }

    fn text(text: &[u8]) -> Cow<'static, [u8]> {
        let mut value = Writer::new();
        value.bytes(1, text);
        value.into_vec().into()
    }

    #[track_caller]
    fn check(span: &[u8], change: impl Fn(&mut AttributeList<'_>), expected: &[(&str, &str)]) {
        let mut list = AttributeList::default();
        list.read(9, std::iter::once(span));
        change(&mut list);
        let mut new = Writer::new();
        list.write(&std::iter::once(span), &mut new);
        let written = Span::read(new.as_slice());
        assert_eq!((written.trace_id, written.name), (&[7; 16][..], &b"name"[..]));
        let read: Vec<_> = written.attributes().collect();
        let expected =
            expected.iter().map(|(key, text)| (key.as_bytes(), AnyValue::String(text.as_bytes())));
        assert_eq!(read, expected.collect::<Vec<_>>());
        assert_eq!(list.is_changed(), new.as_slice() != span);
    }

    #[test]
    fn attributes_change_and_the_rest_keeps_its_bytes() {
        let span = span(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
        check(&span, |_| {}, &[("a", "1"), ("b", "2"), ("c", "3")]);
        let change = |list: &mut AttributeList<'_>| {
            list.update(b"b", text(b"two"));
            list.update(b"d", text(b"4"));
            list.insert(b"a"[..].to_owned().into(), text(b"other"));
            list.upsert(b"e"[..].to_owned().into(), text(b"5"));
            list.remove(|key| key == b"c");
        };
        check(&span, change, &[("a", "1"), ("b", "two"), ("e", "5")]);
    }

    #[test]
    fn an_equal_value_is_no_change() {
        let span = span(&[(b"a", b"1")]);
        let set = |list: &mut AttributeList<'_>| {
            list.upsert(b"a"[..].to_owned().into(), text(b"1"));
            list.remove(|key| key == b"z");
            list.replace(|_| true, |_| None);
        };
        check(&span, set, &[("a", "1")]);
    }

    #[test]
    fn a_message_without_attributes_gets_them_between_its_first_and_last_field() {
        let span = span(&[]);
        let mut list = AttributeList::default();
        list.read(9, std::iter::once(&span[..]));
        list.insert(b"a"[..].into(), text(b"1"));
        let mut new = Writer::new();
        list.write(&std::iter::once(&span[..]), &mut new);
        let numbers: Vec<_> = Fields::new(new.as_slice()).map(|field| field.number).collect();
        assert_eq!(numbers, [1, 9, 5]);
        let mut alone = Writer::new();
        list.write(&std::iter::empty(), &mut alone);
        assert_eq!(Attributes::new(alone.as_slice(), 9).count(), 1);
    }
}
