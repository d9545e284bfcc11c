//! What a policy sees when a span arrives.
//!
//! Policies name the attributes they look for when they are built. So a span is read once for all
//! policies, its attributes with it; and a policy is not asked about a span without the attributes
//! that it [needs](super::Policy::needs).

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
    found: &'a Found<'a>,
}

impl<'a> Sight<'a> {
    /// A span under a resource and a scope.
    #[inline]
    pub(in crate::tail_sampling) fn new(
        read: &'a ReadSpan<'a>,
        (entry, resource, scope): (ResourceEntry<'a>, Resource<'a>, ScopeEntry<'a>),
        summary: &'a Summary,
        keys: &'a Keys,
    ) -> Self {
        Self { span: &read.span, entry, resource, scope, summary, keys, found: &read.found }
    }

    /// The span's first attribute under a key.
    #[inline]
    pub(in crate::tail_sampling) fn attribute(&self, key: KeyId) -> Option<AnyValue<'a>> {
        match self.found.values.get(key.0) {
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

/// A span as it was read for the policies.
#[derive(Debug)]
pub(in crate::tail_sampling) struct ReadSpan<'a> {
    /// The span.
    pub(in crate::tail_sampling) span: Span<'a>,
    found: Found<'a>,
}

impl ReadSpan<'_> {
    /// Whether it has an attribute under each of these keys.
    #[inline]
    pub(in crate::tail_sampling) fn has(&self, keys: KeySet) -> bool {
        self.found.keys.0 & keys.0 == keys.0
    }
}

/// The attributes of a span under the first of the keys.
#[derive(Debug, Default)]
struct Found<'a> {
    keys: KeySet,
    /// The `AnyValue` message of the first attribute under each of them.
    values: [Option<&'a [u8]>; Keys::AT_ONCE],
}

/// A key of [`Keys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) struct KeyId(usize);

/// Some of the keys that are looked for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::tail_sampling) struct KeySet(u16);

impl KeySet {
    /// No key.
    pub(in crate::tail_sampling) const NONE: Self = Self(0);

    /// One key, or none if it is looked for by itself.
    pub(in crate::tail_sampling) fn of(key: KeyId) -> Self {
        Self(if key.0 < Keys::AT_ONCE { 1 << key.0 } else { 0 })
    }

    /// The keys of both.
    pub(in crate::tail_sampling) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The keys that are in both.
    pub(in crate::tail_sampling) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

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

    /// Reads a span.
    #[inline]
    pub(in crate::tail_sampling) fn read<'a>(&self, raw: &'a [u8]) -> ReadSpan<'a> {
        let mut found = Found::default();
        if self.0.is_empty() {
            return ReadSpan { span: Span::read(raw), found };
        }
        let span = Span::read_with(raw, |key, value| {
            if let Some(number) = self.0.find(key)
                && let Some(first) = found.values.get_mut(number)
            {
                *first = first.or(Some(value));
                found.keys.0 |= 1 << number;
            }
        });
        ReadSpan { span, found }
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
        let read = keys.read(&raw);
        let span = read.span;
        let (entry, scope) = (ResourceEntry { content: &[] }, ScopeEntry { content: &[] });
        let summary = Summary::default();
        let sight = Sight::new(&read, (entry, entry.resource(), scope), &summary, &keys);
        for (number, id) in ids.iter().enumerate() {
            let expected = span.attribute(format!("key{number}").as_bytes());
            assert_eq!(sight.attribute(*id), expected, "key{number}");
            let named = sight.attribute_named(format!("key{number}").as_bytes());
            assert_eq!(named, expected, "key{number}");
        }
        assert_eq!(sight.attribute_named(b"key"), None);
        assert_eq!(sight.attribute(ids[3]), Some(AnyValue::String(b"0")));
        assert!(sight.attribute(ids[19]).is_some() && sight.attribute(ids[0]).is_none());
        let set = |numbers: &[usize]| {
            numbers.iter().fold(KeySet::NONE, |set, number| set.and(KeySet::of(ids[*number])))
        };
        assert!(read.has(set(&[])) && read.has(set(&[3, 7])));
        assert!(!read.has(set(&[3, 4])) && !read.has(set(&[0])));
        assert!(read.has(set(&[18])), "a key that is looked for by itself is never missed");
    }
}
