//! Batches for tests, and requests read back by an independent decoder.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use shared::Batch;
use shared::wire::{Signal, Writer};

use super::trace::TraceId;

/// A span of a test: everything else is made from these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TestSpan {
    /// Trace id; 0 writes none.
    pub(super) trace: u64,
    /// Unique number, which becomes the span's name.
    pub(super) number: u64,
    /// Chooses resource and scope.
    pub(super) service: u64,
    /// Bytes of an attribute that only takes room.
    pub(super) padding: usize,
    /// Whether it failed.
    pub(super) error: bool,
    /// Whether it has no parent.
    pub(super) root: bool,
}

impl TestSpan {
    /// A small span that did not fail.
    pub(super) fn new(trace: u64, number: u64) -> Self {
        Self { trace, number, service: 0, padding: 0, error: false, root: false }
    }
}

/// The bytes of a trace id.
pub(super) fn trace_id(number: u64) -> TraceId {
    u128::from(number).to_be_bytes()
}

/// A request with these spans in this order; neighbours of one service share an entry.
pub(super) fn batch(spans: &[TestSpan]) -> Batch {
    let mut writer = Writer::new();
    for entry in spans.chunk_by(|a, b| a.service == b.service) {
        let service = entry[0].service;
        writer.message(1, |writer| {
            writer.message(1, |resource| {
                resource.string_attribute(1, b"service.name", format!("s{service}").as_bytes());
            });
            // Two scope entries with one header, and fields that OTLP does not know.
            for half in entry.chunks(entry.len().div_ceil(2)) {
                writer.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, format!("l{service}").as_bytes()));
                    for span in half {
                        scope.message(2, |writer| write_span(writer, span));
                    }
                    scope.bytes(3, b"scope schema");
                    scope.varint(900, service);
                });
            }
            writer.bytes(3, b"resource schema");
            writer.varint(901, service);
        });
    }
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

fn write_span(writer: &mut Writer, span: &TestSpan) {
    if span.trace != 0 {
        writer.bytes(1, &trace_id(span.trace));
    }
    writer.bytes(2, &span.number.to_be_bytes());
    if !span.root {
        writer.bytes(4, &[5; 8]);
    }
    writer.bytes(5, span.number.to_string().as_bytes());
    writer.fixed64(7, 1_000_000 + span.number);
    writer.fixed64(8, 2_000_000 + span.number);
    writer.string_attribute(9, b"padding", "x".repeat(span.padding).as_bytes());
    if span.error {
        writer.message(15, |status| status.varint(3, 2));
    }
}

/// The spans of a request, and how many resource entries it has. Every span is checked to stand
/// under its own resource and scope with all their fields.
#[track_caller]
pub(super) fn read(batch: &Batch) -> (Vec<TestSpan>, usize) {
    let request = ExportTraceServiceRequest::decode(batch.bytes().clone()).unwrap();
    let mut spans = Vec::new();
    for entry in &request.resource_spans {
        assert_eq!(entry.schema_url, "resource schema");
        let attribute = &entry.resource.as_ref().unwrap().attributes[0];
        let value = format!("{:?}", attribute.value);
        for scope in &entry.scope_spans {
            assert_eq!(scope.schema_url, "scope schema");
            let library = &scope.scope.as_ref().unwrap().name;
            let service: u64 = library.trim_start_matches('l').parse().unwrap();
            assert!(value.contains(&format!("\"s{service}\"")), "{value} is not s{service}");
            spans.extend(scope.spans.iter().map(|span| {
                TestSpan {
                    trace: span
                        .trace_id
                        .as_slice()
                        .try_into()
                        .map_or(0, |id| u64::try_from(u128::from_be_bytes(id)).unwrap()),
                    number: span.name.parse().unwrap(),
                    service,
                    padding: format!("{:?}", span.attributes[0].value).matches('x').count(),
                    error: span.status.as_ref().is_some_and(|status| status.code == 2),
                    root: span.parent_span_id.is_empty(),
                }
            }));
        }
    }
    assert_eq!(spans.len(), batch.items());
    // The decoder passes over unknown fields, so look for them in the bytes.
    for entry in shared::wire::export::resources(batch.bytes()) {
        let has = |message, number| shared::wire::Fields::new(message).any(|f| f.number == number);
        assert!(has(entry.content, 901));
        assert!(entry.scopes().all(|scope| has(scope.content, 900)));
    }
    (spans, request.resource_spans.len())
}
