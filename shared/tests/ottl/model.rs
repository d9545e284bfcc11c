//! A second implementation of conditions: on decoded spans, without a thought for speed.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "numbers are converted as the Collector converts them"
)]
#![allow(clippy::panic, reason = "what is not generated need not be told about")]
#![allow(clippy::format_collect, clippy::match_same_arms, reason = "plain rather than fast")]

use std::cmp::Ordering;
use std::fmt;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) resource: Resource,
    pub(crate) scope: InstrumentationScope,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Test {
    Literal(bool),
    Compare(Expr, &'static str, Expr),
    IsMatch(Expr, Pattern),
    HasPrefix(Expr, String),
    IsString(Expr),
    IsRoot,
    Not(Box<Test>),
    And(Vec<Test>),
    Or(Vec<Test>),
}

/// Patterns of which the meaning is plain.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pattern {
    Digits,
    Contains(&'static str),
    Starts(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Literal(Value),
    Path(&'static str),
    /// A path of attributes and keys.
    Keys(&'static str, Vec<Key>),
    Math(Box<Expr>, char, Box<Expr>),
    Negated(Box<Expr>),
    Len(Box<Expr>),
    Int(Box<Expr>),
}

#[derive(Debug, Clone)]
pub(crate) enum Key {
    Text(&'static str),
    Index(i64),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    TraceId(Vec<u8>),
    SpanId(Vec<u8>),
    Time(i64),
    Duration(i64),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// That a record cannot be told about, not why.
#[derive(Debug)]
pub(crate) struct Failed;

impl Test {
    pub(crate) fn evaluate(&self, record: &Record) -> Result<bool, Failed> {
        match self {
            Test::Literal(value) => Ok(*value),
            Test::Compare(left, operator, right) => {
                let (left, right) = (left.evaluate(record)?, right.evaluate(record)?);
                Ok(compare(&left, operator, &right))
            }
            Test::IsMatch(target, pattern) => match text_like(&target.evaluate(record)?)? {
                Some(text) => Ok(pattern.matches(&text)),
                None => Ok(false),
            },
            Test::HasPrefix(target, prefix) => match target.evaluate(record)? {
                Value::Text(text) => Ok(text.starts_with(prefix.as_str())),
                _ => Err(Failed),
            },
            Test::IsString(target) => Ok(matches!(target.evaluate(record)?, Value::Text(_))),
            Test::IsRoot => Ok(record.span.parent_span_id.iter().all(|byte| *byte == 0)),
            Test::Not(inner) => Ok(!inner.evaluate(record)?),
            Test::And(parts) => joined(parts, record, false),
            Test::Or(parts) => joined(parts, record, true),
        }
    }

    /// What is written out, and needs no record.
    fn literal(&self) -> Option<bool> {
        match self {
            Test::Literal(value) => Some(*value),
            Test::Compare(Expr::Literal(left), operator, Expr::Literal(right)) => {
                Some(compare(left, operator, right))
            }
            Test::Not(inner) => inner.literal().map(|value| !value),
            Test::And(parts) => joined_literal(parts, false),
            Test::Or(parts) => joined_literal(parts, true),
            _ => None,
        }
    }
}

/// A literal that decides does so wherever it stands.
fn joined(parts: &[Test], record: &Record, decisive: bool) -> Result<bool, Failed> {
    if parts.iter().any(|part| part.literal() == Some(decisive)) {
        return Ok(decisive);
    }
    for part in parts {
        if part.evaluate(record)? == decisive {
            return Ok(decisive);
        }
    }
    Ok(!decisive)
}

fn joined_literal(parts: &[Test], decisive: bool) -> Option<bool> {
    if parts.iter().any(|part| part.literal() == Some(decisive)) {
        return Some(decisive);
    }
    parts.iter().all(|part| part.literal().is_some()).then_some(!decisive)
}

impl Pattern {
    fn matches(self, text: &str) -> bool {
        match self {
            Pattern::Digits => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            Pattern::Contains(part) => text.contains(part),
            Pattern::Starts(part) => text.starts_with(part),
        }
    }
}

impl Expr {
    fn evaluate(&self, record: &Record) -> Result<Value, Failed> {
        match self {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Path(path) => Ok(read(path, record)),
            Expr::Keys(path, keys) => look_up(read(path, record), keys),
            Expr::Math(left, operator, right) => {
                calculate(&left.evaluate(record)?, *operator, &right.evaluate(record)?)
            }
            Expr::Negated(inner) => match inner.evaluate(record)? {
                Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
                Value::Double(number) => Ok(Value::Double(-number)),
                _ => Err(Failed),
            },
            Expr::Len(inner) => {
                let length = match inner.evaluate(record)? {
                    Value::Text(text) => text.len(),
                    Value::Bytes(bytes) => bytes.len(),
                    Value::List(items) => items.len(),
                    Value::Map(entries) => entries.len(),
                    _ => return Err(Failed),
                };
                Ok(Value::Int(length as i64))
            }
            Expr::Int(inner) => Ok(match inner.evaluate(record)? {
                Value::Nil => Value::Nil,
                Value::Int(number) => Value::Int(number),
                Value::Double(number) => Value::Int(number as i64),
                Value::Bool(value) => Value::Int(i64::from(value)),
                Value::Text(text) => text.parse().map_or(Value::Nil, Value::Int),
                _ => return Err(Failed),
            }),
        }
    }
}

fn read(path: &str, record: &Record) -> Value {
    let span = &record.span;
    let status = span.status.clone().unwrap_or_default();
    match path {
        "name" => Value::Text(span.name.clone()),
        "kind" => Value::Int(i64::from(span.kind)),
        "kind.string" => Value::Text(
            match span.kind {
                0 => "Unspecified",
                1 => "Internal",
                2 => "Server",
                3 => "Client",
                4 => "Producer",
                5 => "Consumer",
                _ => "",
            }
            .to_owned(),
        ),
        "trace_id" => Value::TraceId(span.trace_id.clone()),
        "span_id" => Value::SpanId(span.span_id.clone()),
        "trace_id.string" => Value::Text(hex(&span.trace_id)),
        "parent_span_id.string" if span.parent_span_id.is_empty() => Value::Text("0".repeat(16)),
        "parent_span_id.string" => Value::Text(hex(&span.parent_span_id)),
        "start_time" => Value::Time(span.start_time_unix_nano.cast_signed()),
        "end_time" => Value::Time(span.end_time_unix_nano.cast_signed()),
        "start_time_unix_nano" => Value::Int(span.start_time_unix_nano.cast_signed()),
        "end_time_unix_nano" => Value::Int(span.end_time_unix_nano.cast_signed()),
        "status.code" => Value::Int(i64::from(status.code)),
        "status.message" => Value::Text(status.message),
        "flags" => Value::Int(i64::from(span.flags)),
        "dropped_attributes_count" => Value::Int(i64::from(span.dropped_attributes_count)),
        "attributes" => attributes(&span.attributes),
        "resource.attributes" => attributes(&record.resource.attributes),
        "scope.attributes" => attributes(&record.scope.attributes),
        "scope.name" => Value::Text(record.scope.name.clone()),
        other => panic!("no such path: {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(attributes: &[KeyValue]) -> Value {
    let entries = attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        (attribute.key.clone(), any(value))
    });
    Value::Map(entries.collect())
}

fn any(value: Option<&Any>) -> Value {
    match value {
        None => Value::Nil,
        Some(Any::StringValue(text)) => Value::Text(text.clone()),
        Some(Any::BoolValue(value)) => Value::Bool(*value),
        Some(Any::IntValue(number)) => Value::Int(*number),
        Some(Any::DoubleValue(number)) => Value::Double(*number),
        Some(Any::BytesValue(bytes)) => Value::Bytes(bytes.clone()),
        Some(Any::ArrayValue(array)) => {
            Value::List(array.values.iter().map(|item| any(item.value.as_ref())).collect())
        }
        Some(Any::KvlistValue(list)) => attributes(&list.values),
        Some(other) => panic!("not generated: {other:?}"),
    }
}

fn look_up(mut value: Value, keys: &[Key]) -> Result<Value, Failed> {
    for (index, key) in keys.iter().enumerate() {
        value = match (value, key) {
            (Value::Map(entries), Key::Text(key)) => {
                match entries.into_iter().find(|(name, _)| name == key) {
                    Some((_, value)) => value,
                    None => return Ok(Value::Nil),
                }
            }
            (Value::List(items), Key::Index(at)) if index > 0 => {
                let at = usize::try_from(*at).map_err(|_| Failed)?;
                items.into_iter().nth(at).ok_or(Failed)?
            }
            _ => return Err(Failed),
        };
    }
    Ok(value)
}

fn compare(left: &Value, operator: &str, right: &Value) -> bool {
    let nil = |value: &Value| match value {
        Value::Nil => true,
        Value::Bytes(bytes) => bytes.is_empty(),
        _ => false,
    };
    let ordering = match (left, right) {
        _ if nil(left) && nil(right) => Some(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
        (Value::Double(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) if !left.is_empty() && !right.is_empty() => {
            Some(left.cmp(right))
        }
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => {
            let equal = same(left, right);
            return (operator == "==" && equal) || (operator == "!=" && !equal);
        }
    };
    match operator {
        "==" => ordering == Some(Ordering::Equal),
        "!=" => ordering != Some(Ordering::Equal),
        "<" => ordering == Some(Ordering::Less),
        "<=" => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        ">" => ordering == Some(Ordering::Greater),
        ">=" => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        other => panic!("no such operator: {other}"),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bytes(bytes), Value::Nil) | (Value::Nil, Value::Bytes(bytes)) => bytes.is_empty(),
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| {
                    let other = right.iter().find(|(other, _)| other == key);
                    other.is_some_and(|(_, other)| same(value, other))
                })
        }
        _ => left == right,
    }
}

fn calculate(left: &Value, operator: char, right: &Value) -> Result<Value, Failed> {
    let doubles = |left: f64, right: f64| {
        Ok(Value::Double(match operator {
            '+' => left + right,
            '-' => left - right,
            '*' => left * right,
            _ if right == 0.0 => return Err(Failed),
            _ => left / right,
        }))
    };
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(Value::Int(match operator {
            '+' => left.wrapping_add(*right),
            '-' => left.wrapping_sub(*right),
            '*' => left.wrapping_mul(*right),
            _ if *right == 0 => return Err(Failed),
            _ => left.wrapping_div(*right),
        })),
        (Value::Int(left), Value::Double(right)) => doubles(*left as f64, *right),
        (Value::Double(left), Value::Int(right)) => doubles(*left, *right as f64),
        (Value::Double(left), Value::Double(right)) => doubles(*left, *right),
        (Value::Time(left), Value::Time(right)) if operator == '-' => {
            Ok(Value::Duration(left.saturating_sub(*right)))
        }
        _ => Err(Failed),
    }
}

fn text_like(value: &Value) -> Result<Option<String>, Failed> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::Text(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) | Value::Duration(number) => number.to_string(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Double(number) => number.to_string(),
        _ => return Err(Failed),
    }))
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Test], word: &str| {
            let parts: Vec<_> = parts.iter().map(|part| format!("({part})")).collect();
            f.write_str(&parts.join(word))
        };
        match self {
            Test::Literal(value) => write!(f, "{value}"),
            Test::Compare(left, operator, right) => write!(f, "{left} {operator} {right}"),
            Test::IsMatch(target, Pattern::Digits) => write!(f, "IsMatch({target}, \"^\\\\d+$\")"),
            Test::IsMatch(target, Pattern::Contains(part)) => {
                write!(f, "IsMatch({target}, \"{part}\")")
            }
            Test::IsMatch(target, Pattern::Starts(part)) => {
                write!(f, "IsMatch({target}, \"^{part}\")")
            }
            Test::HasPrefix(target, prefix) => write!(f, "HasPrefix({target}, {prefix:?})"),
            Test::IsString(target) => write!(f, "IsString({target})"),
            Test::IsRoot => f.write_str("IsRootSpan()"),
            Test::Not(inner) => write!(f, "not ({inner})"),
            Test::And(parts) => joined(f, parts, " and "),
            Test::Or(parts) => joined(f, parts, " or "),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Literal(value) => write!(f, "{value}"),
            Expr::Path(path) => f.write_str(path),
            Expr::Keys(path, keys) => {
                f.write_str(path)?;
                keys.iter().try_for_each(|key| match key {
                    Key::Text(key) => write!(f, "[{key:?}]"),
                    Key::Index(index) => write!(f, "[{index}]"),
                })
            }
            Expr::Math(left, operator, right) => write!(f, "({left} {operator} {right})"),
            Expr::Negated(inner) => write!(f, "-({inner})"),
            Expr::Len(inner) => write!(f, "Len({inner})"),
            Expr::Int(inner) => write!(f, "Int({inner})"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Double(number) => write!(f, "{number:?}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bytes(bytes) => write!(f, "0x{}", hex(bytes)),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
                write!(f, "{{{}}}", entries.join(", "))
            }
            other => panic!("no literal: {other:?}"),
        }
    }
}
