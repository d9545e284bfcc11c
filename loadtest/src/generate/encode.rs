//! Writes drafts as export requests.

use shared::wire::{Fields, Value as WireValue, Writer};

use super::draft::{Attributes, Event, Kind, Link, Origin, Span, Status, Value};
use super::vocabulary::SERVICES;
use crate::plan::FieldOrder;

const SCHEMA: &[u8] = b"https://opentelemetry.io/schemas/1.27.0";

/// An order-independent fingerprint of spans: the wrapping sum of this over their bytes.
///
/// The service is part of it, so a span that lands below another resource is noticed.
pub fn fingerprint(service: &[u8], span: &[u8]) -> u64 {
    let seed = xxhash_rust::xxh3::xxh3_64(service);
    xxhash_rust::xxh3::xxh3_64_with_seed(span, seed)
}

/// Writes one request; `note` is told each span's fingerprint.
///
/// Spans of one origin and scope are put together, else their order is kept.
pub fn request(
    mut spans: Vec<Span>,
    order: FieldOrder,
    mut note: impl FnMut(&Span, u64),
) -> Vec<u8> {
    spans.sort_by_key(|span| (span.origin, span.scope));
    let mut request = Writer::with_capacity(spans.len() * 600);
    for entry in spans.chunk_by(|a, b| a.origin == b.origin) {
        let origin = entry[0].origin;
        let service = SERVICES[origin.service].name.as_bytes();
        let resource = in_order(encode_resource(origin), order, &RESOURCE);
        request.message(1, |writer| {
            let scopes = |writer: &mut Writer| {
                for spans in entry.chunk_by(|a, b| a.scope == b.scope) {
                    let scope = in_order(encode_scope(&spans[0]), order, &SCOPE);
                    let records = |writer: &mut Writer| {
                        for span in spans {
                            let record = in_order(encode_span(span), order, &SPAN);
                            note(span, fingerprint(service, &record));
                            writer.bytes(2, &record);
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

fn put_attributes(writer: &mut Writer, number: u32, attributes: &[(&'static str, Value)]) {
    for (key, value) in attributes {
        let key = key.as_bytes();
        match value {
            Value::Text(text) => writer.string_attribute(number, key, text.as_bytes()),
            Value::Int(integer) => writer.int_attribute(number, key, *integer),
            Value::Bool(flag) => writer.bool_attribute(number, key, *flag),
        }
    }
}
