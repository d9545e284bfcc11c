//! Export requests: the shape all signals share, and the check at the door.

use std::fmt;

use super::attribute::{AnyValue, Attributes};
use super::field::{Field, Fields, Value};

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics; counted in data points.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// All signals, in the Collector's order.
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// The name used in pipeline ids and in the `data_type` label.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes are not an export request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A tag, varint or length that breaks the framing of the named message.
    Framing(&'static str),
    /// A known field with another wire type than its own.
    WireType(&'static str),
    /// A trace id that is neither empty nor 16 bytes long.
    TraceIdLength(usize),
    /// A span id that is neither empty nor 8 bytes long.
    SpanIdLength(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Framing(message) => write!(f, "truncated or corrupt {message}"),
            Malformed::WireType(message) => write!(f, "wrong wire type for a field of {message}"),
            Malformed::TraceIdLength(length) => {
                write!(f, "invalid length for TraceID: {length} bytes, want 0 or 16")
            }
            Malformed::SpanIdLength(length) => {
                write!(f, "invalid length for SpanID: {length} bytes, want 0 or 8")
            }
        }
    }
}

impl std::error::Error for Malformed {}

/// Where the records of a request keep their trace id.
///
/// SDKs write fields in ascending order, so a span's trace id comes first; the Collector writes
/// them in descending order, so it comes last. Knowing that it stands there, once, in every span
/// saves the walk to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Every record begins with its only trace id of 16 bytes.
    Leading,
    /// Every record ends with its only trace id of 16 bytes.
    Trailing,
    /// Anything else.
    Mixed,
}

/// What [`check`] found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Spans, data points or log records.
    pub items: usize,
    /// Where the trace ids stand.
    pub layout: Layout,
}

/// Checks that `request` is an export request of `signal`, framed correctly down to the fields
/// of its records, and counts its items.
///
/// # Errors
/// [`Malformed`] when it is not; the sender must not retry it.
pub fn check(signal: Signal, request: &[u8]) -> Result<Checked, Malformed> {
    let mut layouts = Layouts::default();
    let mut items = 0;
    for_each_message(request, "ExportServiceRequest", 1, |entry| {
        for_each_message_checked(
            entry,
            "resource entry",
            &[1, 2, 3],
            |number, content| match number {
                1 => check_fields(content, "Resource", &[1, 3]),
                2 => for_each_message_checked(
                    content,
                    "scope entry",
                    &[1, 2, 3],
                    |number, content| match number {
                        1 => check_fields(content, "InstrumentationScope", &[1, 2, 3]),
                        2 => {
                            items += check_record(signal, content, &mut layouts)?;
                            Ok(())
                        }
                        _ => Ok(()),
                    },
                ),
                _ => Ok(()),
            },
        )
    })?;
    Ok(Checked { items, layout: layouts.result() })
}

fn check_record(signal: Signal, record: &[u8], layouts: &mut Layouts) -> Result<usize, Malformed> {
    match signal {
        Signal::Traces => check_span(record, layouts).map(|()| 1),
        Signal::Logs => check_log(record, layouts).map(|()| 1),
        Signal::Metrics => count_data_points(record),
    }
}

/// Wire types of a span's fields by number; 8 means that any will do.
const SPAN_TYPES: [u8; 17] = [8, 2, 2, 2, 2, 2, 0, 1, 1, 2, 0, 2, 0, 2, 0, 2, 5];
/// Wire types of a log record's fields by number.
const LOG_TYPES: [u8; 13] = [8, 1, 0, 2, 8, 2, 2, 0, 5, 2, 2, 1, 2];

#[inline]
fn check_span(span: &[u8], layouts: &mut Layouts) -> Result<(), Malformed> {
    check_ids(span, layouts, "Span", &SPAN_TYPES, 1, [2, 4])
}

fn check_log(record: &[u8], layouts: &mut Layouts) -> Result<(), Malformed> {
    check_ids(record, layouts, "LogRecord", &LOG_TYPES, 9, [10, 10])
}

/// Checks a record's top-level fields and notes where its trace id stands.
#[inline]
fn check_ids(
    record: &[u8],
    layouts: &mut Layouts,
    message: &'static str,
    types: &[u8],
    trace_id: u32,
    span_ids: [u32; 2],
) -> Result<(), Malformed> {
    let mut fields = Fields::new(record);
    let (mut ids, mut index, mut id_index, mut id_length) = (0_u32, 0_u32, 0_u32, 0);
    for field in fields.by_ref() {
        check_type(&field, types, message)?;
        if let Value::Bytes(content) = field.value {
            if field.number == trace_id {
                if !matches!(content.len(), 0 | 16) {
                    return Err(Malformed::TraceIdLength(content.len()));
                }
                (ids, id_index, id_length) = (ids + 1, index, content.len());
            } else if span_ids.contains(&field.number) && !matches!(content.len(), 0 | 8) {
                return Err(Malformed::SpanIdLength(content.len()));
            }
        }
        index += 1;
    }
    if fields.is_malformed() {
        return Err(Malformed::Framing(message));
    }
    let canonical = ids == 1 && id_length == 16;
    layouts.note(canonical && id_index == 0, canonical && id_index + 1 == index);
    Ok(())
}

#[inline]
fn check_type(field: &Field<'_>, types: &[u8], message: &'static str) -> Result<(), Malformed> {
    let expected = usize::try_from(field.number).ok().and_then(|number| types.get(number));
    let found = match field.value {
        Value::Varint(_) => 0,
        Value::Fixed64(_) => 1,
        Value::Bytes(_) => 2,
        Value::Group(_) => 3,
        Value::Fixed32(_) => 5,
    };
    match expected {
        Some(&expected) if expected != 8 && expected != found => Err(Malformed::WireType(message)),
        _ => Ok(()),
    }
}

/// The fields of a `Metric` that hold data points.
const METRIC_DATA: [u32; 5] = [5, 7, 9, 10, 11];

fn count_data_points(metric: &[u8]) -> Result<usize, Malformed> {
    let mut points = 0;
    for_each_message_checked(metric, "Metric", &[1, 2, 3, 5, 7, 9, 10, 11, 12], |number, data| {
        if METRIC_DATA.contains(&number) {
            for_each_message(data, "metric data", 1, |_| {
                points += 1;
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(points)
}

/// Visits the messages under `number`; unknown fields pass.
fn for_each_message<'a>(
    message: &'a [u8],
    name: &'static str,
    number: u32,
    mut visit: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for_each_message_checked(message, name, &[number], |_, content| visit(content))
}

/// Visits the messages under `numbers`, which must all be length-delimited.
#[inline]
fn for_each_message_checked<'a>(
    message: &'a [u8],
    name: &'static str,
    numbers: &[u32],
    mut visit: impl FnMut(u32, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    for field in fields.by_ref() {
        if !numbers.contains(&field.number) {
            continue;
        }
        match field.value {
            Value::Bytes(content) => visit(field.number, content)?,
            _ => return Err(Malformed::WireType(name)),
        }
    }
    match fields.is_malformed() {
        true => Err(Malformed::Framing(name)),
        false => Ok(()),
    }
}

fn check_fields(message: &[u8], name: &'static str, numbers: &[u32]) -> Result<(), Malformed> {
    for_each_message_checked(message, name, numbers, |_, _| Ok(()))
}

/// Folds the layouts of records into one.
struct Layouts {
    leading: bool,
    trailing: bool,
    any: bool,
}

impl Default for Layouts {
    fn default() -> Self {
        Self { leading: true, trailing: true, any: false }
    }
}

impl Layouts {
    fn note(&mut self, leading: bool, trailing: bool) {
        self.any = true;
        self.leading &= leading;
        self.trailing &= trailing;
    }

    fn result(&self) -> Layout {
        match self {
            Layouts { any: false, .. } => Layout::Mixed,
            Layouts { leading: true, .. } => Layout::Leading,
            Layouts { trailing: true, .. } => Layout::Trailing,
            Layouts { .. } => Layout::Mixed,
        }
    }
}

/// Reads the resource entries (`ResourceSpans`, `ResourceMetrics`, `ResourceLogs`) of a request.
pub fn resources(request: &[u8]) -> impl Iterator<Item = ResourceEntry<'_>> + Clone {
    Fields::new(request)
        .filter(|field| field.number == 1)
        .filter_map(|field| field.value.bytes())
        .map(|content| ResourceEntry { content })
}

/// A `ResourceSpans`, `ResourceMetrics` or `ResourceLogs` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceEntry<'a> {
    /// The message's content.
    pub content: &'a [u8],
}

impl<'a> ResourceEntry<'a> {
    /// The entry's resource.
    pub fn resource(self) -> Resource<'a> {
        Resource { entry: self.content }
    }

    /// The entry's schema URL; empty if there is none.
    pub fn schema_url(self) -> &'a [u8] {
        last_bytes(self.content, 3)
    }

    /// The scope entries, in their order.
    pub fn scopes(self) -> impl Iterator<Item = ScopeEntry<'a>> + Clone {
        Fields::new(self.content)
            .filter(|field| field.number == 2)
            .filter_map(|field| field.value.bytes())
            .map(|content| ScopeEntry { content })
    }
}

/// What a resource entry says of its resource.
///
/// Protobuf merges a message that occurs twice, so this reads every occurrence.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    entry: &'a [u8],
}

impl<'a> Resource<'a> {
    /// All attributes, in their order.
    pub fn attributes(self) -> impl Iterator<Item = (&'a [u8], AnyValue<'a>)> + Clone {
        self.messages().flat_map(|resource| Attributes::new(resource, 1))
    }

    /// The first value under `key`.
    pub fn attribute(self, key: &[u8]) -> Option<AnyValue<'a>> {
        self.messages().find_map(|resource| Attributes::new(resource, 1).get(key))
    }

    /// The `Resource` messages: none, one, or several to be merged.
    pub fn messages(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        Fields::new(self.entry)
            .filter(|field| field.number == 1)
            .filter_map(|field| field.value.bytes())
    }
}

/// A `ScopeSpans`, `ScopeMetrics` or `ScopeLogs` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeEntry<'a> {
    /// The message's content.
    pub content: &'a [u8],
}

impl<'a> ScopeEntry<'a> {
    /// The scope's name; empty if there is none.
    pub fn name(self) -> &'a [u8] {
        last_bytes(self.scope(), 1)
    }

    /// The scope's version; empty if there is none.
    pub fn version(self) -> &'a [u8] {
        last_bytes(self.scope(), 2)
    }

    /// The `InstrumentationScope` message; the last one if there are several.
    pub fn scope(self) -> &'a [u8] {
        last_bytes(self.content, 1)
    }

    /// The scope's attributes.
    pub fn attributes(self) -> Attributes<'a> {
        Attributes::new(self.scope(), 3)
    }

    /// The schema URL; empty if there is none.
    pub fn schema_url(self) -> &'a [u8] {
        last_bytes(self.content, 3)
    }

    /// The content of each `Span`, `Metric` or `LogRecord`, in their order.
    pub fn records(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        Fields::new(self.content)
            .filter(|field| field.number == 2)
            .filter_map(|field| field.value.bytes())
    }
}

fn last_bytes(message: &[u8], number: u32) -> &[u8] {
    Fields::new(message)
        .filter(|field| field.number == number)
        .filter_map(|field| field.value.bytes())
        .last()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn request(span: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"cart"));
            entry.message(2, |scope| {
                scope.message(1, |name| name.bytes(1, b"lib"));
                scope.bytes(2, span);
            });
            entry.bytes(3, b"https://schema");
        });
        writer.into_vec()
    }

    fn span(order: &[u32]) -> Vec<u8> {
        let mut writer = Writer::new();
        for number in order {
            match number {
                1 => writer.bytes(1, &[7; 16]),
                5 => writer.bytes(5, b"GET /"),
                number => writer.varint(*number, 1),
            }
        }
        writer.into_vec()
    }

    #[track_caller]
    fn layout(order: &[u32], expected: Layout) {
        let checked = check(Signal::Traces, &request(&span(order))).unwrap();
        assert_eq!(checked, Checked { items: 1, layout: expected });
    }

    #[test]
    fn the_place_of_the_trace_id_is_noted() {
        layout(&[1, 5, 6], Layout::Leading);
        layout(&[6, 5, 1], Layout::Trailing);
        layout(&[6, 1, 5], Layout::Mixed);
        layout(&[1, 5, 1], Layout::Mixed);
        layout(&[5, 6], Layout::Mixed);
    }

    #[test]
    fn entries_are_read_with_their_resource_and_scope() {
        let request = request(&span(&[1]));
        let entry = resources(&request).next().unwrap();
        assert_eq!(
            entry.resource().attribute(b"service.name"),
            Some(AnyValue::String(b"cart".as_slice()))
        );
        assert_eq!(entry.schema_url(), b"https://schema");
        let scope = entry.scopes().next().unwrap();
        assert_eq!(scope.name(), b"lib");
        assert_eq!(scope.records().count(), 1);
    }

    #[test]
    fn ids_of_odd_lengths_are_refused() {
        let mut writer = Writer::new();
        writer.bytes(1, &[7; 15]);
        let error = check(Signal::Traces, &request(&writer.into_vec())).unwrap_err();
        assert_eq!(error, Malformed::TraceIdLength(15));
        let mut writer = Writer::new();
        writer.bytes(2, &[7; 16]);
        let error = check(Signal::Traces, &request(&writer.into_vec())).unwrap_err();
        assert_eq!(error, Malformed::SpanIdLength(16));
    }

    #[test]
    fn a_known_field_of_another_type_is_refused() {
        let mut writer = Writer::new();
        writer.varint(5, 1);
        let error = check(Signal::Traces, &request(&writer.into_vec())).unwrap_err();
        assert_eq!(error, Malformed::WireType("Span"));
    }

    #[test]
    fn an_empty_request_is_one_without_items() {
        assert_eq!(check(Signal::Logs, &[]).map(|checked| checked.items), Ok(0));
    }
}
