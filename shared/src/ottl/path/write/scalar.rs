//! What is written for a value, and where.

use std::borrow::Cow;

use crate::ottl::edit::bytes;
use crate::ottl::error::EvalError;
use crate::ottl::functions::{int, text, time};
use crate::ottl::lexer::decode_hex;
use crate::ottl::value::{List, Value};
use crate::wire::Writer;

/// Where a scalar stands in a part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Under this number.
    At(u32),
    /// Under the second number, in the message under the first.
    Nested(u32, u32),
    /// Under the first number, in place of what stands there and under the second: a `oneof`.
    Instead(u32, u32),
    /// Under this number in the metric's data.
    Within(u32),
}

/// What is written.
pub(super) enum Scalar<'v> {
    Bytes(Cow<'v, [u8]>),
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Fixed64s(Vec<u64>),
    Varints(Vec<u64>),
}

impl Place {
    pub(super) fn write(self, part: &[u8], scalar: &Scalar<'_>) -> Vec<u8> {
        match self {
            Place::At(number) | Place::Within(number) => {
                bytes::replace(part, &[number], |part| scalar.write(part, number))
            }
            Place::Instead(number, other) => {
                bytes::replace(part, &[number, other], |part| scalar.write(part, number))
            }
            Place::Nested(outer, number) => {
                let inner = bytes::merged(part, outer);
                let inner = bytes::replace(&inner, &[number], |inner| scalar.write(inner, number));
                bytes::replace(part, &[outer], |part| part.bytes(outer, &inner))
            }
        }
    }
}

impl Scalar<'_> {
    pub(super) fn write(&self, writer: &mut Writer, number: u32) {
        match self {
            Scalar::Bytes(bytes) => writer.bytes(number, bytes),
            Scalar::Varint(value) => writer.varint(number, *value),
            Scalar::Fixed64(value) => writer.fixed64(number, *value),
            Scalar::Fixed32(value) => writer.fixed32(number, *value),
            Scalar::Fixed64s(values) => writer.packed_fixed64(number, values.iter().copied()),
            Scalar::Varints(values) => writer.packed_varint(number, values.iter().copied()),
        }
    }
}

pub(super) type Written<'v> = Result<(Place, Scalar<'v>), EvalError>;

pub(super) fn string<'v>(value: &'v Value<'_>) -> Result<Scalar<'v>, EvalError> {
    match value {
        Value::Text(text) => Ok(Scalar::Bytes(Cow::Borrowed(text.as_bytes()))),
        other => Err(EvalError::wrong_type("a string", other.type_name())),
    }
}

pub(super) fn fixed64(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Fixed64(int(value)?.cast_unsigned()))
}

pub(super) fn double(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    match value {
        Value::Double(number) => Ok(Scalar::Fixed64(number.to_bits())),
        other => Err(EvalError::wrong_type("a double", other.type_name())),
    }
}

pub(super) fn nanos(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Fixed64(time(value)?.unix_nanos().cast_unsigned()))
}

/// A count of 32 bits; more are cut off, as in the Collector.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the Collector does it"
)]
pub(super) fn count(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Varint((int(value)? as u32).into()))
}

/// Enums are 32 bits wide, and signed.
#[allow(clippy::cast_possible_truncation, reason = "as protobuf has it")]
pub(super) fn enumeration(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    Ok(Scalar::Varint(i64::from(int(value)? as i32).cast_unsigned()))
}

#[allow(clippy::cast_possible_truncation, reason = "as the Collector does it")]
pub(super) fn sint32(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    let number = int(value)? as i32;
    Ok(Scalar::Varint(((number << 1) ^ (number >> 31)).cast_unsigned().into()))
}

pub(super) fn flags(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    match u32::try_from(int(value)?) {
        Ok(flags) => Ok(Scalar::Fixed32(flags)),
        Err(_) => Err(EvalError::fixed("flags have 32 bits")),
    }
}

pub(super) fn trace_id<'v>(value: &'v Value<'_>) -> Result<Scalar<'v>, EvalError> {
    match value {
        Value::TraceId(id) => Ok(Scalar::Bytes(Cow::Borrowed(id))),
        other => Err(EvalError::wrong_type("a trace id", other.type_name())),
    }
}

pub(super) fn span_id<'v>(value: &'v Value<'_>) -> Result<Scalar<'v>, EvalError> {
    match value {
        Value::SpanId(id) => Ok(Scalar::Bytes(Cow::Borrowed(id))),
        other => Err(EvalError::wrong_type("a span id", other.type_name())),
    }
}

pub(super) fn hex<const N: usize>(value: &Value<'_>) -> Result<Scalar<'static>, EvalError> {
    let digits = text(value.reborrow())?;
    match decode_hex(digits.as_bytes()) {
        Some(id) if id.len() == N => Ok(Scalar::Bytes(Cow::Owned(id))),
        _ => Err(EvalError::detailed(format!("the id must have {} hex digits", 2 * N))),
    }
}

pub(super) fn kind(value: &Value<'_>, names: [&str; 6]) -> Result<Scalar<'static>, EvalError> {
    let name = text(value.reborrow())?;
    match names.iter().position(|known| known.as_bytes() == name.as_bytes()) {
        Some(kind) => Ok(Scalar::Varint(kind as u64)),
        None => Err(EvalError::fixed("there is no such kind of span")),
    }
}

pub(super) fn integers(value: &Value<'_>) -> Result<Vec<u64>, EvalError> {
    items(value, |item| Ok(int(item)?.cast_unsigned()))
}

pub(super) fn doubles(value: &Value<'_>) -> Result<Vec<u64>, EvalError> {
    items(value, |item| match item {
        Value::Double(number) => Ok(number.to_bits()),
        other => Err(EvalError::wrong_type("a double", other.type_name())),
    })
}

fn items(
    value: &Value<'_>,
    read: impl Fn(&Value<'_>) -> Result<u64, EvalError>,
) -> Result<Vec<u64>, EvalError> {
    let Value::List(list) = value.reborrow() else {
        return Err(EvalError::wrong_type("a list", value.type_name()));
    };
    List::into_items(list).iter().map(read).collect()
}
