//! A call as it is evaluated.

use std::collections::BTreeSet;

use regex::bytes::Regex;

use super::format::Format;
use super::net::Network;
use super::{Action, Env, EvalError, Function, Value};
use crate::ottl::calendar::Calendar;
use crate::ottl::draft::Change;
use crate::ottl::node::{Locals, Node, Test};
use crate::ottl::path::Field;

/// A function with its arguments.
#[derive(Debug)]
pub(in crate::ottl) struct Call {
    pub(in crate::ottl) function: &'static Function,
    /// One for each parameter.
    pub(in crate::ottl) arguments: Vec<Argument>,
    pub(in crate::ottl) prepared: Prepared,
}

/// What a parameter was given.
#[derive(Debug)]
pub(in crate::ottl) enum Argument {
    /// Nothing: the parameter is optional.
    Absent,
    /// A value, and whether it is written out as a literal.
    Value(Node, bool),
    /// Several values, for one parameter that takes a list of them.
    Many(Vec<Node>),
    Lambda(Lambda),
}

/// A piece of a condition that a function evaluates as often as it likes.
#[derive(Debug)]
pub(in crate::ottl) struct Lambda {
    pub(in crate::ottl) body: LambdaBody,
}

/// What a lambda gives.
#[derive(Debug)]
pub(in crate::ottl) enum LambdaBody {
    Node(Node),
    Test(Test),
}

/// What a function compiled when the condition was read.
#[derive(Debug)]
pub(in crate::ottl) enum Prepared {
    Nothing,
    Pattern(Regex),
    Keys(BTreeSet<Box<[u8]>>),
    Networks(Vec<Network>),
    Format(Format),
    Calendar(Calendar),
    Bounds(Vec<f64>),
}

impl Argument {
    pub(in crate::ottl) fn is_constant(&self) -> bool {
        match self {
            Argument::Absent => true,
            Argument::Value(node, _) => node.is_constant(),
            Argument::Many(nodes) => nodes.iter().all(Node::is_constant),
            Argument::Lambda(_) => false,
        }
    }

    /// The value, if it is known when the condition is read; and whether it is a literal.
    pub(in crate::ottl) fn constant(&self) -> Option<(&Value<'static>, bool)> {
        match self {
            Argument::Value(Node::Constant(value), literal) => Some((value, *literal)),
            _ => None,
        }
    }
}

impl Call {
    pub(in crate::ottl) fn evaluate<'a>(
        &'a self,
        env: &Env<'a, '_>,
    ) -> Result<Value<'a>, EvalError> {
        let result = match self.function.action {
            Action::Evaluate(evaluate) => evaluate(self, env),
            Action::Edit(_) => Err(EvalError::fixed("an editor gives no value")),
        };
        result.map_err(|error| error.within(self.function.name))
    }

    /// What an editor changes, if anything.
    pub(in crate::ottl) fn apply<'a>(
        &'a self,
        env: &Env<'a, '_>,
    ) -> Result<Option<Change>, EvalError> {
        let result = match self.function.action {
            Action::Edit(edit) => edit(self, env),
            Action::Evaluate(_) => Err(EvalError::fixed("the function changes nothing")),
        };
        result.map_err(|error| error.within(self.function.name))
    }

    /// The path that an argument is.
    pub(in crate::ottl) fn target(&self, index: usize) -> Result<(Field, &[Node]), EvalError> {
        match self.arguments.get(index) {
            Some(Argument::Value(Node::Field(field, keys), _)) => Ok((*field, keys)),
            _ => Err(EvalError::fixed("the argument is no path")),
        }
    }

    /// The value of an argument; nil for an optional one that is absent.
    #[inline]
    pub(in crate::ottl) fn value<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
    ) -> Result<Value<'a>, EvalError> {
        match self.arguments.get(index) {
            Some(Argument::Value(node, _)) => node.evaluate(env),
            _ => Ok(Value::Nil),
        }
    }

    /// Whether an optional argument was given.
    pub(in crate::ottl) fn has(&self, index: usize) -> bool {
        !matches!(self.arguments.get(index), None | Some(Argument::Absent))
    }

    /// The values of an argument that is a list of them.
    pub(in crate::ottl) fn many(&self, index: usize) -> &[Node] {
        match self.arguments.get(index) {
            Some(Argument::Many(nodes)) => nodes,
            _ => &[],
        }
    }

    /// What a lambda gives for `arguments`.
    pub(in crate::ottl) fn lambda<'a>(
        &'a self,
        index: usize,
        env: &Env<'a, '_>,
        arguments: &[Value<'a>],
    ) -> Result<Value<'a>, EvalError> {
        let Some(Argument::Lambda(lambda)) = self.arguments.get(index) else {
            return Ok(Value::Nil);
        };
        let locals = Locals { arguments, outer: env.locals };
        let inner = Env { view: env.view, locals: Some(&locals) };
        match &lambda.body {
            LambdaBody::Node(node) => node.evaluate(&inner),
            LambdaBody::Test(test) => test.evaluate(&inner).map(Value::Bool),
        }
    }
}
