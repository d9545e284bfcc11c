//! OTTL: conditions on telemetry, in the Collector's language, evaluated on the bytes of OTLP.
//!
//! ```text
//! text → lexer → parse → ast → build → node → evaluate(scope) → true, false or an error
//!        tokens          what was       what it
//!                        written        means
//! ```
//!
//! [`Condition::parse`] reads a condition for a [`Context`], which tells what paths it may use:
//! all names are resolved, literal patterns are compiled and what is constant is computed then.
//! [`Condition::matches`] evaluates it on a [`Scope`]: a record with its resource and its
//! instrumentation scope, as they stand in a request.
//!
//! Invariants: parsing any text and evaluating on any bytes neither panics nor runs out of stack.
//! Evaluation does not allocate, but for functions that build strings, lists or maps (`Concat`,
//! `Split`, `Keys`, `ParseJSON` and such), patterns that depend on the record, texts that a
//! function makes of maps and lists, and some errors.
//!
//! A new context is a variant of [`Context`] with its table of paths and a [`Scope`]. Statements
//! (`set(attributes["a"], 1) where name == "b"`) would be another root above the same values.
//!
//! Source: contrib v0.156 pkg/ottl. What is not as there is in `docs/ottl.md`.

mod ast;
mod build;
mod calendar;
mod compare;
mod error;
mod functions;
mod json;
mod lexer;
mod math;
mod node;
mod parse;
mod path;
pub mod regex;
mod scope;
mod time;
mod url;
mod value;

use std::fmt;

use node::{Env, Test};
use path::Field;

pub use error::{EvalError, ParseError};
pub use parse::{MAX_DEPTH, MAX_TEXT_BYTES};
pub use scope::{EventScope, FindAttribute, Scope, SpanScope, View};

/// What a condition is about. Paths without a prefix belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Context {
    /// A span: `span.`, `resource.`, `scope.` and `instrumentation_scope.`.
    Span,
    /// An event of a span: the same, and `spanevent.`.
    SpanEvent,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Context::Span => "span",
            Context::SpanEvent => "spanevent",
        })
    }
}

/// What a condition reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Uses {
    /// The paths, sorted, each once: with their prefix, without their keys.
    pub paths: Vec<String>,
    /// The span attributes that it reads by a key that is written out.
    pub span_attributes: Vec<Box<[u8]>>,
    /// Whether it reads the resource.
    pub resource: bool,
    /// Whether it reads the instrumentation scope.
    pub scope: bool,
    /// Whether it reads the span.
    pub span: bool,
    /// Whether it reads the span's event.
    pub event: bool,
    /// Whether it asks for the time, so that it may give another verdict later.
    pub clock: bool,
}

impl Uses {
    fn note(&mut self, field: Field, path: String) {
        match field {
            Field::Resource(_) => self.resource = true,
            Field::Scope(_) => self.scope = true,
            Field::Span(_) => self.span = true,
            Field::SpanEvent(_) => self.event = true,
            Field::Cache => {}
        }
        self.paths.push(path);
    }
}

/// A condition, ready to be evaluated.
#[derive(Debug)]
pub struct Condition {
    text: Box<str>,
    context: Context,
    test: Test,
    uses: Uses,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong and where. What the Collector refuses at start is refused, so that a
    /// configuration means the same in both.
    pub fn parse(text: &str, context: Context) -> Result<Self, ParseError> {
        let written = parse::condition(text)?;
        let (root, uses) = build::condition(&written, context)?;
        Ok(Self { text: text.into(), context, test: root, uses })
    }

    /// Whether the condition holds for a record of its context.
    ///
    /// # Errors
    /// If a function cannot do what it is asked with what the record holds. The caller's
    /// `error_mode` says what follows.
    #[inline]
    pub fn matches(&self, scope: &impl Scope) -> Result<bool, EvalError> {
        let view = scope.view();
        self.test.evaluate(&Env { view: &view, locals: None })
    }

    /// The verdict, if it is the same for all records.
    pub fn constant(&self) -> Option<bool> {
        match self.test {
            Test::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// What the condition reads.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// What the condition is about.
    pub fn context(&self) -> Context {
        self.context
    }

    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests;
