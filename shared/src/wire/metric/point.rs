//! Data points and their exemplars.
//!
//! What a metric's points are, [`DataKind`](super::DataKind) tells; each kind is a message of its
//! own, with fields of its own numbers.

use crate::wire::attribute::Attributes;
use crate::wire::field::{Fields, Value, read_varint};

/// The bit of a data point's flags that says it holds no value: the series ended.
const NO_RECORDED_VALUE: u64 = 1;

/// A number, as data points hold them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A signed integer.
    Int(i64),
    /// A double.
    Double(f64),
}

impl Number {
    /// As a double; integers above 2^53 lose precision.
    #[allow(clippy::cast_precision_loss, reason = "what a reader that wants doubles asks for")]
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

/// A data point of a gauge or a sum.
#[derive(Debug, Clone, Copy, Default)]
pub struct NumberDataPoint<'a> {
    /// Nanoseconds since the Unix epoch; 0 if unknown.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The value, if one is set.
    pub value: Option<Number>,
    /// Whether the point says that its series ended.
    pub no_recorded_value: bool,
    raw: &'a [u8],
}

impl<'a> NumberDataPoint<'a> {
    /// Reads a `NumberDataPoint` message.
    pub fn read(raw: &'a [u8]) -> Self {
        let mut point = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (2, Value::Fixed64(nanos)) => point.start_ns = nanos,
                (3, Value::Fixed64(nanos)) => point.time_ns = nanos,
                (4, Value::Fixed64(bits)) => {
                    point.value = Some(Number::Double(f64::from_bits(bits)));
                }
                (6, Value::Fixed64(bits)) => point.value = Some(Number::Int(bits.cast_signed())),
                (8, Value::Varint(flags)) => point.no_recorded_value = ends_series(flags),
                _ => {}
            }
        }
        point
    }

    /// The point's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 7)
    }

    /// Values that were counted, each with where it came from.
    pub fn exemplars(&self) -> impl Iterator<Item = Exemplar<'a>> + Clone + use<'a> {
        Exemplar::all(self.raw, 5)
    }
}

/// A data point of a histogram.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistogramDataPoint<'a> {
    /// Nanoseconds since the Unix epoch; 0 if unknown.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Number of values.
    pub count: u64,
    /// Sum of the values, if it is known.
    pub sum: Option<f64>,
    /// The least value, if it is known.
    pub min: Option<f64>,
    /// The greatest value, if it is known.
    pub max: Option<f64>,
    /// Whether the point says that its series ended.
    pub no_recorded_value: bool,
    raw: &'a [u8],
}

impl<'a> HistogramDataPoint<'a> {
    /// Reads a `HistogramDataPoint` message.
    pub fn read(raw: &'a [u8]) -> Self {
        let mut point = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (2, Value::Fixed64(nanos)) => point.start_ns = nanos,
                (3, Value::Fixed64(nanos)) => point.time_ns = nanos,
                (4, Value::Fixed64(count)) => point.count = count,
                (5, Value::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
                (10, Value::Varint(flags)) => point.no_recorded_value = ends_series(flags),
                (11, Value::Fixed64(bits)) => point.min = Some(f64::from_bits(bits)),
                (12, Value::Fixed64(bits)) => point.max = Some(f64::from_bits(bits)),
                _ => {}
            }
        }
        point
    }

    /// The number of values in each bucket; one more than there are bounds, or none.
    pub fn bucket_counts(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        fixed64s(self.raw, 6)
    }

    /// The upper bounds of all buckets but the last; a bucket includes its upper bound.
    pub fn explicit_bounds(&self) -> impl Iterator<Item = f64> + Clone + use<'a> {
        fixed64s(self.raw, 7).map(f64::from_bits)
    }

    /// The point's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 9)
    }

    /// Values that were counted, each with where it came from.
    pub fn exemplars(&self) -> impl Iterator<Item = Exemplar<'a>> + Clone + use<'a> {
        Exemplar::all(self.raw, 8)
    }
}

/// A data point of an exponential histogram.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExponentialHistogramDataPoint<'a> {
    /// Nanoseconds since the Unix epoch; 0 if unknown.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Number of values.
    pub count: u64,
    /// Sum of the values, if it is known.
    pub sum: Option<f64>,
    /// Bucket `i` holds the values in (b^i, b^(i+1)], where b = 2^(2^-scale).
    pub scale: i32,
    /// Number of values that are 0, or nearer to it than the zero threshold.
    pub zero_count: u64,
    /// Buckets of the values above zero.
    pub positive: Buckets<'a>,
    /// Buckets of the magnitudes of the values below zero.
    pub negative: Buckets<'a>,
    /// The least value, if it is known.
    pub min: Option<f64>,
    /// The greatest value, if it is known.
    pub max: Option<f64>,
    /// How far from zero values may be that count as zeros.
    pub zero_threshold: f64,
    /// Whether the point says that its series ended.
    pub no_recorded_value: bool,
    raw: &'a [u8],
}

impl<'a> ExponentialHistogramDataPoint<'a> {
    /// Reads an `ExponentialHistogramDataPoint` message.
    pub fn read(raw: &'a [u8]) -> Self {
        let mut point = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (2, Value::Fixed64(nanos)) => point.start_ns = nanos,
                (3, Value::Fixed64(nanos)) => point.time_ns = nanos,
                (4, Value::Fixed64(count)) => point.count = count,
                (5, Value::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
                (6, Value::Varint(bits)) => point.scale = zigzag(bits),
                (7, Value::Fixed64(count)) => point.zero_count = count,
                (8, Value::Bytes(buckets)) => point.positive = Buckets::read(buckets),
                (9, Value::Bytes(buckets)) => point.negative = Buckets::read(buckets),
                (10, Value::Varint(flags)) => point.no_recorded_value = ends_series(flags),
                (12, Value::Fixed64(bits)) => point.min = Some(f64::from_bits(bits)),
                (13, Value::Fixed64(bits)) => point.max = Some(f64::from_bits(bits)),
                (14, Value::Fixed64(bits)) => point.zero_threshold = f64::from_bits(bits),
                _ => {}
            }
        }
        point
    }

    /// The point's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 1)
    }

    /// Values that were counted, each with where it came from.
    pub fn exemplars(&self) -> impl Iterator<Item = Exemplar<'a>> + Clone + use<'a> {
        Exemplar::all(self.raw, 11)
    }
}

/// The buckets of an exponential histogram on one side of zero.
#[derive(Debug, Clone, Copy, Default)]
pub struct Buckets<'a> {
    /// Index of the first bucket.
    pub offset: i32,
    raw: &'a [u8],
}

impl<'a> Buckets<'a> {
    pub(super) fn read(raw: &'a [u8]) -> Self {
        let mut buckets = Self { raw, offset: 0 };
        for field in Fields::new(raw) {
            if let (1, Value::Varint(bits)) = (field.number, field.value) {
                buckets.offset = zigzag(bits);
            }
        }
        buckets
    }

    /// The number of values in each bucket, from [`Buckets::offset`] on.
    pub fn counts(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        Fields::new(self.raw).filter(|field| field.number == 2).flat_map(|field| {
            let (mut packed, single) = match field.value {
                Value::Bytes(packed) => (packed, None),
                Value::Varint(count) => (&[][..], Some(count)),
                _ => (&[][..], None),
            };
            std::iter::from_fn(move || {
                let (count, rest) = read_varint(packed)?;
                packed = rest;
                Some(count)
            })
            .chain(single)
        })
    }
}

/// A data point of a summary.
#[derive(Debug, Clone, Copy, Default)]
pub struct SummaryDataPoint<'a> {
    /// Nanoseconds since the Unix epoch; 0 if unknown.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Whether the point says that its series ended.
    pub no_recorded_value: bool,
    raw: &'a [u8],
}

impl<'a> SummaryDataPoint<'a> {
    /// Reads a `SummaryDataPoint` message.
    pub fn read(raw: &'a [u8]) -> Self {
        let mut point = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (2, Value::Fixed64(nanos)) => point.start_ns = nanos,
                (3, Value::Fixed64(nanos)) => point.time_ns = nanos,
                (4, Value::Fixed64(count)) => point.count = count,
                (5, Value::Fixed64(bits)) => point.sum = f64::from_bits(bits),
                (8, Value::Varint(flags)) => point.no_recorded_value = ends_series(flags),
                _ => {}
            }
        }
        point
    }

    /// Pairs of a quantile, from 0 to 1, and its value.
    pub fn quantiles(&self) -> impl Iterator<Item = (f64, f64)> + Clone + use<'a> {
        Fields::new(self.raw)
            .filter(|field| field.number == 6)
            .filter_map(|field| field.value.bytes())
            .map(|entry| {
                let (mut quantile, mut value) = (0.0, 0.0);
                for field in Fields::new(entry) {
                    match (field.number, field.value) {
                        (1, Value::Fixed64(bits)) => quantile = f64::from_bits(bits),
                        (2, Value::Fixed64(bits)) => value = f64::from_bits(bits),
                        _ => {}
                    }
                }
                (quantile, value)
            })
    }

    /// The point's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 7)
    }
}

/// A value that was counted, and where it came from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exemplar<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The value, if one is set.
    pub value: Option<Number>,
    /// The trace it came from; empty if unknown.
    pub trace_id: &'a [u8],
    /// The span it came from; empty if unknown.
    pub span_id: &'a [u8],
    raw: &'a [u8],
}

impl<'a> Exemplar<'a> {
    /// Reads an `Exemplar` message.
    pub fn read(raw: &'a [u8]) -> Self {
        let mut exemplar = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (2, Value::Fixed64(nanos)) => exemplar.time_ns = nanos,
                (3, Value::Fixed64(bits)) => {
                    exemplar.value = Some(Number::Double(f64::from_bits(bits)));
                }
                (4, Value::Bytes(id)) => exemplar.span_id = id,
                (5, Value::Bytes(id)) => exemplar.trace_id = id,
                (6, Value::Fixed64(bits)) => exemplar.value = Some(Number::Int(bits.cast_signed())),
                _ => {}
            }
        }
        exemplar
    }

    /// The attributes of the value that its series does not have.
    pub fn filtered_attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 7)
    }

    fn all(point: &'a [u8], number: u32) -> impl Iterator<Item = Self> + Clone + use<'a> {
        Fields::new(point)
            .filter(move |field| field.number == number)
            .filter_map(|field| field.value.bytes())
            .map(Self::read)
    }
}

fn ends_series(flags: u64) -> bool {
    flags & NO_RECORDED_VALUE != 0
}

#[allow(clippy::cast_possible_truncation, reason = "a sint32 has 32 bits; more are ignored")]
fn zigzag(bits: u64) -> i32 {
    let bits = bits as u32;
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

/// A repeated `fixed64` or `double` field, packed or not.
fn fixed64s(message: &[u8], number: u32) -> impl Iterator<Item = u64> + Clone {
    Fields::new(message).filter(move |field| field.number == number).flat_map(|field| {
        let (packed, single) = match field.value {
            Value::Bytes(packed) => (packed, None),
            Value::Fixed64(bits) => (&[][..], Some(bits)),
            _ => (&[][..], None),
        };
        packed.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).chain(single)
    })
}
