//! Comparison of two values.
//!
//! Source: contrib pkg/ottl/compare.go. Nil equals only nil. Numbers of different types compare as
//! doubles; false is less than true; of all other pairs of different types only `!=` is true. Ids,
//! maps, lists and messages have no order. Empty bytes are nil, as a byte slice without content is
//! in Go.
//!
//! Ours: lists and maps compare by content however they were made. In the Collector the result of
//! `Split` equals nothing, and comparing two of them panics.

use std::cmp::Ordering;

use super::ast::CompareOp;
use super::value::{List, Map, Message, Value};

/// How deep values may nest for [`same`] to hold them for equal. Keeps a hostile value from using
/// up the stack.
pub(super) const MAX_VALUE_DEPTH: u32 = 64;

/// Whether `left operator right`.
#[inline]
pub(super) fn compare(left: &Value<'_>, operator: CompareOp, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            let (left, right) = (left.as_bytes(), right.as_bytes());
            match operator {
                CompareOp::Equal => left == right,
                CompareOp::NotEqual => left != right,
                _ => holds(operator, Some(left.cmp(right))),
            }
        }
        (Value::Int(left), Value::Int(right)) => holds(operator, Some(left.cmp(right))),
        _ => compare_rest(left, operator, right),
    }
}

fn compare_rest(left: &Value<'_>, operator: CompareOp, right: &Value<'_>) -> bool {
    let ordering = match (left, right) {
        _ if is_nil(left) && is_nil(right) => Some(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        #[allow(clippy::cast_precision_loss, reason = "as the Collector compares them")]
        (Value::Int(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
        #[allow(clippy::cast_precision_loss, reason = "as the Collector compares them")]
        (Value::Double(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Bytes(left), Value::Bytes(right)) if !left.is_empty() && !right.is_empty() => {
            Some(left.cmp(right))
        }
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => {
            return match operator {
                CompareOp::Equal => same(left, right, 0),
                CompareOp::NotEqual => !same(left, right, 0),
                _ => false,
            };
        }
    };
    holds(operator, ordering)
}

/// `None` is what NaN gives: unequal to everything, and without order.
#[inline]
fn holds(operator: CompareOp, ordering: Option<Ordering>) -> bool {
    match operator {
        CompareOp::Equal => ordering == Some(Ordering::Equal),
        CompareOp::NotEqual => ordering != Some(Ordering::Equal),
        CompareOp::Less => ordering == Some(Ordering::Less),
        CompareOp::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Greater => ordering == Some(Ordering::Greater),
        CompareOp::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn is_nil(value: &Value<'_>) -> bool {
    match value {
        Value::Nil => true,
        Value::Bytes(bytes) => bytes.is_empty(),
        _ => false,
    }
}

/// Whether two values have the same type and content; inside lists and maps 1 and 1.0 differ.
pub(super) fn same(left: &Value<'_>, right: &Value<'_>, depth: u32) -> bool {
    match (left, right) {
        _ if depth > MAX_VALUE_DEPTH => false,
        _ if is_nil(left) || is_nil(right) => is_nil(left) && is_nil(right),
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) | (Value::Duration(left), Value::Duration(right)) => {
            left == right
        }
        #[allow(clippy::float_cmp, reason = "equality is what is asked")]
        (Value::Double(left), Value::Double(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left.as_bytes() == right.as_bytes(),
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::TraceId(left), Value::TraceId(right)) => left == right,
        (Value::SpanId(left), Value::SpanId(right)) => left == right,
        (Value::Time(left), Value::Time(right)) => left == right,
        (Value::Map(left), Value::Map(right)) => same_map(left, right, depth + 1),
        (Value::List(left), Value::List(right)) => same_list(left, right, depth + 1),
        (Value::Message(Message::Buckets(left)), Value::Message(Message::Buckets(right))) => {
            left == right
        }
        // All of one record, so they are equal if they are of one kind.
        (Value::Message(left), Value::Message(right)) => {
            std::mem::discriminant(left) == std::mem::discriminant(right)
        }
        _ => false,
    }
}

fn same_map(left: &Map<'_>, right: &Map<'_>, depth: u32) -> bool {
    left.len() == right.len()
        && left
            .find_map(|key, value| {
                let other = right.clone().get(key);
                let differs = other.is_none_or(|other| !same(&value, &other, depth));
                differs.then_some(())
            })
            .is_none()
}

fn same_list(left: &List<'_>, right: &List<'_>, depth: u32) -> bool {
    let right_items = right.clone().into_items();
    left.len() == right_items.len()
        && left
            .find_map(|index, value| {
                let differs =
                    right_items.get(index).is_none_or(|other| !same(&value, other, depth));
                differs.then_some(())
            })
            .is_none()
}
