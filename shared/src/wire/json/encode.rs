//! Wire form to OTLP/JSON, in the specification's form.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::schema::{Field, Kind, Label, Message};
use super::{JsonError, Path, Step};
use crate::wire::field::{Fields, Value, read_varint};
use crate::wire::{Signal, field};

/// How many steps a value may be deep, so that what is written can be read by those who allow
/// 128 levels, as we do.
const MAX_DEPTH: usize = 126;

/// Appends an export request of `signal` to `json`, which is left as it was on an error.
///
/// Unknown fields are left out; text that is no UTF-8 gets replacement characters.
///
/// # Errors
/// [`JsonError`] when a message inside is malformed or nested too deep.
pub fn encode(signal: Signal, request: &[u8], json: &mut Vec<u8>) -> Result<(), JsonError> {
    let start = json.len();
    let mut encoder = Encoder { json, path: Path::default() };
    match encoder.message(Message::request(signal), request) {
        Ok(()) => Ok(()),
        Err(reason) => {
            let path = encoder.path.to_string();
            json.truncate(start);
            Err(JsonError { path, reason })
        }
    }
}

struct Encoder<'j> {
    json: &'j mut Vec<u8>,
    path: Path,
}

type Encoded = Result<(), String>;

impl Encoder<'_> {
    /// Writes a message as an object.
    fn message(&mut self, message: &'static Message, content: &[u8]) -> Encoded {
        if self.path.0.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let (oneof, oneof_from) = last_of_oneof(message, content)?;
        let mut separator = b'{';
        for field in message.fields {
            let content = match message.oneof.contains(&field.number) {
                true if field.number != oneof => continue,
                true => &content[oneof_from..],
                false => content,
            };
            let occurrences = Fields::new(content).filter(|found| found.number == field.number);
            let Some(last) = occurrences.clone().last() else { continue };
            self.json.push(separator);
            separator = b',';
            self.text(field.name);
            self.json.push(b':');
            self.path.0.push(Step::Key(field.name));
            match (field.label, field.kind) {
                (Label::Many, _) => self.list(field, occurrences.map(|found| found.value))?,
                (Label::One, Kind::Message(message)) => {
                    self.merged(message, occurrences.map(|found| found.value), last.value)?;
                }
                (Label::One, kind) => self.scalar(kind, last.value)?,
            }
            self.path.0.pop();
        }
        if separator == b'{' {
            self.json.push(b'{');
        }
        self.json.push(b'}');
        Ok(())
    }

    /// Writes a message of which there may be several parts: they merge by being joined.
    fn merged<'a>(
        &mut self,
        message: &'static Message,
        parts: impl Iterator<Item = Value<'a>> + Clone,
        last: Value<'a>,
    ) -> Encoded {
        if parts.clone().count() == 1 {
            return self.message(message, bytes(last)?);
        }
        let mut joined = Vec::new();
        for part in parts {
            joined.extend_from_slice(bytes(part)?);
        }
        self.message(message, &joined)
    }

    /// Writes a repeated field as an array.
    fn list<'a>(
        &mut self,
        field: &'static Field,
        values: impl Iterator<Item = Value<'a>>,
    ) -> Encoded {
        self.json.push(b'[');
        let mut index = 0;
        let mut element = |encoder: &mut Self, kind: Kind, value: Value<'a>| {
            if index > 0 {
                encoder.json.push(b',');
            }
            encoder.path.0.push(Step::Index(index));
            index += 1;
            match kind {
                Kind::Message(message) => encoder.message(message, bytes(value)?)?,
                kind => encoder.scalar(kind, value)?,
            }
            encoder.path.0.pop();
            Ok::<_, String>(())
        };
        for value in values {
            match (field.kind, value) {
                (Kind::Double | Kind::Fixed64, Value::Bytes(packed)) => {
                    let (chunks, []) = packed.as_chunks::<8>() else {
                        return Err("truncated run of numbers".to_owned());
                    };
                    for chunk in chunks {
                        let bits = u64::from_le_bytes(*chunk);
                        element(self, field.kind, Value::Fixed64(bits))?;
                    }
                }
                (Kind::Uint64, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        let (number, rest) =
                            read_varint(packed).ok_or("truncated run of numbers")?;
                        element(self, field.kind, Value::Varint(number))?;
                        packed = rest;
                    }
                }
                (kind, value) => element(self, kind, value)?,
            }
        }
        self.json.push(b']');
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "numbers of 32 bits ignore what is above")]
    fn scalar(&mut self, kind: Kind, value: Value<'_>) -> Encoded {
        match (kind, value) {
            (Kind::String, Value::Bytes(text)) => self.text(&String::from_utf8_lossy(text)),
            (Kind::Bytes, Value::Bytes(bytes)) => self.text(&BASE64.encode(bytes)),
            (Kind::Id(_), Value::Bytes(id)) => {
                self.json.push(b'"');
                for byte in id {
                    self.put(format_args!("{byte:02x}"));
                }
                self.json.push(b'"');
            }
            (Kind::Bool, Value::Varint(flag)) => self.put(format_args!("{}", flag != 0)),
            (Kind::Uint32, Value::Varint(number)) => self.put(format_args!("{}", number as u32)),
            (Kind::Enum(_), Value::Varint(number)) => self.put(format_args!("{}", number as i32)),
            (Kind::Sint32, Value::Varint(bits)) => {
                let bits = bits as u32;
                let number = (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed();
                self.put(format_args!("{number}"));
            }
            (Kind::Fixed32, Value::Fixed32(number)) => self.put(format_args!("{number}")),
            (Kind::Uint64, Value::Varint(number)) | (Kind::Fixed64, Value::Fixed64(number)) => {
                self.put(format_args!("\"{number}\""));
            }
            (Kind::Int64, Value::Varint(number)) | (Kind::Sfixed64, Value::Fixed64(number)) => {
                self.put(format_args!("\"{}\"", number.cast_signed()));
            }
            (Kind::Double, Value::Fixed64(bits)) => self.double(f64::from_bits(bits)),
            _ => return Err(WRONG_TYPE.to_owned()),
        }
        Ok(())
    }

    fn double(&mut self, number: f64) {
        match number {
            number if number.is_finite() => {
                serde_json::to_writer(&mut *self.json, &number).expect("a Vec takes all");
            }
            number if number.is_nan() => self.text("NaN"),
            number if number > 0.0 => self.text("Infinity"),
            _ => self.text("-Infinity"),
        }
    }

    fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.json, text).expect("a Vec takes all");
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.json.write_fmt(text).expect("a Vec takes all");
    }
}

const WRONG_TYPE: &str = "wrong wire type";

fn bytes(value: Value<'_>) -> Result<&[u8], String> {
    value.bytes().ok_or_else(|| WRONG_TYPE.to_owned())
}

/// Checks the framing and finds the field of the message's oneof that counts: its number, and
/// the place from which on there is no other.
fn last_of_oneof(message: &Message, content: &[u8]) -> Result<(u32, usize), String> {
    let (mut last, mut from, mut offset) = (0, 0, 0);
    let mut fields = Fields::new(content);
    for field::Field { number, raw, .. } in fields.by_ref() {
        if number != last && message.oneof.contains(&number) {
            (last, from) = (number, offset);
        }
        offset += raw.len();
    }
    match fields.is_malformed() {
        true => Err(format!("truncated or corrupt {}", message.name)),
        false => Ok((last, from)),
    }
}
