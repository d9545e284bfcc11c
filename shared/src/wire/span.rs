//! Spans, read in place.

use super::attribute::{AnyValue, Attributes, unread_entry};
use super::check::Layout;
use super::field::{Field, Fields, Value};

/// A span's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusCode {
    /// The default; also every value that OTLP does not define.
    #[default]
    Unset,
    /// The operation was validated as successful.
    Ok,
    /// The operation failed.
    Error,
}

/// A span's scalar fields, borrowed, read in one pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span<'a> {
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    /// 8 bytes, or none; a root has none or eight zeros.
    pub parent_span_id: &'a [u8],
    /// The W3C tracestate header as it was written.
    pub trace_state: &'a [u8],
    /// UTF-8 by contract; not checked.
    pub name: &'a [u8],
    /// `SpanKind` as its number.
    pub kind: u64,
    /// Nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// W3C flags and OTLP's own above them.
    pub flags: u32,
    /// The `Status` message.
    pub status: &'a [u8],
    /// From the first attribute to the last, with what stands between them.
    pub attribute_bytes: &'a [u8],
    /// The whole span.
    pub raw: &'a [u8],
}

/// Field 9, length-delimited.
const ATTRIBUTE_TAG: u8 = 9 << 3 | 2;
/// Field 11, the same.
const EVENT_TAG: u8 = 11 << 3 | 2;
/// Field 13, the same.
const LINK_TAG: u8 = 13 << 3 | 2;

impl<'a> Span<'a> {
    /// Reads a `Span` message; of a field that occurs twice the last one counts.
    #[inline]
    pub fn read(raw: &'a [u8]) -> Self {
        Self::read_entries(raw, |_| {})
    }

    /// The same, and tells `note` the name of each attribute and the `AnyValue` message of its
    /// value, in their order: a second walk to them would take as long as the first.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span, and so keeps all in registers")]
    pub fn read_with(raw: &'a [u8], mut note: impl FnMut(&'a [u8], &'a [u8])) -> Self {
        Self::read_entries(raw, |entry| {
            let (name, value) = unread_entry(entry);
            note(name, value);
        })
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span, and so keeps all in registers")]
    fn read_entries(raw: &'a [u8], mut note: impl FnMut(&'a [u8])) -> Self {
        let mut span = Self { raw, ..Self::default() };
        let mut fields = Fields::new(raw);
        span.read_leading(&mut fields);
        // From the first attribute to the last; and where those begin that stand in a row.
        let (mut first, mut last) = (raw.len(), 0);
        let mut run = raw.len() - fields.remaining();
        loop {
            let entry = match fields.next_tagged(ATTRIBUTE_TAG) {
                Some(entry) => entry,
                None => {
                    let end = raw.len() - fields.remaining();
                    if end > run {
                        (first, last) = (first.min(run), end);
                    }
                    let (attribute, rest) = span.read_others(fields);
                    fields = rest;
                    let Some(attribute) = attribute else { break };
                    run = raw.len() - fields.remaining() - attribute.raw.len();
                    attribute.value.bytes().unwrap_or_default()
                }
            };
            note(entry);
        }
        span.attribute_bytes = raw.get(first..last).unwrap_or_default();
        span
    }

    /// Reads what SDKs write ahead of the attributes, as far as it stands in their order: it needs
    /// no choice by number and wire type.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span, and so keeps all in registers")]
    fn read_leading(&mut self, fields: &mut Fields<'a>) {
        for (tag, field) in [
            (0x0a, &mut self.trace_id),
            (0x12, &mut self.span_id),
            (0x1a, &mut self.trace_state),
            (0x22, &mut self.parent_span_id),
            (0x2a, &mut self.name),
        ] {
            if let Some(bytes) = fields.next_tagged(tag) {
                *field = bytes;
            }
        }
        if let Some(kind) = fields.next_small(0x30) {
            self.kind = kind.into();
        }
        if let Some(nanos) = fields.next_fixed64(0x39) {
            self.start_ns = nanos;
        }
        if let Some(nanos) = fields.next_fixed64(0x41) {
            self.end_ns = nanos;
        }
    }

    /// Reads other fields up to the next attribute: tells it, and what is behind it.
    ///
    /// Of what SDKs write behind the attributes all is passed over that needs no choice either.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each span, and so keeps all in registers")]
    fn read_others(&mut self, mut fields: Fields<'a>) -> (Option<Field<'a>>, Fields<'a>) {
        fields.skip_run(EVENT_TAG);
        fields.skip_run(LINK_TAG);
        if let Some(bytes) = fields.next_tagged(0x7a) {
            self.status = bytes;
        }
        if let Some(flags) = fields.next_fixed32([0x85, 0x01]) {
            self.flags = flags;
        }
        match fields.remaining() {
            0 => (None, fields),
            _ => self.read_in_any_order(fields),
        }
    }

    #[inline(never)]
    fn read_in_any_order(&mut self, mut fields: Fields<'a>) -> (Option<Field<'a>>, Fields<'a>) {
        while let Some(field) = fields.next() {
            match (field.number, field.value) {
                (1, Value::Bytes(bytes)) => self.trace_id = bytes,
                (2, Value::Bytes(bytes)) => self.span_id = bytes,
                (3, Value::Bytes(bytes)) => self.trace_state = bytes,
                (4, Value::Bytes(bytes)) => self.parent_span_id = bytes,
                (5, Value::Bytes(bytes)) => self.name = bytes,
                (6, Value::Varint(kind)) => self.kind = kind,
                (7, Value::Fixed64(nanos)) => self.start_ns = nanos,
                (8, Value::Fixed64(nanos)) => self.end_ns = nanos,
                (9, Value::Bytes(_)) => return (Some(field), fields),
                (15, Value::Bytes(bytes)) => self.status = bytes,
                (16, Value::Fixed32(flags)) => self.flags = flags,
                _ => {}
            }
        }
        (None, fields)
    }

    /// The span's attributes.
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.attribute_bytes, 9)
    }

    /// The first attribute under `key`.
    pub fn attribute(&self, key: &[u8]) -> Option<AnyValue<'a>> {
        self.attributes().get(key)
    }

    /// The `Event` messages.
    pub fn events(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        Fields::new(self.raw)
            .filter(|field| field.number == 11)
            .filter_map(|field| field.value.bytes())
    }

    /// The status code; unset if there is no status.
    pub fn status_code(&self) -> StatusCode {
        let code = Fields::new(self.status)
            .filter(|field| field.number == 3)
            .filter_map(|field| match field.value {
                Value::Varint(code) => Some(code),
                _ => None,
            })
            .last();
        match code {
            Some(1) => StatusCode::Ok,
            Some(2) => StatusCode::Error,
            _ => StatusCode::Unset,
        }
    }

    /// Whether the span has no parent.
    pub fn is_root(&self) -> bool {
        self.parent_span_id.iter().all(|byte| *byte == 0)
    }

    /// End minus start in nanoseconds; 0 when the end is before the start.
    pub fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// Reads only the trace id of a span: 16 bytes, or none.
///
/// `layout` is what [`check()`](super::check()) found for the span's request.
#[inline]
pub fn trace_id(span: &[u8], layout: Layout) -> &[u8] {
    match layout {
        Layout::Leading => span.get(2..18).unwrap_or_default(),
        Layout::Trailing => span.len().checked_sub(16).map_or(&[], |start| &span[start..]),
        Layout::Mixed => Fields::new(span)
            .filter(|field| field.number == 1)
            .filter_map(|field| field.value.bytes())
            .last()
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    #[test]
    fn a_span_is_read_in_any_order_and_the_last_field_counts() {
        let mut writer = Writer::new();
        writer.message(15, |status| status.varint(3, 2));
        writer.fixed64(8, 50);
        writer.fixed64(7, 20);
        writer.bytes(5, b"first");
        writer.bytes(5, b"last");
        writer.bytes(1, &[9; 16]);
        let raw = writer.into_vec();
        let span = Span::read(&raw);
        assert_eq!(span.name, b"last");
        assert_eq!(span.duration_ns(), 30);
        assert_eq!(span.status_code(), StatusCode::Error);
        assert_eq!(span.trace_id, [9; 16]);
        assert!(span.is_root());
    }

    #[test]
    fn attributes_are_found_wherever_they_stand() {
        let mut writer = Writer::new();
        writer.int_attribute(9, b"first", 1);
        writer.bytes(5, b"name");
        writer.int_attribute(9, b"second", 2);
        writer.message(11, |event| event.int_attribute(3, b"of an event", 3));
        let raw = writer.into_vec();
        let span = Span::read(&raw);
        let found = [b"first".as_slice(), b"second", b"of an event"].map(|key| span.attribute(key));
        assert_eq!(found, [Some(AnyValue::Int(1)), Some(AnyValue::Int(2)), None]);
        assert_eq!(Span::read(b"").attributes().count(), 0);
    }

    #[test]
    fn attributes_are_told_in_their_order_wherever_they_stand() {
        let long = vec![b'x'; 20_000];
        let mut writer = Writer::new();
        writer.bytes(1, &[9; 16]);
        writer.string_attribute(9, b"first", b"1");
        writer.string_attribute(9, b"long", &long);
        writer.int_attribute(9, b"third", 3);
        writer.message(11, |event| event.int_attribute(3, b"of an event", 3));
        writer.message(15, |status| status.varint(3, 2));
        writer.fixed32(16, 0x101);
        writer.message(9, |entry| entry.bytes(1, b"no value"));
        writer.fixed64(8, 50);
        writer.string_attribute(9, b"last", b"5");
        let raw = writer.into_vec();
        let mut told = Vec::new();
        let span = Span::read_with(&raw, |name, value| told.push((name, AnyValue::read(value))));
        let names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [b"first".as_slice(), b"long", b"third", b"no value", b"last"]);
        assert_eq!(told, span.attributes().collect::<Vec<_>>());
        assert_eq!((span.status_code(), span.flags, span.end_ns), (StatusCode::Error, 0x101, 50));
    }

    #[test]
    fn the_trace_id_is_found_by_layout() {
        let mut writer = Writer::new();
        writer.bytes(1, &[9; 16]);
        writer.bytes(5, b"name");
        let leading = writer.into_vec();
        assert_eq!(trace_id(&leading, Layout::Leading), [9; 16]);
        assert_eq!(trace_id(&leading, Layout::Mixed), [9; 16]);
        let mut writer = Writer::new();
        writer.bytes(5, b"name");
        writer.bytes(1, &[9; 16]);
        let trailing = writer.into_vec();
        assert_eq!(trace_id(&trailing, Layout::Trailing), [9; 16]);
        assert_eq!(trace_id(&trailing, Layout::Mixed), [9; 16]);
        assert_eq!(trace_id(b"", Layout::Leading), b"");
        assert_eq!(trace_id(b"", Layout::Trailing), b"");
    }
}
