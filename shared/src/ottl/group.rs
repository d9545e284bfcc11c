//! Conditions and statements of one context, as processors are given them.

use std::ops::ControlFlow;

use super::draft::Draft;
use super::error::{EvalError, ParseError};
use super::path::Prefixes;
use super::scope::Scope;
use super::{Condition, Context, Statement, infer, parse};
use crate::wire::Signal;

/// Conditions, of which one has to hold, and statements that are run in their order.
#[derive(Debug)]
pub struct Group {
    context: Context,
    conditions: Vec<Condition>,
    statements: Vec<Statement>,
}

/// What is wrong with a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What of it.
    pub at: Faulty,
    /// What is wrong, and where in its text.
    pub error: ParseError,
}

/// A text of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faulty {
    /// All of them: they have no context in common.
    Group,
    /// The condition with this index.
    Condition(usize),
    /// The statement with this index.
    Statement(usize),
}

impl Group {
    /// Reads a group for requests of `signal`. Without a context it is inferred from the prefixes
    /// of the paths, all of which then need one.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(
        signal: Signal,
        context: Option<Context>,
        conditions: &[String],
        statements: &[String],
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut written_conditions = Vec::new();
        for (index, text) in conditions.iter().enumerate() {
            match parse::condition(text) {
                Ok(written) => written_conditions.push(written),
                Err(error) => faults.push(Fault { at: Faulty::Condition(index), error }),
            }
        }
        let mut written_statements = Vec::new();
        for (index, text) in statements.iter().enumerate() {
            match parse::statement(text) {
                Ok(written) => written_statements.push(written),
                Err(error) => faults.push(Fault { at: Faulty::Statement(index), error }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (context, prefixes) = match context {
            Some(context) => (context, Prefixes::Optional),
            None => match infer::context(signal, &written_conditions, &written_statements) {
                Ok(context) => (context, Prefixes::Required),
                Err(message) => {
                    let error = ParseError::new(0, 0, message);
                    return Err(vec![Fault { at: Faulty::Group, error }]);
                }
            },
        };
        let mut group = Self { context, conditions: Vec::new(), statements: Vec::new() };
        for (index, (text, written)) in conditions.iter().zip(&written_conditions).enumerate() {
            match Condition::build(text, written, context, prefixes) {
                Ok(condition) => group.conditions.push(condition),
                Err(error) => faults.push(Fault { at: Faulty::Condition(index), error }),
            }
        }
        for (index, (text, written)) in statements.iter().zip(&written_statements).enumerate() {
            match Statement::build(text, written, context, prefixes) {
                Ok(statement) => group.statements.push(statement),
                Err(error) => faults.push(Fault { at: Faulty::Statement(index), error }),
            }
        }
        match faults.is_empty() {
            true => Ok(group),
            false => Err(faults),
        }
    }

    /// What its texts are about.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Its statements.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Whether any of the conditions holds.
    ///
    /// `failed` is told the text of each that cannot be evaluated, and says whether to go on: such
    /// a condition does not hold.
    ///
    /// # Errors
    /// That of a condition after which `failed` does not go on.
    pub fn any_holds(
        &self,
        scope: &impl Scope,
        failed: &mut impl FnMut(&str, &EvalError) -> ControlFlow<()>,
    ) -> Result<bool, EvalError> {
        for condition in &self.conditions {
            match condition.matches(scope) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    if failed(condition.text(), &error).is_break() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Runs the statements on a record, if it has no conditions or any of them holds.
    ///
    /// `failed` is told of conditions and statements that cannot be evaluated, and says whether to
    /// go on.
    ///
    /// # Errors
    /// That of a text after which `failed` does not go on. Statements before it are done.
    pub fn run(
        &self,
        draft: &mut Draft<'_>,
        failed: &mut impl FnMut(&str, &EvalError) -> ControlFlow<()>,
    ) -> Result<(), EvalError> {
        let mut rest = self.statements.iter();
        let mut is_begun = self.conditions.is_empty();
        // The record is read anew only after it was changed.
        loop {
            let change = draft.with_view(|view| {
                if !is_begun && !self.any_holds(view, failed)? {
                    return Ok(None);
                }
                is_begun = true;
                for statement in rest.by_ref() {
                    match statement.plan(view) {
                        Ok(None) => {}
                        Ok(change) => return Ok(change),
                        Err(error) => {
                            if failed(statement.text(), &error).is_break() {
                                return Err(error);
                            }
                        }
                    }
                }
                Ok(None)
            })?;
            match change {
                Some(change) => draft.apply(change),
                None => return Ok(()),
            }
        }
    }
}
