use super::*;
use crate::wire::{ResourceEntry, ScopeEntry, Span, Writer};

mod contexts;
mod functions;
mod groups;
mod histograms;
mod load;
mod metrics;
mod semantics;
mod statements;

/// A request's worth of one span: its resource entry, its scope entry, and the span.
pub(super) struct Fixture {
    resource: Vec<u8>,
    scope: Vec<u8>,
    span: Vec<u8>,
}

pub(super) const TRACE_ID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xff];
pub(super) const SPAN_ID: [u8; 8] = [0xa, 0xb, 0xc, 0xd, 1, 2, 3, 4];

impl Fixture {
    /// The span that most tests ask about.
    pub(super) fn usual() -> Self {
        let mut resource = Writer::new();
        resource.message(1, |resource| {
            resource.string_attribute(1, b"service.name", b"checkout");
            resource.string_attribute(1, b"service.name", b"second");
            resource.varint(2, 7);
        });
        resource.bytes(3, b"https://resource");
        let mut scope = Writer::new();
        scope.message(1, |scope| {
            scope.bytes(1, b"lib");
            scope.bytes(2, b"1.2.3");
            scope.string_attribute(3, b"team", b"payments");
            scope.varint(4, 5);
        });
        scope.bytes(3, b"https://scope");
        Self { resource: resource.into_vec(), scope: scope.into_vec(), span: usual_span() }
    }

    pub(super) fn with_span(span: Vec<u8>) -> Self {
        Self { span, ..Self::usual() }
    }

    pub(super) fn scope(&self) -> SpanScope<'_> {
        SpanScope {
            resource: ResourceEntry { content: &self.resource },
            scope: ScopeEntry { content: &self.scope },
            span: Span::read(&self.span),
        }
    }
}

fn usual_span() -> Vec<u8> {
    let mut span = Writer::new();
    span.bytes(1, &TRACE_ID);
    span.bytes(2, &SPAN_ID);
    span.bytes(3, b"ot=th:8,vendor=x");
    span.bytes(5, b"GET /cart");
    span.varint(6, 2);
    span.fixed64(7, 1_700_000_000_000_000_000);
    span.fixed64(8, 1_700_000_001_500_000_000);
    span.string_attribute(9, b"http.method", b"GET");
    span.int_attribute(9, b"http.status_code", 503);
    span.bool_attribute(9, b"retried", true);
    span.attribute(9, b"ratio", |value| value.double(4, 0.25));
    span.attribute(9, b"blob", |value| value.bytes(7, &[0xca, 0xfe]));
    span.attribute(9, b"no_blob", |value| value.bytes(7, b""));
    span.attribute(9, b"empty", |_| {});
    span.attribute(9, b"list", |value| {
        value.message(5, |list| {
            list.message(1, |item| item.bytes(1, b"a"));
            list.message(1, |item| item.varint(3, 2));
            list.message(1, |item| item.message(6, |map| map.int_attribute(1, b"deep", 9)));
        });
    });
    span.attribute(9, b"map", |value| {
        value.message(6, |map| {
            map.string_attribute(1, b"name", b"inner");
            map.int_attribute(1, b"count", 3);
        });
    });
    span.varint(10, 3);
    for name in [&b"exception"[..], b"retry"] {
        span.message(11, |event| {
            event.fixed64(1, 1_700_000_000_100_000_000);
            event.bytes(2, name);
            event.string_attribute(3, b"exception.type", b"Timeout");
            event.varint(4, 2);
        });
    }
    span.varint(12, 4);
    span.message(13, |link| link.bytes(1, &[1; 16]));
    span.varint(14, 5);
    span.message(15, |status| {
        status.bytes(2, b"boom");
        status.varint(3, 2);
    });
    span.fixed32(16, 0x101);
    span.into_vec()
}

/// What a condition gives on the usual span, or the error's text.
pub(super) fn verdict(text: &str) -> Result<bool, String> {
    verdict_on(text, &Fixture::usual())
}

pub(super) fn verdict_on(text: &str, fixture: &Fixture) -> Result<bool, String> {
    let condition = Condition::parse(text, Context::Span)
        .unwrap_or_else(|error| panic!("{error}\n{}", error.caret(text)));
    condition.matches(&fixture.scope()).map_err(|error| error.to_string())
}

#[track_caller]
pub(super) fn check_true(conditions: &[&str]) {
    for text in conditions {
        assert_eq!(verdict(text), Ok(true), "{text}");
    }
}

#[track_caller]
pub(super) fn check_false(conditions: &[&str]) {
    for text in conditions {
        assert_eq!(verdict(text), Ok(false), "{text}");
    }
}

#[track_caller]
pub(super) fn check_error(text: &str, message: &str) {
    assert_eq!(verdict(text), Err(message.to_owned()), "{text}");
}
