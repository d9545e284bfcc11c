//! Sections for tests, from JSON, which needs no file.

use serde_json::Value;

use super::{Data, Decode, Entry, Node, Path, Place, Problems};

/// The node that this JSON stands for.
pub(crate) fn node(json: &Value) -> Node {
    let data = match json {
        Value::Null => Data::Null,
        Value::Bool(value) => Data::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Data::Int(value),
            None => Data::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => Data::String(text.clone()),
        Value::Array(items) => Data::List(items.iter().map(node).collect()),
        Value::Object(map) => Data::Map(
            map.iter()
                .map(|(key, value)| Entry {
                    key: key.clone(),
                    place: Place::default(),
                    value: node(value),
                })
                .collect(),
        ),
    };
    let text = match json {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        scalar => Some(scalar.to_string()),
    };
    Node { data, place: Place::default(), text }
}

/// Reads and validates a section that stands at `a`: the section, the problems, the warnings.
pub(crate) fn section<C: Decode + Default>(
    json: &Value,
    validate: impl FnOnce(&C, &Path<'_>, &mut Problems),
) -> (C, Vec<String>, Vec<String>) {
    let mut problems = Problems::default();
    let at = Path::ROOT.key("a");
    let section = C::decode(&node(json), &at, &mut problems).unwrap_or_default();
    validate(&section, &at, &mut problems);
    let texts = |list: &[super::Problem]| list.iter().map(ToString::to_string).collect();
    (section, texts(problems.errors()), texts(problems.warnings()))
}
