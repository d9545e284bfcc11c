//! Paths: what their names mean, and the way into an attribute's value.
//!
//! Source: contrib `pkg/ottl/contexts/internal/ctx{common,util}`.

mod field;
mod log;
mod metric;
mod write;

use super::Context;
use super::ast;
use super::error::{EvalError, ParseError};
use super::value::{List, Value};
use crate::config::nearest;
use field::{RESOURCE, SCOPE, SPAN, SPAN_ENUMS, SPAN_EVENT};
use log::{LOG, LOG_ENUMS};
use metric::{METRIC, METRIC_ENUMS, POINT, POINT_ENUMS};

pub(super) use field::{Field, SpanField};
pub(super) use log::as_text;
pub(super) use write::{store, store_entries};

/// A prefix of paths.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    name: &'static str,
    fields: &'static [(&'static str, Field)],
}

const RESOURCE_PREFIX: Prefix = Prefix { name: "resource", fields: &RESOURCE };
const SCOPE_PREFIX: Prefix = Prefix { name: "scope", fields: &SCOPE };
const FORMER_SCOPE_PREFIX: Prefix = Prefix { name: "instrumentation_scope", fields: &SCOPE };
const SPAN_PREFIX: Prefix = Prefix { name: "span", fields: &SPAN };
const SPAN_EVENT_PREFIX: Prefix = Prefix { name: "spanevent", fields: &SPAN_EVENT };

const METRIC_PREFIX: Prefix = Prefix { name: "metric", fields: &METRIC };
const POINT_PREFIX: Prefix = Prefix { name: "datapoint", fields: &POINT };
const LOG_PREFIX: Prefix = Prefix { name: "log", fields: &LOG };

/// All prefixes that the Collector has in some context, or behind a gate.
pub(super) const PREFIXES: [&str; 11] = [
    "log",
    "exemplar",
    "datapoint",
    "metric",
    "spanevent",
    "span",
    "profile",
    "scope",
    "instrumentation_scope",
    "resource",
    "otelcol",
];

/// Whether paths must say whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefixes {
    /// Those without a prefix belong to the context.
    Optional,
    /// The context was inferred from the prefixes, so a path without one means nothing.
    Required,
}

impl Context {
    /// The prefixes that are legal; the first is the home of paths without one.
    const fn prefixes(self) -> &'static [Prefix] {
        match self {
            Context::Resource => &[RESOURCE_PREFIX],
            Context::Scope => &[SCOPE_PREFIX, RESOURCE_PREFIX, FORMER_SCOPE_PREFIX],
            Context::Span => &[SPAN_PREFIX, RESOURCE_PREFIX, SCOPE_PREFIX, FORMER_SCOPE_PREFIX],
            Context::SpanEvent => &[
                SPAN_EVENT_PREFIX,
                SPAN_PREFIX,
                RESOURCE_PREFIX,
                SCOPE_PREFIX,
                FORMER_SCOPE_PREFIX,
            ],
            Context::Metric => &[METRIC_PREFIX, RESOURCE_PREFIX, SCOPE_PREFIX, FORMER_SCOPE_PREFIX],
            Context::DataPoint => {
                &[POINT_PREFIX, METRIC_PREFIX, RESOURCE_PREFIX, SCOPE_PREFIX, FORMER_SCOPE_PREFIX]
            }
            Context::Log => &[LOG_PREFIX, RESOURCE_PREFIX, SCOPE_PREFIX, FORMER_SCOPE_PREFIX],
        }
    }

    fn home(self) -> Prefix {
        *self.prefixes().first().expect("every context has a home")
    }

    /// Whether paths of `other` can be read in this context.
    pub(super) fn sees(self, other: Context) -> bool {
        self.prefixes().iter().any(|prefix| prefix.name == other.name())
    }

    /// The names of numbers.
    pub(super) fn enums(self) -> impl Iterator<Item = (&'static str, i64)> + Clone {
        let (own, more): (&'static [_], &'static [_]) = match self {
            Context::Resource | Context::Scope => (&[], &[]),
            Context::Span | Context::SpanEvent => (&SPAN_ENUMS, &[]),
            Context::Metric => (&METRIC_ENUMS, &[]),
            Context::DataPoint => (&METRIC_ENUMS, &POINT_ENUMS),
            Context::Log => (&LOG_ENUMS, &[]),
        };
        own.iter().chain(more).copied()
    }
}

/// Finds what a path means, and its name with the prefix of its context.
pub(super) fn resolve(
    path: &ast::Path,
    context: Context,
    prefixes: Prefixes,
) -> Result<(Field, String), ParseError> {
    let error = |message: String| ParseError::new(path.place.offset, path.place.length, message);
    let unprefixed = || match prefixes {
        Prefixes::Optional => Ok((context.home(), path.segments.as_slice())),
        Prefixes::Required => Err(error(format!(
            "the path does not say whose it is, as {}.{path} does",
            context.home().name
        ))),
    };
    let (prefix, segments) = match path.segments.split_first() {
        Some((first, rest)) if !rest.is_empty() && first.keys.is_empty() => {
            let named = context.prefixes().iter().find(|prefix| *prefix.name == *first.name);
            match named {
                Some(prefix) => (*prefix, rest),
                None if PREFIXES.contains(&&*first.name) => {
                    let valid: Vec<_> =
                        context.prefixes().iter().map(|prefix| prefix.name).collect();
                    return Err(error(format!(
                        "\"{}\" paths cannot be used in {context} conditions (valid prefixes: {})",
                        first.name,
                        valid.join(", ")
                    )));
                }
                None => unprefixed()?,
            }
        }
        _ => unprefixed()?,
    };
    let mut name = String::new();
    for segment in segments {
        name.push_str(if name.is_empty() { "" } else { "." });
        name.push_str(&segment.name);
    }
    if name == "cache" && prefix.name == context.home().name {
        return Ok((Field::Cache, format!("{}.cache", prefix.name)));
    }
    let Some((_, field)) = prefix.fields.iter().find(|(known, _)| *known == name) else {
        return Err(error(unknown_path(&name, prefix, context)));
    };
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        if !segment.keys.is_empty() && (index != last || !field.has_keys()) {
            return Err(error(format!("\"{}\" has no keys", segment.name)));
        }
    }
    if *field == Field::Span(SpanField::TraceState) && segments[last].keys.len() > 1 {
        return Err(error("\"trace_state\" takes exactly one key".to_owned()));
    }
    Ok((*field, format!("{}.{name}", prefix.name)))
}

fn unknown_path(name: &str, prefix: Prefix, context: Context) -> String {
    let known = prefix.fields.iter().map(|(name, _)| *name);
    let hint = match nearest(name, known) {
        Some(near) if prefix.name == context.home().name => format!(", did you mean \"{near}\"?"),
        Some(near) => format!(", did you mean \"{}.{near}\"?", prefix.name),
        None => String::new(),
    };
    format!("unknown path \"{name}\" of a {}{hint}", prefix.name)
}

/// Goes one key deeper into an attribute's value.
///
/// A key that is not in a map gives nil, and ends the walk; anything else that does not fit is an
/// error.
pub(super) fn step<'a>(value: Value<'a>, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match (value, key) {
        (Value::Map(map), Value::Text(key)) => Ok(map.get(key.as_bytes())),
        (Value::Map(_), other) => {
            Err(EvalError::wrong_type("a string as key of a map", other.type_name()))
        }
        (Value::List(list), Value::Int(index)) => list_item(list, *index).map(Some),
        (Value::List(_), other) => {
            Err(EvalError::wrong_type("an integer as key of a list", other.type_name()))
        }
        (value, _) => Err(EvalError::wrong_type("a map or a list to look into", value.type_name())),
    }
}

/// The item at `index`.
pub(super) fn list_item(list: List<'_>, index: i64) -> Result<Value<'_>, EvalError> {
    list.get(index).ok_or(EvalError::fixed("the index is out of bounds"))
}
