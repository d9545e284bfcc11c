//! The fields of metrics and their data points.
//!
//! Source: contrib `pkg/ottl/contexts/internal/ctx{metric,datapoint}`.

use super::field::{Field, count, last_bytes, last_fixed64, last_varint, zigzag};
use crate::ottl::error::EvalError;
use crate::ottl::scope::View;
use crate::ottl::time::Time;
use crate::ottl::value::{List, Map, Message, Value};
use crate::wire::metric::{ExponentialHistogramDataPoint, HistogramDataPoint};
use crate::wire::{DataKind, Metric, field};

/// What `metric.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum MetricField {
    Name,
    Description,
    Unit,
    Type,
    AggregationTemporality,
    IsMonotonic,
    DataPoints,
    Metadata,
}

/// What `datapoint.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum PointField {
    Attributes,
    StartTimeUnixNano,
    TimeUnixNano,
    StartTime,
    Time,
    ValueDouble,
    ValueInt,
    Exemplars,
    Flags,
    Count,
    Sum,
    BucketCounts,
    ExplicitBounds,
    Scale,
    ZeroCount,
    Positive,
    PositiveOffset,
    PositiveBucketCounts,
    Negative,
    NegativeOffset,
    NegativeBucketCounts,
    QuantileValues,
}

pub(super) const METRIC: [(&str, Field); 8] = [
    ("name", Field::Metric(MetricField::Name)),
    ("description", Field::Metric(MetricField::Description)),
    ("unit", Field::Metric(MetricField::Unit)),
    ("type", Field::Metric(MetricField::Type)),
    ("aggregation_temporality", Field::Metric(MetricField::AggregationTemporality)),
    ("is_monotonic", Field::Metric(MetricField::IsMonotonic)),
    ("data_points", Field::Metric(MetricField::DataPoints)),
    ("metadata", Field::Metric(MetricField::Metadata)),
];

pub(super) const POINT: [(&str, Field); 22] = [
    ("attributes", Field::Point(PointField::Attributes)),
    ("start_time_unix_nano", Field::Point(PointField::StartTimeUnixNano)),
    ("time_unix_nano", Field::Point(PointField::TimeUnixNano)),
    ("start_time", Field::Point(PointField::StartTime)),
    ("time", Field::Point(PointField::Time)),
    ("value_double", Field::Point(PointField::ValueDouble)),
    ("value_int", Field::Point(PointField::ValueInt)),
    ("exemplars", Field::Point(PointField::Exemplars)),
    ("flags", Field::Point(PointField::Flags)),
    ("count", Field::Point(PointField::Count)),
    ("sum", Field::Point(PointField::Sum)),
    ("bucket_counts", Field::Point(PointField::BucketCounts)),
    ("explicit_bounds", Field::Point(PointField::ExplicitBounds)),
    ("scale", Field::Point(PointField::Scale)),
    ("zero_count", Field::Point(PointField::ZeroCount)),
    ("positive", Field::Point(PointField::Positive)),
    ("positive.offset", Field::Point(PointField::PositiveOffset)),
    ("positive.bucket_counts", Field::Point(PointField::PositiveBucketCounts)),
    ("negative", Field::Point(PointField::Negative)),
    ("negative.offset", Field::Point(PointField::NegativeOffset)),
    ("negative.bucket_counts", Field::Point(PointField::NegativeBucketCounts)),
    ("quantile_values", Field::Point(PointField::QuantileValues)),
];

/// The enums that metrics know.
pub(in crate::ottl) const METRIC_ENUMS: [(&str, i64); 9] = [
    ("AGGREGATION_TEMPORALITY_UNSPECIFIED", 0),
    ("AGGREGATION_TEMPORALITY_DELTA", 1),
    ("AGGREGATION_TEMPORALITY_CUMULATIVE", 2),
    ("METRIC_DATA_TYPE_NONE", 0),
    ("METRIC_DATA_TYPE_GAUGE", 1),
    ("METRIC_DATA_TYPE_SUM", 2),
    ("METRIC_DATA_TYPE_HISTOGRAM", 3),
    ("METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM", 4),
    ("METRIC_DATA_TYPE_SUMMARY", 5),
];

/// The enums that data points know, besides those of metrics.
pub(in crate::ottl) const POINT_ENUMS: [(&str, i64); 2] =
    [("FLAG_NONE", 0), ("FLAG_NO_RECORDED_VALUE", 1)];

impl MetricField {
    pub(super) fn read<'a>(self, metric: &Metric<'a>) -> Value<'a> {
        match self {
            MetricField::Name => Value::text(metric.name),
            MetricField::Description => Value::text(metric.description),
            MetricField::Unit => Value::text(metric.unit),
            MetricField::Type => Value::Int(match metric.kind {
                None => 0,
                Some(DataKind::Gauge) => 1,
                Some(DataKind::Sum) => 2,
                Some(DataKind::Histogram) => 3,
                Some(DataKind::ExponentialHistogram) => 4,
                Some(DataKind::Summary) => 5,
            }),
            MetricField::AggregationTemporality => match metric.kind {
                Some(DataKind::Sum | DataKind::Histogram | DataKind::ExponentialHistogram) => {
                    Value::Int(metric.temporality.number().cast_signed())
                }
                _ => Value::Nil,
            },
            MetricField::IsMonotonic => match metric.kind {
                Some(DataKind::Sum) => Value::Bool(metric.monotonic),
                _ => Value::Nil,
            },
            MetricField::DataPoints => match metric.kind {
                Some(_) => Value::Message(Message::Points(metric.raw)),
                None => Value::Nil,
            },
            MetricField::Metadata => Value::Map(Map::Fields { message: metric.raw, number: 12 }),
        }
    }
}

impl PointField {
    /// Nil where points of this kind have no such field.
    pub(super) fn read<'a>(self, view: &View<'a>) -> Result<Value<'a>, EvalError> {
        let Some(kind) = view.metric()?.kind else { return Ok(Value::Nil) };
        let point = view.inner()?;
        let time = |number| last_fixed64(point, number);
        Ok(match self {
            PointField::Attributes => {
                Value::Map(Map::Fields { message: point, number: kind.attributes_field() })
            }
            PointField::StartTimeUnixNano => Value::Int(time(2).cast_signed()),
            PointField::TimeUnixNano => Value::Int(time(3).cast_signed()),
            PointField::StartTime => Value::Time(Time::from_timestamp(time(2))),
            PointField::Time => Value::Time(Time::from_timestamp(time(3))),
            PointField::Exemplars => match exemplars_field(kind) {
                Some(number) => Value::Message(Message::Exemplars { point, number }),
                None => Value::Nil,
            },
            PointField::Flags => Value::Int(count(point, flags_field(kind))),
            _ => match kind {
                DataKind::Gauge | DataKind::Sum => self.of_number(point),
                DataKind::Histogram => self.of_histogram(point),
                DataKind::ExponentialHistogram => self.of_exponential(point),
                DataKind::Summary => self.of_summary(point),
            },
        })
    }

    /// A value of the other type reads as 0, as in the Collector.
    fn of_number(self, point: &[u8]) -> Value<'_> {
        let values = crate::wire::Fields::new(point).filter(|field| matches!(field.number, 4 | 6));
        let value = values.last().map(|field| (field.number, field.value));
        match (self, value) {
            (PointField::ValueDouble, Some((4, field::Value::Fixed64(bits)))) => {
                Value::Double(f64::from_bits(bits))
            }
            (PointField::ValueDouble, _) => Value::Double(0.0),
            (PointField::ValueInt, Some((6, field::Value::Fixed64(bits)))) => {
                Value::Int(bits.cast_signed())
            }
            (PointField::ValueInt, _) => Value::Int(0),
            _ => Value::Nil,
        }
    }

    fn of_histogram(self, point: &[u8]) -> Value<'_> {
        match self {
            PointField::Count => Value::Int(last_fixed64(point, 4).cast_signed()),
            PointField::Sum => Value::Double(f64::from_bits(last_fixed64(point, 5))),
            PointField::BucketCounts => counts(HistogramDataPoint::read(point).bucket_counts()),
            PointField::ExplicitBounds => {
                let bounds = HistogramDataPoint::read(point).explicit_bounds();
                Value::List(List::Items(bounds.map(Value::Double).collect()))
            }
            _ => Value::Nil,
        }
    }

    fn of_exponential(self, point: &[u8]) -> Value<'_> {
        let read = || ExponentialHistogramDataPoint::read(point);
        match self {
            PointField::Count => Value::Int(last_fixed64(point, 4).cast_signed()),
            PointField::Sum => Value::Double(f64::from_bits(last_fixed64(point, 5))),
            PointField::Scale => Value::Int(zigzag(last_varint(point, 6))),
            PointField::ZeroCount => Value::Int(last_fixed64(point, 7).cast_signed()),
            PointField::Positive => Value::Message(Message::Buckets(last_bytes(point, 8))),
            PointField::PositiveOffset => Value::Int(read().positive.offset.into()),
            PointField::PositiveBucketCounts => counts(read().positive.counts()),
            PointField::Negative => Value::Message(Message::Buckets(last_bytes(point, 9))),
            PointField::NegativeOffset => Value::Int(read().negative.offset.into()),
            PointField::NegativeBucketCounts => counts(read().negative.counts()),
            _ => Value::Nil,
        }
    }

    fn of_summary(self, point: &[u8]) -> Value<'_> {
        match self {
            PointField::Count => Value::Int(last_fixed64(point, 4).cast_signed()),
            PointField::Sum => Value::Double(f64::from_bits(last_fixed64(point, 5))),
            PointField::QuantileValues => Value::Message(Message::Quantiles(point)),
            _ => Value::Nil,
        }
    }
}

fn counts<'a>(counts: impl Iterator<Item = u64>) -> Value<'a> {
    Value::List(List::Items(counts.map(|count| Value::Int(count.cast_signed())).collect()))
}

/// The field of a data point that holds its exemplars.
pub(in crate::ottl) const fn exemplars_field(kind: DataKind) -> Option<u32> {
    match kind {
        DataKind::Gauge | DataKind::Sum => Some(5),
        DataKind::Histogram => Some(8),
        DataKind::ExponentialHistogram => Some(11),
        DataKind::Summary => None,
    }
}

/// The field of a data point that holds its flags.
pub(in crate::ottl) const fn flags_field(kind: DataKind) -> u32 {
    match kind {
        DataKind::Gauge | DataKind::Sum | DataKind::Summary => 8,
        DataKind::Histogram | DataKind::ExponentialHistogram => 10,
    }
}
