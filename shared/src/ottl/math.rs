//! Arithmetic on numbers, times and durations.
//!
//! Source: contrib pkg/ottl/math.go. Integers wrap, as in Go; an integer and a double give a double.

use super::ast::MathOp;
use super::error::EvalError;
use super::time::Time;
use super::value::Value;

const DIVIDED_BY_ZERO: EvalError = EvalError::fixed("divided by zero");

/// `left operator right`.
pub(super) fn apply(
    left: &Value<'_>,
    operator: MathOp,
    right: &Value<'_>,
) -> Result<Value<'static>, EvalError> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => integers(*left, operator, *right),
        (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) => {
            doubles(as_double(left), operator, as_double(right))
        }
        (Value::Int(_) | Value::Double(_), other) => {
            Err(EvalError::wrong_type("a number", other.type_name()))
        }
        (Value::Time(time), _) => times(*time, operator, right),
        (Value::Duration(nanos), _) => durations(*nanos, operator, right),
        (other, _) => {
            Err(EvalError::wrong_type("a number, a time or a duration", other.type_name()))
        }
    }
}

/// `-value`.
pub(super) fn negate(value: &Value<'_>) -> Result<Value<'static>, EvalError> {
    match value {
        Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
        Value::Double(number) => Ok(Value::Double(-number)),
        other => Err(EvalError::wrong_type("a number", other.type_name())),
    }
}

fn integers(left: i64, operator: MathOp, right: i64) -> Result<Value<'static>, EvalError> {
    Ok(Value::Int(match operator {
        MathOp::Add => left.wrapping_add(right),
        MathOp::Subtract => left.wrapping_sub(right),
        MathOp::Multiply => left.wrapping_mul(right),
        MathOp::Divide if right == 0 => return Err(DIVIDED_BY_ZERO),
        MathOp::Divide => left.wrapping_div(right),
    }))
}

fn doubles(left: f64, operator: MathOp, right: f64) -> Result<Value<'static>, EvalError> {
    Ok(Value::Double(match operator {
        MathOp::Add => left + right,
        MathOp::Subtract => left - right,
        MathOp::Multiply => left * right,
        MathOp::Divide if right == 0.0 => return Err(DIVIDED_BY_ZERO),
        MathOp::Divide => left / right,
    }))
}

fn as_double(value: &Value<'_>) -> f64 {
    match value {
        #[allow(clippy::cast_precision_loss, reason = "as the Collector does it")]
        Value::Int(number) => *number as f64,
        Value::Double(number) => *number,
        _ => f64::NAN,
    }
}

fn times(left: Time, operator: MathOp, right: &Value<'_>) -> Result<Value<'static>, EvalError> {
    match (operator, right) {
        (MathOp::Add, Value::Duration(nanos)) => Ok(Value::Time(left.plus(*nanos))),
        (MathOp::Subtract, Value::Duration(nanos)) => {
            Ok(Value::Time(left.plus(nanos.wrapping_neg())))
        }
        (MathOp::Subtract, Value::Time(right)) => Ok(Value::Duration(left.since(*right))),
        (MathOp::Add, other) => Err(EvalError::wrong_type("a duration", other.type_name())),
        (MathOp::Subtract, other) => {
            Err(EvalError::wrong_type("a time or a duration", other.type_name()))
        }
        _ => Err(EvalError::fixed("times and durations can only be added and subtracted")),
    }
}

fn durations(left: i64, operator: MathOp, right: &Value<'_>) -> Result<Value<'static>, EvalError> {
    match (operator, right) {
        (MathOp::Add, Value::Duration(right)) => Ok(Value::Duration(left.wrapping_add(*right))),
        (MathOp::Subtract, Value::Duration(right)) => {
            Ok(Value::Duration(left.wrapping_sub(*right)))
        }
        (MathOp::Add, Value::Time(time)) => Ok(Value::Time(time.plus(left))),
        (MathOp::Add, other) => {
            Err(EvalError::wrong_type("a duration or a time", other.type_name()))
        }
        (MathOp::Subtract, other) => Err(EvalError::wrong_type("a duration", other.type_name())),
        _ => Err(EvalError::fixed("times and durations can only be added and subtracted")),
    }
}
