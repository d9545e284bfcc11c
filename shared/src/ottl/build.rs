//! Gives names their meaning: from what was written to what is evaluated.
//!
//! In reading order: here are tests, values and paths; `call` finds functions and checks what they
//! are given; `fold` computes what is constant.

mod call;
mod fold;

use super::ast::{self, Boolean, ValueKind};
use super::edit;
use super::error::ParseError;
use super::functions::{self, Call};
use super::node::{MapEntry, Node, Test};
use super::path::{self, Field, Prefixes, SpanField};
use super::value::{Text, Value};
use super::{Context, Uses};
use crate::config::nearest;
use fold::{fold, fold_test, join};

/// Builds conditions and statements of one context.
pub(super) struct Builder {
    context: Context,
    prefixes: Prefixes,
    uses: Uses,
    /// The parameters of the lambdas around, from the outside.
    locals: Vec<Vec<Box<str>>>,
}

/// Builds a condition and tells what it reads.
pub(super) fn condition(
    condition: &Boolean,
    context: Context,
    prefixes: Prefixes,
) -> Result<(Test, Uses), ParseError> {
    let mut builder = Builder::new(context, prefixes);
    let (test, _) = builder.boolean(condition)?;
    Ok((test, builder.uses()))
}

/// Builds a statement and tells what it reads and changes.
pub(super) fn statement(
    statement: &ast::Statement,
    context: Context,
    prefixes: Prefixes,
) -> Result<(Call, Option<Test>, Uses), ParseError> {
    let mut builder = Builder::new(context, prefixes);
    let editor = builder.function(&statement.editor, edit::all())?;
    let editor = builder.assigned(editor, &statement.editor)?;
    let test = match &statement.condition {
        Some(condition) => match builder.boolean(condition)?.0 {
            Test::Constant(true) => None,
            test => Some(test),
        },
        None => None,
    };
    Ok((editor, test, builder.uses()))
}

impl Builder {
    fn new(context: Context, prefixes: Prefixes) -> Self {
        Self { context, prefixes, uses: Uses::default(), locals: Vec::new() }
    }

    fn uses(mut self) -> Uses {
        self.uses.paths.sort();
        self.uses.paths.dedup();
        self.uses
    }

    /// The test, and whether it is literally true or false: not only found to be.
    fn boolean(&mut self, boolean: &Boolean) -> Result<(Test, bool), ParseError> {
        match boolean {
            Boolean::Literal(value) => Ok((Test::Constant(*value), true)),
            Boolean::Call(call) => {
                let node = self.call(call)?;
                Ok((fold_test(Test::Call(node)), false))
            }
            Boolean::Compare(comparison) => {
                let literal = comparison.left.is_literal() && comparison.right.is_literal();
                let left = self.value(&comparison.left)?;
                let right = self.value(&comparison.right)?;
                Ok((fold_test(Test::Compare(left, comparison.operator, right)), literal))
            }
            Boolean::Not(inner) => match self.boolean(inner)? {
                (Test::Constant(value), literal) => Ok((Test::Constant(!value), literal)),
                (test, _) => Ok((Test::Not(Box::new(test)), false)),
            },
            Boolean::And(parts) => {
                let parts = self.parts(parts)?;
                Ok(join(parts, false, Test::And))
            }
            Boolean::Or(parts) => {
                let parts = self.parts(parts)?;
                Ok(join(parts, true, Test::Or))
            }
        }
    }

    fn parts(&mut self, parts: &[Boolean]) -> Result<Vec<(Test, bool)>, ParseError> {
        parts.iter().map(|part| self.boolean(part)).collect()
    }

    fn value(&mut self, value: &ast::Value) -> Result<Node, ParseError> {
        Ok(match &value.kind {
            ValueKind::Nil => Node::Constant(Value::Nil),
            ValueKind::Bool(literal) => Node::Constant(Value::Bool(*literal)),
            ValueKind::Int(number) => Node::Constant(Value::Int(*number)),
            ValueKind::Double(number) => Node::Constant(Value::Double(*number)),
            ValueKind::Text(text) => Node::Constant(owned_text(text)),
            ValueKind::Bytes(bytes) => Node::Constant(Value::Bytes(bytes.to_vec().into())),
            ValueKind::Enum(symbol) => {
                Node::Constant(Value::Int(self.symbol(symbol, value.place)?))
            }
            ValueKind::Path(path) => self.path(path)?,
            ValueKind::Call(call) => self.call(call)?,
            ValueKind::Negated(inner) => fold(Node::Negate(Box::new(self.value(inner)?))),
            ValueKind::Math(first, rest) => {
                let first = Box::new(self.value(first)?);
                let mut operands = Vec::with_capacity(rest.len());
                for (operator, operand) in rest {
                    operands.push((*operator, self.value(operand)?));
                }
                fold(Node::Math(first, operands))
            }
            ValueKind::List(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for item in items {
                    nodes.push(self.value(item)?);
                }
                fold(Node::List(nodes))
            }
            ValueKind::Map(entries) => fold(Node::Map(self.entries(entries)?)),
            ValueKind::Lambda(_) => {
                return Err(error(value.place, "a lambda can only be a function's argument"));
            }
            ValueKind::Function(name) => {
                return Err(error(
                    value.place,
                    format!(
                        "unexpected \"{name}\": a function needs parentheses, an enum is in \
                         capitals and a path in lower case"
                    ),
                ));
            }
        })
    }

    /// Of two entries with one key the last one counts, as in Go.
    fn entries(&mut self, entries: &[(Box<str>, ast::Value)]) -> Result<Vec<MapEntry>, ParseError> {
        let mut nodes: Vec<MapEntry> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let node = self.value(value)?;
            match nodes.iter_mut().find(|(other, _)| **other == *key.as_bytes()) {
                Some((_, earlier)) => *earlier = node,
                None => nodes.push((key.as_bytes().into(), node)),
            }
        }
        Ok(nodes)
    }

    fn symbol(&self, symbol: &str, place: ast::Place) -> Result<i64, ParseError> {
        let known = || self.context.enums();
        if let Some((_, value)) = known().find(|(name, _)| *name == symbol) {
            return Ok(value);
        }
        let hint = did_you_mean(symbol, known().map(|(name, _)| name));
        Err(error(place, format!("unknown enum \"{symbol}\"{hint}")))
    }

    fn path(&mut self, path: &ast::Path) -> Result<Node, ParseError> {
        if let Some((out, index)) = self.local(path) {
            let [segment] = path.segments.as_slice() else {
                return Err(error(path.place, "a parameter has keys, but nothing behind a point"));
            };
            let local = Node::Local { out, index };
            return Ok(match self.keys(&segment.keys)? {
                keys if keys.is_empty() => local,
                keys => Node::Index(Box::new(local), keys),
            });
        }
        let (field, name) = path::resolve(path, self.context, self.prefixes)?;
        self.uses.note(field, name);
        let keys = path.segments.last().map(|segment| segment.keys.as_slice()).unwrap_or_default();
        let keys = self.keys(keys)?;
        if let (Field::Span(SpanField::Attributes), Some(Node::Constant(Value::Text(key)))) =
            (field, keys.first())
        {
            self.uses.span_attributes.push(key.as_bytes().into());
        }
        Ok(Node::Field(field, keys))
    }

    /// The lambda's parameter that a path starts with; the innermost one of that name.
    fn local(&self, path: &ast::Path) -> Option<(usize, usize)> {
        let name = &path.segments.first()?.name;
        self.locals.iter().rev().enumerate().find_map(|(out, parameters)| {
            let index = parameters.iter().position(|parameter| parameter == name)?;
            Some((out, index))
        })
    }

    fn keys(&mut self, keys: &[ast::Value]) -> Result<Box<[Node]>, ParseError> {
        keys.iter().map(|key| self.value(key)).collect()
    }

    fn call(&mut self, call: &ast::Call) -> Result<Node, ParseError> {
        let function = self.function(call, functions::all())?;
        let node = fold(Node::Call(Box::new(self.assigned(function, call)?)));
        Ok(match self.keys(&call.keys)? {
            keys if keys.is_empty() => node,
            keys => fold(Node::Index(Box::new(node), keys)),
        })
    }
}

fn owned_text(text: &str) -> Value<'static> {
    Value::Text(Text::Owned(text.as_bytes().to_vec()))
}

fn error(place: ast::Place, message: impl Into<String>) -> ParseError {
    ParseError::new(place.offset, place.length, message)
}

fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(name, known).map(|near| format!(", did you mean \"{near}\"?")).unwrap_or_default()
}
