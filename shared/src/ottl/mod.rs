//! OTTL: conditions on telemetry and statements that change it, in the Collector's language,
//! evaluated on the bytes of OTLP.
//!
//! ```text
//! text → lexer → parse → ast → build → node → matches(scope) → true, false or an error
//!        tokens          what was       what it      run(draft) → the record's bytes, changed
//!                        written        means
//! ```
//!
//! [`Condition::parse`] reads a condition for a [`Context`], which tells what paths it may use:
//! all names are resolved, literal patterns are compiled and what is constant is computed then.
//! [`Condition::matches`] evaluates it on a [`Scope`]: a record with its resource and its
//! instrumentation scope, as they stand in a request. A [`Group`] is what processors configure:
//! conditions and [`Statement`]s of one context, which may be inferred from the paths; it changes
//! a [`Draft`], a record and what surrounds it.
//!
//! Invariants: parsing any text and evaluating on any bytes neither panics nor runs out of stack.
//! Evaluation does not allocate, but for functions that build strings, lists or maps (`Concat`,
//! `Split`, `Keys`, `ParseJSON` and such), patterns that depend on the record, texts that a
//! function makes of maps and lists, and some errors. A statement that changes something writes
//! the part that it changes once; what it does not name stays byte for byte.
//!
//! A new context is a variant of [`Context`] with its table of paths and a [`Scope`].
//!
//! Source: contrib v0.156 pkg/ottl. What is not as there is in `docs/ottl.md`.

mod ast;
mod build;
mod calendar;
mod compare;
mod draft;
mod edit;
mod error;
mod functions;
mod glob;
mod group;
mod infer;
mod json;
mod lexer;
mod math;
mod node;
mod parse;
mod path;
pub mod regex;
mod scope;
mod statement;
mod time;
mod url;
mod value;

use std::fmt;

use node::{Env, Test};
use path::{Field, Prefixes};

use crate::wire::Signal;

pub use draft::{Draft, Part};
pub use error::{EvalError, ParseError};
pub use group::{Fault, Faulty, Group};
pub use parse::{MAX_DEPTH, MAX_TEXT_BYTES};
pub use scope::{
    EventScope, FindAttribute, LogScope, MetricScope, PointScope, ResourceScope, Scope, ScopeScope,
    SpanScope, View,
};
pub use statement::Statement;

/// What a condition or statement is about. Paths without a prefix belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Context {
    /// A resource: `resource.`.
    Resource,
    /// An instrumentation scope: `scope.`, `instrumentation_scope.`, and `resource.`.
    Scope,
    /// A span: `span.`, and those of its scope.
    Span,
    /// An event of a span: `spanevent.`, and those of its span.
    SpanEvent,
    /// A metric: `metric.`, and those of its scope.
    Metric,
    /// A data point: `datapoint.`, and those of its metric.
    DataPoint,
    /// A log record: `log.`, and those of its scope.
    Log,
}

impl Context {
    /// All contexts, those first that see the most.
    pub const ALL: [Context; 7] = [
        Context::Log,
        Context::DataPoint,
        Context::Metric,
        Context::SpanEvent,
        Context::Span,
        Context::Scope,
        Context::Resource,
    ];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Context::Resource => "resource",
            Context::Scope => "scope",
            Context::Span => "span",
            Context::SpanEvent => "spanevent",
            Context::Metric => "metric",
            Context::DataPoint => "datapoint",
            Context::Log => "log",
        }
    }

    /// Whether requests of `signal` have such things.
    pub const fn is_of(self, signal: Signal) -> bool {
        match self {
            Context::Resource | Context::Scope => true,
            Context::Span | Context::SpanEvent => matches!(signal, Signal::Traces),
            Context::Metric | Context::DataPoint => matches!(signal, Signal::Metrics),
            Context::Log => matches!(signal, Signal::Logs),
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
    /// Whether it reads the metric.
    pub metric: bool,
    /// Whether it reads the data point.
    pub point: bool,
    /// Whether it reads the log record.
    pub log: bool,
    /// Whether it reads the scratch map.
    pub cache: bool,
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
            Field::Metric(_) => self.metric = true,
            Field::Point(_) => self.point = true,
            Field::Log(_) => self.log = true,
            Field::Cache => self.cache = true,
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
        Self::build(text, &written, context, Prefixes::Optional)
    }

    fn build(
        text: &str,
        written: &ast::Boolean,
        context: Context,
        prefixes: Prefixes,
    ) -> Result<Self, ParseError> {
        let (root, uses) = build::condition(written, context, prefixes)?;
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

    /// Keys of span attributes that a span must have, each of them, for the condition to hold. On one
    /// that lacks any of them it does not hold, and can be evaluated.
    pub fn needed_attributes(&self) -> Vec<&[u8]> {
        match self.context {
            Context::Span => self.test.needed_attributes(),
            _ => Vec::new(),
        }
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
