//! Metrics and their data points, read in place.
//!
//! As everywhere below a record's own fields, bad framing ends an iteration early.

mod point;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::field::{Field, Fields, Value};

pub use point::{
    Buckets, Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint,
    SummaryDataPoint,
};

/// What a metric's data points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// Last values: [`NumberDataPoint`].
    Gauge,
    /// Sums: [`NumberDataPoint`].
    Sum,
    /// Counts in buckets with explicit bounds: [`HistogramDataPoint`].
    Histogram,
    /// Counts in buckets of exponential width: [`ExponentialHistogramDataPoint`].
    ExponentialHistogram,
    /// Quantiles: [`SummaryDataPoint`].
    Summary,
}

impl DataKind {
    /// The field of a `Metric` that holds this kind of data.
    pub const fn field(self) -> u32 {
        match self {
            DataKind::Gauge => 5,
            DataKind::Sum => 7,
            DataKind::Histogram => 9,
            DataKind::ExponentialHistogram => 10,
            DataKind::Summary => 11,
        }
    }

    /// The field of its data points that holds their attributes.
    pub const fn attributes_field(self) -> u32 {
        match self {
            DataKind::Gauge | DataKind::Sum | DataKind::Summary => 7,
            DataKind::Histogram => 9,
            DataKind::ExponentialHistogram => 1,
        }
    }

    pub(super) const fn of_field(number: u32) -> Option<Self> {
        Some(match number {
            5 => DataKind::Gauge,
            7 => DataKind::Sum,
            9 => DataKind::Histogram,
            10 => DataKind::ExponentialHistogram,
            11 => DataKind::Summary,
            _ => return None,
        })
    }
}

/// What a data point's value refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Temporality {
    /// The default; also every value that OTLP does not define.
    #[default]
    Unspecified,
    /// The time since the last data point.
    Delta,
    /// The time since a fixed start.
    Cumulative,
}

impl Temporality {
    /// Its number in OTLP.
    pub const fn number(self) -> u64 {
        match self {
            Temporality::Unspecified => 0,
            Temporality::Delta => 1,
            Temporality::Cumulative => 2,
        }
    }
}

/// A metric without its data points, borrowed, read in one pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metric<'a> {
    /// UTF-8 by contract; not checked.
    pub name: &'a [u8],
    /// For people.
    pub description: &'a [u8],
    /// UCUM.
    pub unit: &'a [u8],
    /// What its data points are; `None` when it has none.
    pub kind: Option<DataKind>,
    /// Of sums and histograms.
    pub temporality: Temporality,
    /// Of sums: whether they only grow.
    pub monotonic: bool,
    /// The whole metric.
    pub raw: &'a [u8],
    /// The fields from the first of the kind that counts: another kind before it, as a decoder
    /// has it, is gone with all that came before.
    from_data: &'a [u8],
}

impl<'a> Metric<'a> {
    /// Reads a `Metric` message; of several kinds of data the last one counts.
    pub fn read(raw: &'a [u8]) -> Self {
        let mut metric = Self { raw, ..Self::default() };
        let mut rest = raw;
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (1, Value::Bytes(content)) => metric.name = content,
                (2, Value::Bytes(content)) => metric.description = content,
                (3, Value::Bytes(content)) => metric.unit = content,
                (number, Value::Bytes(_)) => {
                    let kind = DataKind::of_field(number).or(metric.kind);
                    if kind != metric.kind {
                        (metric.kind, metric.from_data) = (kind, rest);
                    }
                }
                _ => {}
            }
            rest = rest.split_at(field.raw.len()).1;
        }
        for field in metric.data_fields() {
            match (field.number, field.value) {
                (2, Value::Varint(1)) => metric.temporality = Temporality::Delta,
                (2, Value::Varint(2)) => metric.temporality = Temporality::Cumulative,
                (2, Value::Varint(_)) => metric.temporality = Temporality::Unspecified,
                (3, Value::Varint(flag)) => metric.monotonic = flag != 0,
                _ => {}
            }
        }
        metric
    }

    /// The content of each data point, to be read as [`Metric::kind`] tells.
    pub fn points(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.data_fields().filter(|field| field.number == 1).filter_map(|field| field.value.bytes())
    }

    /// The fields from the first that holds data that counts.
    pub(super) fn data(&self) -> &'a [u8] {
        self.from_data
    }

    /// The fields that are not its data, of whatever kind: name, unit, and what OTLP does not know.
    pub(crate) fn header_fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        Fields::new(self.raw).filter(|field| {
            DataKind::of_field(field.number).is_none() || field.value.bytes().is_none()
        })
    }

    /// The content of the message that holds the data; of one that occurs twice, all that it holds.
    pub fn merged_data(&self) -> Cow<'a, [u8]> {
        let mut contents = self.contents();
        let first = contents.next().unwrap_or_default();
        match contents.next() {
            None => Cow::Borrowed(first),
            Some(second) => {
                let mut data = [first, second].concat();
                contents.for_each(|content| data.extend_from_slice(content));
                Cow::Owned(data)
            }
        }
    }

    /// The fields of the messages that hold the data.
    pub(crate) fn data_fields(&self) -> impl Iterator<Item = Field<'a>> + Clone + use<'a> {
        self.contents().flat_map(Fields::new)
    }

    /// The messages that hold the data: protobuf merges one that occurs twice.
    fn contents(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let number = self.kind.map(DataKind::field);
        Fields::new(self.from_data)
            .filter(move |field| Some(field.number) == number)
            .filter_map(|field| field.value.bytes())
    }
}
