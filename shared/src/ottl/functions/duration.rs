//! Functions about durations.

use super::types::Kind;
use super::{Function, function, parameter};
use crate::ottl::time::parse_duration;
use crate::ottl::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("Duration", &[parameter("duration", Kind::Text)], |call, env| {
        parse_duration(call.text(0, env)?.as_bytes()).map(Value::Duration)
    }),
    function("Nanoseconds", &[parameter("duration", Kind::Duration)], |call, env| {
        call.duration(0, env).map(Value::Int)
    }),
    function("Microseconds", &[parameter("duration", Kind::Duration)], |call, env| {
        Ok(Value::Int(call.duration(0, env)? / 1_000))
    }),
    function("Milliseconds", &[parameter("duration", Kind::Duration)], |call, env| {
        Ok(Value::Int(call.duration(0, env)? / 1_000_000))
    }),
    function("Seconds", &[parameter("duration", Kind::Duration)], |call, env| {
        Ok(Value::Double(in_units(call.duration(0, env)?, 1_000_000_000)))
    }),
    function("Minutes", &[parameter("duration", Kind::Duration)], |call, env| {
        Ok(Value::Double(in_units(call.duration(0, env)?, 60_000_000_000)))
    }),
    function("Hours", &[parameter("duration", Kind::Duration)], |call, env| {
        Ok(Value::Double(in_units(call.duration(0, env)?, 3_600_000_000_000)))
    }),
];

/// Whole units and the rest are converted apart, as Go does it, so that neither is rounded early.
#[allow(clippy::cast_precision_loss, reason = "as Go does it")]
fn in_units(nanos: i64, unit: i64) -> f64 {
    (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
}
