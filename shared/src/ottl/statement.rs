//! A statement: an editor with its arguments, and when it applies.

use super::draft::Change;
use super::error::{EvalError, ParseError};
use super::functions::Call;
use super::node::{Env, Test};
use super::path::Prefixes;
use super::scope::View;
use super::{Context, Uses, ast, build, parse};

/// A statement, ready to be run: `set(name, "x") where kind == SPAN_KIND_SERVER`.
#[derive(Debug)]
pub struct Statement {
    text: Box<str>,
    context: Context,
    editor: Call,
    applies: Option<Test>,
    uses: Uses,
}

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    /// What is wrong and where, as for conditions.
    pub fn parse(text: &str, context: Context) -> Result<Self, ParseError> {
        let written = parse::statement(text)?;
        Self::build(text, &written, context, Prefixes::Optional)
    }

    pub(super) fn build(
        text: &str,
        written: &ast::Statement,
        context: Context,
        prefixes: Prefixes,
    ) -> Result<Self, ParseError> {
        let (editor, applies, uses) = build::statement(written, context, prefixes)?;
        Ok(Self { text: text.into(), context, editor, applies, uses })
    }

    /// What it does, if it applies.
    pub(super) fn plan(&self, view: &View<'_>) -> Result<Option<Change>, EvalError> {
        let env = Env { view, locals: None };
        match &self.applies {
            Some(test) if !test.evaluate(&env)? => Ok(None),
            _ => self.editor.apply(&env),
        }
    }

    /// What the statement reads and changes.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// What the statement is about.
    pub fn context(&self) -> Context {
        self.context
    }

    /// The statement as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}
