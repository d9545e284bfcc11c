//! What a policy sees when a span arrives.
//!
//! Policies name the attributes they look for when they are built. So a span's attributes are
//! walked once for all policies, and only if one of them asks.

use std::cell::OnceCell;

use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{AnyValue, Resource, Span};

use crate::tail_sampling::trace::Summary;

/// An arriving span with what it is under.
pub(in crate::tail_sampling) struct Sight<'a> {
    /// The span.
    pub(in crate::tail_sampling) span: &'a Span<'a>,
    /// Its resource entry; of the nested entries perhaps none are there.
    pub(in crate::tail_sampling) entry: ResourceEntry<'a>,
    /// Its resource.
    pub(in crate::tail_sampling) resource: Resource<'a>,
    /// Its scope entry; of the spans perhaps none are there.
    pub(in crate::tail_sampling) scope: ScopeEntry<'a>,
    /// What is known of the trace so far, this span included.
    pub(in crate::tail_sampling) summary: &'a Summary,
    keys: &'a Keys,
    found: OnceCell<Found<'a>>,
}

/// The `AnyValue` message of the first attribute under each of the first keys.
type Found<'a> = [Option<&'a [u8]>; Keys::AT_ONCE];

impl<'a> Sight<'a> {
    /// A span under a resource and a scope.
    #[inline]
    pub(in crate::tail_sampling) fn new(
        span: &'a Span<'a>,
        (entry, resource, scope): (ResourceEntry<'a>, Resource<'a>, ScopeEntry<'a>),
        summary: &'a Summary,
        keys: &'a Keys,
    ) -> Self {
        Self { span, entry, resource, scope, summary, keys, found: OnceCell::new() }
    }

    /// The span's first attribute under a key.
    #[inline]
    pub(in crate::tail_sampling) fn attribute(&self, key: KeyId) -> Option<AnyValue<'a>> {
        match self.found.get_or_init(|| self.keys.find(self.span)).get(key.0) {
            Some(found) => found.map(AnyValue::read),
            None => self.span.attribute(&self.keys.keys[key.0]),
        }
    }

    /// The same for a key that may be none of those that were named.
    #[inline]
    pub(in crate::tail_sampling) fn attribute_named(&self, key: &[u8]) -> Option<AnyValue<'a>> {
        match self.keys.place(key) {
            Some(place) => self.attribute(KeyId(place)),
            None => self.span.attribute(key),
        }
    }
}

/// A key of [`Keys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) struct KeyId(usize);

/// The keys of all attributes that policies look for.
#[derive(Debug)]
pub(in crate::tail_sampling) struct Keys {
    keys: Vec<Box<[u8]>>,
    /// For each [`trait_of`] a key, which of the first keys have it, as bits. Most attributes are
    /// passed over by this alone.
    alike: [u16; TRAITS],
}

/// How many different traits keys have.
const TRAITS: usize = 64;

/// Something of a key that is quickly read and that other keys mostly have otherwise.
#[inline]
fn trait_of(key: &[u8]) -> usize {
    // Keys of one namespace begin alike and differ in length and end.
    let last = key.last().copied().unwrap_or_default();
    let middle = key.get(key.len() / 2).copied().unwrap_or_default();
    (key.len() + 7 * usize::from(last) + 3 * usize::from(middle)) % TRAITS
}

impl Default for Keys {
    fn default() -> Self {
        Self { keys: Vec::new(), alike: [0; TRAITS] }
    }
}

impl Keys {
    /// How many keys one walk looks for; further ones are looked for one by one.
    const AT_ONCE: usize = u16::BITS as usize;

    /// The number of a key.
    pub(in crate::tail_sampling) fn intern(&mut self, key: &[u8]) -> KeyId {
        if let Some(place) = self.keys.iter().position(|known| **known == *key) {
            return KeyId(place);
        }
        let place = self.keys.len();
        if place < Self::AT_ONCE {
            self.alike[trait_of(key)] |= 1 << place;
        }
        self.keys.push(key.into());
        KeyId(place)
    }

    /// The place of a key among the first ones.
    #[inline]
    fn place(&self, key: &[u8]) -> Option<usize> {
        let mut alike = self.alike[trait_of(key)];
        while alike != 0 {
            let place = alike.trailing_zeros() as usize;
            if *self.keys[place] == *key {
                return Some(place);
            }
            alike &= alike - 1;
        }
        None
    }

    /// The first attribute of a span under each of the first keys.
    fn find<'a>(&self, span: &Span<'a>) -> Found<'a> {
        let mut found = [None; Self::AT_ONCE];
        for (key, value) in span.attributes().unread() {
            if let Some(place) = self.place(key)
                && found[place].is_none()
            {
                found[place] = Some(value);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use shared::wire::Writer;

    use super::*;

    #[test]
    fn the_first_attribute_under_each_key_is_found() {
        let mut keys = Keys::default();
        let ids: Vec<KeyId> =
            (0..20).map(|number| keys.intern(format!("key{number}").as_bytes())).collect();
        assert_eq!(keys.intern(b"key3"), ids[3]);
        let mut writer = Writer::new();
        for number in [3, 19, 3, 7] {
            let value = writer.as_slice().len().to_string();
            writer.string_attribute(9, format!("key{number}").as_bytes(), value.as_bytes());
        }
        let raw = writer.into_vec();
        let span = Span::read(&raw);
        let (entry, scope) = (ResourceEntry { content: &[] }, ScopeEntry { content: &[] });
        let summary = Summary::default();
        let sight = Sight::new(&span, (entry, entry.resource(), scope), &summary, &keys);
        for (number, id) in ids.iter().enumerate() {
            let expected = span.attribute(format!("key{number}").as_bytes());
            assert_eq!(sight.attribute(*id), expected, "key{number}");
            let named = sight.attribute_named(format!("key{number}").as_bytes());
            assert_eq!(named, expected, "key{number}");
        }
        assert_eq!(sight.attribute_named(b"key"), None);
        assert_eq!(sight.attribute(ids[3]), Some(AnyValue::String(b"0")));
        assert!(sight.attribute(ids[19]).is_some() && sight.attribute(ids[0]).is_none());
    }
}
