//! OTLP/JSON to wire form, streamed: fields are written as they are read.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::schema::{Field, Kind, Label, Message};
use super::{JsonError, Path, Step};
use crate::wire::{Signal, Writer};

/// Takes padding that is there, missing or not quite zero; the alphabet is brought to one before.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads an export request of `signal` from JSON and returns it in wire form.
///
/// JSON nested deeper than 127 levels is refused.
///
/// # Errors
/// [`JsonError`] with the path to what is wrong; the sender must not retry it.
pub fn decode(signal: Signal, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut writer = Writer::with_capacity(json.len() / 2);
    let mut path = Path::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let visitor =
        MessageVisitor { message: Message::request(signal), writer: &mut writer, path: &mut path };
    match deserializer.deserialize_any(visitor).and_then(|()| deserializer.end()) {
        Ok(()) => Ok(writer.into_vec()),
        Err(error) => Err(JsonError { path: path.to_string(), reason: error.to_string() }),
    }
}

/// Writes the fields of a JSON object.
struct MessageVisitor<'w> {
    message: &'static Message,
    writer: &'w mut Writer,
    path: &'w mut Path,
}

impl<'de> Visitor<'de> for MessageVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.message.name)
    }

    /// `null` instead of a request.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(NameSeed(self.message))? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.path.0.push(Step::Key(field.name));
            map.next_value_seed(FieldSeed { field, writer: self.writer, path: self.path })?;
            self.path.0.pop();
        }
        Ok(())
    }
}

/// Finds a message's field by its name.
struct NameSeed(&'static Message);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// Writes a field from its value; `null` is as if it were absent.
struct FieldSeed<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
    path: &'w mut Path,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { field, writer, path } = self;
        match field.label {
            Label::One => write_value(field, writer, path, deserializer),
            Label::Many => deserializer.deserialize_seq(ListVisitor { field, writer, path }),
        }
    }
}

/// Writes a repeated field from a JSON array.
struct ListVisitor<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
    path: &'w mut Path,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, writer, path } = self;
        let mut numbers = Vec::new();
        for index in 0.. {
            path.0.push(Step::Index(index));
            let more = match field.kind {
                Kind::Message(_) | Kind::String | Kind::Bytes | Kind::Id(_) => {
                    list.next_element_seed(ElementSeed { field, writer, path })?
                }
                kind => {
                    let number = list.next_element_seed(NumberVisitor(kind))?;
                    numbers.extend(number);
                    number.map(|_| ())
                }
            };
            path.0.pop();
            if more.is_none() {
                break;
            }
        }
        if !numbers.is_empty() {
            write_packed(field, writer, &numbers);
        }
        Ok(())
    }
}

/// Writes one occurrence of a repeated field; `null` is an empty one.
struct ElementSeed<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
    path: &'w mut Path,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for ElementSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.writer.bytes(self.field.number, &[]);
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        write_value(self.field, self.writer, self.path, deserializer)
    }
}

/// Writes one occurrence of a field from its JSON value.
fn write_value<'de, D: Deserializer<'de>>(
    field: &'static Field,
    writer: &mut Writer,
    path: &mut Path,
    deserializer: D,
) -> Result<(), D::Error> {
    match field.kind {
        Kind::Message(message) => {
            let mut result = Ok(());
            writer.message(field.number, |writer| {
                result = deserializer.deserialize_map(MessageVisitor { message, writer, path });
            });
            result
        }
        Kind::String | Kind::Bytes | Kind::Id(_) => {
            // As bytes, since only those may hold half a character.
            deserializer.deserialize_bytes(TextVisitor { field, writer })
        }
        kind => {
            let number = deserializer.deserialize_any(NumberVisitor(kind))?;
            match kind {
                Kind::Fixed32 => writer.fixed32(field.number, low_half(number)),
                Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                    writer.fixed64(field.number, number);
                }
                _ => writer.varint(field.number, number),
            }
            Ok(())
        }
    }
}

fn write_packed(field: &Field, writer: &mut Writer, numbers: &[u64]) {
    match field.kind {
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
            writer.packed_fixed64(field.number, numbers.iter().copied());
        }
        _ => writer.packed_varint(field.number, numbers.iter().copied()),
    }
}

/// Writes a field that is a string in JSON.
struct TextVisitor<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
}

impl Visitor<'_> for TextVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.kind {
            Kind::Id(length) => write!(f, "an id of {} hex digits, or none", 2 * length),
            Kind::Bytes => f.write_str("base64"),
            _ => f.write_str("a string"),
        }
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        let text = whole_characters(bytes);
        let invalid = || E::invalid_value(Unexpected::Str(&text), &self);
        let number = self.field.number;
        match self.field.kind {
            Kind::Id(length) => {
                let id = decode_hex(&text).ok_or_else(invalid)?;
                if !id.is_empty() && id.len() != length {
                    return Err(E::invalid_length(text.len(), &self));
                }
                self.writer.bytes(number, &id);
            }
            Kind::Bytes => {
                let bytes = decode_base64(&text).ok_or_else(invalid)?;
                self.writer.bytes(number, &bytes);
            }
            _ => self.writer.bytes(number, text.as_bytes()),
        }
        Ok(())
    }
}

/// The text with U+FFFD for what is no character: mostly half of a pair, where a browser has cut
/// a text.
fn whole_characters(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        // Half a pair is three bytes, each of which is wrong for itself.
        let goes_on = chunk.valid().is_empty() && text.ends_with(char::REPLACEMENT_CHARACTER);
        if !chunk.invalid().is_empty() && !goes_on {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(text)
}

/// Base64 of either alphabet, in one line or several.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let standard = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let lines = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    BASE64.decode(lines.map(standard).collect::<Vec<u8>>()).ok()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
    match rest {
        [] => pairs.iter().map(byte).collect(),
        _ => None,
    }
}

/// Reads a number, a boolean or an enum: its varint, or its bits.
#[derive(Clone, Copy)]
struct NumberVisitor(Kind);

impl<'de> DeserializeSeed<'de> for NumberVisitor {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for NumberVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Bool => "a boolean",
            Kind::Double => "a number, or one as a string",
            Kind::Enum(_) => "a known name or a number of an enum",
            Kind::Sint32 => "a 32-bit integer, or one as a string",
            Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer, or one as a string",
            Kind::Int64 | Kind::Sfixed64 => "a 64-bit integer, or one as a string",
            _ => "an unsigned 64-bit integer, or one as a string",
        })
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<u64, E> {
        match self.0 {
            Kind::Bool => Ok(u64::from(flag)),
            _ => Err(E::invalid_type(Unexpected::Bool(flag), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        self.integer(number.into())
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        self.integer(number.into())
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
        match self.0 {
            Kind::Double => Ok(number.to_bits()),
            _ => whole(number)
                .and_then(|number| self.integer(number))
                .ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let number = match self.0 {
            Kind::Double => parse_double(text).map(f64::to_bits),
            Kind::Enum(names) => names
                .iter()
                .position(|name| *name == text)
                .and_then(|number| u64::try_from(number).ok()),
            _ => text.parse().ok().and_then(|number| self.integer(number)),
        };
        number.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl NumberVisitor {
    /// The wire's value of `number`, if it is in range.
    #[allow(clippy::cast_precision_loss, reason = "a double is what the field holds")]
    fn integer(self, number: i128) -> Option<u64> {
        match self.0 {
            Kind::Uint32 | Kind::Fixed32 => u32::try_from(number).ok().map(u64::from),
            Kind::Uint64 | Kind::Fixed64 => u64::try_from(number).ok(),
            Kind::Int64 | Kind::Sfixed64 => i64::try_from(number).ok().map(i64::cast_unsigned),
            Kind::Enum(_) => {
                i32::try_from(number).ok().map(|number| i64::from(number).cast_unsigned())
            }
            Kind::Sint32 => i32::try_from(number)
                .ok()
                .map(|number| u64::from(((number << 1) ^ (number >> 31)).cast_unsigned())),
            Kind::Double => Some((number as f64).to_bits()),
            _ => None,
        }
    }
}

/// A double that is an integer and certainly the one that was written.
#[allow(clippy::cast_possible_truncation, reason = "integers of 53 bits were asked for")]
fn whole(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i128)
}

/// Finite numbers, `NaN` and `Infinity`; a finite number that overflows is none.
fn parse_double(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let overflowed = number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    (!overflowed).then_some(number)
}

#[allow(clippy::cast_possible_truncation, reason = "the value was checked to have 32 bits")]
fn low_half(number: u64) -> u32 {
    number as u32
}
