//! Writes drafts as export requests.

use shared::Signal;
use shared::wire::{Fields, Value as WireValue, Writer};

use super::draft::{Attributes, Event, Kind, Link, Origin, Span, Status, Value};
use super::telemetry::{Instrument, encode_log, encode_point};
use super::vocabulary::SERVICES;
use crate::plan::FieldOrder;

const SCHEMA: &[u8] = b"https://opentelemetry.io/schemas/1.27.0";

/// An order-independent fingerprint of items: the wrapping sum of this over their bytes.
///
/// The service and the name of a data point's metric are part of it, so an item that lands below
/// another one is noticed. `metric` is empty for spans and log records.
pub fn fingerprint(service: &[u8], metric: &[u8], record: &[u8]) -> u64 {
    let seed = xxhash_rust::xxh3::xxh3_64(service);
    let seed = match metric {
        b"" => seed,
        metric => xxhash_rust::xxh3::xxh3_64_with_seed(metric, seed),
    };
    xxhash_rust::xxh3::xxh3_64_with_seed(record, seed)
}

/// Writes one request of `signal`, with one record for each span; `note` is told each record's
/// fingerprint.
///
/// Records of one origin and scope, and data points of one metric, are put together, else their
/// order is kept.
pub fn request(
    mut spans: Vec<Span>,
    signal: Signal,
    order: FieldOrder,
    mut note: impl FnMut(&Span, u64),
) -> Vec<u8> {
    spans.sort_by_key(|span| (span.origin, span.scope));
    let mut request = Writer::with_capacity(spans.len() * 600);
    for entry in spans.chunk_by_mut(|a, b| a.origin == b.origin) {
        let resource = in_order(encode_resource(entry[0].origin), order, &RESOURCE);
        request.message(1, |writer| {
            let scopes = |writer: &mut Writer| {
                for spans in entry.chunk_by_mut(|a, b| a.scope == b.scope) {
                    let scope = in_order(encode_scope(&spans[0]), order, &SCOPE);
                    let records = |writer: &mut Writer| match signal {
                        Signal::Metrics => put_metrics(writer, spans, order, &mut note),
                        Signal::Traces => {
                            put_records(writer, spans, order, (encode_span, &SPAN), &mut note);
                        }
                        Signal::Logs => {
                            put_records(writer, spans, order, (encode_log, &LOG), &mut note);
                        }
                    };
                    writer.message(2, |writer| {
                        entry_fields(writer, order, |writer| writer.bytes(1, &scope), records);
                    });
                }
            };
            entry_fields(writer, order, |writer| writer.bytes(1, &resource), scopes);
        });
    }
    request.into_vec()
}

fn service_of(span: &Span) -> &'static [u8] {
    SERVICES[span.origin.service].name.as_bytes()
}

fn put_records(
    writer: &mut Writer,
    spans: &[Span],
    order: FieldOrder,
    (encode, shape): (fn(&Span) -> Vec<u8>, &Shape),
    note: &mut impl FnMut(&Span, u64),
) {
    for span in spans {
        let record = in_order(encode(span), order, shape);
        note(span, fingerprint(service_of(span), b"", &record));
        writer.bytes(2, &record);
    }
}

fn put_metrics(
    writer: &mut Writer,
    spans: &mut [Span],
    order: FieldOrder,
    note: &mut impl FnMut(&Span, u64),
) {
    spans.sort_by_key(Instrument::of);
    for spans in spans.chunk_by(|a, b| Instrument::of(a) == Instrument::of(b)) {
        let instrument = Instrument::of(&spans[0]);
        let mut points = Vec::with_capacity(spans.len());
        for span in spans {
            let point = in_order(encode_point(span), order, &POINT);
            note(span, fingerprint(service_of(span), instrument.name.as_bytes(), &point));
            points.push(point);
        }
        writer.bytes(2, &in_order(instrument.encode(&points), order, &METRIC));
    }
}

/// Writes the three fields of a resource entry or a scope entry.
fn entry_fields(
    writer: &mut Writer,
    order: FieldOrder,
    header: impl FnOnce(&mut Writer),
    content: impl FnOnce(&mut Writer),
) {
    match order {
        FieldOrder::Sdk => {
            header(writer);
            content(writer);
            writer.bytes(3, SCHEMA);
        }
        FieldOrder::Collector => {
            writer.bytes(3, SCHEMA);
            content(writer);
            header(writer);
        }
    }
}

/// Which fields of a message are messages again.
struct Shape(&'static [(u32, &'static Shape)]);

static VALUE: Shape = Shape(&[]);
static KEY_VALUE: Shape = Shape(&[(2, &VALUE)]);
static RESOURCE: Shape = Shape(&[(1, &KEY_VALUE)]);
static SCOPE: Shape = Shape(&[(3, &KEY_VALUE)]);
static EVENT: Shape = Shape(&[(3, &KEY_VALUE)]);
static LINK: Shape = Shape(&[(4, &KEY_VALUE)]);
static STATUS: Shape = Shape(&[]);
static LOG: Shape = Shape(&[(5, &VALUE), (6, &KEY_VALUE)]);
static METRIC: Shape = Shape(&[(5, &DATA), (7, &DATA), (9, &DATA), (10, &DATA)]);
/// The data points are in order already.
static DATA: Shape = Shape(&[]);
/// Which of its fields are messages depends on the metric's kind, so those stay as they are.
static POINT: Shape = Shape(&[]);
static SPAN: Shape = Shape(&[(9, &KEY_VALUE), (11, &EVENT), (13, &LINK), (15, &STATUS)]);

fn in_order(message: Vec<u8>, order: FieldOrder, shape: &Shape) -> Vec<u8> {
    match order {
        FieldOrder::Sdk => message,
        FieldOrder::Collector => descending(&message, shape),
    }
}

/// The message with its fields in descending order, at every level; of a repeated field the
/// elements keep their order.
fn descending(message: &[u8], shape: &Shape) -> Vec<u8> {
    let mut fields: Vec<_> = Fields::new(message).collect();
    fields.sort_by_key(|field| std::cmp::Reverse(field.number));
    let mut writer = Writer::with_capacity(message.len());
    for field in fields {
        match field.value {
            WireValue::Varint(value) => writer.varint(field.number, value),
            WireValue::Fixed64(value) => writer.fixed64(field.number, value),
            WireValue::Fixed32(value) => writer.fixed32(field.number, value),
            WireValue::Bytes(content) => {
                match shape.0.iter().find(|(number, _)| *number == field.number) {
                    Some((number, shape)) => writer.bytes(*number, &descending(content, shape)),
                    None => writer.bytes(field.number, content),
                }
            }
            WireValue::Group(_) => unreachable!("the encoder writes no groups"),
        }
    }
    writer.into_vec()
}

fn encode_resource(origin: Origin) -> Vec<u8> {
    let service = &SERVICES[origin.service];
    let (name, instance) = (service.name, origin.instance);
    let pod = format!("{name}-7d9f8c6b5-{instance}x2kq");
    let attributes: Attributes = vec![
        ("service.name", name.into()),
        ("service.namespace", "shop".into()),
        ("service.version", service.version.into()),
        ("service.instance.id", format!("{name}-{instance}").into()),
        ("deployment.environment.name", "production".into()),
        ("telemetry.sdk.name", "opentelemetry".into()),
        ("telemetry.sdk.language", service.language.into()),
        ("telemetry.sdk.version", "1.30.0".into()),
        ("k8s.pod.name", pod.into()),
        ("host.name", format!("node-{}", origin.service % 5).into()),
    ];
    let mut writer = Writer::new();
    put_attributes(&mut writer, 1, &attributes);
    writer.into_vec()
}

fn encode_scope(span: &Span) -> Vec<u8> {
    let language = SERVICES[span.origin.service].language;
    let mut writer = Writer::new();
    match span.scope {
        0 => writer.bytes(1, format!("io.opentelemetry.{language}.auto").as_bytes()),
        _ => writer.bytes(1, format!("shop/{}", SERVICES[span.origin.service].name).as_bytes()),
    }
    writer.bytes(2, b"2.10.0");
    writer.into_vec()
}

fn encode_span(span: &Span) -> Vec<u8> {
    let mut writer = Writer::with_capacity(640);
    writer.bytes(1, &span.trace_id);
    writer.bytes(2, &span.span_id);
    if !span.trace_state.is_empty() {
        writer.bytes(3, span.trace_state.as_bytes());
    }
    if let Some(parent) = &span.parent {
        writer.bytes(4, parent);
    }
    writer.bytes(5, span.name.as_bytes());
    writer.varint(6, span.kind as u64);
    writer.fixed64(7, span.start_ns);
    writer.fixed64(8, span.end_ns);
    put_attributes(&mut writer, 9, &span.attributes);
    for event in &span.events {
        writer.message(11, |writer| put_event(writer, event));
    }
    for link in &span.links {
        writer.message(13, |writer| put_link(writer, link));
    }
    if span.status != Status::Unset {
        writer.message(15, |writer| {
            if span.status == Status::Error {
                writer.bytes(2, b"request failed");
            }
            writer.varint(3, span.status as u64);
        });
    }
    // The trace is sampled by its head, and it is known whether the parent is remote.
    let remote = span.parent.is_some() && matches!(span.kind, Kind::Server | Kind::Consumer);
    writer.fixed32(16, if remote { 0x301 } else { 0x101 });
    writer.into_vec()
}

fn put_event(writer: &mut Writer, event: &Event) {
    writer.fixed64(1, event.time_ns);
    writer.bytes(2, event.name.as_bytes());
    put_attributes(writer, 3, &event.attributes);
}

fn put_link(writer: &mut Writer, link: &Link) {
    writer.bytes(1, &link.trace_id);
    writer.bytes(2, &link.span_id);
    put_attributes(writer, 4, &[("messaging.operation.type", "create".into())]);
}

pub(super) fn put_attributes(
    writer: &mut Writer,
    number: u32,
    attributes: &[(&'static str, Value)],
) {
    for (key, value) in attributes {
        let key = key.as_bytes();
        match value {
            Value::Text(text) => writer.string_attribute(number, key, text.as_bytes()),
            Value::Int(integer) => writer.int_attribute(number, key, *integer),
            Value::Bool(flag) => writer.bool_attribute(number, key, *flag),
        }
    }
}
