//! Functions that read what is written in a string.

use super::types::Kind;
use super::{EvalError, Function, function, parameter};
use crate::ottl::value::{List, Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] =
    &[function("ParseJSON", &[parameter("target", Kind::Text)], |call, env| {
        let text = call.text(0, env)?;
        let json: serde_json::Value = serde_json::from_slice(text.as_bytes())
            .map_err(|problem| EvalError::detailed(format!("the string is no JSON: {problem}")))?;
        match &json {
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Ok(value(json)),
            _ => Err(EvalError::fixed("the JSON is neither a list nor a map")),
        }
    })];

/// All numbers are doubles, as in the Collector. Nests no deeper than the parser lets it.
fn value(json: serde_json::Value) -> Value<'static> {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => {
            Value::Double(number.as_f64().unwrap_or(f64::INFINITY))
        }
        serde_json::Value::String(text) => Value::Text(Text::Owned(text.into_bytes())),
        serde_json::Value::Array(items) => {
            Value::List(List::Items(items.into_iter().map(value).collect()))
        }
        serde_json::Value::Object(entries) => {
            let entries =
                entries.into_iter().map(|(key, item)| (Text::Owned(key.into_bytes()), value(item)));
            Value::Map(Map::Entries(entries.collect()))
        }
    }
}
