//! Functions that evaluate a lambda on each item of a list or entry of a map.
//!
//! A lambda is given the index or key and the value. In the Collector these functions came with
//! v0.157 and want the gate `ottl.functions.enableLambda`; here they need none.

use std::collections::HashMap;

use super::types::{Kind, boolean};
use super::{Call, Env, EvalError, Function, function, optional, parameter};
use crate::ottl::compare::MAX_VALUE_DEPTH;
use crate::ottl::value::{List, Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "When",
        &[
            parameter("condition", Kind::Lambda(0)),
            parameter("true_value", Kind::Any),
            parameter("false_value", Kind::Any),
        ],
        |call, env| match boolean(&call.lambda(0, env, &[])?)? {
            true => call.value(1, env),
            false => call.value(2, env),
        },
    ),
    function(
        "Any",
        &[parameter("source", Kind::Any), parameter("predicate", Kind::Lambda(2))],
        |call, env| Ok(Value::Bool(first(call, env, true)?.is_some())),
    ),
    function(
        "All",
        &[parameter("source", Kind::Any), parameter("predicate", Kind::Lambda(2))],
        |call, env| Ok(Value::Bool(first(call, env, false)?.is_none())),
    ),
    function(
        "Find",
        &[
            parameter("source", Kind::Any),
            parameter("predicate", Kind::Lambda(2)),
            optional("mapper", Kind::Lambda(2)),
        ],
        |call, env| match first(call, env, true)? {
            None => Ok(Value::Nil),
            Some([_, value]) if !call.has(2) => Ok(value),
            Some(item) => call.lambda(2, env, &item),
        },
    ),
    function(
        "Filter",
        &[parameter("source", Kind::Any), parameter("predicate", Kind::Lambda(2))],
        filter,
    ),
    function(
        "MapEach",
        &[parameter("source", Kind::Any), parameter("mapper", Kind::Lambda(2))],
        map_each,
    ),
    function(
        "MapKeys",
        &[parameter("source", Kind::Map), parameter("key_mapper", Kind::Lambda(2))],
        map_keys,
    ),
    function(
        "Reduce",
        &[
            parameter("source", Kind::Any),
            parameter("seed", Kind::Any),
            parameter("accumulator", Kind::Lambda(3)),
        ],
        |call, env| {
            let items = Source::of(call, env)?.items();
            let mut accumulated = call.value(1, env)?;
            for [key, value] in items {
                accumulated = call.lambda(2, env, &[accumulated, key, value])?;
                if built_depth(&accumulated) > MAX_VALUE_DEPTH {
                    return Err(EvalError::fixed("the value is nested too deep"));
                }
            }
            Ok(accumulated)
        },
    ),
];

/// How deep a value nests that was built here: one level for each item is too much for the stack.
fn built_depth(value: &Value<'_>) -> u32 {
    let deepest = match value {
        Value::List(List::Items(items)) => items.iter().map(built_depth).max(),
        Value::Map(Map::Entries(entries)) => {
            entries.iter().map(|(_, value)| built_depth(value)).max()
        }
        _ => return 0,
    };
    1 + deepest.unwrap_or_default()
}

/// What is gone through.
enum Source<'a> {
    Map(Vec<(Text<'a>, Value<'a>)>),
    List(Vec<Value<'a>>),
}

impl<'a> Source<'a> {
    fn of(call: &'a Call, env: &Env<'a, '_>) -> Result<Self, EvalError> {
        match call.value(0, env)? {
            Value::Map(map) => Ok(Source::Map(map.into_entries())),
            Value::List(list) => Ok(Source::List(list.into_items())),
            other => Err(EvalError::wrong_type("a list or a map", other.type_name())),
        }
    }

    /// Keys or indexes, each with its value.
    fn items(self) -> Vec<[Value<'a>; 2]> {
        match self {
            Source::Map(entries) => {
                entries.into_iter().map(|(key, value)| [Value::Text(key), value]).collect()
            }
            Source::List(items) => (0..).map(Value::Int).zip(items).map(Into::into).collect(),
        }
    }
}

/// The first item that the predicate gives `wanted` for.
fn first<'a>(
    call: &'a Call,
    env: &Env<'a, '_>,
    wanted: bool,
) -> Result<Option<[Value<'a>; 2]>, EvalError> {
    for item in Source::of(call, env)?.items() {
        if boolean(&call.lambda(1, env, &item)?)? == wanted {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

fn filter<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let keeps =
        |key: Value<'a>, value: &Value<'a>| boolean(&call.lambda(1, env, &[key, value.clone()])?);
    match Source::of(call, env)? {
        Source::Map(entries) => {
            let mut kept = Vec::new();
            for (key, value) in entries {
                if keeps(Value::Text(key.clone()), &value)? {
                    kept.push((key, value));
                }
            }
            Ok(Value::Map(Map::Entries(kept)))
        }
        Source::List(items) => {
            let mut kept = Vec::new();
            for (index, value) in (0..).zip(items) {
                if keeps(Value::Int(index), &value)? {
                    kept.push(value);
                }
            }
            Ok(Value::List(List::Items(kept)))
        }
    }
}

fn map_each<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    match Source::of(call, env)? {
        Source::Map(entries) => {
            let mut mapped = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let value = call.lambda(1, env, &[Value::Text(key.clone()), value])?;
                mapped.push((key, value));
            }
            Ok(Value::Map(Map::Entries(mapped)))
        }
        Source::List(items) => {
            let mut mapped = Vec::with_capacity(items.len());
            for (index, value) in (0..).zip(items) {
                mapped.push(call.lambda(1, env, &[Value::Int(index), value])?);
            }
            Ok(Value::List(List::Items(mapped)))
        }
    }
}

/// Of two entries that get one key the later value stays, where the earlier was.
fn map_keys<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let mut mapped: Vec<(Text<'a>, Value<'a>)> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for (key, value) in call.map(0, env)?.into_entries() {
        let key = match call.lambda(1, env, &[Value::Text(key), value.clone()])? {
            Value::Text(key) => key,
            other => return Err(EvalError::wrong_type("a string as key", other.type_name())),
        };
        let place = *places.entry(key.as_bytes().to_vec()).or_insert(mapped.len());
        match mapped.get_mut(place) {
            Some((_, earlier)) => *earlier = value,
            None => mapped.push((key, value)),
        }
    }
    Ok(Value::Map(Map::Entries(mapped)))
}
