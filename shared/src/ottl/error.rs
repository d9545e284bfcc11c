//! What goes wrong with conditions: while they are read, and while they are evaluated.

use std::fmt;

/// Why a text is not a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, and what was meant where that can be guessed.
    pub message: String,
    /// Byte offset of the token that is to blame; the length of the text if it ends too early.
    pub offset: usize,
    /// Length of that token in bytes; 0 at the end of the text.
    pub length: usize,
}

impl ParseError {
    pub(super) fn new(offset: usize, length: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), offset, length }
    }

    /// What is wrong, and the part of `text` where it is, in one line.
    ///
    /// `text` is what was parsed.
    pub fn located(&self, text: &str) -> String {
        /// Characters shown of a text.
        const SHOWN: usize = 40;
        let rest = text.get(self.offset..).unwrap_or_default();
        match rest.char_indices().nth(SHOWN) {
            None if rest.is_empty() => format!("{self}, at the end of `{text}`"),
            None => format!("{self}, at `{rest}`"),
            Some((end, _)) => format!("{self}, at `{}…`", rest.get(..end).unwrap_or_default()),
        }
    }

    /// The line of `text` that holds the error, and a line of carets below the token.
    ///
    /// `text` is what was parsed.
    pub fn caret(&self, text: &str) -> String {
        let offset = floor_boundary(text, self.offset);
        let before = text.get(..offset).unwrap_or_default();
        let behind = text.get(offset..).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = behind.find('\n').map_or(text.len(), |newline| offset + newline);
        let line = text.get(start..end).unwrap_or_default();
        // Tabs stay tabs, so that the carets stand below the token however wide a tab is shown.
        let indent: String = before
            .get(start..)
            .unwrap_or_default()
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let token_end = floor_boundary(text, (offset + self.length).min(end));
        let width = text.get(offset..token_end).unwrap_or_default().chars().count().max(1);
        format!("{line}\n{indent}{}", "^".repeat(width))
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Why a condition has no verdict on a record. What follows is for the caller's `error_mode`.
///
/// The errors that spans of every day cause (a function's argument is nil or of another type) are
/// made without allocating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    /// The function that failed, if it was one.
    function: Option<&'static str>,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    WrongType { expected: &'static str, found: &'static str },
    Fixed(&'static str),
    Detailed(Box<str>),
}

impl EvalError {
    pub(super) const fn wrong_type(expected: &'static str, found: &'static str) -> Self {
        Self { function: None, reason: Reason::WrongType { expected, found } }
    }

    /// An error with this text.
    pub const fn fixed(message: &'static str) -> Self {
        Self { function: None, reason: Reason::Fixed(message) }
    }

    pub(super) fn detailed(message: impl Into<String>) -> Self {
        Self { function: None, reason: Reason::Detailed(message.into().into_boxed_str()) }
    }

    /// Names the function, unless an inner one is named already.
    pub(super) fn within(mut self, function: &'static str) -> Self {
        self.function.get_or_insert(function);
        self
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = self.function {
            write!(f, "{function}: ")?;
        }
        match &self.reason {
            Reason::WrongType { expected, found } => {
                write!(f, "expected {expected} but got {found}")
            }
            Reason::Fixed(message) => f.write_str(message),
            Reason::Detailed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for EvalError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_below_the_token() {
        let text = "name == \"é\" and\n\tkindd == 2 or\ntrue";
        let error = ParseError::new(text.find("kindd").unwrap(), 5, "unknown path");
        assert_eq!(error.caret(text), "\tkindd == 2 or\n\t^^^^^");
        assert_eq!(ParseError::new(9, 2, "").caret("a == \"ééé\""), "a == \"ééé\"\n       ^");
        assert_eq!(ParseError::new(9, 0, "").caret("name =="), "name ==\n       ^");
    }
}
