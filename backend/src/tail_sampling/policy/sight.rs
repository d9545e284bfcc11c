//! What a policy sees when a span arrives.
//!
//! Policies name the attributes they look for when they are built. So a span's attributes are
//! walked once for all policies, and only if one of them asks.

use std::cell::OnceCell;

use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{AnyValue, Names, Resource, Span};

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
            None => self.span.attribute(self.keys.0.get(key.0)?),
        }
    }

    /// The same for a key that may be none of those that were named.
    #[inline]
    pub(in crate::tail_sampling) fn attribute_named(&self, key: &[u8]) -> Option<AnyValue<'a>> {
        match self.keys.0.find(key) {
            Some(number) => self.attribute(KeyId(number)),
            None => self.span.attribute(key),
        }
    }
}

/// A key of [`Keys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) struct KeyId(usize);

/// The keys of all attributes that policies look for.
#[derive(Debug, Default)]
pub(in crate::tail_sampling) struct Keys(Names);

impl Keys {
    /// How many keys one walk looks for; further ones are looked for one by one.
    const AT_ONCE: usize = 16;

    /// The number of a key.
    pub(in crate::tail_sampling) fn intern(&mut self, key: &[u8]) -> KeyId {
        KeyId(self.0.add(key))
    }

    /// The first attribute of a span under each of the first keys.
    fn find<'a>(&self, span: &Span<'a>) -> Found<'a> {
        let mut found = [None; Self::AT_ONCE];
        for (key, value) in span.attributes().unread() {
            if let Some(number) = self.0.find(key)
                && let Some(found) = found.get_mut(number)
            {
                *found = found.or(Some(value));
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
