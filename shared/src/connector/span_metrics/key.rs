//! The key of a series: the values of its dimensions, as a small protobuf message.
//!
//! Field 1 is the span's kind, 2 its status, 3 its name; the `AnyValue` of a family's dimension
//! `i` is field `4 + i`. What is absent is not written. Equal bytes mean equal attributes, and the
//! attributes are written from the key, so a series keeps nothing else of them. The service's name
//! is not in it, since series live below their resource.

use std::borrow::Cow;

use crate::wire::{AnyValue, Fields, Span, StatusCode, Value, Writer};

use super::config::default_dimension;
use super::settings::{Family, Settings};

const KIND: u32 = 1;
const STATUS: u32 = 2;
const NAME: u32 = 3;
const FIRST_DIMENSION: u32 = 4;

const KINDS: [&[u8]; 6] = [
    b"SPAN_KIND_UNSPECIFIED",
    b"SPAN_KIND_INTERNAL",
    b"SPAN_KIND_SERVER",
    b"SPAN_KIND_CLIENT",
    b"SPAN_KIND_PRODUCER",
    b"SPAN_KIND_CONSUMER",
];
/// Stands for every kind that OTLP does not define, so that they make one series.
const UNKNOWN_KIND: u64 = KINDS.len() as u64;

const STATUSES: [&[u8]; 3] = [b"STATUS_CODE_UNSET", b"STATUS_CODE_OK", b"STATUS_CODE_ERROR"];

/// The attribute of series that stand for all that found no place.
pub(crate) const OVERFLOW: &[u8] = b"otel.metric.overflow";

/// The key of such a series: field 3 as a varint, which no span's key has.
pub(crate) const OVERFLOW_KEY: &[u8] = &[0x18, 1];

/// Writes the key of `span`'s series in `family`. `values` has one for each configured dimension.
pub(crate) fn write_key(
    settings: &Settings,
    family: &Family,
    span: &Span<'_>,
    values: &[Option<AnyValue<'_>>],
    key: &mut Writer,
) {
    key.clear();
    let defaults = &settings.defaults;
    if defaults.span_kind {
        key.varint(KIND, span.kind.min(UNKNOWN_KIND));
    }
    if defaults.status_code {
        let status = match span.status_code() {
            StatusCode::Unset => 0,
            StatusCode::Ok => 1,
            StatusCode::Error => 2,
        };
        key.varint(STATUS, status);
    }
    if defaults.span_name {
        key.bytes(NAME, &valid_utf8(span.name));
    }
    for (number, index) in (FIRST_DIMENSION..).zip(&family.dimensions) {
        if let Some(value) = values[*index] {
            key.message(number, |message| write_value(message, value));
        }
    }
}

/// Writes the attributes that `key` stands for as `KeyValue` fields under `number`.
pub(crate) fn write_attributes(
    settings: &Settings,
    family: &Family,
    service: &[u8],
    key: &[u8],
    writer: &mut Writer,
    number: u32,
) {
    if key == OVERFLOW_KEY {
        return writer.bool_attribute(number, OVERFLOW, true);
    }
    let defaults = &settings.defaults;
    if defaults.service_name {
        writer.string_attribute(number, default_dimension::SERVICE_NAME.as_bytes(), service);
    }
    for field in Fields::new(key) {
        match (field.number, field.value) {
            (KIND, Value::Varint(kind)) => {
                let name = named(&KINDS, kind);
                writer.string_attribute(number, default_dimension::SPAN_KIND.as_bytes(), name);
            }
            (STATUS, Value::Varint(status)) => {
                let name = named(&STATUSES, status);
                writer.string_attribute(number, default_dimension::STATUS_CODE.as_bytes(), name);
            }
            (NAME, Value::Bytes(name)) => {
                writer.string_attribute(number, default_dimension::SPAN_NAME.as_bytes(), name);
            }
            (dimension, Value::Bytes(value)) => {
                let index = family.dimensions[(dimension - FIRST_DIMENSION) as usize];
                let name = &settings.dimensions[index].name;
                writer.attribute(number, name, |message| message.raw(value));
            }
            _ => unreachable!("keys are written by write_key only"),
        }
    }
    if defaults.instance_id {
        let instance = settings.instance.as_bytes();
        writer.string_attribute(number, default_dimension::INSTANCE_ID.as_bytes(), instance);
    }
}

fn named(names: &[&'static [u8]], number: u64) -> &'static [u8] {
    usize::try_from(number).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// Writes the fields of an `AnyValue`.
pub(crate) fn write_value(message: &mut Writer, value: AnyValue<'_>) {
    match value {
        AnyValue::Empty => {}
        AnyValue::String(text) => message.bytes(1, &valid_utf8(text)),
        AnyValue::Bool(flag) => message.varint(2, u64::from(flag)),
        AnyValue::Int(integer) => message.varint(3, integer.cast_unsigned()),
        AnyValue::Double(double) => message.double(4, double),
        AnyValue::Array(array) => message.bytes(5, array),
        AnyValue::KeyValues(list) => message.bytes(6, list),
        AnyValue::Bytes(bytes) => message.bytes(7, bytes),
    }
}

/// The text with what is no UTF-8 replaced: a receiver may refuse a whole request for one bad
/// name.
pub(crate) fn valid_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(replaced) => Cow::Owned(replaced.into_bytes()),
    }
}
