//! Finds out what texts are about, from the prefixes of their paths.
//!
//! Source: contrib `pkg/ottl/context_inferrer.go`: the path that belongs to the innermost thing
//! tells; if that does not know a function or an enum, what is around it is tried.

use super::Context;
use super::ast::{Body, Boolean, Call, Path, Statement, Value, ValueKind};
use super::functions;
use super::path::PREFIXES;
use crate::wire::Signal;

/// The context that conditions and statements have in common.
///
/// # Errors
/// Why there is none.
pub(super) fn context(
    signal: Signal,
    conditions: &[Boolean],
    statements: &[Statement],
) -> Result<Context, String> {
    let mut hints = Hints::default();
    for condition in conditions {
        hints.boolean(condition);
    }
    for statement in statements {
        hints.call(&statement.editor);
        if let Some(condition) = &statement.condition {
            hints.boolean(condition);
        }
    }
    let options = || {
        let contexts = Context::ALL.into_iter().filter(|context| context.is_of(signal));
        contexts.map(Context::name).collect::<Vec<_>>().join(", ")
    };
    let innermost = PREFIXES.iter().find(|prefix| hints.prefixes.contains(prefix));
    let Some(innermost) = innermost else {
        return Err(format!(
            "no path tells the context by its prefix (one of {}); give it with \"context\"",
            options()
        ));
    };
    let innermost = match *innermost {
        "instrumentation_scope" => "scope",
        prefix => prefix,
    };
    let found = Context::ALL.into_iter().find(|context| context.name() == innermost);
    let Some(context) = found.filter(|context| context.is_of(signal)) else {
        return Err(format!(
            "\"{innermost}\" paths cannot be used with {signal} (the contexts are {})",
            options()
        ));
    };
    if hints.are_known_in(context) {
        return Ok(context);
    }
    let around = Context::ALL.into_iter().filter(|other| *other != context && context.sees(*other));
    // If none knows them the error is that of the innermost, which names what is unknown.
    Ok(around.into_iter().find(|other| hints.are_known_in(*other)).unwrap_or(context))
}

/// What texts name.
#[derive(Default)]
struct Hints<'t> {
    prefixes: Vec<&'t str>,
    functions: Vec<&'t str>,
    enums: Vec<&'t str>,
    /// The parameters of the lambdas around.
    locals: Vec<&'t [Box<str>]>,
}

impl<'t> Hints<'t> {
    fn are_known_in(&self, context: Context) -> bool {
        let is_enum = |symbol: &&str| context.enums().any(|(name, _)| name == *symbol);
        self.functions.iter().all(|name| functions::is_known_in(name, context))
            && self.enums.iter().all(is_enum)
    }

    fn boolean(&mut self, boolean: &'t Boolean) {
        match boolean {
            Boolean::Literal(_) => {}
            Boolean::Call(call) => self.call(call),
            Boolean::Compare(comparison) => {
                self.value(&comparison.left);
                self.value(&comparison.right);
            }
            Boolean::Not(inner) => self.boolean(inner),
            Boolean::And(parts) | Boolean::Or(parts) => {
                for part in parts {
                    self.boolean(part);
                }
            }
        }
    }

    fn call(&mut self, call: &'t Call) {
        self.functions.push(&call.name);
        call.arguments.iter().for_each(|argument| self.value(&argument.value));
        call.keys.iter().for_each(|key| self.value(key));
    }

    fn value(&mut self, value: &'t Value) {
        match &value.kind {
            ValueKind::Nil
            | ValueKind::Bool(_)
            | ValueKind::Int(_)
            | ValueKind::Double(_)
            | ValueKind::Text(_)
            | ValueKind::Bytes(_)
            | ValueKind::Function(_) => {}
            ValueKind::Enum(symbol) => self.enums.push(symbol),
            ValueKind::Path(path) => self.path(path),
            ValueKind::Call(call) => self.call(call),
            ValueKind::Negated(inner) => self.value(inner),
            ValueKind::Math(first, rest) => {
                self.value(first);
                for (_, operand) in rest {
                    self.value(operand);
                }
            }
            ValueKind::List(items) => items.iter().for_each(|item| self.value(item)),
            ValueKind::Map(entries) => entries.iter().for_each(|(_, value)| self.value(value)),
            ValueKind::Lambda(lambda) => {
                self.locals.push(&lambda.parameters);
                match &lambda.body {
                    Body::Value(value) => self.value(value),
                    Body::Boolean(boolean) => self.boolean(boolean),
                }
                self.locals.pop();
            }
        }
    }

    fn path(&mut self, path: &'t Path) {
        for segment in &path.segments {
            segment.keys.iter().for_each(|key| self.value(key));
        }
        let [first, _, ..] = path.segments.as_slice() else { return };
        let is_local = self.locals.iter().any(|parameters| parameters.contains(&first.name));
        if !is_local && first.keys.is_empty() {
            self.prefixes.push(&first.name);
        }
    }
}
