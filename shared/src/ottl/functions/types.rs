//! The types of parameters, conversions between types, and the functions that ask for a type.
//!
//! Source: contrib pkg/ottl/expression.go. A *like* type takes what can be converted, and nil.

use std::borrow::Cow;

use super::{Call, Env, EvalError, Function, function, parameter};
use crate::ottl::json;
use crate::ottl::time::Time;
use crate::ottl::value::{List, Map, Text, Value};

/// What a parameter takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::ottl) enum Kind {
    Any,
    Text,
    TextLike,
    Int,
    IntLike,
    Double,
    DoubleLike,
    Bool,
    BoolLike,
    /// Bytes, or what has bytes: a string's, or a number's, the highest first.
    BytesLike,
    Map,
    List,
    Time,
    Duration,
    /// A string written out: nothing that is computed.
    LiteralText,
    /// `true` or `false` written out.
    LiteralBool,
    /// An integer written out.
    LiteralInt,
    /// A number written out.
    LiteralNumber,
    /// A path that can be set.
    Target,
    /// The name of a function that takes a string.
    Function,
    /// A list written out, of arguments of one kind.
    Many(&'static Kind),
    /// A lambda with so many parameters.
    Lambda(usize),
}

impl Kind {
    /// Whether only literals are taken.
    pub(in crate::ottl) const fn is_literal(self) -> bool {
        matches!(
            self,
            Kind::LiteralText | Kind::LiteralBool | Kind::LiteralInt | Kind::LiteralNumber
        )
    }

    /// What an argument must be.
    pub(in crate::ottl) const fn describe(self) -> &'static str {
        match self {
            Kind::LiteralText => "a string in quotes",
            Kind::LiteralBool => "true or false",
            Kind::LiteralInt => "an integer",
            Kind::LiteralNumber => "a number",
            _ => "a value",
        }
    }

    /// Whether `value` is taken.
    pub(in crate::ottl) fn check(self, value: &Value<'static>) -> Result<(), EvalError> {
        let value = value.reborrow();
        match self {
            Kind::Any | Kind::Many(_) | Kind::Lambda(_) | Kind::Target | Kind::Function => Ok(()),
            Kind::Text | Kind::LiteralText => text(value).map(|_| ()),
            Kind::TextLike => text_like(value).map(|_| ()),
            Kind::Int | Kind::LiteralInt => int(&value).map(|_| ()),
            Kind::IntLike => int_like(&value).map(|_| ()),
            Kind::Double => double(&value).map(|_| ()),
            Kind::LiteralNumber => match value {
                Value::Int(_) | Value::Double(_) => Ok(()),
                other => Err(EvalError::wrong_type("a number", other.type_name())),
            },
            Kind::DoubleLike => double_like(&value).map(|_| ()),
            Kind::Bool | Kind::LiteralBool => boolean(&value).map(|_| ()),
            Kind::BoolLike => bool_like(&value).map(|_| ()),
            Kind::BytesLike => bytes_like(value).map(|_| ()),
            Kind::Map => map(value).map(|_| ()),
            Kind::List => list(value).map(|_| ()),
            Kind::Time => time(&value).map(|_| ()),
            Kind::Duration => duration(&value).map(|_| ()),
        }
    }
}

pub(in crate::ottl) fn text(value: Value<'_>) -> Result<Text<'_>, EvalError> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(EvalError::wrong_type("a string", other.type_name())),
    }
}

/// Anything as a string: bytes in hex, the rest but nil as JSON.
pub(in crate::ottl) fn text_like(value: Value<'_>) -> Result<Option<Text<'_>>, EvalError> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::Text(text) => text,
        Value::Bytes(bytes) if bytes.len() <= 16 => Text::hex(&bytes),
        Value::Bytes(bytes) => Text::Owned(hex(&bytes)),
        Value::Bool(true) => Text::Borrowed(b"true"),
        Value::Bool(false) => Text::Borrowed(b"false"),
        Value::Int(number) => Text::format(number),
        Value::Duration(nanos) => Text::format(nanos),
        Value::Double(number) if number.is_finite() => Text::format(json::Double(number)),
        Value::Double(_) => return Err(EvalError::fixed("JSON has no such number")),
        other => Text::Owned(json::write(&other)?),
    }))
}

pub(super) fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

pub(in crate::ottl) fn int(value: &Value<'_>) -> Result<i64, EvalError> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(EvalError::wrong_type("an integer", other.type_name())),
    }
}

/// A string that is no number gives nil, not an error.
pub(super) fn int_like(value: &Value<'_>) -> Result<Option<i64>, EvalError> {
    Ok(match value {
        Value::Nil => None,
        Value::Int(number) => Some(*number),
        Value::Text(text) => {
            str::from_utf8(text.as_bytes()).ok().and_then(|text| text.parse().ok())
        }
        #[allow(clippy::cast_possible_truncation, reason = "towards zero, and to the limits")]
        Value::Double(number) => Some(*number as i64),
        Value::Bool(value) => Some(i64::from(*value)),
        other => {
            return Err(EvalError::wrong_type(
                "a number, a string or a boolean",
                other.type_name(),
            ));
        }
    })
}

pub(super) fn double(value: &Value<'_>) -> Result<f64, EvalError> {
    match value {
        Value::Double(number) => Ok(*number),
        other => Err(EvalError::wrong_type("a double", other.type_name())),
    }
}

/// A string that is no number is an error.
pub(super) fn double_like(value: &Value<'_>) -> Result<Option<f64>, EvalError> {
    Ok(match value {
        Value::Nil => None,
        Value::Double(number) => Some(*number),
        #[allow(clippy::cast_precision_loss, reason = "as the Collector does it")]
        Value::Int(number) => Some(*number as f64),
        Value::Text(text) => Some(parse_double(&text.to_str())?),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        other => {
            return Err(EvalError::wrong_type(
                "a number, a string or a boolean",
                other.type_name(),
            ));
        }
    })
}

/// Infinity has to be written as such: a number beyond the largest double is an error, as in Go.
fn parse_double(text: &str) -> Result<f64, EvalError> {
    let error = || EvalError::fixed("the string is no double");
    let number: f64 = text.parse().map_err(|_| error())?;
    match number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        true => Err(error()),
        false => Ok(number),
    }
}

pub(super) fn boolean(value: &Value<'_>) -> Result<bool, EvalError> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(EvalError::wrong_type("a boolean", other.type_name())),
    }
}

pub(super) fn bool_like(value: &Value<'_>) -> Result<Option<bool>, EvalError> {
    Ok(match value {
        Value::Nil => None,
        Value::Bool(value) => Some(*value),
        Value::Int(number) => Some(*number != 0),
        Value::Double(number) => Some(*number != 0.0),
        Value::Text(text) => match text.as_bytes() {
            b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
            b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
            _ => return Err(EvalError::fixed("the string is no boolean")),
        },
        other => {
            return Err(EvalError::wrong_type(
                "a number, a string or a boolean",
                other.type_name(),
            ));
        }
    })
}

pub(super) fn bytes_like(value: Value<'_>) -> Result<Cow<'_, [u8]>, EvalError> {
    match value {
        Value::Nil => Ok(Cow::Borrowed(&[])),
        Value::Bytes(bytes) => Ok(bytes),
        Value::Text(Text::Borrowed(text)) => Ok(Cow::Borrowed(text)),
        Value::Text(text) => Ok(Cow::Owned(text.into_vec())),
        Value::Int(number) => Ok(Cow::Owned(number.to_be_bytes().to_vec())),
        Value::Double(number) => Ok(Cow::Owned(number.to_be_bytes().to_vec())),
        Value::Bool(value) => Ok(Cow::Owned(vec![u8::from(value)])),
        other => Err(EvalError::wrong_type("bytes, a string or a number", other.type_name())),
    }
}

pub(in crate::ottl) fn map(value: Value<'_>) -> Result<Map<'_>, EvalError> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(EvalError::wrong_type("a map", other.type_name())),
    }
}

pub(super) fn list(value: Value<'_>) -> Result<List<'_>, EvalError> {
    match value {
        Value::List(list) => Ok(list),
        other => Err(EvalError::wrong_type("a list", other.type_name())),
    }
}

pub(in crate::ottl) fn time(value: &Value<'_>) -> Result<Time, EvalError> {
    match value {
        Value::Time(time) => Ok(*time),
        other => Err(EvalError::wrong_type("a time", other.type_name())),
    }
}

pub(super) fn duration(value: &Value<'_>) -> Result<i64, EvalError> {
    match value {
        Value::Duration(nanos) => Ok(*nanos),
        other => Err(EvalError::wrong_type("a duration", other.type_name())),
    }
}

pub(super) const FUNCTIONS: &[Function] = &[
    function("IsString", &[parameter("target", Kind::Text)], |call, env| {
        Ok(Value::Bool(matches!(call.value(0, env)?, Value::Text(_))))
    }),
    function("IsInt", &[parameter("target", Kind::Int)], |call, env| {
        Ok(Value::Bool(matches!(call.value(0, env)?, Value::Int(_))))
    }),
    function("IsDouble", &[parameter("target", Kind::Double)], |call, env| {
        Ok(Value::Bool(matches!(call.value(0, env)?, Value::Double(_))))
    }),
    function("IsBool", &[parameter("target", Kind::Bool)], |call, env| {
        Ok(Value::Bool(matches!(call.value(0, env)?, Value::Bool(_))))
    }),
    function("IsMap", &[parameter("target", Kind::Map)], |call, env| {
        Ok(Value::Bool(matches!(call.value(0, env)?, Value::Map(_))))
    }),
    function("IsList", &[parameter("target", Kind::Any)], |call, env| {
        Ok(Value::Bool(match call.value(0, env)? {
            Value::List(_) => true,
            Value::Message(message) => message.len().is_some(),
            _ => false,
        }))
    }),
];

impl Call {
    pub(in crate::ottl) fn text<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<Text<'a>, EvalError> {
        text(self.value(index, env)?)
    }

    pub(in crate::ottl) fn text_like<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<Option<Text<'a>>, EvalError> {
        text_like(self.value(index, env)?)
    }

    pub(in crate::ottl) fn int<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<i64, EvalError> {
        int(&self.value(index, env)?)
    }

    pub(in crate::ottl) fn map<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<Map<'a>, EvalError> {
        map(self.value(index, env)?)
    }

    pub(in crate::ottl) fn list<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<List<'a>, EvalError> {
        list(self.value(index, env)?)
    }

    pub(super) fn time<'a>(&'a self, index: usize, env: &Env<'a, '_>) -> Result<Time, EvalError> {
        time(&self.value(index, env)?)
    }

    pub(super) fn duration<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<i64, EvalError> {
        duration(&self.value(index, env)?)
    }
}
