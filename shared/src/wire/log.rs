//! Log records, read in place.

use super::attribute::{AnyValue, Attributes};
use super::field::{Fields, Value};

/// A log record's scalar fields, borrowed, read in one pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogRecord<'a> {
    /// When the event occurred, in nanoseconds since the Unix epoch; 0 if unknown.
    pub time_ns: u64,
    /// When the event was observed, in nanoseconds since the Unix epoch; 0 if unknown.
    pub observed_ns: u64,
    /// `SeverityNumber` as its number: 0 if unspecified, else 1 (trace) to 24 (fatal 4).
    pub severity_number: u64,
    /// The severity as the source names it. UTF-8 by contract; not checked.
    pub severity_text: &'a [u8],
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
    /// What kind of event this is; empty if it is a plain log record.
    pub event_name: &'a [u8],
    /// W3C trace flags in the lowest eight bits.
    pub flags: u32,
    /// The body's `AnyValue` message; [`LogRecord::body`] reads it.
    body: &'a [u8],
    /// The whole record.
    pub raw: &'a [u8],
}

impl<'a> LogRecord<'a> {
    /// Reads a `LogRecord` message; of a field that occurs twice the last one counts.
    #[inline]
    pub fn read(raw: &'a [u8]) -> Self {
        let mut record = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match (field.number, field.value) {
                (1, Value::Fixed64(nanos)) => record.time_ns = nanos,
                (2, Value::Varint(number)) => record.severity_number = number,
                (3, Value::Bytes(bytes)) => record.severity_text = bytes,
                (5, Value::Bytes(bytes)) => record.body = bytes,
                (8, Value::Fixed32(flags)) => record.flags = flags,
                (9, Value::Bytes(bytes)) => record.trace_id = bytes,
                (10, Value::Bytes(bytes)) => record.span_id = bytes,
                (11, Value::Fixed64(nanos)) => record.observed_ns = nanos,
                (12, Value::Bytes(bytes)) => record.event_name = bytes,
                _ => {}
            }
        }
        record
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> AnyValue<'a> {
        AnyValue::read(self.body)
    }

    /// The record's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 6)
    }

    /// The first attribute under `key`.
    pub fn attribute(&self, key: &[u8]) -> Option<AnyValue<'a>> {
        self.attributes().get(key)
    }
}

/// Reads only the trace id of a log record: 16 bytes, or none.
#[inline]
pub fn trace_id(record: &[u8]) -> &[u8] {
    Fields::new(record)
        .filter(|field| field.number == 9)
        .filter_map(|field| field.value.bytes())
        .last()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn record() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(12, b"session.start");
        writer.fixed64(11, 20);
        writer.bytes(10, &[8; 8]);
        writer.bytes(9, &[9; 16]);
        writer.fixed32(8, 1);
        writer.int_attribute(6, b"code.line", 7);
        writer.message(5, |body| body.bytes(1, b"hello"));
        writer.bytes(3, b"WARN");
        writer.varint(2, 13);
        writer.fixed64(1, 10);
        writer.into_vec()
    }

    #[test]
    fn a_log_record_is_read_in_any_order() {
        let raw = record();
        let record = LogRecord::read(&raw);
        assert_eq!((record.time_ns, record.observed_ns), (10, 20));
        assert_eq!((record.severity_number, record.severity_text), (13, &b"WARN"[..]));
        assert_eq!(record.body(), AnyValue::String(b"hello"));
        assert_eq!(record.attribute(b"code.line"), Some(AnyValue::Int(7)));
        assert_eq!((record.trace_id, record.span_id), (&[9; 16][..], &[8; 8][..]));
        assert_eq!((record.event_name, record.flags), (&b"session.start"[..], 1));
        assert_eq!(trace_id(&raw), [9; 16]);
    }

    #[test]
    fn an_empty_log_record_has_nothing() {
        let record = LogRecord::read(b"");
        assert_eq!((record.trace_id, record.body()), (&b""[..], AnyValue::Empty));
        assert_eq!(trace_id(b""), b"");
    }
}
