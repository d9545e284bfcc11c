//! The protobuf exposition format: `io.prometheus.client.MetricFamily` messages, each behind its
//! length. Only here do native histograms have a form.
//!
//! A message says how long it is before it begins, so a family is in memory while it is written;
//! one of more than [`MESSAGE_BYTES`] goes out as several messages of the same name, which
//! Prometheus reads as one.
//!
//! Source: `prometheus/client_model`, `metrics.proto`.

use shared::wire::Writer;
use shared::wire::write::put_varint;

use super::exemplar::{Exemplar, between};
use super::histogram::{Histogram, Native, Spans};
use super::label_set::LabelSet;
use super::value::{FamilyKind, Point, Summary, Value};

/// Where a family is cut.
const MESSAGE_BYTES: usize = 4 << 20;

/// Whether native histograms have their buckets with explicit bounds beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Classic {
    Beside,
    LeftOut,
}

/// A family on its way into the answer.
#[derive(Default)]
pub(crate) struct Family {
    metrics: Writer,
}

impl Family {
    /// Adds a series.
    pub(crate) fn add(
        &mut self,
        labels: &LabelSet,
        point: &Point,
        time_ns: Option<u64>,
        classic: Classic,
    ) {
        self.metrics.message(4, |metric| {
            for (name, value) in labels.iter() {
                write_label(metric, name, value);
            }
            match &point.value {
                Value::Counter(value) => metric.message(3, |counter| {
                    counter.double(1, *value);
                    if let Some(exemplar) = point.exemplars.first() {
                        write_exemplar(counter, 2, exemplar);
                    }
                    write_time(counter, 3, created(point));
                }),
                Value::UpDown(value) | Value::Gauge(value) => {
                    metric.message(2, |gauge| gauge.double(1, *value));
                }
                Value::Summary(summary) => {
                    metric.message(4, |message| write_summary(message, summary, point));
                }
                Value::Histogram(histogram) => metric.message(7, |message| {
                    write_counts(message, histogram.count, histogram.sum, point);
                    write_buckets(message, histogram, &point.exemplars);
                }),
                Value::Exponential(exponential) => metric.message(7, |message| {
                    let sum = exponential.sum().unwrap_or_default();
                    write_counts(message, exponential.count(), sum, point);
                    let native = Native::of_exponential(exponential);
                    if native.is_none() || classic == Classic::Beside {
                        let classic = Histogram::of_exponential(exponential);
                        write_buckets(message, &classic, &point.exemplars);
                    }
                    if let Some(native) = native {
                        write_native(message, &native, &point.exemplars);
                    }
                }),
            }
            if let Some(time_ns) = time_ns {
                metric.varint(6, time_ns / 1_000_000);
            }
        });
    }

    /// Whether it is time to write what there is.
    pub(crate) fn is_large(&self) -> bool {
        self.metrics.len() >= MESSAGE_BYTES
    }

    /// Writes what was added, if there is anything.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, name: &str, kind: FamilyKind, help: &str) {
        if self.metrics.is_empty() {
            return;
        }
        let mut head = Writer::new();
        head.bytes(1, name.as_bytes());
        head.bytes(2, help.as_bytes());
        let type_number = match kind {
            FamilyKind::Counter => 0,
            FamilyKind::Gauge => 1,
            FamilyKind::Summary => 2,
            FamilyKind::Histogram => 4,
        };
        head.varint(3, type_number);
        put_varint(out, (head.len() + self.metrics.len()) as u64);
        out.extend_from_slice(head.as_slice());
        out.extend_from_slice(self.metrics.as_slice());
        self.metrics.clear();
    }
}

fn write_label(message: &mut Writer, name: &[u8], value: &[u8]) {
    message.message(1, |label| {
        label.bytes(1, name);
        label.bytes(2, value);
    });
}

fn write_summary(message: &mut Writer, summary: &Summary, point: &Point) {
    message.varint(1, summary.count);
    message.double(2, summary.sum);
    for (quantile, value) in &summary.quantiles {
        message.message(3, |message| {
            message.double(1, *quantile);
            message.double(2, *value);
        });
    }
    write_time(message, 4, created(point));
}

fn write_counts(message: &mut Writer, count: u64, sum: f64, point: &Point) {
    message.varint(1, count);
    message.double(2, sum);
    write_time(message, 15, created(point));
}

fn write_buckets(message: &mut Writer, histogram: &Histogram, exemplars: &[Exemplar]) {
    let mut low = f64::NEG_INFINITY;
    let last = (f64::INFINITY, histogram.count);
    for (bound, count) in histogram.buckets.iter().copied().chain([last]) {
        let exemplar = between(exemplars, low, bound);
        low = bound;
        // What is in the last one is known by the count.
        if bound == f64::INFINITY && exemplar.is_none() {
            continue;
        }
        message.message(3, |bucket| {
            bucket.varint(1, count);
            bucket.double(2, bound);
            if let Some(exemplar) = exemplar {
                write_exemplar(bucket, 3, exemplar);
            }
        });
    }
}

fn write_native(message: &mut Writer, native: &Native, exemplars: &[Exemplar]) {
    message.zigzag(5, i64::from(native.schema));
    message.double(6, native.zero_threshold);
    message.varint(7, native.zero_count);
    write_spans(message, (9, 10), &native.negative);
    write_spans(message, (12, 13), &native.positive);
    // One without a time is none to Prometheus.
    for exemplar in exemplars.iter().filter(|exemplar| exemplar.time_ns != 0) {
        write_exemplar(message, 16, exemplar);
    }
}

fn write_spans(message: &mut Writer, (spans, deltas): (u32, u32), side: &Spans) {
    for (offset, length) in &side.spans {
        message.message(spans, |span| {
            span.zigzag(1, *offset);
            span.varint(2, *length);
        });
    }
    for delta in &side.deltas {
        message.zigzag(deltas, *delta);
    }
}

fn write_exemplar(message: &mut Writer, number: u32, exemplar: &Exemplar) {
    message.message(number, |message| {
        for (name, value) in exemplar.labels.iter() {
            write_label(message, name, value);
        }
        message.double(2, exemplar.value);
        write_time(message, 3, exemplar.time_ns);
    });
}

/// Since when the point counts, unless that is unknown.
fn created(point: &Point) -> u64 {
    if point.start_ns < 1_000_000_000 { 0 } else { point.start_ns }
}

/// A `google.protobuf.Timestamp`, unless it is 0.
fn write_time(message: &mut Writer, number: u32, time_ns: u64) {
    if time_ns != 0 {
        message.message(number, |time| {
            time.varint(1, time_ns / 1_000_000_000);
            time.varint(2, time_ns % 1_000_000_000);
        });
    }
}
