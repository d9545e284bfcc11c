//! The labels of one series, in one piece of memory.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::labels::{Labels, join};
use super::names::escaped_label;

/// Stands behind each name and each value; no byte of UTF-8 is this one.
const END: u8 = 0xff;

/// Labels in their order, shared by those who hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelSet(Arc<[u8]>);

impl LabelSet {
    /// In the order of their names.
    pub(crate) fn new(labels: &Labels) -> Self {
        Self::of_pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// In the order given.
    pub(crate) fn of_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            for text in [name, value] {
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(END);
            }
        }
        Self(bytes.into())
    }

    /// Names and values, each of them UTF-8.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut texts = self.0.split(|byte| *byte == END);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// What it holds, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.len()
    }

    /// With names that every scraper takes; values whose names coincide then are joined.
    pub(crate) fn escaped(&self) -> Self {
        let names: Vec<_> = self.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        let names: Vec<Cow<'_, str>> = names.iter().map(|name| escaped_label(name)).collect();
        if names.is_sorted_by(|one, other| one < other) {
            let mut bytes = Vec::with_capacity(self.0.len() + names.len());
            for (name, (_, value)) in names.iter().zip(self.iter()) {
                for text in [name.as_bytes(), value] {
                    bytes.extend_from_slice(text);
                    bytes.push(END);
                }
            }
            return Self(bytes.into());
        }
        let mut labels = Labels::new();
        for (name, (_, value)) in names.into_iter().zip(self.iter()) {
            join(&mut labels, name.into_owned(), String::from_utf8_lossy(value).into_owned());
        }
        Self::new(&labels)
    }
}

/// By names and values: a text comes before those that it begins.
impl Ord for LabelSet {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.0.iter().zip(&*other.0).find(|(one, other)| one != other) {
            // The end of a text is the least.
            Some((one, other)) => one.wrapping_add(1).cmp(&other.wrapping_add(1)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::of_pairs(pairs.iter().copied())
    }

    #[test]
    fn labels_come_out_as_they_went_in() {
        for pairs in [&[][..], &[("a", "")], &[("a", "x\"y"), ("ü.b", "\u{10ffff}\0")]] {
            let found: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            assert_eq!(set(pairs).iter().collect::<Vec<_>>(), found);
        }
    }

    #[test]
    fn order_is_that_of_names_and_values() {
        let ordered = [
            set(&[]),
            set(&[("a", "")]),
            set(&[("a", "1")]),
            set(&[("a", "1"), ("b", "1")]),
            set(&[("a", "10")]),
            set(&[("a", "2")]),
            set(&[("aa", "1")]),
            set(&[("aü", "1")]),
        ];
        assert!(ordered.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn escaped_names_that_coincide_are_joined() {
        let labels = set(&[("2 cents", "z"), ("http.method", "a"), ("http_method", "b")]);
        let expected = set(&[("http_method", "a;b"), ("key_2_cents", "z")]);
        assert_eq!(labels.escaped(), expected);
    }
}
