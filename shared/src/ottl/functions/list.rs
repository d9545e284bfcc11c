//! Functions about lists and maps.

use std::cmp::Ordering;

use super::types::Kind;
use super::{Argument, EvalError, Function, Prepared, function, optional, parameter};
use crate::ottl::ast::CompareOp;
use crate::ottl::compare::compare;
use crate::ottl::path::as_text;
use crate::ottl::value::{List, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("Len", &[parameter("target", Kind::Any)], |call, env| {
        let target = call.value(0, env)?;
        let length = match &target {
            Value::Text(text) => Some(text.as_bytes().len()),
            Value::Bytes(bytes) => Some(bytes.len()),
            Value::Map(map) => Some(map.len()),
            Value::List(list) => Some(list.len()),
            Value::Message(message) => message.len(),
            _ => None,
        };
        match length.map(i64::try_from) {
            Some(Ok(length)) => Ok(Value::Int(length)),
            _ => Err(EvalError::wrong_type("a string, a map or a list", target.type_name())),
        }
    }),
    function("IsEmpty", &[parameter("target", Kind::Any)], |call, env| {
        Ok(Value::Bool(match call.value(0, env)? {
            Value::Nil => true,
            Value::Bool(value) => !value,
            Value::Int(number) | Value::Duration(number) => number == 0,
            Value::Double(number) => number == 0.0,
            Value::Text(text) => text.as_bytes().is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::TraceId(id) => id == [0; 16],
            Value::SpanId(id) => id == [0; 8],
            Value::Map(map) => map.len() == 0,
            Value::List(list) => list.len() == 0,
            Value::Message(message) => message.len() == Some(0),
            Value::Time(_) => false,
        }))
    }),
    function(
        "ContainsValue",
        &[parameter("target", Kind::List), parameter("item", Kind::Any)],
        |call, env| {
            let list = call.list(0, env)?;
            let item = call.value(1, env)?;
            Ok(Value::Bool(position(&list, &item).is_some()))
        },
    ),
    function(
        "Index",
        &[parameter("target", Kind::Any), parameter("value", Kind::Any)],
        |call, env| {
            let position = match (call.value(0, env)?, call.value(1, env)?) {
                (Value::Text(text), Value::Text(part)) => find(text.as_bytes(), part.as_bytes()),
                (Value::Text(_), other) => {
                    return Err(EvalError::wrong_type("a string to look for", other.type_name()));
                }
                (Value::List(list), item) => position(&list, &item),
                (other, _) => {
                    return Err(EvalError::wrong_type("a string or a list", other.type_name()));
                }
            };
            let position = position.and_then(|position| i64::try_from(position).ok());
            Ok(Value::Int(position.unwrap_or(-1)))
        },
    ),
    function(
        "Sort",
        &[parameter("target", Kind::Any), optional("order", Kind::LiteralText)],
        |call, env| {
            let is_descending = match call.has(1) {
                true => call.text(1, env)?.as_bytes() == b"desc",
                false => false,
            };
            match call.value(0, env)? {
                Value::List(list) => sorted(list, is_descending).map(Value::List),
                other => Ok(other),
            }
        },
    )
    .prepared_by(|arguments| match arguments.get(1).and_then(Argument::constant) {
        Some((Value::Text(order), _)) if !matches!(order.as_bytes(), b"asc" | b"desc") => {
            Err((1, "must be \"asc\" or \"desc\"".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }),
    function("Keys", &[parameter("target", Kind::Map)], |call, env| {
        let entries = call.map(0, env)?.into_entries();
        let keys = entries.into_iter().map(|(key, _)| Value::Text(key)).collect();
        Ok(Value::List(List::Items(keys)))
    }),
    function("Values", &[parameter("target", Kind::Map)], |call, env| {
        let entries = call.map(0, env)?.into_entries();
        let values = entries.into_iter().map(|(_, value)| value).collect();
        Ok(Value::List(List::Items(values)))
    }),
];

fn position(list: &List<'_>, item: &Value<'_>) -> Option<usize> {
    list.find_map(|index, value| compare(&value, CompareOp::Equal, item).then_some(index))
}

/// The list in order: as integers, as doubles if there is one, as strings if there is anything
/// else. Lists with lists, maps or bytes within have no order and stay as they are.
fn sorted(list: List<'_>, is_descending: bool) -> Result<List<'_>, EvalError> {
    let (mut ints, mut doubles, mut others, mut is_ordered) = (false, false, false, true);
    list.each(|_, item| match item {
        Value::Int(_) => ints = true,
        Value::Double(_) => doubles = true,
        Value::Text(_) | Value::Bool(_) | Value::Nil => others = true,
        _ => is_ordered = false,
    });
    if !is_ordered {
        return Ok(list);
    }
    let mut items = list.into_items();
    if others {
        for item in &mut items {
            *item = Value::Text(as_text(std::mem::replace(item, Value::Nil))?);
        }
    } else if ints && doubles {
        for item in &mut items {
            #[allow(clippy::cast_precision_loss, reason = "as the Collector does it")]
            if let Value::Int(number) = item {
                *item = Value::Double(*number as f64);
            }
        }
    }
    items.sort_by(|one, other| match (one, other) {
        (Value::Int(one), Value::Int(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        // What is no number comes first.
        (Value::Double(one), Value::Double(other)) => {
            one.partial_cmp(other).unwrap_or_else(|| other.is_nan().cmp(&one.is_nan()))
        }
        _ => Ordering::Equal,
    });
    if is_descending {
        items.reverse();
    }
    Ok(List::Items(items))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    match part.is_empty() {
        true => Some(0),
        false => text.windows(part.len()).position(|window| window == part),
    }
}
