//! Editors of lists.

use super::{Planned, editor, optional, parameter};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{Argument, Call, Function, Kind, Prepared};
use crate::ottl::node::Env;
use crate::ottl::path::store;
use crate::ottl::value::{List, Value};

pub(super) const EDITORS: &[Function] = &[
    editor(
        "append",
        &[
            parameter("target", Kind::Target),
            optional("value", Kind::Any),
            optional("values", Kind::Many(&Kind::Any)),
        ],
        append,
    )
    .prepared_by(|arguments| match arguments {
        [_, Argument::Absent, Argument::Absent] => {
            Err((0, "at least one of \"value\" and \"values\" must be given".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }),
    editor(
        "delete_index",
        &[
            parameter("target", Kind::Target),
            parameter("start_index", Kind::Int),
            optional("end_index", Kind::Int),
        ],
        delete_index,
    ),
];

/// A value that is no list becomes the first item of one.
fn append<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let mut items = match call.value(0, env)? {
        Value::Nil => Vec::new(),
        Value::List(list) => list.into_items(),
        value @ (Value::Text(_) | Value::Int(_) | Value::Double(_) | Value::Bool(_)) => vec![value],
        other => return Err(EvalError::wrong_type("a list or a scalar", other.type_name())),
    };
    if call.has(1) {
        items.push(call.value(1, env)?);
    }
    for value in call.many(2) {
        items.push(value.evaluate(env)?);
    }
    let (field, keys) = call.target(0)?;
    store(field, keys, &Value::List(List::Items(items)), env)
}

/// Deletes the items from the start to before the end.
fn delete_index<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    const OUT_OF_BOUNDS: EvalError = EvalError::fixed("the index is out of bounds");
    let mut items = call.list(0, env)?.into_items();
    let start = call.int(1, env)?;
    let end = match call.has(2) {
        true => call.int(2, env)?,
        false => start.saturating_add(1),
    };
    let start = usize::try_from(start).map_err(|_| OUT_OF_BOUNDS)?;
    let end = usize::try_from(end).map_err(|_| OUT_OF_BOUNDS)?;
    if (start >= items.len() && (start, end) != (0, 0)) || end < start || end > items.len() {
        return Err(OUT_OF_BOUNDS);
    }
    if start == end {
        return Ok(None);
    }
    items.drain(start..end);
    let (field, keys) = call.target(0)?;
    store(field, keys, &Value::List(List::Items(items)), env)
}
