//! The fields of records: by what paths they go, and how each is read from the record's bytes.
//!
//! Source: contrib `pkg/ottl/contexts/internal/ctx{span,spanevent,scope,resource}`.

use super::log::LogField;
use super::metric::{MetricField, PointField};
use crate::ottl::error::EvalError;
use crate::ottl::scope::View;
use crate::ottl::time::Time;
use crate::ottl::value::{Map, Message, Text, Value};
use crate::wire::{Fields, Span, field, trace_state};

/// A path that has a meaning in a context, without its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum Field {
    Resource(ResourceField),
    Scope(ScopeField),
    Span(SpanField),
    SpanEvent(EventField),
    Metric(MetricField),
    Point(PointField),
    Log(LogField),
    /// A scratch map that the statements of one group share for one record; conditions find it
    /// empty.
    Cache,
}

/// What `resource.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum ResourceField {
    Attributes,
    DroppedAttributesCount,
    SchemaUrl,
}

/// What `scope.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum ScopeField {
    Name,
    Version,
    Attributes,
    DroppedAttributesCount,
    SchemaUrl,
}

/// What `span.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum SpanField {
    TraceId,
    TraceIdText,
    SpanId,
    SpanIdText,
    ParentSpanId,
    ParentSpanIdText,
    TraceState,
    Name,
    Kind,
    KindText,
    KindDeprecatedText,
    StartTimeUnixNano,
    EndTimeUnixNano,
    StartTime,
    EndTime,
    Attributes,
    DroppedAttributesCount,
    Events,
    DroppedEventsCount,
    Links,
    DroppedLinksCount,
    Status,
    StatusCode,
    StatusMessage,
    Flags,
}

/// What `spanevent.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum EventField {
    TimeUnixNano,
    Time,
    Name,
    Attributes,
    DroppedAttributesCount,
    EventIndex,
}

pub(super) const RESOURCE: [(&str, Field); 3] = [
    ("attributes", Field::Resource(ResourceField::Attributes)),
    ("dropped_attributes_count", Field::Resource(ResourceField::DroppedAttributesCount)),
    ("schema_url", Field::Resource(ResourceField::SchemaUrl)),
];

pub(super) const SCOPE: [(&str, Field); 5] = [
    ("name", Field::Scope(ScopeField::Name)),
    ("version", Field::Scope(ScopeField::Version)),
    ("attributes", Field::Scope(ScopeField::Attributes)),
    ("dropped_attributes_count", Field::Scope(ScopeField::DroppedAttributesCount)),
    ("schema_url", Field::Scope(ScopeField::SchemaUrl)),
];

pub(super) const SPAN: [(&str, Field); 25] = [
    ("trace_id", Field::Span(SpanField::TraceId)),
    ("trace_id.string", Field::Span(SpanField::TraceIdText)),
    ("span_id", Field::Span(SpanField::SpanId)),
    ("span_id.string", Field::Span(SpanField::SpanIdText)),
    ("parent_span_id", Field::Span(SpanField::ParentSpanId)),
    ("parent_span_id.string", Field::Span(SpanField::ParentSpanIdText)),
    ("trace_state", Field::Span(SpanField::TraceState)),
    ("name", Field::Span(SpanField::Name)),
    ("kind", Field::Span(SpanField::Kind)),
    ("kind.string", Field::Span(SpanField::KindText)),
    ("kind.deprecated_string", Field::Span(SpanField::KindDeprecatedText)),
    ("start_time_unix_nano", Field::Span(SpanField::StartTimeUnixNano)),
    ("end_time_unix_nano", Field::Span(SpanField::EndTimeUnixNano)),
    ("start_time", Field::Span(SpanField::StartTime)),
    ("end_time", Field::Span(SpanField::EndTime)),
    ("attributes", Field::Span(SpanField::Attributes)),
    ("dropped_attributes_count", Field::Span(SpanField::DroppedAttributesCount)),
    ("events", Field::Span(SpanField::Events)),
    ("dropped_events_count", Field::Span(SpanField::DroppedEventsCount)),
    ("links", Field::Span(SpanField::Links)),
    ("dropped_links_count", Field::Span(SpanField::DroppedLinksCount)),
    ("status", Field::Span(SpanField::Status)),
    ("status.code", Field::Span(SpanField::StatusCode)),
    ("status.message", Field::Span(SpanField::StatusMessage)),
    ("flags", Field::Span(SpanField::Flags)),
];

pub(super) const SPAN_EVENT: [(&str, Field); 6] = [
    ("time_unix_nano", Field::SpanEvent(EventField::TimeUnixNano)),
    ("time", Field::SpanEvent(EventField::Time)),
    ("name", Field::SpanEvent(EventField::Name)),
    ("attributes", Field::SpanEvent(EventField::Attributes)),
    ("dropped_attributes_count", Field::SpanEvent(EventField::DroppedAttributesCount)),
    ("event_index", Field::SpanEvent(EventField::EventIndex)),
];

/// The enums that spans and their events know.
pub(in crate::ottl) const SPAN_ENUMS: [(&str, i64); 9] = [
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
];

/// What each kind is called by `kind.string`.
pub(super) const KINDS: [&str; 6] =
    ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];

impl Field {
    /// Whether keys may follow.
    pub(super) const fn has_keys(self) -> bool {
        matches!(
            self,
            Field::Resource(ResourceField::Attributes)
                | Field::Scope(ScopeField::Attributes)
                | Field::Span(SpanField::Attributes | SpanField::TraceState)
                | Field::SpanEvent(EventField::Attributes)
                | Field::Metric(MetricField::Metadata)
                | Field::Point(PointField::Attributes)
                | Field::Log(LogField::Attributes | LogField::Body)
                | Field::Cache
        )
    }

    /// Whether what the keys look into may be a list, or no map at all.
    #[inline]
    pub(in crate::ottl) const fn is_any_value(self) -> bool {
        matches!(self, Field::Log(LogField::Body))
    }

    /// Reads the field.
    #[inline]
    pub(in crate::ottl) fn read<'a>(self, view: &View<'a>) -> Result<Value<'a>, EvalError> {
        match self {
            Field::Span(field) => Ok(field.read(view.span()?)),
            Field::Resource(field) => Ok(field.read(view)),
            Field::Scope(field) => field.read(view),
            Field::SpanEvent(field) => field.read(view),
            Field::Metric(field) => Ok(field.read(view.metric()?)),
            Field::Point(field) => field.read(view),
            Field::Log(field) => field.read(view.log()?),
            Field::Cache => Ok(Value::Map(Map::Fields { message: view.cache, number: 1 })),
        }
    }

    /// Reads the attribute under `key`, if the field is a map of attributes.
    #[inline]
    pub(in crate::ottl) fn read_key<'a>(
        self,
        view: &View<'a>,
        key: &[u8],
    ) -> Result<Option<Value<'a>>, EvalError> {
        Ok(match self {
            Field::Span(SpanField::Attributes) => view.span_attribute(key)?.map(Value::from),
            Field::Span(SpanField::TraceState) => {
                let header = view.span()?.trace_state;
                // A header that does not parse gives nil, a member that is not there an empty text.
                let member = trace_state::get(header, key).ok();
                member.map(|member| Value::text(member.unwrap_or_default()))
            }
            other => match other.read(view)? {
                Value::Map(map) => map.get(key),
                _ => None,
            },
        })
    }
}

impl ResourceField {
    fn read<'a>(self, view: &View<'a>) -> Value<'a> {
        match self {
            ResourceField::Attributes => Value::Map(Map::Resource(view.resource.resource())),
            ResourceField::DroppedAttributesCount => {
                let dropped = view.resource.resource().messages().map(|message| count(message, 2));
                Value::Int(dropped.last().unwrap_or_default())
            }
            ResourceField::SchemaUrl => Value::text(view.resource.schema_url()),
        }
    }
}

impl ScopeField {
    fn read<'a>(self, view: &View<'a>) -> Result<Value<'a>, EvalError> {
        let scope = view.scope()?;
        Ok(match self {
            ScopeField::Name => Value::text(scope.name()),
            ScopeField::Version => Value::text(scope.version()),
            ScopeField::Attributes => Value::Map(Map::Scope(scope)),
            ScopeField::DroppedAttributesCount => {
                let dropped = scope.scope_messages().map(|message| count(message, 4));
                Value::Int(dropped.last().unwrap_or_default())
            }
            ScopeField::SchemaUrl => Value::text(scope.schema_url()),
        })
    }
}

impl SpanField {
    fn read<'a>(self, span: &Span<'a>) -> Value<'a> {
        match self {
            SpanField::TraceId => Value::TraceId(id(span.trace_id)),
            SpanField::TraceIdText => Value::Text(Text::hex(&id::<16>(span.trace_id))),
            SpanField::SpanId => Value::SpanId(id(span.span_id)),
            SpanField::SpanIdText => Value::Text(Text::hex(&id::<8>(span.span_id))),
            SpanField::ParentSpanId => Value::SpanId(id(span.parent_span_id)),
            SpanField::ParentSpanIdText => Value::Text(Text::hex(&id::<8>(span.parent_span_id))),
            SpanField::TraceState => Value::text(span.trace_state),
            SpanField::Name => Value::text(span.name),
            SpanField::Kind => Value::Int(enumeration(span.kind)),
            SpanField::KindText => Value::text(kind_of(span, KINDS, "").as_bytes()),
            SpanField::KindDeprecatedText => {
                let names = SPAN_ENUMS.first_chunk::<6>().expect("six kinds").map(|(name, _)| name);
                Value::text(kind_of(span, names, "").as_bytes())
            }
            SpanField::StartTimeUnixNano => Value::Int(span.start_ns.cast_signed()),
            SpanField::EndTimeUnixNano => Value::Int(span.end_ns.cast_signed()),
            SpanField::StartTime => Value::Time(Time::from_timestamp(span.start_ns)),
            SpanField::EndTime => Value::Time(Time::from_timestamp(span.end_ns)),
            SpanField::Attributes => Value::Map(Map::Fields { message: span.raw, number: 9 }),
            SpanField::DroppedAttributesCount => Value::Int(count(span.raw, 10)),
            SpanField::Events => Value::Message(Message::Events(span.raw)),
            SpanField::DroppedEventsCount => Value::Int(count(span.raw, 12)),
            SpanField::Links => Value::Message(Message::Links(span.raw)),
            SpanField::DroppedLinksCount => Value::Int(count(span.raw, 14)),
            SpanField::Status => Value::Message(Message::Status),
            SpanField::StatusCode => Value::Int(enumeration(last_varint(span.status, 3))),
            SpanField::StatusMessage => Value::text(last_bytes(span.status, 2)),
            SpanField::Flags => Value::Int(i64::from(span.flags)),
        }
    }
}

impl EventField {
    fn read<'a>(self, view: &View<'a>) -> Result<Value<'a>, EvalError> {
        let event = view.inner()?;
        Ok(match self {
            EventField::TimeUnixNano => Value::Int(last_fixed64(event, 1).cast_signed()),
            EventField::Time => Value::Time(Time::from_timestamp(last_fixed64(event, 1))),
            EventField::Name => Value::text(last_bytes(event, 2)),
            EventField::Attributes => Value::Map(Map::Fields { message: event, number: 3 }),
            EventField::DroppedAttributesCount => Value::Int(count(event, 4)),
            // The Collector evaluates conditions without telling them which event it is.
            EventField::EventIndex => match view.index {
                Some(index) => Value::Int(index),
                None => {
                    return Err(EvalError::fixed("\"event_index\" is not set in this condition"));
                }
            },
        })
    }
}

fn kind_of(span: &Span<'_>, names: [&'static str; 6], unknown: &'static str) -> &'static str {
    usize::try_from(span.kind).ok().and_then(|kind| names.get(kind)).copied().unwrap_or(unknown)
}

/// An id of another length cannot come from a decoder of the Collector; it reads as zeros.
pub(super) fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// Enums are 32 bits wide, and signed.
#[allow(clippy::cast_possible_truncation, reason = "as protobuf has it")]
pub(super) fn enumeration(varint: u64) -> i64 {
    i64::from((varint as u32).cast_signed())
}

/// A count of 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "as protobuf has it")]
pub(super) fn count(message: &[u8], number: u32) -> i64 {
    i64::from(last_varint(message, number) as u32)
}

pub(super) fn last_varint(message: &[u8], number: u32) -> u64 {
    let values = fields(message, number).filter_map(|value| match value {
        field::Value::Varint(value) => Some(value),
        _ => None,
    });
    values.last().unwrap_or_default()
}

pub(super) fn last_fixed64(message: &[u8], number: u32) -> u64 {
    let values = fields(message, number).filter_map(|value| match value {
        field::Value::Fixed64(value) => Some(value),
        _ => None,
    });
    values.last().unwrap_or_default()
}

pub(super) fn last_bytes(message: &[u8], number: u32) -> &[u8] {
    fields(message, number).filter_map(field::Value::bytes).last().unwrap_or_default()
}

pub(super) fn fields(message: &[u8], number: u32) -> impl Iterator<Item = field::Value<'_>> {
    Fields::new(message).filter(move |field| field.number == number).map(|field| field.value)
}

/// A `sint32`.
#[allow(clippy::cast_possible_truncation, reason = "a sint32 has 32 bits; more are ignored")]
pub(super) fn zigzag(varint: u64) -> i64 {
    let bits = varint as u32;
    i64::from((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
}
