//! The key of a series: its attributes, as a small protobuf message.
//!
//! | field | |
//! |---|---|
//! | 1 | the span's name |
//! | 2, 3 | its kind and its status, as numbers |
//! | 4, 5 | name and version of its scope |
//! | 6 | whether it was extrapolated |
//! | 7 | a `KeyValue` that matched a pattern; these are sorted by name |
//! | 8 + i | the `AnyValue` of the family's named dimension i |
//!
//! What is absent is not written. Equal bytes mean equal attributes, and the attributes are
//! written from the key, so a series keeps nothing else of them. The service's name is not in it,
//! since series live below their resource.

use std::borrow::Cow;

use crate::wire::{AnyValue, Fields, StatusCode, Value, Writer};

use super::config::{StatusAttribute, default_dimension as dimension};
use super::reader::Said;
use super::settings::{Family, Settings};

const NAME: u32 = 1;
const KIND: u32 = 2;
const STATUS: u32 = 3;
const SCOPE_NAME: u32 = 4;
const SCOPE_VERSION: u32 = 5;
const EXTRAPOLATED: u32 = 6;
const MATCHED: u32 = 7;
const FIRST_DIMENSION: u32 = 8;

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
const OTEL_STATUSES: [&[u8]; 3] = [b"", b"OK", b"ERROR"];

/// The attribute of series that stand for all that found no place.
pub(crate) const OVERFLOW: &[u8] = b"otel.metric.overflow";

/// The key of such a series: field 1 as a varint, which no span's key has.
pub(crate) const OVERFLOW_KEY: &[u8] = &[0x08, 1];

/// What a span says besides its attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u64,
    pub(crate) status: StatusCode,
    /// Empty unless the scope is to be told.
    pub(crate) scope_name: &'a [u8],
    /// Empty unless the scope is to be told.
    pub(crate) scope_version: &'a [u8],
    pub(crate) extrapolated: bool,
}

/// An attribute that matches patterns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matched<'a> {
    pub(crate) name: &'a [u8],
    /// Its `AnyValue` message.
    pub(crate) value: &'a [u8],
    /// Bits of the patterns.
    pub(crate) globs: u64,
}

/// Writes what the keys of `subject` begin with, in all families.
pub(crate) fn write_subject(settings: &Settings, subject: &Subject<'_>, key: &mut Writer) {
    let defaults = &settings.defaults;
    if defaults.span_name {
        key.bytes(NAME, &valid_utf8(subject.name));
    }
    if defaults.span_kind {
        key.varint(KIND, subject.kind.min(UNKNOWN_KIND));
    }
    if let Some(attribute) = defaults.status {
        match (subject.status, attribute) {
            (StatusCode::Unset, StatusAttribute::OtelStatusCode) => {}
            (StatusCode::Unset, StatusAttribute::StatusCode) => key.varint(STATUS, 0),
            (StatusCode::Ok, _) => key.varint(STATUS, 1),
            (StatusCode::Error, _) => key.varint(STATUS, 2),
        }
    }
    if !subject.scope_name.is_empty() {
        key.bytes(SCOPE_NAME, &valid_utf8(subject.scope_name));
        if !subject.scope_version.is_empty() {
            key.bytes(SCOPE_VERSION, &valid_utf8(subject.scope_version));
        }
    }
    if defaults.sampling_method {
        key.varint(EXTRAPOLATED, subject.extrapolated.into());
    }
}

/// Writes what the keys of `family` end with.
#[inline]
pub(crate) fn write_dimensions(family: &Family, said: &Said<'_, '_>, key: &mut Writer) {
    for attribute in said.matched {
        let is_named = || family.dimensions.iter().any(|named| *named.name == *attribute.name);
        if attribute.globs & family.globs != 0 && !is_named() {
            key.attribute(MATCHED, &valid_utf8(attribute.name), |message| {
                write_value(message, AnyValue::read(attribute.value));
            });
        }
    }
    for (number, named) in (FIRST_DIMENSION..).zip(&family.dimensions) {
        match (said.value(named.slot), &named.default) {
            (Some(value), _) if is_plain(value) => key.bytes(number, value),
            (Some(value), _) => {
                key.message(number, |message| write_value(message, AnyValue::read(value)));
            }
            (None, Some(default)) => key.message(number, |message| message.bytes(1, default)),
            (None, None) => {}
        }
    }
}

/// Whether an `AnyValue` message is a short text or a small integer and nothing else, and written in
/// the one way that [`write_value`] writes it.
#[inline]
fn is_plain(value: &[u8]) -> bool {
    match value {
        [0x0a, length @ ..0x80, text @ ..] => usize::from(*length) == text.len() && text.is_ascii(),
        [0x18, ..0x80] => true,
        [0x18, low, 1..0x80] => *low >= 0x80,
        _ => false,
    }
}

/// Writes the attributes that `key` stands for as `KeyValue` fields under `number`, in the
/// Collector's order.
pub(crate) fn write_attributes(
    settings: &Settings,
    family: &Family,
    service: &[u8],
    key: &[u8],
    writer: &mut Writer,
    number: u32,
) {
    let defaults = &settings.defaults;
    let mut instance = defaults.instance_id.then(|| settings.instance.as_bytes());
    if key == OVERFLOW_KEY {
        writer.bool_attribute(number, OVERFLOW, true);
    } else {
        if defaults.service_name {
            writer.string_attribute(number, dimension::SERVICE_NAME.as_bytes(), service);
        }
        for field in Fields::new(key) {
            if field.number > STATUS
                && let Some(instance) = instance.take()
            {
                writer.string_attribute(number, dimension::INSTANCE_ID.as_bytes(), instance);
            }
            write_attribute(settings, family, field.number, field.value, writer, number);
        }
    }
    if let Some(instance) = instance {
        writer.string_attribute(number, dimension::INSTANCE_ID.as_bytes(), instance);
    }
}

fn write_attribute(
    settings: &Settings,
    family: &Family,
    field: u32,
    value: Value<'_>,
    writer: &mut Writer,
    number: u32,
) {
    let mut text = |name: &str, text: &[u8]| writer.string_attribute(number, name.as_bytes(), text);
    match (field, value) {
        (NAME, Value::Bytes(name)) => text(dimension::SPAN_NAME, name),
        (KIND, Value::Varint(kind)) => text(dimension::SPAN_KIND, named(&KINDS, kind)),
        (STATUS, Value::Varint(status)) => match settings.defaults.status {
            Some(StatusAttribute::OtelStatusCode) => {
                text(dimension::OTEL_STATUS_CODE, named(&OTEL_STATUSES, status));
            }
            _ => text(dimension::STATUS_CODE, named(&STATUSES, status)),
        },
        (SCOPE_NAME, Value::Bytes(name)) => text(dimension::SCOPE_NAME, name),
        (SCOPE_VERSION, Value::Bytes(version)) => text(dimension::SCOPE_VERSION, version),
        (EXTRAPOLATED, Value::Varint(0)) => text(dimension::SAMPLING_METHOD, b"counted"),
        (EXTRAPOLATED, Value::Varint(_)) => text(dimension::SAMPLING_METHOD, b"extrapolated"),
        (MATCHED, Value::Bytes(attribute)) => writer.bytes(number, attribute),
        (field, Value::Bytes(value)) => {
            let name = &family.dimensions[(field - FIRST_DIMENSION) as usize].name;
            writer.attribute(number, name, |message| message.raw(value));
        }
        _ => unreachable!("keys are written by this module only"),
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
    // Most texts are, and to see that is several times quicker.
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(replaced) => Cow::Owned(replaced.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_what_is_written_as_it_stands() {
        let texts =
            [&b"\x0a\x00"[..], b"\x0a\x01x", b"\x0a\x02x", b"\x0a\x81\x00x", b"\x0a\x01\xff"];
        let integers =
            [&b"\x18\x00"[..], b"\x18\x7f", b"\x18\xc8\x01", b"\x18\x80\x00", b"\x18\x80"];
        for value in texts.into_iter().chain(integers) {
            let mut written = Writer::new();
            write_value(&mut written, AnyValue::read(value));
            assert_eq!(is_plain(value), written.as_slice() == value, "{value:?}");
        }
    }
}
