//! Functions about the data points of a metric.
//!
//! Source: contrib internal/filter/filterottl/functions.go.

use super::types::Kind;
use super::{Depends, EvalError, Function, function, parameter};
use crate::ottl::Context;
use crate::ottl::node::Env;
use crate::wire::{AnyValue, Attributes};

use crate::ottl::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("HasAttrKeyOnDatapoint", &[parameter("key", Kind::LiteralText)], |call, env| {
        let key = call.text(0, env)?;
        any_point(env, |mut attributes| attributes.any(|(name, _)| name == key.as_bytes()))
    })
    .depending_on(Depends::Metric)
    .only_in(&[Context::Metric]),
    function(
        "HasAttrOnDatapoint",
        &[parameter("key", Kind::LiteralText), parameter("expected_val", Kind::LiteralText)],
        |call, env| {
            let (key, expected) = (call.text(0, env)?, call.text(1, env)?);
            any_point(env, |attributes| {
                attributes.get(key.as_bytes()) == Some(AnyValue::String(expected.as_bytes()))
            })
        },
    )
    .depending_on(Depends::Metric)
    .only_in(&[Context::Metric]),
];

fn any_point<'a>(
    env: &Env<'a, '_>,
    holds: impl Fn(Attributes<'a>) -> bool,
) -> Result<Value<'a>, EvalError> {
    let metric = env.view.metric()?;
    let number = metric.kind.map(crate::wire::DataKind::attributes_field).unwrap_or_default();
    Ok(Value::Bool(metric.points().any(|point| holds(Attributes::new(point, number)))))
}
