//! Items of all signals alike: every generated record names a span, its own or the one it was
//! written for, and so can be told from every other.

use shared::wire::{
    self, Attributes, DataKind, Fields, LogRecord, Metric, Resource, ScopeEntry, Span, Value,
};
use shared::{Batch, Signal};

use crate::generate::encode::fingerprint;

/// A span, a log record or a data point, where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Its resource.
    pub resource: Resource<'a>,
    /// Its scope, with all records there.
    pub scope: ScopeEntry<'a>,
    /// The item itself.
    pub record: Record<'a>,
}

/// One item's record.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// A span.
    Span(Span<'a>),
    /// A log record.
    Log(LogRecord<'a>),
    /// The content of a data point, and the metric that it is of.
    Point(Metric<'a>, &'a [u8]),
}

impl<'a> Item<'a> {
    /// The name of its service; empty if there is none.
    pub fn service(&self) -> &'a [u8] {
        let service = self.resource.attribute(b"service.name");
        service.and_then(wire::AnyValue::as_string).unwrap_or_default()
    }

    /// Ids of the trace and of the span that it names; empty if it names none.
    pub fn ids(&self) -> (&'a [u8], &'a [u8]) {
        match self.record {
            Record::Span(span) => (span.trace_id, span.span_id),
            Record::Log(record) => (record.trace_id, record.span_id),
            Record::Point(metric, point) => ids_of_exemplar(metric, point),
        }
    }

    /// The record's own attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        match self.record {
            Record::Span(span) => span.attributes(),
            Record::Log(record) => record.attributes(),
            Record::Point(metric, point) => match metric.kind {
                Some(DataKind::ExponentialHistogram) => Attributes::new(point, 1),
                Some(DataKind::Histogram) => Attributes::new(point, 9),
                _ => Attributes::new(point, 7),
            },
        }
    }

    /// What it adds to the fingerprint of its trace.
    pub fn fingerprint(&self) -> u64 {
        match self.record {
            Record::Span(span) => fingerprint(self.service(), b"", span.raw),
            Record::Log(record) => fingerprint(self.service(), b"", record.raw),
            Record::Point(metric, point) => fingerprint(self.service(), metric.name, point),
        }
    }
}

/// A data point stands for the span of its exemplar.
fn ids_of_exemplar<'a>(metric: Metric<'a>, point: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let exemplars = match metric.kind {
        Some(DataKind::ExponentialHistogram) => 11,
        Some(DataKind::Histogram) => 8,
        _ => 5,
    };
    let (mut trace_id, mut span_id) = (&b""[..], &b""[..]);
    let exemplar = Fields::new(point).find(|field| field.number == exemplars);
    for field in Fields::new(exemplar.and_then(|field| field.value.bytes()).unwrap_or_default()) {
        match (field.number, field.value) {
            (4, Value::Bytes(id)) => span_id = id,
            (5, Value::Bytes(id)) => trace_id = id,
            _ => {}
        }
    }
    (trace_id, span_id)
}

/// Visits all items of a batch.
pub fn for_each_item(batch: &Batch, mut visit: impl FnMut(&Item<'_>)) {
    for entry in wire::export::resources(batch.bytes()) {
        let resource = entry.resource();
        for scope in entry.scopes() {
            for record in scope.records() {
                let mut visit = |record| visit(&Item { resource, scope, record });
                match batch.signal() {
                    Signal::Traces => visit(Record::Span(Span::read(record))),
                    Signal::Logs => visit(Record::Log(LogRecord::read(record))),
                    Signal::Metrics => {
                        let metric = Metric::read(record);
                        metric.points().for_each(|point| visit(Record::Point(metric, point)));
                    }
                }
            }
        }
    }
}
