//! The tree that is evaluated: names have a meaning, literals a value, patterns are compiled.

use super::ast::{CompareOp, MathOp};
use super::compare::compare;
use super::error::EvalError;
use super::functions::Call;
use super::math;
use super::path::{Field, SpanField, list_item, step};
use super::scope::View;
use super::value::{List, Map, Text, Value};

/// What an evaluation sees.
pub(super) struct Env<'a, 'f> {
    pub(super) view: &'f View<'a>,
    /// The parameters of the lambdas around, from the inside.
    pub(super) locals: Option<&'f Locals<'a, 'f>>,
}

/// The arguments of a lambda while its body is evaluated.
pub(super) struct Locals<'a, 'f> {
    pub(super) arguments: &'f [Value<'a>],
    pub(super) outer: Option<&'f Locals<'a, 'f>>,
}

/// Something true or false.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    Compare(Node, CompareOp, Node),
    /// A function that should give a boolean.
    Call(Node),
    Not(Box<Test>),
    And(Vec<Test>),
    Or(Vec<Test>),
}

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    /// A path of the record.
    Field(Field, Box<[Node]>),
    /// A lambda's parameter: how many lambdas out, and which of that lambda's.
    Local {
        out: usize,
        index: usize,
    },
    Call(Box<Call>),
    /// Keys behind a call or a parameter.
    Index(Box<Node>, Box<[Node]>),
    Negate(Box<Node>),
    Math(Box<Node>, Vec<(MathOp, Node)>),
    List(Vec<Node>),
    Map(Vec<MapEntry>),
}

/// A key that is written out, and its value.
pub(super) type MapEntry = (Box<[u8]>, Node);

impl Test {
    pub(super) fn evaluate<'a>(&'a self, env: &Env<'a, '_>) -> Result<bool, EvalError> {
        match self {
            Test::Constant(value) => Ok(*value),
            Test::Compare(left, operator, right) => {
                let left = left.evaluate(env)?;
                let right = right.evaluate(env)?;
                Ok(compare(&left, *operator, &right))
            }
            Test::Call(node) => match node.evaluate(env)? {
                Value::Bool(value) => Ok(value),
                other => Err(EvalError::wrong_type("a boolean", other.type_name())),
            },
            Test::Not(inner) => Ok(!inner.evaluate(env)?),
            Test::And(parts) => {
                for part in parts {
                    if !part.evaluate(env)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Or(parts) => {
                for part in parts {
                    if part.evaluate(env)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// See [`super::Condition::needed_attributes`].
    pub(super) fn needed_attributes(&self) -> Vec<&[u8]> {
        match self {
            // Only the first parts: what stands behind another may not be evaluated, or fail before.
            Test::And(parts) => parts.iter().map_while(Test::compared_attribute).collect(),
            other => other.compared_attribute().into_iter().collect(),
        }
    }

    /// The key of the span attribute that is all this asks for, if it is false without it.
    fn compared_attribute(&self) -> Option<&[u8]> {
        let Test::Compare(left, operator, right) = self else { return None };
        let (key, holds_without) = match (left, right) {
            (attribute, Node::Constant(value)) => {
                (attribute.span_attribute()?, compare(&Value::Nil, *operator, value))
            }
            (Node::Constant(value), attribute) => {
                (attribute.span_attribute()?, compare(value, *operator, &Value::Nil))
            }
            _ => return None,
        };
        (!holds_without).then_some(key)
    }
}

impl Node {
    pub(super) fn evaluate<'a>(&'a self, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
        match self {
            Node::Constant(value) => Ok(value.reborrow()),
            Node::Field(field, keys) => match keys.split_first() {
                None => field.read(env.view),
                Some(_) if field.is_any_value() => within(field.read(env.view)?, keys, env),
                Some((first, rest)) => attribute(*field, first, rest, env),
            },
            Node::Local { out, index } => local(*out, *index, env),
            Node::Call(call) => call.evaluate(env),
            Node::Index(inner, keys) => {
                let mut value = inner.evaluate(env)?;
                for key in keys {
                    value = index(value, &key.evaluate(env)?)?;
                }
                Ok(value)
            }
            Node::Negate(inner) => math::negate(&inner.evaluate(env)?),
            Node::Math(first, rest) => {
                let mut value = first.evaluate(env)?;
                for (operator, right) in rest {
                    value = math::apply(&value, *operator, &right.evaluate(env)?)?;
                }
                Ok(value)
            }
            Node::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(item.evaluate(env)?);
                }
                Ok(Value::List(List::Items(values)))
            }
            Node::Map(entries) => {
                let mut values = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    values.push((Text::Borrowed(key), value.evaluate(env)?));
                }
                Ok(Value::Map(Map::Entries(values)))
            }
        }
    }

    /// The key, if this is a span attribute under a key that is written out.
    fn span_attribute(&self) -> Option<&[u8]> {
        match self {
            Node::Field(Field::Span(SpanField::Attributes), keys) => match &**keys {
                [Node::Constant(Value::Text(key))] => Some(key.as_bytes()),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) const fn is_constant(&self) -> bool {
        matches!(self, Node::Constant(_))
    }
}

/// Looks up an attribute; a key that is not there gives nil, however many more keys follow.
#[inline]
fn attribute<'a>(
    field: Field,
    first: &'a Node,
    rest: &'a [Node],
    env: &Env<'a, '_>,
) -> Result<Value<'a>, EvalError> {
    let key = first.evaluate(env)?;
    let Value::Text(key) = &key else {
        return Err(EvalError::wrong_type("a string as key", key.type_name()));
    };
    match field.read_key(env.view, key.as_bytes())? {
        Some(value) => within(value, rest, env),
        None => Ok(Value::Nil),
    }
}

/// Follows keys into an attribute's value.
#[inline]
fn within<'a>(
    mut value: Value<'a>,
    keys: &'a [Node],
    env: &Env<'a, '_>,
) -> Result<Value<'a>, EvalError> {
    for key in keys {
        match step(value, &key.evaluate(env)?)? {
            Some(inner) => value = inner,
            None => return Ok(Value::Nil),
        }
    }
    Ok(value)
}

/// Looks into what a function gave; unlike in attributes, the key has to be there.
fn index<'a>(value: Value<'a>, key: &Value<'_>) -> Result<Value<'a>, EvalError> {
    match (value, key) {
        (Value::Map(map), Value::Text(key)) => {
            map.get(key.as_bytes()).ok_or(EvalError::fixed("the key is not in the map"))
        }
        (Value::List(list), Value::Int(index)) => list_item(list, *index),
        (value, Value::Text(_)) => Err(EvalError::wrong_type("a map", value.type_name())),
        (value, Value::Int(_)) => Err(EvalError::wrong_type("a list", value.type_name())),
        (_, key) => Err(EvalError::wrong_type("a string or an integer as key", key.type_name())),
    }
}

fn local<'a>(out: usize, index: usize, env: &Env<'a, '_>) -> Result<Value<'a>, EvalError> {
    let mut locals = env.locals;
    for _ in 0..out {
        locals = locals.and_then(|locals| locals.outer);
    }
    let value = locals.and_then(|locals| locals.arguments.get(index)).cloned();
    value.ok_or(EvalError::fixed("a parameter was read outside of its lambda"))
}
