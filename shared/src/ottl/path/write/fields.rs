//! Where each field stands in its part, and what it is written as.

use std::borrow::Cow;

use super::scalar::{
    Place, Scalar, Written, count, double, doubles, enumeration, fixed64, flags, hex, integers,
    kind, nanos, sint32, span_id, string, trace_id,
};
use crate::ottl::error::EvalError;
use crate::ottl::path::field::{
    EventField, KINDS, ResourceField, SPAN_ENUMS, ScopeField, SpanField,
};
use crate::ottl::path::log::LogField;
use crate::ottl::path::metric::{MetricField, PointField, flags_field};
use crate::ottl::value::Value;
use crate::wire::{DataKind, Writer};

pub(super) const NO_SUCH_FIELD: EvalError = EvalError::fixed("the data point has no such field");

impl ResourceField {
    pub(super) fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
        Ok(match self {
            ResourceField::SchemaUrl => (Place::At(3), string(value)?),
            ResourceField::Attributes | ResourceField::DroppedAttributesCount => {
                (Place::Nested(1, 2), count(value)?)
            }
        })
    }
}

impl ScopeField {
    pub(super) fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
        Ok(match self {
            ScopeField::Name => (Place::Nested(1, 1), string(value)?),
            ScopeField::Version => (Place::Nested(1, 2), string(value)?),
            ScopeField::SchemaUrl => (Place::At(3), string(value)?),
            ScopeField::Attributes | ScopeField::DroppedAttributesCount => {
                (Place::Nested(1, 4), count(value)?)
            }
        })
    }
}

impl SpanField {
    pub(super) fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
        let deprecated = || SPAN_ENUMS.first_chunk::<6>().expect("six kinds").map(|(name, _)| name);
        Ok(match self {
            SpanField::TraceId => (Place::At(1), trace_id(value)?),
            SpanField::TraceIdText => (Place::At(1), hex::<16>(value)?),
            SpanField::SpanId => (Place::At(2), span_id(value)?),
            SpanField::SpanIdText => (Place::At(2), hex::<8>(value)?),
            SpanField::ParentSpanId => (Place::At(4), span_id(value)?),
            SpanField::ParentSpanIdText => (Place::At(4), hex::<8>(value)?),
            SpanField::TraceState => (Place::At(3), string(value)?),
            SpanField::Name => (Place::At(5), string(value)?),
            SpanField::Kind => (Place::At(6), enumeration(value)?),
            SpanField::KindText => (Place::At(6), kind(value, KINDS)?),
            SpanField::KindDeprecatedText => (Place::At(6), kind(value, deprecated())?),
            SpanField::StartTimeUnixNano => (Place::At(7), fixed64(value)?),
            SpanField::EndTimeUnixNano => (Place::At(8), fixed64(value)?),
            SpanField::StartTime => (Place::At(7), nanos(value)?),
            SpanField::EndTime => (Place::At(8), nanos(value)?),
            SpanField::DroppedAttributesCount => (Place::At(10), count(value)?),
            SpanField::DroppedEventsCount => (Place::At(12), count(value)?),
            SpanField::DroppedLinksCount => (Place::At(14), count(value)?),
            SpanField::StatusCode => (Place::Nested(15, 3), enumeration(value)?),
            SpanField::StatusMessage => (Place::Nested(15, 2), string(value)?),
            SpanField::Flags => (Place::At(16), flags(value)?),
            SpanField::Attributes | SpanField::Events | SpanField::Links | SpanField::Status => {
                return Err(UNSETTABLE);
            }
        })
    }
}

const UNSETTABLE: EvalError = EvalError::fixed("the path cannot be set");

impl EventField {
    pub(super) fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
        Ok(match self {
            EventField::TimeUnixNano => (Place::At(1), fixed64(value)?),
            EventField::Time => (Place::At(1), nanos(value)?),
            EventField::Name => (Place::At(2), string(value)?),
            EventField::DroppedAttributesCount => (Place::At(4), count(value)?),
            EventField::Attributes | EventField::EventIndex => return Err(UNSETTABLE),
        })
    }
}

impl LogField {
    pub(super) fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
        Ok(match self {
            LogField::TimeUnixNano => (Place::At(1), fixed64(value)?),
            LogField::ObservedTimeUnixNano => (Place::At(11), fixed64(value)?),
            LogField::Time => (Place::At(1), nanos(value)?),
            LogField::ObservedTime => (Place::At(11), nanos(value)?),
            LogField::SeverityNumber => (Place::At(2), enumeration(value)?),
            LogField::SeverityText => (Place::At(3), string(value)?),
            LogField::BodyText => {
                let mut any = Writer::new();
                string(value)?.write(&mut any, 1);
                (Place::At(5), Scalar::Bytes(Cow::Owned(any.into_vec())))
            }
            LogField::DroppedAttributesCount => (Place::At(7), count(value)?),
            LogField::Flags => (Place::At(8), flags(value)?),
            LogField::TraceId => (Place::At(9), trace_id(value)?),
            LogField::TraceIdText => (Place::At(9), hex::<16>(value)?),
            LogField::SpanId => (Place::At(10), span_id(value)?),
            LogField::SpanIdText => (Place::At(10), hex::<8>(value)?),
            LogField::EventName => (Place::At(12), string(value)?),
            LogField::Attributes | LogField::Body => return Err(UNSETTABLE),
        })
    }
}

impl MetricField {
    /// Nothing where metrics of this kind have no such field, as in the Collector.
    pub(super) fn scalar<'v>(
        self,
        value: &'v Value<'_>,
        kind: Option<DataKind>,
    ) -> Result<Option<(Place, Scalar<'v>)>, EvalError> {
        Ok(Some(match self {
            MetricField::Name => (Place::At(1), string(value)?),
            MetricField::Description => (Place::At(2), string(value)?),
            MetricField::Unit => (Place::At(3), string(value)?),
            MetricField::AggregationTemporality => {
                let number = enumeration(value)?;
                match kind {
                    Some(DataKind::Sum | DataKind::Histogram | DataKind::ExponentialHistogram) => {
                        (Place::Within(2), number)
                    }
                    _ => return Ok(None),
                }
            }
            MetricField::IsMonotonic => {
                let Value::Bool(flag) = value else {
                    return Err(EvalError::wrong_type("a boolean", value.type_name()));
                };
                match kind {
                    Some(DataKind::Sum) => (Place::Within(3), Scalar::Varint(u64::from(*flag))),
                    _ => return Ok(None),
                }
            }
            MetricField::Type | MetricField::DataPoints | MetricField::Metadata => {
                return Err(UNSETTABLE);
            }
        }))
    }
}

impl PointField {
    pub(super) fn scalar<'v>(self, value: &'v Value<'_>, kind: DataKind) -> Written<'v> {
        use DataKind::{ExponentialHistogram, Gauge, Histogram, Sum, Summary};
        Ok(match (self, kind) {
            (PointField::StartTimeUnixNano, _) => (Place::At(2), fixed64(value)?),
            (PointField::TimeUnixNano, _) => (Place::At(3), fixed64(value)?),
            (PointField::StartTime, _) => (Place::At(2), nanos(value)?),
            (PointField::Time, _) => (Place::At(3), nanos(value)?),
            (PointField::Flags, _) => {
                let Scalar::Fixed32(flags) = flags(value)? else { return Err(UNSETTABLE) };
                (Place::At(flags_field(kind)), Scalar::Varint(flags.into()))
            }
            (PointField::ValueDouble, Gauge | Sum) => (Place::Instead(4, 6), double(value)?),
            (PointField::ValueInt, Gauge | Sum) => (Place::Instead(6, 4), fixed64(value)?),
            (PointField::Count, Histogram | ExponentialHistogram | Summary) => {
                (Place::At(4), fixed64(value)?)
            }
            (PointField::Sum, Histogram | ExponentialHistogram | Summary) => {
                (Place::At(5), double(value)?)
            }
            (PointField::BucketCounts, Histogram) => {
                (Place::At(6), Scalar::Fixed64s(integers(value)?))
            }
            (PointField::ExplicitBounds, Histogram) => {
                (Place::At(7), Scalar::Fixed64s(doubles(value)?))
            }
            (PointField::Scale, ExponentialHistogram) => (Place::At(6), sint32(value)?),
            (PointField::ZeroCount, ExponentialHistogram) => (Place::At(7), fixed64(value)?),
            (PointField::PositiveOffset, ExponentialHistogram) => {
                (Place::Nested(8, 1), sint32(value)?)
            }
            (PointField::PositiveBucketCounts, ExponentialHistogram) => {
                (Place::Nested(8, 2), Scalar::Varints(integers(value)?))
            }
            (PointField::NegativeOffset, ExponentialHistogram) => {
                (Place::Nested(9, 1), sint32(value)?)
            }
            (PointField::NegativeBucketCounts, ExponentialHistogram) => {
                (Place::Nested(9, 2), Scalar::Varints(integers(value)?))
            }
            _ => return Err(NO_SUCH_FIELD),
        })
    }
}
