//! Functions with regular expressions.

use std::borrow::Cow;

use regex::bytes::Regex;

use super::types::Kind;
use super::{Argument, Call, Env, EvalError, Function, Prepared, function, parameter};
use crate::ottl::regex::compile;
use crate::ottl::value::{Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "IsMatch",
        &[parameter("target", Kind::TextLike), parameter("pattern", Kind::Text)],
        |call, env| {
            let pattern = pattern(call, 1, env)?;
            let matches = match call.text_like(0, env)? {
                Some(text) => pattern.is_match(text.as_bytes()),
                None => false,
            };
            Ok(Value::Bool(matches))
        },
    )
    .prepared_by(|arguments| compile_literal(arguments, 1)),
    function(
        "ExtractPatterns",
        &[parameter("target", Kind::Text), parameter("pattern", Kind::Text)],
        |call, env| {
            let pattern = pattern(call, 1, env)?;
            if pattern.capture_names().flatten().next().is_none() {
                return Err(EvalError::fixed("the pattern has no named group"));
            }
            let text = call.text(0, env)?;
            let mut groups = Vec::new();
            if let Some(captures) = pattern.captures(text.as_bytes()) {
                for name in pattern.capture_names().flatten() {
                    let group = captures.name(name).map(|group| group.as_bytes().to_vec());
                    let group = Value::Text(Text::Owned(group.unwrap_or_default()));
                    groups.push((Text::Owned(name.as_bytes().to_vec()), group));
                }
            }
            Ok(Value::Map(Map::Entries(groups)))
        },
    )
    .prepared_by(|arguments| compile_literal(arguments, 1)),
];

/// A pattern that is known is compiled now; a wrong one is an error only if it is a literal, since
/// others fail on every record in the Collector.
pub(in crate::ottl) fn compile_literal(
    arguments: &[Argument],
    index: usize,
) -> Result<Prepared, (usize, String)> {
    let Some((Value::Text(pattern), literal)) = arguments.get(index).and_then(Argument::constant)
    else {
        return Ok(Prepared::Nothing);
    };
    match compile(&pattern.to_str()) {
        Ok(pattern) => Ok(Prepared::Pattern(pattern)),
        Err(problem) if literal => Err((index, problem)),
        Err(_) => Ok(Prepared::Nothing),
    }
}

/// A pattern that depends on the record is compiled each time, which is slow.
pub(in crate::ottl) fn pattern<'a>(
    call: &'a Call,
    index: usize,
    env: &Env<'a, '_>,
) -> Result<Cow<'a, Regex>, EvalError> {
    match &call.prepared {
        Prepared::Pattern(pattern) => Ok(Cow::Borrowed(pattern)),
        _ => {
            let pattern = call.text(index, env)?;
            compile(&pattern.to_str()).map(Cow::Owned).map_err(EvalError::detailed)
        }
    }
}
