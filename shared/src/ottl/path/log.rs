//! The fields of log records.
//!
//! Source: contrib `pkg/ottl/contexts/internal/ctxlog`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::field::{Field, count, enumeration, id};
use crate::ottl::error::EvalError;
use crate::ottl::functions::text_like;
use crate::ottl::time::Time;
use crate::ottl::value::{Map, Text, Value};
use crate::wire::LogRecord;

/// What `log.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ottl) enum LogField {
    TimeUnixNano,
    ObservedTimeUnixNano,
    Time,
    ObservedTime,
    SeverityNumber,
    SeverityText,
    Body,
    BodyText,
    Attributes,
    DroppedAttributesCount,
    Flags,
    TraceId,
    TraceIdText,
    SpanId,
    SpanIdText,
    EventName,
}

pub(super) const LOG: [(&str, Field); 16] = [
    ("time_unix_nano", Field::Log(LogField::TimeUnixNano)),
    ("observed_time_unix_nano", Field::Log(LogField::ObservedTimeUnixNano)),
    ("time", Field::Log(LogField::Time)),
    ("observed_time", Field::Log(LogField::ObservedTime)),
    ("severity_number", Field::Log(LogField::SeverityNumber)),
    ("severity_text", Field::Log(LogField::SeverityText)),
    ("body", Field::Log(LogField::Body)),
    ("body.string", Field::Log(LogField::BodyText)),
    ("attributes", Field::Log(LogField::Attributes)),
    ("dropped_attributes_count", Field::Log(LogField::DroppedAttributesCount)),
    ("flags", Field::Log(LogField::Flags)),
    ("trace_id", Field::Log(LogField::TraceId)),
    ("trace_id.string", Field::Log(LogField::TraceIdText)),
    ("span_id", Field::Log(LogField::SpanId)),
    ("span_id.string", Field::Log(LogField::SpanIdText)),
    ("event_name", Field::Log(LogField::EventName)),
];

/// The enums that log records know.
pub(in crate::ottl) const LOG_ENUMS: [(&str, i64); 25] = [
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_TRACE2", 2),
    ("SEVERITY_NUMBER_TRACE3", 3),
    ("SEVERITY_NUMBER_TRACE4", 4),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_DEBUG2", 6),
    ("SEVERITY_NUMBER_DEBUG3", 7),
    ("SEVERITY_NUMBER_DEBUG4", 8),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_INFO2", 10),
    ("SEVERITY_NUMBER_INFO3", 11),
    ("SEVERITY_NUMBER_INFO4", 12),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_WARN2", 14),
    ("SEVERITY_NUMBER_WARN3", 15),
    ("SEVERITY_NUMBER_WARN4", 16),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_ERROR2", 18),
    ("SEVERITY_NUMBER_ERROR3", 19),
    ("SEVERITY_NUMBER_ERROR4", 20),
    ("SEVERITY_NUMBER_FATAL", 21),
    ("SEVERITY_NUMBER_FATAL2", 22),
    ("SEVERITY_NUMBER_FATAL3", 23),
    ("SEVERITY_NUMBER_FATAL4", 24),
];

impl LogField {
    pub(super) fn read<'a>(self, log: &LogRecord<'a>) -> Result<Value<'a>, EvalError> {
        Ok(match self {
            LogField::TimeUnixNano => Value::Int(log.time_ns.cast_signed()),
            LogField::ObservedTimeUnixNano => Value::Int(log.observed_ns.cast_signed()),
            LogField::Time => Value::Time(Time::from_timestamp(log.time_ns)),
            LogField::ObservedTime => Value::Time(Time::from_timestamp(log.observed_ns)),
            LogField::SeverityNumber => Value::Int(enumeration(log.severity_number)),
            LogField::SeverityText => Value::text(log.severity_text),
            LogField::Body => Value::from(log.body()),
            LogField::BodyText => Value::Text(as_text(Value::from(log.body()))?),
            LogField::Attributes => Value::Map(Map::Fields { message: log.raw, number: 6 }),
            LogField::DroppedAttributesCount => Value::Int(count(log.raw, 7)),
            LogField::Flags => Value::Int(log.flags.into()),
            LogField::TraceId => Value::TraceId(id(log.trace_id)),
            LogField::TraceIdText => Value::Text(Text::hex(&id::<16>(log.trace_id))),
            LogField::SpanId => Value::SpanId(id(log.span_id)),
            LogField::SpanIdText => Value::Text(Text::hex(&id::<8>(log.span_id))),
            LogField::EventName => Value::text(log.event_name),
        })
    }
}

/// A stored value as a text: bytes in base64, nothing as an empty text, lists and maps as JSON.
pub(in crate::ottl) fn as_text(value: Value<'_>) -> Result<Text<'_>, EvalError> {
    match value {
        Value::Bytes(bytes) => Ok(Text::Owned(STANDARD.encode(bytes).into_bytes())),
        other => Ok(text_like(other)?.unwrap_or(Text::Borrowed(b""))),
    }
}
