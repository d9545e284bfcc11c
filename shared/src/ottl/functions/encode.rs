//! Base64, and ids that are made up.
//!
//! Source: contrib pkg/ottl/ottlfuncs.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::types::Kind;
use super::{Argument, Depends, EvalError, Function, Prepared, function, optional, parameter};
use crate::clock;
use crate::ottl::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "Base64Encode",
        &[parameter("target", Kind::Text), optional("variant", Kind::Text)],
        |call, env| {
            let text = call.text(0, env)?;
            let engine = match call.has(1) {
                true => variant(call.text(1, env)?.as_bytes())?,
                false => &STANDARD,
            };
            Ok(Value::Text(Text::Owned(engine.encode(text.as_bytes()).into_bytes())))
        },
    )
    .prepared_by(check_variant),
    function("Base64Decode", &[parameter("target", Kind::Text)], |call, env| {
        decode(&STANDARD, call.text(0, env)?.as_bytes())
    }),
    function(
        "Decode",
        &[parameter("target", Kind::Any), parameter("encoding", Kind::Text)],
        |call, env| {
            let engine = variant(call.text(1, env)?.as_bytes())?;
            match call.value(0, env)? {
                Value::Text(text) => decode(engine, text.as_bytes()),
                Value::Bytes(bytes) => decode(engine, &bytes),
                other => Err(EvalError::wrong_type("a string or bytes", other.type_name())),
            }
        },
    )
    .prepared_by(check_variant),
    function("UUID", &[], |_, _| Ok(uuid(4, rand::random()))).depending_on(Depends::Clock),
    function("UUIDv7", &[], |_, _| {
        let millis = u128::from(clock::unix_ns() / 1_000_000);
        Ok(uuid(7, (millis << 80) | (rand::random::<u128>() >> 48)))
    })
    .depending_on(Depends::Clock),
];

fn check_variant(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    match arguments.get(1).and_then(Argument::constant) {
        Some((Value::Text(name), _)) if variant(name.as_bytes()).is_err() => {
            let names = "\"base64\", \"base64-raw\", \"base64-url\" or \"base64-raw-url\"";
            Err((1, format!("must be {names}")))
        }
        _ => Ok(Prepared::Nothing),
    }
}

fn variant(name: &[u8]) -> Result<&'static GeneralPurpose, EvalError> {
    match name {
        b"base64" => Ok(&STANDARD),
        b"base64-raw" => Ok(&STANDARD_NO_PAD),
        b"base64-url" => Ok(&URL_SAFE),
        b"base64-raw-url" => Ok(&URL_SAFE_NO_PAD),
        _ => Err(EvalError::fixed("there is no such encoding")),
    }
}

/// As Go does it, white space around and line ends within are skipped.
fn decode(engine: &GeneralPurpose, text: &[u8]) -> Result<Value<'static>, EvalError> {
    let mut text = text.trim_ascii().to_vec();
    text.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    let decoded = engine.decode(text);
    let decoded = decoded.map_err(|_| EvalError::fixed("the string is not in this encoding"))?;
    Ok(Value::Text(Text::Owned(decoded)))
}

/// A UUID of this version with these bits.
fn uuid(version: u128, bits: u128) -> Value<'static> {
    let bits = (bits & !(0xf << 76)) | (version << 76);
    let bits = (bits & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let mut text = Vec::with_capacity(36);
    for (index, digit) in hex.bytes().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push(b'-');
        }
        text.push(digit);
    }
    Value::Text(Text::Owned(text))
}
