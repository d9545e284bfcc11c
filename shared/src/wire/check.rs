//! The check at the door: whether bytes are an export request, and how many items they carry.
//!
//! Checked are the framing and the wire types of every message from the request down to the
//! fields of spans, log records and data points, and the length of the records' own ids. Not
//! checked is what lies deeper (attributes, events, links, exemplars, bucket runs): readers of
//! those end early where the framing breaks. Nor is text checked for being UTF-8.

use std::fmt;

use super::export::{ResourceEntry, ScopeEntry, Signal, resources};
use super::field::{Field, Fields, Value};
use super::metric::Metric;

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
    /// Every record begins with its only trace id: two bytes of tag and length, then 16 bytes.
    Leading,
    /// Every record ends with its only trace id of 16 bytes.
    Trailing,
    /// Anything else.
    Mixed,
}

/// What [`check()`] found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Spans, data points or log records.
    pub items: usize,
    /// Where the trace ids stand.
    pub layout: Layout,
}

/// Checks that `request` is an export request of `signal`, framed correctly down to the fields
/// of its records and data points, and counts its items.
///
/// # Errors
/// [`Malformed`] when it is not; the sender must not retry it.
pub fn check(signal: Signal, request: &[u8]) -> Result<Checked, Malformed> {
    let mut seen = Seen::default();
    for_each_field(request, "ExportServiceRequest", REQUEST, |number, value| {
        match (number, value) {
            (1, Value::Bytes(entry)) => check_entry(signal, entry, &mut seen),
            _ => Ok(()),
        }
    })?;
    Ok(Checked { items: seen.items, layout: seen.layout() })
}

/// Counts the spans, data points or log records of a request.
pub fn count(signal: Signal, request: &[u8]) -> usize {
    let records = resources(request).flat_map(ResourceEntry::scopes).flat_map(ScopeEntry::records);
    match signal {
        Signal::Traces | Signal::Logs => records.count(),
        Signal::Metrics => records.map(|record| Metric::read(record).points().count()).sum(),
    }
}

/// The wire types that a message's known fields may have: a set of bits for each field number.
/// Unknown fields, those at `ANY` and those beyond the end, may have any.
type Types = &'static [u8];

const VARINT: u8 = 1 << 0;
const I64: u8 = 1 << 1;
const LEN: u8 = 1 << 2;
const I32: u8 = 1 << 5;
const ANY: u8 = 0xff;
/// Repeated 64-bit scalars, packed or one by one.
const I64S: u8 = I64 | LEN;

const REQUEST: Types = &[ANY, LEN];
const ENTRY: Types = &[ANY, LEN, LEN, LEN];
const RESOURCE: Types = &[ANY, LEN, VARINT, LEN];
const SCOPE: Types = &[ANY, LEN, LEN, LEN, VARINT];
const SPAN: Types = &[
    ANY, LEN, LEN, LEN, LEN, LEN, VARINT, I64, I64, LEN, VARINT, LEN, VARINT, LEN, VARINT, LEN, I32,
];
const LOG_RECORD: Types = &[ANY, I64, VARINT, LEN, ANY, LEN, LEN, VARINT, I32, LEN, LEN, I64, LEN];
const METRIC: Types = &[ANY, LEN, LEN, LEN, ANY, LEN, ANY, LEN, ANY, LEN, LEN, LEN, LEN];
const NUMBER_POINT: Types = &[ANY, ANY, I64, I64, I64, LEN, I64, LEN, VARINT];
const HISTOGRAM_POINT: Types =
    &[ANY, ANY, I64, I64, I64, I64, I64S, I64S, LEN, LEN, VARINT, I64, I64];
const EXPONENTIAL_POINT: Types =
    &[ANY, LEN, I64, I64, I64, I64, VARINT, I64, LEN, LEN, VARINT, LEN, I64, I64, I64];
const SUMMARY_POINT: Types = &[ANY, ANY, I64, I64, I64, I64, LEN, LEN, VARINT];

/// A kind of metric data: its name, its fields, and its data points' fields.
fn metric_data(number: u32) -> Option<(&'static str, Types, Types)> {
    match number {
        5 => Some(("Gauge", &[ANY, LEN], NUMBER_POINT)),
        7 => Some(("Sum", &[ANY, LEN, VARINT, VARINT], NUMBER_POINT)),
        9 => Some(("Histogram", &[ANY, LEN, VARINT], HISTOGRAM_POINT)),
        10 => Some(("ExponentialHistogram", &[ANY, LEN, VARINT], EXPONENTIAL_POINT)),
        11 => Some(("Summary", &[ANY, LEN], SUMMARY_POINT)),
        _ => None,
    }
}

fn check_entry(signal: Signal, entry: &[u8], seen: &mut Seen) -> Result<(), Malformed> {
    for_each_field(entry, "resource entry", ENTRY, |number, value| match (number, value) {
        (1, Value::Bytes(resource)) => pass_over(resource, &RESOURCE_KIND).map(drop),
        (2, Value::Bytes(scope)) => check_scope_entry(signal, scope, seen),
        _ => Ok(()),
    })
}

fn check_scope_entry(signal: Signal, entry: &[u8], seen: &mut Seen) -> Result<(), Malformed> {
    for_each_field(entry, "scope entry", ENTRY, |number, value| match (number, value) {
        (1, Value::Bytes(scope)) => pass_over(scope, &SCOPE_KIND).map(drop),
        (2, Value::Bytes(record)) => match signal {
            Signal::Traces => check_record(record, seen, &SPAN_KIND),
            Signal::Logs => check_record(record, seen, &LOG_RECORD_KIND),
            Signal::Metrics => {
                seen.items += Metric::read(record).points().count();
                check_metric(record)
            }
        },
        _ => Ok(()),
    })
}

/// A kind of message whose fields are only passed over, but for ids.
struct Kind {
    name: &'static str,
    types: Types,
    /// The numbers of the fields that hold ids; 0 where there is none.
    trace_id: u32,
    span_ids: [u32; 2],
    /// What to do with a field, by the first byte of its tag.
    forms: [Form; 256],
}

/// What the first byte of a field's tag tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A length and as many bytes, which are nothing to look at.
    Bytes,
    /// A trace id.
    TraceId,
    /// A span id.
    SpanId,
    /// 64 bits follow.
    Fixed64,
    /// A varint follows.
    Varint,
    /// With a second byte of 1 that of field 16, 32 bits, which are a span's flags.
    Flags,
    /// A field of a wrong type or a rare one: it is to be read in full.
    Other,
}

static RESOURCE_KIND: Kind = Kind::new("Resource", RESOURCE, 0, [0, 0]);
static SCOPE_KIND: Kind = Kind::new("InstrumentationScope", SCOPE, 0, [0, 0]);
static SPAN_KIND: Kind = Kind::new("Span", SPAN, 1, [2, 4]);
static LOG_RECORD_KIND: Kind = Kind::new("LogRecord", LOG_RECORD, 9, [10, 10]);

impl Kind {
    const fn new(name: &'static str, types: Types, trace_id: u32, span_ids: [u32; 2]) -> Self {
        let mut forms = [Form::Other; 256];
        // Tags of one byte: numbers from 1 to 15.
        let mut tag = 1 << 3;
        while tag < 0x80 {
            let (number, wire_type) = (tag >> 3, tag & 7);
            let is_span_id = number == span_ids[0] as usize || number == span_ids[1] as usize;
            if number >= types.len() || types[number] & (1 << wire_type) != 0 {
                forms[tag] = match wire_type {
                    0 => Form::Varint,
                    1 => Form::Fixed64,
                    2 if number == trace_id as usize => Form::TraceId,
                    2 if is_span_id => Form::SpanId,
                    2 => Form::Bytes,
                    _ => Form::Other,
                };
            }
            tag += 1;
        }
        if types.len() <= 16 || types[16] & I32 != 0 {
            forms[0x85] = Form::Flags;
        }
        Self { name, types, trace_id, span_ids, forms }
    }
}

/// Checks a record's top-level fields and notes where its trace id stands.
fn check_record(record: &[u8], seen: &mut Seen, kind: &Kind) -> Result<(), Malformed> {
    let ids = pass_over(record, kind)?;
    // 18 bytes: tags and lengths may be written longer than they need to be, and an id may be empty.
    let canonical = ids.count == 1 && ids.end - ids.start == 18;
    seen.note_record(canonical && ids.start == 0, canonical && ids.end == record.len());
    Ok(())
}

/// Checks the fields of a message, and tells its trace ids.
///
/// This is the first to touch every record of a request, and most of them have a dozen attributes
/// or more. So a field of the usual forms costs a look at its tag and its length.
fn pass_over(message: &[u8], kind: &Kind) -> Result<Ids, Malformed> {
    let mut ids = Ids::default();
    let mut at = 0;
    while let Some(tag) = message.get(at) {
        let form = kind.forms[usize::from(*tag)];
        let next = message.get(at + 1).copied().unwrap_or(u8::MAX);
        // Four of five fields.
        if form == Form::Bytes && next < 0x80 {
            at += 2 + usize::from(next);
            continue;
        }
        at += match (form, next) {
            (Form::TraceId, 16) => {
                ids = Ids { count: ids.count + 1, start: at, end: at + 18 };
                18
            }
            (Form::SpanId, 8) => 10,
            (Form::Fixed64, _) => 9,
            (Form::Varint, _) if next < 0x80 => 2,
            (Form::Flags, 1) => 6,
            _ => check_field(message, at, &mut ids, kind)?,
        };
    }
    match at == message.len() {
        true => Ok(ids),
        false => Err(Malformed::Framing(kind.name)),
    }
}

/// The trace ids of a message.
#[derive(Default)]
struct Ids {
    count: u32,
    /// Where the last of them begins and ends, tag and length included.
    start: usize,
    end: usize,
}

/// Checks the field that begins at `at`, whatever it is, and tells its length.
#[inline(never)]
fn check_field(message: &[u8], at: usize, ids: &mut Ids, kind: &Kind) -> Result<usize, Malformed> {
    let field = Fields::new(&message[at..]).next().ok_or(Malformed::Framing(kind.name))?;
    check_type(&field, kind.types, kind.name)?;
    if let Value::Bytes(content) = field.value {
        if field.number == kind.trace_id {
            if !matches!(content.len(), 0 | 16) {
                return Err(Malformed::TraceIdLength(content.len()));
            }
            *ids = Ids { count: ids.count + 1, start: at, end: at + field.raw.len() };
        } else if kind.span_ids.contains(&field.number) && !matches!(content.len(), 0 | 8) {
            return Err(Malformed::SpanIdLength(content.len()));
        }
    }
    Ok(field.raw.len())
}

fn check_metric(metric: &[u8]) -> Result<(), Malformed> {
    for_each_field(metric, "Metric", METRIC, |number, value| {
        let (Value::Bytes(data), Some((name, types, point_types))) = (value, metric_data(number))
        else {
            return Ok(());
        };
        for_each_field(data, name, types, |number, value| match (number, value) {
            (1, Value::Bytes(point)) => check_point(point, point_types),
            _ => Ok(()),
        })
    })
}

fn check_point(point: &[u8], types: Types) -> Result<(), Malformed> {
    for_each_field(point, "data point", types, |number, value| {
        let packed = types.get(number as usize) == Some(&I64S);
        match value {
            Value::Bytes(run) if packed && run.len() % 8 != 0 => {
                Err(Malformed::Framing("data point"))
            }
            _ => Ok(()),
        }
    })
}

/// Visits the fields of `message`, all of which must be framed and typed correctly.
#[inline]
fn for_each_field<'a>(
    message: &'a [u8],
    name: &'static str,
    types: Types,
    mut visit: impl FnMut(u32, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    for field in fields.by_ref() {
        check_type(&field, types, name)?;
        visit(field.number, field.value)?;
    }
    match fields.is_malformed() {
        true => Err(Malformed::Framing(name)),
        false => Ok(()),
    }
}

#[inline]
fn check_type(field: &Field<'_>, types: Types, message: &'static str) -> Result<(), Malformed> {
    match types.get(field.number as usize) {
        Some(allowed) if allowed & (1 << field.value.wire_type()) == 0 => {
            Err(Malformed::WireType(message))
        }
        _ => Ok(()),
    }
}

/// What is added up over all records.
#[derive(Default)]
struct Seen {
    items: usize,
    /// Records whose trace id stands first, and those where it stands last.
    leading: usize,
    trailing: usize,
}

impl Seen {
    #[inline]
    fn note_record(&mut self, leading: bool, trailing: bool) {
        self.items += 1;
        self.leading += usize::from(leading);
        self.trailing += usize::from(trailing);
    }

    fn layout(&self) -> Layout {
        match self.items {
            0 => Layout::Mixed,
            items if items == self.leading => Layout::Leading,
            items if items == self.trailing => Layout::Trailing,
            _ => Layout::Mixed,
        }
    }
}

#[cfg(test)]
mod tests;
