//! Functions about ids.

use super::types::{Kind, bytes_like};
use super::{Argument, Depends, EvalError, Function, Prepared, function, parameter};
use crate::ottl::Context;
use crate::ottl::lexer::decode_hex;
use crate::ottl::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("IsRootSpan", &[], |_, env| Ok(Value::Bool(env.view.span()?.is_root())))
        .depending_on(Depends::Span)
        .only_in(&[Context::Span]),
    function("TraceID", &[parameter("target", Kind::BytesLike)], |call, env| {
        id::<16>(&bytes_like(call.value(0, env)?)?).map(Value::TraceId)
    })
    .prepared_by(check::<16>),
    function("SpanID", &[parameter("target", Kind::BytesLike)], |call, env| {
        id::<8>(&bytes_like(call.value(0, env)?)?).map(Value::SpanId)
    })
    .prepared_by(check::<8>),
];

/// An id from its bytes, or from twice as many hex digits.
fn id<const N: usize>(bytes: &[u8]) -> Result<[u8; N], EvalError> {
    if let Ok(id) = bytes.try_into() {
        return Ok(id);
    }
    let decoded = match bytes.len() == 2 * N {
        true => decode_hex(bytes).and_then(|id| id.try_into().ok()),
        false => None,
    };
    decoded
        .ok_or_else(|| EvalError::detailed(format!("an id has {N} bytes or {} hex digits", 2 * N)))
}

/// A literal has to be an id.
fn check<const N: usize>(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    if let Some((value, true)) = arguments.first().and_then(Argument::constant) {
        let id = bytes_like(value.reborrow()).and_then(|bytes| id::<N>(&bytes));
        id.map_err(|problem| (0, problem.to_string()))?;
    }
    Ok(Prepared::Nothing)
}
