//! Values of attributes: as they are configured, hashed, and converted to other types.

use ring::digest::{SHA256, digest};

use crate::config::{Data, Decode, Node, Path, Problems};
use crate::config_enum;
use crate::wire::text::put_text;
use crate::wire::{AnyValue, Writer};

/// A value from the configuration, as an `AnyValue` message: of the type that YAML gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal(pub(crate) Vec<u8>);

impl Literal {
    /// What it says.
    pub(crate) fn value(&self) -> AnyValue<'_> {
        AnyValue::read(&self.0)
    }
}

impl Decode for Literal {
    fn decode(node: &Node, _: &Path<'_>, _: &mut Problems) -> Option<Self> {
        let mut writer = Writer::new();
        write(&node.data, &mut writer);
        Some(Self(writer.into_vec()))
    }
}

fn write(data: &Data, writer: &mut Writer) {
    match data {
        Data::Null => {}
        Data::Bool(flag) => writer.varint(2, u64::from(*flag)),
        Data::Int(number) => writer.varint(3, number.cast_unsigned()),
        Data::Float(number) => writer.double(4, *number),
        Data::String(text) => writer.bytes(1, text.as_bytes()),
        Data::List(items) => writer.message(5, |list| {
            for item in items {
                list.message(1, |value| write(&item.data, value));
            }
        }),
        Data::Map(entries) => writer.message(6, |map| {
            for entry in entries {
                map.attribute(1, entry.key.as_bytes(), |value| write(&entry.value.data, value));
            }
        }),
    }
}

config_enum! {
    /// What a value is converted to.
    pub enum ConvertedType {
        /// Text.
        String = "string",
        /// A signed integer.
        Int = "int",
        /// A double.
        Double = "double",
    }
}

/// The `AnyValue` message of a text.
pub(crate) fn text(text: &[u8]) -> Vec<u8> {
    let mut value = Writer::with_capacity(text.len() + 4);
    value.bytes(1, text);
    value.into_vec()
}

/// The SHA-256 of a value in hexadecimal, as a text; empty where the Collector hashes nothing.
pub(super) fn hashed(value: &[u8]) -> Vec<u8> {
    let hex = |bytes: &[u8]| {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let digest = digest(&SHA256, bytes);
        let bytes = digest.as_ref().iter();
        text(&bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect::<Vec<_>>())
    };
    match AnyValue::read(value) {
        AnyValue::String(text) => hex(text),
        AnyValue::Bool(flag) => hex(&[u8::from(flag)]),
        AnyValue::Int(number) => hex(&number.to_le_bytes()),
        AnyValue::Double(number) => hex(&number.to_bits().to_le_bytes()),
        AnyValue::Empty | AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) => {
            text(b"")
        }
    }
}

/// A value as one of another type; nothing if it is of that type or cannot be converted.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "conversions that were asked for"
)]
pub(super) fn converted(value: &[u8], to: ConvertedType) -> Option<Vec<u8>> {
    let int = |number: i64| encoded(|value| value.varint(3, number.cast_unsigned()));
    let double = |number: f64| encoded(|value| value.double(4, number));
    match (to, AnyValue::read(value)) {
        (ConvertedType::String, AnyValue::String(_))
        | (ConvertedType::Int, AnyValue::Int(_))
        | (ConvertedType::Double, AnyValue::Double(_)) => None,
        (ConvertedType::String, value) => {
            let mut written = Vec::new();
            put_text(&mut written, value);
            Some(text(&written))
        }
        (ConvertedType::Int, AnyValue::Double(number)) => Some(int(number as i64)),
        (ConvertedType::Int, AnyValue::Bool(flag)) => Some(int(flag.into())),
        (ConvertedType::Int, AnyValue::String(text)) => Some(int(parse::<i64>(text)?)),
        (ConvertedType::Double, AnyValue::Int(number)) => Some(double(number as f64)),
        (ConvertedType::Double, AnyValue::Bool(flag)) => Some(double(u8::from(flag).into())),
        (ConvertedType::Double, AnyValue::String(text)) => Some(double(parse_double(text)?)),
        _ => None,
    }
}

fn encoded(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut value = Writer::with_capacity(16);
    fill(&mut value);
    value.into_vec()
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A number too large for a double is none, as in Go.
pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    let is_named = text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    parse::<f64>(text).filter(|number| number.is_finite() || is_named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn literal(json: &serde_json::Value) -> Literal {
        Literal::decode(&crate::config::testing::node(json), &Path::ROOT, &mut Problems::default())
            .unwrap()
    }

    #[test]
    fn values_have_the_types_of_yaml() {
        assert_eq!(literal(&json!(true)).value(), AnyValue::Bool(true));
        assert_eq!(literal(&json!(-7)).value(), AnyValue::Int(-7));
        assert_eq!(literal(&json!(1.5)).value(), AnyValue::Double(1.5));
        assert_eq!(literal(&json!("x")).value(), AnyValue::String(b"x"));
        let mut text = Vec::new();
        put_text(&mut text, literal(&json!({"a": [1, "b", null]})).value());
        assert_eq!(String::from_utf8(text).unwrap(), r#"{"a":[1,"b",null]}"#);
    }

    #[test]
    fn scalars_are_hashed_and_everything_else_is_emptied() {
        let check = |json: serde_json::Value, expected: &str| {
            let hashed = hashed(&literal(&json).0);
            assert_eq!(AnyValue::read(&hashed), AnyValue::String(expected.as_bytes()), "{json}");
        };
        // As sha256sum has it.
        check(json!("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(json!(true), "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a");
        check(json!(1), "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8");
        check(json!(1.5), "e163f8cb0f7067a7fc78ca859a77f849aea3214f38fb75b884e4a16be725c905");
        check(json!([1]), "");
        check(json!(null), "");
    }

    #[test]
    fn values_are_converted_where_they_can_be() {
        use AnyValue::{Double, Int, String};
        let check = |json: serde_json::Value, to: ConvertedType, expected: Option<AnyValue<'_>>| {
            let converted = converted(&literal(&json).0, to);
            assert_eq!(converted.as_deref().map(AnyValue::read), expected, "{json}");
        };
        check(json!(5), ConvertedType::String, Some(String(b"5")));
        check(json!(0.25), ConvertedType::String, Some(String(b"0.25")));
        check(json!("5"), ConvertedType::String, None);
        check(json!("-12"), ConvertedType::Int, Some(Int(-12)));
        check(json!("1.5"), ConvertedType::Int, None);
        check(json!(-1.9), ConvertedType::Int, Some(Int(-1)));
        check(json!(true), ConvertedType::Int, Some(Int(1)));
        check(json!([1]), ConvertedType::Int, None);
        check(json!("1e3"), ConvertedType::Double, Some(Double(1000.0)));
        check(json!("1e999"), ConvertedType::Double, None);
        check(json!(3), ConvertedType::Double, Some(Double(3.0)));
        check(json!(false), ConvertedType::Double, Some(Double(0.0)));
    }
}
