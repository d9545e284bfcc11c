//! Requests of both versions of the protocol.
//!
//! Source: prometheus prompb/types.proto, prompb/io/prometheus/write/v2/types.proto.

use std::collections::HashMap;

use shared::wire::Writer;

use super::config::Message;
use super::series::{Buckets, Exemplar, Family, NativeHistogram, Point, Series, Value};

/// How much a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
}

/// A request that is being written.
pub(super) struct Encoder {
    message: Message,
    /// The series, each in its field.
    series: Writer,
    symbols: Symbols,
    content: Content,
}

impl Encoder {
    pub(super) fn new(message: Message) -> Self {
        let symbols = Symbols::default();
        Self { message, series: Writer::new(), symbols, content: Content::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds the series of a data point.
    pub(super) fn point(&mut self, point: &Point) {
        for series in &point.series {
            match series.value {
                Value::Float(_) => self.content.samples += 1,
                Value::Histogram(_) => self.content.histograms += 1,
            }
            self.content.exemplars += series.exemplars.len() as u64;
            match self.message {
                Message::V1 => self.series.message(1, |out| write_v1(out, series)),
                Message::V2 => {
                    let symbols = &mut self.symbols;
                    self.series.message(5, |out| write_v2(out, series, symbols));
                }
            }
        }
    }

    /// Adds what is known of a family. Version 2.0 has it with each series.
    pub(super) fn family(&mut self, family: &Family) {
        if self.message == Message::V1 {
            self.series.message(3, |out| {
                out.varint(1, family.kind.number());
                out.bytes(2, family.name.as_bytes());
                out.bytes(4, family.help.as_bytes());
                out.bytes(5, family.unit.as_bytes());
            });
        }
    }

    /// The request.
    pub(super) fn finish(self) -> (Vec<u8>, Content) {
        if self.message == Message::V1 {
            return (self.series.into_vec(), self.content);
        }
        let mut request = Writer::with_capacity(self.series.len() + self.symbols.bytes);
        request.bytes(4, b"");
        for text in &self.symbols.texts {
            request.bytes(4, text.as_bytes());
        }
        request.raw(self.series.as_slice());
        (request.into_vec(), self.content)
    }
}

/// Texts by number. The first, number 0, is empty and is not kept.
#[derive(Default)]
struct Symbols {
    texts: Vec<String>,
    numbers: HashMap<String, u64>,
    bytes: usize,
}

impl Symbols {
    fn number(&mut self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(text.to_owned());
        self.bytes += text.len() + 6;
        let number = self.texts.len() as u64;
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn refs<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u64> {
        let mut refs = Vec::new();
        for (name, value) in labels {
            refs.push(self.number(name));
            refs.push(self.number(value));
        }
        refs
    }
}

fn write_v1(out: &mut Writer, series: &Series) {
    for label in series.labels() {
        write_label(out, label);
    }
    if let Value::Float(value) = series.value {
        out.message(2, |sample| {
            sample.double(1, value);
            sample.varint(2, series.time_ms.cast_unsigned());
        });
    }
    for exemplar in &series.exemplars {
        out.message(3, |out| {
            exemplar.labels.iter().for_each(|(name, value)| write_label(out, (name, value)));
            write_measurement(out, exemplar);
        });
    }
    if let Value::Histogram(histogram) = &series.value {
        out.message(4, |out| write_histogram(out, histogram, series.time_ms));
    }
}

fn write_v2(out: &mut Writer, series: &Series, symbols: &mut Symbols) {
    let refs = symbols.refs(series.labels());
    out.packed_varint(1, refs.iter().copied());
    match &series.value {
        Value::Float(value) => out.message(2, |sample| {
            sample.double(1, *value);
            sample.varint(2, series.time_ms.cast_unsigned());
            if series.start_ms != 0 {
                sample.varint(3, series.start_ms.cast_unsigned());
            }
        }),
        Value::Histogram(histogram) => out.message(3, |out| {
            write_histogram(out, histogram, series.time_ms);
            if series.start_ms != 0 {
                out.varint(17, series.start_ms.cast_unsigned());
            }
        }),
    }
    for exemplar in &series.exemplars {
        let labels = exemplar.labels.iter().map(|(name, value)| (&**name, &**value));
        let refs = symbols.refs(labels);
        out.message(4, |out| {
            out.packed_varint(1, refs.iter().copied());
            write_measurement(out, exemplar);
        });
    }
    let family = &series.family;
    let (help, unit) = (symbols.number(&family.help), symbols.number(&family.unit));
    out.message(5, |metadata| {
        metadata.varint(1, family.kind.number());
        metadata.varint(3, help);
        metadata.varint(4, unit);
    });
}

fn write_label(out: &mut Writer, (name, value): (&str, &str)) {
    out.message(1, |label| {
        label.bytes(1, name.as_bytes());
        label.bytes(2, value.as_bytes());
    });
}

fn write_measurement(out: &mut Writer, exemplar: &Exemplar) {
    out.double(2, exemplar.value);
    out.varint(3, exemplar.time_ms.cast_unsigned());
}

/// Numbered alike in both versions. Whether a counter began anew is left to the receiver.
fn write_histogram(out: &mut Writer, histogram: &NativeHistogram, time_ms: i64) {
    out.varint(1, histogram.count);
    out.double(3, histogram.sum);
    out.zigzag(4, i64::from(histogram.schema));
    out.double(5, histogram.zero_threshold);
    out.varint(6, histogram.zero_count);
    write_buckets(out, 8, &histogram.negative);
    write_buckets(out, 11, &histogram.positive);
    out.varint(15, time_ms.cast_unsigned());
    if !histogram.custom_values.is_empty() {
        out.packed_fixed64(16, histogram.custom_values.iter().map(|value| value.to_bits()));
    }
}

/// Spans under `number`, and deltas under the next.
fn write_buckets(out: &mut Writer, number: u32, buckets: &Buckets) {
    for (offset, length) in &buckets.spans {
        out.message(number, |span| {
            span.zigzag(1, i64::from(*offset));
            span.varint(2, u64::from(*length));
        });
    }
    if !buckets.deltas.is_empty() {
        let zigzag = |delta: &i64| ((delta << 1) ^ (delta >> 63)).cast_unsigned();
        out.packed_varint(number + 1, buckets.deltas.iter().map(zigzag));
    }
}
