//! Paths: which there are, and how each is read from the bytes of a record.
//!
//! Source: contrib pkg/ottl/contexts/internal/ctx{span,spanevent,scope,resource}.

use super::Context;
use super::ast;
use super::error::{EvalError, ParseError};
use super::scope::View;
use super::time::Time;
use super::trace_state;
use super::value::{List, Map, Message, Text, Value};
use crate::config::nearest;
use crate::wire::{Fields, Span, field};

/// A path that has a meaning in a context, without its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Resource(ResourceField),
    Scope(ScopeField),
    Span(SpanField),
    SpanEvent(EventField),
    /// The Collector's scratch map; conditions find it empty.
    Cache,
}

/// What `resource.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourceField {
    Attributes,
    DroppedAttributesCount,
    SchemaUrl,
}

/// What `scope.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScopeField {
    Name,
    Version,
    Attributes,
    DroppedAttributesCount,
    SchemaUrl,
}

/// What `span.` may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanField {
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
pub(super) enum EventField {
    TimeUnixNano,
    Time,
    Name,
    Attributes,
    DroppedAttributesCount,
    EventIndex,
}

const RESOURCE: [(&str, Field); 3] = [
    ("attributes", Field::Resource(ResourceField::Attributes)),
    ("dropped_attributes_count", Field::Resource(ResourceField::DroppedAttributesCount)),
    ("schema_url", Field::Resource(ResourceField::SchemaUrl)),
];

const SCOPE: [(&str, Field); 5] = [
    ("name", Field::Scope(ScopeField::Name)),
    ("version", Field::Scope(ScopeField::Version)),
    ("attributes", Field::Scope(ScopeField::Attributes)),
    ("dropped_attributes_count", Field::Scope(ScopeField::DroppedAttributesCount)),
    ("schema_url", Field::Scope(ScopeField::SchemaUrl)),
];

const SPAN: [(&str, Field); 25] = [
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

const SPAN_EVENT: [(&str, Field); 6] = [
    ("time_unix_nano", Field::SpanEvent(EventField::TimeUnixNano)),
    ("time", Field::SpanEvent(EventField::Time)),
    ("name", Field::SpanEvent(EventField::Name)),
    ("attributes", Field::SpanEvent(EventField::Attributes)),
    ("dropped_attributes_count", Field::SpanEvent(EventField::DroppedAttributesCount)),
    ("event_index", Field::SpanEvent(EventField::EventIndex)),
];

/// The enums that spans and their events know.
pub(super) const SPAN_ENUMS: [(&str, i64); 9] = [
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
const KINDS: [&str; 6] = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];

/// A prefix of paths.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    name: &'static str,
    fields: &'static [(&'static str, Field)],
}

const RESOURCE_PREFIX: Prefix = Prefix { name: "resource", fields: &RESOURCE };
const SCOPE_PREFIX: Prefix = Prefix { name: "scope", fields: &SCOPE };
const FORMER_SCOPE_PREFIX: Prefix = Prefix { name: "instrumentation_scope", fields: &SCOPE };
const SPAN_PREFIX: Prefix = Prefix { name: "span", fields: &SPAN };
const SPAN_EVENT_PREFIX: Prefix = Prefix { name: "spanevent", fields: &SPAN_EVENT };

/// Prefixes that the Collector has in other contexts, or behind a gate.
const OTHER_PREFIXES: [&str; 7] =
    ["spanevent", "log", "metric", "datapoint", "exemplar", "profile", "otelcol"];

impl Context {
    /// The prefixes that are legal; the first is the home of paths without one.
    const fn prefixes(self) -> &'static [Prefix] {
        match self {
            Context::Span => &[SPAN_PREFIX, RESOURCE_PREFIX, SCOPE_PREFIX, FORMER_SCOPE_PREFIX],
            Context::SpanEvent => &[
                SPAN_EVENT_PREFIX,
                SPAN_PREFIX,
                RESOURCE_PREFIX,
                SCOPE_PREFIX,
                FORMER_SCOPE_PREFIX,
            ],
        }
    }

    fn home(self) -> Prefix {
        *self.prefixes().first().expect("every context has a home")
    }
}

/// Finds what a path means, and its name with the prefix of its context.
pub(super) fn resolve(path: &ast::Path, context: Context) -> Result<(Field, String), ParseError> {
    let error = |message: String| ParseError::new(path.place.offset, path.place.length, message);
    let (prefix, segments) = match path.segments.split_first() {
        Some((first, rest)) if !rest.is_empty() && first.keys.is_empty() => {
            let named = context.prefixes().iter().find(|prefix| *prefix.name == *first.name);
            match named {
                Some(prefix) => (*prefix, rest),
                None if OTHER_PREFIXES.contains(&&*first.name) => {
                    let valid: Vec<_> =
                        context.prefixes().iter().map(|prefix| prefix.name).collect();
                    return Err(error(format!(
                        "\"{}\" paths cannot be used in {context} conditions (valid prefixes: {})",
                        first.name,
                        valid.join(", ")
                    )));
                }
                None => (context.home(), path.segments.as_slice()),
            }
        }
        _ => (context.home(), path.segments.as_slice()),
    };
    let mut name = String::new();
    for segment in segments {
        name.push_str(if name.is_empty() { "" } else { "." });
        name.push_str(&segment.name);
    }
    if name == "cache" && prefix.name == context.home().name {
        return Ok((Field::Cache, format!("{}.cache", prefix.name)));
    }
    let Some((_, field)) = prefix.fields.iter().find(|(known, _)| *known == name) else {
        return Err(error(unknown_path(&name, prefix, context)));
    };
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        if !segment.keys.is_empty() && (index != last || !field.has_keys()) {
            return Err(error(format!("\"{}\" has no keys", segment.name)));
        }
    }
    if *field == Field::Span(SpanField::TraceState) && segments[last].keys.len() > 1 {
        return Err(error("\"trace_state\" takes exactly one key".to_owned()));
    }
    Ok((*field, format!("{}.{name}", prefix.name)))
}

fn unknown_path(name: &str, prefix: Prefix, context: Context) -> String {
    let known = prefix.fields.iter().map(|(name, _)| *name);
    let hint = match nearest(name, known) {
        Some(near) if prefix.name == context.home().name => format!(", did you mean \"{near}\"?"),
        Some(near) => format!(", did you mean \"{}.{near}\"?", prefix.name),
        None => String::new(),
    };
    format!("unknown path \"{name}\" of a {}{hint}", prefix.name)
}

impl Field {
    /// Whether keys may follow.
    const fn has_keys(self) -> bool {
        matches!(
            self,
            Field::Resource(ResourceField::Attributes)
                | Field::Scope(ScopeField::Attributes)
                | Field::Span(SpanField::Attributes | SpanField::TraceState)
                | Field::SpanEvent(EventField::Attributes)
                | Field::Cache
        )
    }

    /// Reads the field.
    #[inline]
    pub(super) fn read<'a>(self, view: &View<'a>) -> Result<Value<'a>, EvalError> {
        match self {
            Field::Span(field) => Ok(field.read(view.span()?)),
            Field::Resource(field) => Ok(field.read(view)),
            Field::Scope(field) => field.read(view),
            Field::SpanEvent(field) => field.read(view.event()?),
            Field::Cache => Ok(Value::Map(Map::EMPTY)),
        }
    }

    /// Reads the attribute under `key`, if the field is a map of attributes.
    #[inline]
    pub(super) fn read_key<'a>(
        self,
        view: &View<'a>,
        key: &[u8],
    ) -> Result<Option<Value<'a>>, EvalError> {
        Ok(match self {
            Field::Span(SpanField::Attributes) => view.span()?.attribute(key).map(Value::from),
            Field::Span(SpanField::TraceState) => {
                let header = view.span()?.trace_state;
                // A header that does not parse gives nil, a member that is not there an empty text.
                let member = trace_state::member(header, key).ok();
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
    fn read(self, event: &[u8]) -> Result<Value<'_>, EvalError> {
        Ok(match self {
            EventField::TimeUnixNano => Value::Int(last_fixed64(event, 1).cast_signed()),
            EventField::Time => Value::Time(Time::from_timestamp(last_fixed64(event, 1))),
            EventField::Name => Value::text(last_bytes(event, 2)),
            EventField::Attributes => Value::Map(Map::Fields { message: event, number: 3 }),
            EventField::DroppedAttributesCount => Value::Int(count(event, 4)),
            // The Collector evaluates events without telling the condition which it is.
            EventField::EventIndex => {
                return Err(EvalError::fixed("\"event_index\" is not set in this condition"));
            }
        })
    }
}

fn kind_of(span: &Span<'_>, names: [&'static str; 6], unknown: &'static str) -> &'static str {
    usize::try_from(span.kind).ok().and_then(|kind| names.get(kind)).copied().unwrap_or(unknown)
}

/// An id of another length cannot come from a decoder of the Collector; it reads as zeros.
fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// Enums are 32 bits wide, and signed.
#[allow(clippy::cast_possible_truncation, reason = "as protobuf has it")]
fn enumeration(varint: u64) -> i64 {
    i64::from((varint as u32).cast_signed())
}

/// A count of 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "as protobuf has it")]
fn count(message: &[u8], number: u32) -> i64 {
    i64::from(last_varint(message, number) as u32)
}

fn last_varint(message: &[u8], number: u32) -> u64 {
    let values = fields(message, number).filter_map(|value| match value {
        field::Value::Varint(value) => Some(value),
        _ => None,
    });
    values.last().unwrap_or_default()
}

fn last_fixed64(message: &[u8], number: u32) -> u64 {
    let values = fields(message, number).filter_map(|value| match value {
        field::Value::Fixed64(value) => Some(value),
        _ => None,
    });
    values.last().unwrap_or_default()
}

fn last_bytes(message: &[u8], number: u32) -> &[u8] {
    fields(message, number).filter_map(field::Value::bytes).last().unwrap_or_default()
}

fn fields(message: &[u8], number: u32) -> impl Iterator<Item = field::Value<'_>> {
    Fields::new(message).filter(move |field| field.number == number).map(|field| field.value)
}

/// Goes one key deeper into an attribute's value.
///
/// A key that is not in a map gives nil, and ends the walk; anything else that does not fit is an
/// error.
pub(super) fn step<'a>(value: Value<'a>, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match (value, key) {
        (Value::Map(map), Value::Text(key)) => Ok(map.get(key.as_bytes())),
        (Value::Map(_), other) => {
            Err(EvalError::wrong_type("a string as key of a map", other.type_name()))
        }
        (Value::List(list), Value::Int(index)) => list_item(list, *index).map(Some),
        (Value::List(_), other) => {
            Err(EvalError::wrong_type("an integer as key of a list", other.type_name()))
        }
        (value, _) => Err(EvalError::wrong_type("a map or a list to look into", value.type_name())),
    }
}

/// The item at `index`.
pub(super) fn list_item(list: List<'_>, index: i64) -> Result<Value<'_>, EvalError> {
    list.get(index).ok_or(EvalError::fixed("the index is out of bounds"))
}
