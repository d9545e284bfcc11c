//! Log records and data points that go with spans.
//!
//! For each span of a plan there is one record of the plan's signal with the same resource and
//! scope, which names that span: so the same seed makes the same keys in every signal.

use shared::wire::{DataKind, Writer};

use super::draft::{Attributes, Kind, Span, Status};
use super::encode::put_attributes;

/// What is measured of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instrument {
    /// The metric's name.
    pub(super) name: &'static str,
    unit: &'static str,
    /// `kind` as its field in a `Metric`.
    field: u32,
}

impl Instrument {
    const fn new(name: &'static str, unit: &'static str, kind: DataKind) -> Self {
        Self { name, unit, field: kind.field() }
    }

    /// The instrument for `span`: one for each kind of span, with other data each.
    pub(super) fn of(span: &Span) -> Self {
        match span.kind {
            Kind::Server => Self::new("server.request.duration", "s", DataKind::Histogram),
            Kind::Client => {
                Self::new("client.request.duration", "s", DataKind::ExponentialHistogram)
            }
            Kind::Producer => Self::new("messages.sent", "{message}", DataKind::Sum),
            Kind::Consumer => Self::new("messages.consumed", "{message}", DataKind::Sum),
            Kind::Internal => Self::new("step.load", "1", DataKind::Gauge),
        }
    }

    fn is_histogram(self) -> bool {
        [DataKind::Histogram.field(), DataKind::ExponentialHistogram.field()].contains(&self.field)
    }

    /// A `Metric` message with these data points.
    pub(super) fn encode(self, points: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(1, self.name.as_bytes());
        writer.bytes(3, self.unit.as_bytes());
        writer.message(self.field, |writer| {
            for point in points {
                writer.bytes(1, point);
            }
            let is_sum = self.field == DataKind::Sum.field();
            if is_sum || self.is_histogram() {
                // Cumulative, as SDKs have it by default.
                writer.varint(2, 2);
            }
            if is_sum {
                writer.varint(3, 1);
            }
        });
        writer.into_vec()
    }
}

/// What a span's data point is told from others by.
fn point_attributes(span: &Span) -> Attributes {
    let outcome = if span.status == Status::Error { "error" } else { "ok" };
    vec![("operation", super::draft::Value::Text(span.name.clone())), ("outcome", outcome.into())]
}

#[allow(clippy::cast_precision_loss, reason = "a duration in seconds")]
fn seconds(span: &Span) -> f64 {
    (span.end_ns - span.start_ns) as f64 / 1e9
}

/// The data point of `span`.
pub(super) fn encode_point(span: &Span) -> Vec<u8> {
    let instrument = Instrument::of(span);
    let mut writer = Writer::with_capacity(160);
    let exponential = instrument.field == DataKind::ExponentialHistogram.field();
    if exponential {
        put_attributes(&mut writer, 1, &point_attributes(span));
    }
    writer.fixed64(2, span.start_ns);
    writer.fixed64(3, span.end_ns);
    match instrument.field {
        field if field == DataKind::Histogram.field() => {
            let bounds = [0.01, 0.1, 1.0];
            let bucket = bounds.iter().filter(|bound| seconds(span) > **bound).count();
            writer.fixed64(4, 1);
            writer.double(5, seconds(span));
            writer.packed_fixed64(6, (0..4).map(|index| u64::from(index == bucket)));
            writer.packed_fixed64(7, bounds.iter().map(|bound: &f64| bound.to_bits()));
            put_exemplar(&mut writer, 8, span);
            put_attributes(&mut writer, 9, &point_attributes(span));
        }
        _ if exponential => {
            writer.fixed64(4, 1);
            writer.double(5, seconds(span));
            writer.zigzag(6, 0);
            writer.message(8, |buckets| {
                buckets.zigzag(1, 0);
                buckets.packed_varint(2, std::iter::once(1));
            });
            put_exemplar(&mut writer, 11, span);
        }
        _ => {
            writer.double(4, seconds(span));
            put_exemplar(&mut writer, 5, span);
            put_attributes(&mut writer, 7, &point_attributes(span));
        }
    }
    writer.into_vec()
}

fn put_exemplar(writer: &mut Writer, number: u32, span: &Span) {
    writer.message(number, |exemplar| {
        exemplar.fixed64(2, span.end_ns);
        exemplar.double(3, seconds(span));
        exemplar.bytes(4, &span.span_id);
        exemplar.bytes(5, &span.trace_id);
    });
}

/// The log record of `span`.
pub(super) fn encode_log(span: &Span) -> Vec<u8> {
    let (number, text) = match span.status {
        Status::Error => (17, "ERROR"),
        Status::Ok => (9, "INFO"),
        Status::Unset => (5, "DEBUG"),
    };
    let mut writer = Writer::with_capacity(400);
    writer.fixed64(1, span.end_ns);
    writer.varint(2, number);
    writer.bytes(3, text.as_bytes());
    writer.message(5, |body| body.bytes(1, format!("{} done", span.name).as_bytes()));
    put_attributes(&mut writer, 6, &span.attributes);
    writer.fixed32(8, 1);
    writer.bytes(9, &span.trace_id);
    writer.bytes(10, &span.span_id);
    writer.fixed64(11, span.end_ns);
    writer.into_vec()
}
