//! How fields are changed: where each stands in its part, and what it is written as.
//!
//! Source: contrib `pkg/ottl/contexts/internal`, the setters.

use std::borrow::Cow;

use super::Field;
use super::field::{
    EventField, KINDS, ResourceField, SPAN_ENUMS, ScopeField, SpanField, last_bytes,
};
use super::log::LogField;
use super::metric::{MetricField, PointField, flags_field};
use crate::ottl::draft::{Change, Part};
use crate::ottl::edit::bytes::{self, Entry};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{int, text, time};
use crate::ottl::lexer::decode_hex;
use crate::ottl::node::{Env, Node};
use crate::ottl::scope::View;
use crate::ottl::value::{List, Value};
use crate::wire::{AnyValue, DataKind, Writer};

/// Where a map keeps its entries: the message within a part that holds them, and their field.
#[derive(Debug, Clone, Copy)]
pub(in crate::ottl) struct MapPlace {
    outer: Option<u32>,
    number: u32,
}

/// The change that makes a field, or what its keys lead to, `value`; none where the field is not
/// there to be changed.
///
/// Keys that are not there yet are added on the way, as in the Collector.
pub(in crate::ottl) fn store<'a>(
    field: Field,
    keys: &'a [Node],
    value: &Value<'_>,
    env: &Env<'a, '_>,
) -> Result<Option<Change>, EvalError> {
    if keys.is_empty() {
        if field.map_place(env.view)?.is_some() {
            let Value::Map(map) = value else {
                return Err(EvalError::wrong_type("a map", value.type_name()));
            };
            return store_entries(field, keys, &bytes::entries(map.clone()), env).map(Some);
        }
        if !field.is_any_value() {
            let part = env.view.part(field.part())?;
            let content = field.write(part, value, env.view)?;
            return Ok(content.map(|content| Change::Part(field.part(), content)));
        }
    }
    if let (Field::Span(SpanField::TraceState), [key]) = (field, keys) {
        let span = env.view.span()?;
        let (key, value) = (text(key.evaluate(env)?)?, text(value.reborrow())?);
        let header = insert_member(span.trace_state, key.as_bytes(), value.as_bytes());
        return Ok(header.map(|header| {
            let content = bytes::replace(span.raw, &[3], |span| span.bytes(3, &header));
            Change::Part(Part::Record, content)
        }));
    }
    let mut any = Writer::new();
    bytes::write_value(&mut any, value)?;
    store_any(field, keys, any.as_slice(), env).map(Some)
}

/// The change that gives a map, or the one that its keys lead to, these entries.
pub(in crate::ottl) fn store_entries<'a>(
    field: Field,
    keys: &'a [Node],
    entries: &[Entry<'_>],
    env: &Env<'a, '_>,
) -> Result<Change, EvalError> {
    if let (Some(place), []) = (field.map_place(env.view)?, keys) {
        let part = env.view.part(field.part())?;
        let content =
            place.edit(part, |message, number| bytes::replace_entries(message, number, entries))?;
        return Ok(Change::Part(field.part(), content));
    }
    let list = bytes::replace_entries(&[], 1, entries)?;
    let mut any = Writer::new();
    any.bytes(6, &list);
    store_any(field, keys, any.as_slice(), env)
}

/// Stores an `AnyValue` message under keys.
fn store_any<'a>(
    field: Field,
    keys: &'a [Node],
    any: &[u8],
    env: &Env<'a, '_>,
) -> Result<Change, EvalError> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(key.evaluate(env)?);
    }
    let part = env.view.part(field.part())?;
    if field.is_any_value() {
        let body = last_bytes(part, 5);
        let is_indexed =
            matches!(AnyValue::read(body), AnyValue::Array(_) | AnyValue::KeyValues(_));
        if !values.is_empty() && !is_indexed {
            let found = Value::from(AnyValue::read(body)).type_name();
            return Err(EvalError::wrong_type("a body that is a map or a list", found));
        }
        let body = bytes::put(body, &values, any)?;
        let content = bytes::replace(part, &[5], |log| log.bytes(5, &body));
        return Ok(Change::Part(field.part(), content));
    }
    let (Some(place), Some((first, rest))) = (field.map_place(env.view)?, values.split_first())
    else {
        return Err(EvalError::fixed("the path cannot be set"));
    };
    let Value::Text(key) = first else {
        return Err(EvalError::wrong_type("a string as key", first.type_name()));
    };
    let content = place.edit(part, |message, number| {
        bytes::put_entry(message, number, key.as_bytes(), |old| bytes::put(old, rest, any))
    })?;
    Ok(Change::Part(field.part(), content))
}

impl MapPlace {
    fn edit(
        self,
        part: &[u8],
        edit: impl FnOnce(&[u8], u32) -> Result<Vec<u8>, EvalError>,
    ) -> Result<Vec<u8>, EvalError> {
        match self.outer {
            None => edit(part, self.number),
            Some(outer) => {
                let inner = edit(&bytes::merged(part, outer), self.number)?;
                Ok(bytes::replace(part, &[outer], |part| part.bytes(outer, &inner)))
            }
        }
    }
}

impl Field {
    /// The part that holds the field.
    pub(in crate::ottl) const fn part(self) -> Part {
        match self {
            Field::Resource(_) => Part::Resource,
            Field::Scope(_) => Part::Scope,
            Field::Span(_) | Field::Metric(_) | Field::Log(_) => Part::Record,
            Field::SpanEvent(_) | Field::Point(_) => Part::Inner,
            Field::Cache => Part::Cache,
        }
    }

    /// Why statements cannot set the field, if they cannot.
    pub(in crate::ottl) const fn unsettable(self) -> Option<&'static str> {
        match self {
            Field::Span(SpanField::Events | SpanField::Links | SpanField::Status)
            | Field::Metric(MetricField::DataPoints)
            | Field::Point(
                PointField::Exemplars
                | PointField::Positive
                | PointField::Negative
                | PointField::QuantileValues,
            ) => Some("cannot be set as a whole"),
            Field::SpanEvent(EventField::EventIndex) => Some("cannot be set"),
            Field::Metric(MetricField::Type) => {
                Some("cannot be set: use convert_sum_to_gauge or convert_gauge_to_sum")
            }
            _ => None,
        }
    }

    /// Where the field keeps its entries, if it is a map.
    pub(in crate::ottl) fn map_place(self, view: &View<'_>) -> Result<Option<MapPlace>, EvalError> {
        let (outer, number) = match self {
            Field::Resource(ResourceField::Attributes) => (Some(1), 1),
            Field::Scope(ScopeField::Attributes) => (Some(1), 3),
            Field::Span(SpanField::Attributes) => (None, 9),
            Field::SpanEvent(EventField::Attributes) => (None, 3),
            Field::Metric(MetricField::Metadata) => (None, 12),
            Field::Log(LogField::Attributes) => (None, 6),
            Field::Point(PointField::Attributes) => match view.metric()?.kind {
                Some(kind) => (None, kind.attributes_field()),
                None => return Ok(None),
            },
            Field::Cache => (None, 1),
            _ => return Ok(None),
        };
        Ok(Some(MapPlace { outer, number }))
    }

    /// The part with the field, which is no map, set to `value`.
    fn write(
        self,
        part: &[u8],
        value: &Value<'_>,
        view: &View<'_>,
    ) -> Result<Option<Vec<u8>>, EvalError> {
        let (place, scalar) = match self {
            Field::Resource(field) => field.scalar(value)?,
            Field::Scope(field) => field.scalar(value)?,
            Field::Span(field) => field.scalar(value)?,
            Field::SpanEvent(field) => field.scalar(value)?,
            Field::Log(field) => field.scalar(value)?,
            Field::Metric(field) => {
                let metric = view.metric()?;
                return Ok(match field.scalar(value, metric.kind)? {
                    None => None,
                    Some((Place::Within(number), scalar)) => {
                        let data = bytes::replace(&metric.merged_data(), &[number], |data| {
                            scalar.write(data, number);
                        });
                        Some(bytes::replace_data(metric.raw, metric.kind, &data))
                    }
                    Some((place, scalar)) => Some(place.write(part, &scalar)),
                });
            }
            Field::Point(field) => {
                let kind = view.metric()?.kind;
                field.scalar(value, kind.ok_or(NO_SUCH_FIELD)?)?
            }
            Field::Cache => return Err(NO_SUCH_FIELD),
        };
        Ok(Some(place.write(part, &scalar)))
    }
}

const NO_SUCH_FIELD: EvalError = EvalError::fixed("the data point has no such field");

/// Where a scalar stands in a part.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Under this number.
    At(u32),
    /// Under the second number, in the message under the first.
    Nested(u32, u32),
    /// Under the first number, in place of what stands there and under the second: a `oneof`.
    Instead(u32, u32),
    /// Under this number in the metric's data.
    Within(u32),
}

/// What is written.
enum Scalar<'v> {
    Bytes(Cow<'v, [u8]>),
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Fixed64s(Vec<u64>),
    Varints(Vec<u64>),
}

impl Place {
    fn write(self, part: &[u8], scalar: &Scalar<'_>) -> Vec<u8> {
        match self {
            Place::At(number) | Place::Within(number) => {
                bytes::replace(part, &[number], |part| scalar.write(part, number))
            }
            Place::Instead(number, other) => {
                bytes::replace(part, &[number, other], |part| scalar.write(part, number))
            }
            Place::Nested(outer, number) => {
                let inner = bytes::merged(part, outer);
                let inner = bytes::replace(&inner, &[number], |inner| scalar.write(inner, number));
                bytes::replace(part, &[outer], |part| part.bytes(outer, &inner))
            }
        }
    }
}

impl Scalar<'_> {
    fn write(&self, writer: &mut Writer, number: u32) {
        match self {
            Scalar::Bytes(bytes) => writer.bytes(number, bytes),
            Scalar::Varint(value) => writer.varint(number, *value),
            Scalar::Fixed64(value) => writer.fixed64(number, *value),
            Scalar::Fixed32(value) => writer.fixed32(number, *value),
            Scalar::Fixed64s(values) => writer.packed_fixed64(number, values.iter().copied()),
            Scalar::Varints(values) => writer.packed_varint(number, values.iter().copied()),
        }
    }
}

type Written<'v> = Result<(Place, Scalar<'v>), EvalError>;

impl ResourceField {
    fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
        Ok(match self {
            ResourceField::SchemaUrl => (Place::At(3), string(value)?),
            ResourceField::Attributes | ResourceField::DroppedAttributesCount => {
                (Place::Nested(1, 2), count(value)?)
            }
        })
    }
}

impl ScopeField {
    fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
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
    fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
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
    fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
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
    fn scalar<'v>(self, value: &'v Value<'_>) -> Written<'v> {
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
    fn scalar<'v>(
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
    fn scalar<'v>(self, value: &'v Value<'_>, kind: DataKind) -> Written<'v> {
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

fn string<'v>(value: &'v Value<'_>) -> Result<Scalar<'v>, EvalError> {
    match value {
        Value::Text(text) => Ok(Scalar::Bytes(Cow::Borrowed(text.as_bytes()))),
        other => Err(EvalError::wrong_type("a string", other.type_name())),
    }
}

fn fixed64(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Fixed64(int(value)?.cast_unsigned()))
}

fn double(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    match value {
        Value::Double(number) => Ok(Scalar::Fixed64(number.to_bits())),
        other => Err(EvalError::wrong_type("a double", other.type_name())),
    }
}

fn nanos(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Fixed64(time(value)?.unix_nanos().cast_unsigned()))
}

/// A count of 32 bits; more are cut off, as in the Collector.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the Collector does it"
)]
fn count(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Varint((int(value)? as u32).into()))
}

/// Enums are 32 bits wide, and signed.
#[allow(clippy::cast_possible_truncation, reason = "as protobuf has it")]
fn enumeration(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Varint(i64::from(int(value)? as i32).cast_unsigned()))
}

#[allow(clippy::cast_possible_truncation, reason = "as the Collector does it")]
fn sint32(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    let number = int(value)? as i32;
    Ok(Scalar::Varint(((number << 1) ^ (number >> 31)).cast_unsigned().into()))
}

fn flags(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    match u32::try_from(int(value)?) {
        Ok(flags) => Ok(Scalar::Fixed32(flags)),
        Err(_) => Err(EvalError::fixed("flags have 32 bits")),
    }
}

fn trace_id<'v>(value: &'v Value<'_>) -> Result<Scalar<'v>, EvalError> {
    match value {
        Value::TraceId(id) => Ok(Scalar::Bytes(Cow::Borrowed(id))),
        other => Err(EvalError::wrong_type("a trace id", other.type_name())),
    }
}

fn span_id<'v>(value: &'v Value<'_>) -> Result<Scalar<'v>, EvalError> {
    match value {
        Value::SpanId(id) => Ok(Scalar::Bytes(Cow::Borrowed(id))),
        other => Err(EvalError::wrong_type("a span id", other.type_name())),
    }
}

fn hex<const N: usize>(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    let digits = text(value.reborrow())?;
    match decode_hex(digits.as_bytes()) {
        Some(id) if id.len() == N => Ok(Scalar::Bytes(Cow::Owned(id))),
        _ => Err(EvalError::detailed(format!("the id must have {} hex digits", 2 * N))),
    }
}

fn kind(value: &Value<'_>, names: [&str; 6]) -> Result<Scalar<'static>, EvalError> {
    let name = text(value.reborrow())?;
    match names.iter().position(|known| known.as_bytes() == name.as_bytes()) {
        Some(kind) => Ok(Scalar::Varint(kind as u64)),
        None => Err(EvalError::fixed("there is no such kind of span")),
    }
}

fn integers(value: &Value<'_>) -> Result<Vec<u64>, EvalError> {
    items(value, |item| Ok(int(item)?.cast_unsigned()))
}

fn doubles(value: &Value<'_>) -> Result<Vec<u64>, EvalError> {
    items(value, |item| match item {
        Value::Double(number) => Ok(number.to_bits()),
        other => Err(EvalError::wrong_type("a double", other.type_name())),
    })
}

fn items(
    value: &Value<'_>,
    read: impl Fn(&Value<'_>) -> Result<u64, EvalError>,
) -> Result<Vec<u64>, EvalError> {
    let Value::List(list) = value.reborrow() else {
        return Err(EvalError::wrong_type("a list", value.type_name()));
    };
    List::into_items(list).iter().map(read).collect()
}

/// The header with `key=value` in front; nothing where either is not allowed in it.
///
/// Source: go.opentelemetry.io/otel/trace, `TraceState.Insert`.
fn insert_member(header: &[u8], key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    const MAX_MEMBERS: usize = 32;
    let is_key = matches!(key, [b'a'..=b'z' | b'0'..=b'9', ..])
        && key.len() <= 256
        && key.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'),
        );
    let is_value = !value.is_empty()
        && value.len() <= 256
        && value.iter().all(|byte| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'='))
        && value.last() != Some(&b' ');
    if !is_key || !is_value || crate::wire::trace_state::get(header, key).is_err() {
        return None;
    }
    let mut members = vec![[key, b"=", value].concat()];
    for member in header.split(|byte| *byte == b',') {
        let member = member.trim_ascii();
        let name = member.split(|byte| *byte == b'=').next().unwrap_or_default();
        if !member.is_empty() && name.trim_ascii() != key && members.len() < MAX_MEMBERS {
            members.push(member.to_vec());
        }
    }
    Some(members.join(&b","[..]))
}
