//! The functions that give a value (the Collector's *converters*), one file a family.
//!
//! A function is a row of a table: its parameters, what is prepared when a text is read, and what
//! it gives. Arguments are evaluated by the function, so that none are collected. Those that
//! change something are rows of the same kind, in [`edit`](super::edit).
//!
//! Source: contrib pkg/ottl/ottlfuncs and pkg/ottl/expression.go (the getters).

mod call;
mod convert;
mod date;
mod duration;
mod encode;
mod format;
mod hash;
mod id;
mod lambda;
mod list;
mod net;
mod pairs;
mod parse;
mod pattern;
mod point;
mod text;
mod types;

use super::Context;
use super::ast;
use super::draft::Change;
use super::edit;
use super::error::{EvalError, ParseError};
use super::node::Env;
use super::value::Value;
use crate::config::nearest;

pub(super) use call::{Argument, Call, Lambda, LambdaBody, Prepared};
pub(super) use pattern::{compile_literal, pattern};
pub(super) use types::{Kind, int, map, text, text_like, time};

/// A function as conditions know it.
#[derive(Debug)]
pub(super) struct Function {
    /// As it is written.
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// What its result depends on.
    pub(super) depends: Depends,
    /// The contexts that have it; all do if none is named.
    pub(super) only: &'static [Context],
    pub(super) prepare: Prepare,
    pub(super) action: Action,
}

/// What a function does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    /// Gives a value.
    Evaluate(Evaluate),
    /// Changes something: the function is an editor.
    Edit(Edit),
}

/// A function's parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    /// As it is written in `name=value`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) optional: bool,
}

/// What a function's result depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depends {
    /// Nothing but its arguments.
    Arguments,
    /// The span itself.
    Span,
    /// The metric itself.
    Metric,
    /// The time.
    Clock,
}

/// Compiles what can be; an error names the argument that is to blame.
pub(super) type Prepare = fn(&[Argument]) -> Result<Prepared, (usize, String)>;

/// Gives the result.
pub(super) type Evaluate = for<'a> fn(&'a Call, &Env<'a, '_>) -> Result<Value<'a>, EvalError>;

/// Tells what is to be changed, if anything is.
pub(super) type Edit = for<'a> fn(&'a Call, &Env<'a, '_>) -> Result<Option<Change>, EvalError>;

/// Whether there is a function of this name, an editor or not, that `context` lacks.
pub(super) fn is_known_in(name: &str, context: Context) -> bool {
    let mut named = all().chain(edit::all()).filter(|function| function.name == name).peekable();
    named.peek().is_none() || named.any(|function| function.is_in(context))
}

/// All functions that give a value.
pub(super) fn all() -> impl Iterator<Item = &'static Function> + Clone {
    [
        convert::FUNCTIONS,
        date::FUNCTIONS,
        duration::FUNCTIONS,
        encode::FUNCTIONS,
        format::FUNCTIONS,
        hash::FUNCTIONS,
        id::FUNCTIONS,
        lambda::FUNCTIONS,
        list::FUNCTIONS,
        net::FUNCTIONS,
        pairs::FUNCTIONS,
        parse::FUNCTIONS,
        pattern::FUNCTIONS,
        point::FUNCTIONS,
        text::FUNCTIONS,
        types::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// The rows of the tables are written with these.
const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    evaluate: Evaluate,
) -> Function {
    Function::new(name, parameters, Action::Evaluate(evaluate))
}

impl Function {
    pub(super) const fn new(
        name: &'static str,
        parameters: &'static [Parameter],
        action: Action,
    ) -> Self {
        let prepare: Prepare = |_| Ok(Prepared::Nothing);
        Self { name, parameters, depends: Depends::Arguments, only: &[], prepare, action }
    }

    pub(super) const fn prepared_by(self, prepare: Prepare) -> Self {
        Self { prepare, ..self }
    }

    const fn depending_on(self, depends: Depends) -> Self {
        Self { depends, ..self }
    }

    pub(super) const fn only_in(self, only: &'static [Context]) -> Self {
        Self { only, ..self }
    }

    /// Whether `context` has it.
    pub(super) fn is_in(&self, context: Context) -> bool {
        self.only.is_empty() || self.only.contains(&context)
    }
}

pub(super) const fn parameter(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, optional: false }
}

pub(super) const fn optional(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, optional: true }
}

/// Gives each parameter its argument: by position, then by name.
pub(super) fn assign<'c>(
    function: &'static Function,
    call: &'c ast::Call,
) -> Result<Vec<(&'static Parameter, Option<&'c ast::Value>)>, ParseError> {
    let mut assigned: Vec<_> =
        function.parameters.iter().map(|parameter| (parameter, None)).collect();
    let mut by_name = false;
    for (position, argument) in call.arguments.iter().enumerate() {
        let place = argument.value.place;
        let error = |message: String| ParseError::new(place.offset, place.length, message);
        let index = match &argument.name {
            None if by_name => {
                return Err(error("an argument without a name behind one with a name".to_owned()));
            }
            None => position,
            Some(name) => {
                by_name = true;
                let names = function.parameters.iter().map(|parameter| parameter.name);
                match names.clone().position(|known| *known == **name) {
                    Some(index) => index,
                    None => return Err(error(unknown_parameter(function, name))),
                }
            }
        };
        match assigned.get_mut(index) {
            Some((_, given @ None)) => *given = Some(&argument.value),
            Some((parameter, Some(_))) => {
                return Err(error(format!("\"{}\" is given twice", parameter.name)));
            }
            None => return Err(wrong_count(function, call)),
        }
    }
    if assigned.iter().any(|(parameter, given)| !parameter.optional && given.is_none()) {
        return Err(wrong_count(function, call));
    }
    Ok(assigned)
}

fn unknown_parameter(function: &Function, name: &str) -> String {
    let names = || function.parameters.iter().map(|parameter| parameter.name);
    let hint = match nearest(name, names()) {
        Some(near) => format!(", did you mean \"{near}\"?"),
        None => format!(" (valid names: {})", names().collect::<Vec<_>>().join(", ")),
    };
    format!("\"{}\" has no parameter \"{name}\"{hint}", function.name)
}

fn wrong_count(function: &Function, call: &ast::Call) -> ParseError {
    let parameters: Vec<_> = function
        .parameters
        .iter()
        .map(|parameter| match parameter.optional {
            true => format!("[{}]", parameter.name),
            false => parameter.name.to_owned(),
        })
        .collect();
    let message = format!(
        "{} arguments do not fit {}({})",
        call.arguments.len(),
        function.name,
        parameters.join(", ")
    );
    ParseError::new(call.place.offset, call.place.length, message)
}
