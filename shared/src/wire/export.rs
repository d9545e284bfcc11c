//! Export requests: the shape all signals share, read in place.

use std::fmt;

use super::attribute::{AnyValue, Attributes};
use super::field::{Fields, Value};

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics; counted in data points.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// All signals, in the Collector's order.
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// The name used in pipeline ids and in the `data_type` label.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the resource entries (`ResourceSpans`, `ResourceMetrics`, `ResourceLogs`) of a request.
pub fn resources(request: &[u8]) -> impl Iterator<Item = ResourceEntry<'_>> + Clone {
    messages(request, 1).map(|content| ResourceEntry { content })
}

/// A `ResourceSpans`, `ResourceMetrics` or `ResourceLogs` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceEntry<'a> {
    /// The message's content.
    pub content: &'a [u8],
}

impl<'a> ResourceEntry<'a> {
    /// The entry's resource.
    pub fn resource(self) -> Resource<'a> {
        Resource { entry: self.content }
    }

    /// The entry's schema URL; empty if there is none.
    pub fn schema_url(self) -> &'a [u8] {
        last_bytes(self.content, 3)
    }

    /// The scope entries, in their order.
    pub fn scopes(self) -> impl Iterator<Item = ScopeEntry<'a>> + Clone {
        messages(self.content, 2).map(|content| ScopeEntry { content })
    }
}

/// What a resource entry says of its resource.
///
/// Protobuf merges a message that occurs twice, so this reads every occurrence.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    entry: &'a [u8],
}

impl<'a> Resource<'a> {
    /// All attributes, in their order.
    pub fn attributes(self) -> impl Iterator<Item = (&'a [u8], AnyValue<'a>)> + Clone {
        self.messages().flat_map(|resource| Attributes::new(resource, 1))
    }

    /// The first value under `key`.
    pub fn attribute(self, key: &[u8]) -> Option<AnyValue<'a>> {
        self.messages().find_map(|resource| Attributes::new(resource, 1).get(key))
    }

    /// The `Resource` messages: none, one, or several to be merged.
    pub fn messages(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        messages(self.entry, 1)
    }
}

/// A `ScopeSpans`, `ScopeMetrics` or `ScopeLogs` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeEntry<'a> {
    /// The message's content.
    pub content: &'a [u8],
}

impl<'a> ScopeEntry<'a> {
    /// The scope's name; empty if there is none.
    pub fn name(self) -> &'a [u8] {
        self.scope_text(1)
    }

    /// The scope's version; empty if there is none.
    pub fn version(self) -> &'a [u8] {
        self.scope_text(2)
    }

    /// All attributes of the scope, in their order.
    pub fn attributes(self) -> impl Iterator<Item = (&'a [u8], AnyValue<'a>)> + Clone {
        self.scope_messages().flat_map(|scope| Attributes::new(scope, 3))
    }

    /// The first value of the scope under `key`.
    pub fn attribute(self, key: &[u8]) -> Option<AnyValue<'a>> {
        self.scope_messages().find_map(|scope| Attributes::new(scope, 3).get(key))
    }

    /// The `InstrumentationScope` messages: none, one, or several to be merged.
    pub fn scope_messages(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        messages(self.content, 1)
    }

    /// The schema URL; empty if there is none.
    pub fn schema_url(self) -> &'a [u8] {
        last_bytes(self.content, 3)
    }

    /// The content of each `Span`, `Metric` or `LogRecord`, in their order.
    pub fn records(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        messages(self.content, 2)
    }

    fn scope_text(self, number: u8) -> &'a [u8] {
        self.scope_messages().flat_map(|scope| messages(scope, number)).last().unwrap_or_default()
    }
}

/// The contents of a message's length-delimited fields under one number, which is below 16.
#[inline]
fn messages(message: &[u8], number: u8) -> Messages<'_> {
    Messages { fields: Fields::new(message), number }
}

#[derive(Debug, Clone)]
struct Messages<'a> {
    fields: Fields<'a>,
    number: u8,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each record")]
    fn next(&mut self) -> Option<&'a [u8]> {
        // Most are one behind the other.
        match self.fields.next_tagged(self.number << 3 | 2) {
            Some(content) => Some(content),
            None => {
                let (content, rest) = next_of_any_form(self.fields.clone(), self.number);
                self.fields = rest;
                content
            }
        }
    }
}

#[inline(never)]
fn next_of_any_form(mut fields: Fields<'_>, number: u8) -> (Option<&[u8]>, Fields<'_>) {
    let content = fields.find_map(|field| match field.value {
        Value::Bytes(content) if field.number == u32::from(number) => Some(content),
        _ => None,
    });
    (content, fields)
}

fn last_bytes(message: &[u8], number: u8) -> &[u8] {
    messages(message, number).last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    #[test]
    fn entries_are_read_with_their_resource_and_scope() {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"cart"));
            entry.message(2, |scope| {
                scope.message(1, |name| name.bytes(1, b"lib"));
                scope.bytes(2, b"record");
            });
            entry.bytes(3, b"https://schema");
        });
        let request = writer.into_vec();
        let entry = resources(&request).next().unwrap();
        let service = entry.resource().attribute(b"service.name");
        assert_eq!(service, Some(AnyValue::String(b"cart")));
        assert_eq!(entry.schema_url(), b"https://schema");
        let scope = entry.scopes().next().unwrap();
        assert_eq!(scope.name(), b"lib");
        assert_eq!(scope.records().collect::<Vec<_>>(), [b"record"]);
    }

    #[test]
    fn a_resource_or_scope_given_twice_is_merged() {
        let mut writer = Writer::new();
        writer.message(1, |resource| resource.string_attribute(1, b"a", b"1"));
        writer.message(1, |resource| resource.string_attribute(1, b"b", b"2"));
        let content = writer.into_vec();
        let resource = ResourceEntry { content: &content }.resource();
        assert_eq!(resource.attributes().count(), 2);
        assert_eq!(resource.attribute(b"b"), Some(AnyValue::String(b"2")));

        let mut writer = Writer::new();
        writer.message(1, |scope| {
            scope.bytes(1, b"lib");
            scope.string_attribute(3, b"a", b"1");
        });
        writer.message(1, |scope| scope.bytes(2, b"v2"));
        let content = writer.into_vec();
        let scope = ScopeEntry { content: &content };
        assert_eq!((scope.name(), scope.version()), (&b"lib"[..], &b"v2"[..]));
        assert_eq!(scope.attribute(b"a"), Some(AnyValue::String(b"1")));
        assert_eq!(scope.attributes().count(), 1);
    }
}
