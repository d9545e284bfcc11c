//! Builds the tree of a condition or statement from its tokens.
//!
//! Conditions and values share their parentheses, so one descent reads both and decides at the
//! operators which of them it has:
//!
//! ```text
//! or         = and { "or" and }
//! and        = not { "and" not }
//! not        = [ "not" ] comparison
//! comparison = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ]
//! sum        = product { ( "+" | "-" ) product }
//! product    = unary { ( "*" | "/" ) unary }
//! unary      = [ "+" | "-" ] primary
//! statement  = editor "(" arguments ")" [ "where" or ]
//! ```
//!
//! Source: contrib pkg/ottl/grammar.go. What it refuses is refused here: a path alone, arithmetic
//! with strings, `not not`, chained comparisons. Nesting and length are limited, since conditions
//! may come from people who do not run the process.

mod primary;

use super::ast::{
    Body, Boolean, CompareOp, Comparison, MathOp, Place, Statement, Value, ValueKind,
};
use super::error::ParseError;
use super::lexer::{Token, TokenKind, tokens};

/// Longest text of a condition, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// How deep parentheses, lists, maps, keys and calls may nest.
pub const MAX_DEPTH: u32 = 64;

/// Reads a condition.
pub(super) fn condition(text: &str) -> Result<Boolean, ParseError> {
    let mut parser = Parser::new(text)?;
    let condition = parser.boolean()?;
    parser.end("condition")?;
    Ok(condition)
}

/// Reads a statement.
pub(super) fn statement(text: &str) -> Result<Statement, ParseError> {
    let mut parser = Parser::new(text)?;
    let editor = parser.editor()?;
    let condition = match parser.peek() {
        TokenKind::Word(word) if &**word == "where" => {
            parser.advance();
            Some(parser.boolean()?)
        }
        _ => None,
    };
    parser.end("statement")?;
    Ok(Statement { editor, condition })
}

/// What an expression turned out to be.
enum Parsed {
    Boolean(Boolean, Place),
    Value(Value),
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: u32,
}

impl Parser {
    fn new(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_TEXT_BYTES {
            let message = format!("longer than {MAX_TEXT_BYTES} bytes");
            return Err(ParseError::new(MAX_TEXT_BYTES, 0, message));
        }
        if text.trim().is_empty() {
            return Err(ParseError::new(0, 0, "empty"));
        }
        Ok(Self { tokens: tokens(text)?, next: 0, depth: 0 })
    }

    /// Nothing may come behind a whole text.
    fn end(&self, what: &str) -> Result<(), ParseError> {
        match self.peek() {
            TokenKind::End => Ok(()),
            found => {
                let hint = match found {
                    TokenKind::Sign("=") => ", did you mean \"==\"?",
                    TokenKind::Text(_) => {
                        ": a backslash before a quote makes it part of the string"
                    }
                    _ => "",
                };
                let message = format!("unexpected {} behind the {what}{hint}", found.describe());
                Err(self.error_here(message))
            }
        }
    }

    fn boolean(&mut self) -> Result<Boolean, ParseError> {
        let parsed = self.either()?;
        self.boolean_of(parsed)
    }

    fn either(&mut self) -> Result<Parsed, ParseError> {
        let first = self.conjunction()?;
        if *self.peek() != TokenKind::Or {
            return Ok(first);
        }
        let start = first.start();
        let mut parts = vec![self.boolean_of(first)?];
        while self.take(&TokenKind::Or) {
            let part = self.conjunction()?;
            parts.push(self.boolean_of(part)?);
        }
        Ok(Parsed::Boolean(Boolean::Or(parts), self.since(start)))
    }

    fn conjunction(&mut self) -> Result<Parsed, ParseError> {
        let first = self.negation()?;
        if *self.peek() != TokenKind::And {
            return Ok(first);
        }
        let start = first.start();
        let mut parts = vec![self.boolean_of(first)?];
        while self.take(&TokenKind::And) {
            let part = self.negation()?;
            parts.push(self.boolean_of(part)?);
        }
        Ok(Parsed::Boolean(Boolean::And(parts), self.since(start)))
    }

    fn negation(&mut self) -> Result<Parsed, ParseError> {
        let start = self.token().start;
        if !self.take(&TokenKind::Not) {
            return self.comparison();
        }
        if *self.peek() == TokenKind::Not {
            return Err(self.error_here("\"not\" twice needs parentheses: not (not …)"));
        }
        let parsed = self.comparison()?;
        let inner = self.boolean_of(parsed)?;
        Ok(Parsed::Boolean(Boolean::Not(Box::new(inner)), self.since(start)))
    }

    fn comparison(&mut self) -> Result<Parsed, ParseError> {
        let left = self.sum()?;
        let Some(operator) = self.take_comparison() else { return Ok(left) };
        let start = left.start();
        let left = value_of(left)?;
        let right = self.sum()?;
        let right = value_of(right)?;
        if comparison_of(self.peek()).is_some() {
            return Err(self.error_here("comparisons do not chain, join them with \"and\""));
        }
        let comparison = Box::new(Comparison { left, operator, right });
        Ok(Parsed::Boolean(Boolean::Compare(comparison), self.since(start)))
    }

    fn take_comparison(&mut self) -> Option<CompareOp> {
        let operator = comparison_of(self.peek())?;
        self.advance();
        Some(operator)
    }

    fn sum(&mut self) -> Result<Parsed, ParseError> {
        self.arithmetic(Parser::product, |sign| match sign {
            "+" => Some(MathOp::Add),
            "-" => Some(MathOp::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Parsed, ParseError> {
        self.arithmetic(Parser::unary, |sign| match sign {
            "*" => Some(MathOp::Multiply),
            "/" => Some(MathOp::Divide),
            _ => None,
        })
    }

    /// Reads operands joined by the operators of one precedence.
    fn arithmetic(
        &mut self,
        operand: fn(&mut Parser) -> Result<Parsed, ParseError>,
        operator: fn(&str) -> Option<MathOp>,
    ) -> Result<Parsed, ParseError> {
        let first = operand(self)?;
        let start = first.start();
        let mut first = Some(first);
        let mut left = None;
        let mut rest = Vec::new();
        while let TokenKind::Sign(sign) = self.peek()
            && let Some(operator) = operator(sign)
        {
            if let Some(first) = first.take() {
                left = Some(operand_of(first)?);
            }
            self.advance();
            let right = operand(self)?;
            rest.push((operator, operand_of(right)?));
        }
        match (first, left) {
            (Some(first), _) => Ok(first),
            (None, Some(left)) => {
                let kind = ValueKind::Math(Box::new(left), rest);
                Ok(Parsed::Value(Value { place: self.since(start), kind }))
            }
            (None, None) => unreachable!("the first operand is taken only into `left`"),
        }
    }

    fn unary(&mut self) -> Result<Parsed, ParseError> {
        let start = self.token().start;
        let negative = match self.peek() {
            TokenKind::Sign("-") => true,
            TokenKind::Sign("+") => false,
            _ => return self.primary(),
        };
        self.advance();
        let number = match self.peek() {
            TokenKind::Int(number) if negative => Some(ValueKind::Int(-number)),
            TokenKind::Double(number) if negative => Some(ValueKind::Double(-number)),
            _ => None,
        };
        if let Some(kind) = number {
            self.advance();
            return Ok(Parsed::Value(Value { place: self.since(start), kind }));
        }
        let operand = self.primary()?;
        let operand = operand_of(operand)?;
        let kind = match negative {
            true => ValueKind::Negated(Box::new(operand)),
            false => operand.kind,
        };
        Ok(Parsed::Value(Value { place: self.since(start), kind }))
    }

    /// Takes what was read for a condition.
    fn boolean_of(&self, parsed: Parsed) -> Result<Boolean, ParseError> {
        let value = match parsed {
            Parsed::Boolean(boolean, _) => return Ok(boolean),
            Parsed::Value(value) => value,
        };
        let place = value.place;
        match value.kind {
            ValueKind::Call(call) => Ok(Boolean::Call(call)),
            ValueKind::Bool(literal) => Ok(Boolean::Literal(literal)),
            // The error is rather in what stands where the operator was expected.
            _ if *self.peek() == TokenKind::Sign("=") => {
                Err(self.error_here("unexpected \"=\", did you mean \"==\"?"))
            }
            ValueKind::Path(path) => Err(ParseError::new(
                place.offset,
                place.length,
                format!("a path is no condition: compare it, as in {path} == true"),
            )),
            kind => Err(ParseError::new(
                place.offset,
                place.length,
                format!("expected a condition, found {}", describe(&kind)),
            )),
        }
    }

    /// Reads something nested.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error_here(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn token(&self) -> &Token {
        self.tokens.get(self.next).or(self.tokens.last()).expect("the end is a token")
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn peek_second(&self) -> Option<&TokenKind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn take(&mut self, kind: &TokenKind) -> bool {
        let taken = self.peek() == kind;
        if taken {
            self.advance();
        }
        taken
    }

    fn take_sign(&mut self, sign: &'static str) -> bool {
        self.take(&TokenKind::Sign(sign))
    }

    fn expect_sign(&mut self, sign: &'static str) -> Result<(), ParseError> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(self.error_here(format!("expected \"{sign}\", found {}", self.peek().describe())))
    }

    fn error_here(&self, message: impl Into<String>) -> ParseError {
        let token = self.token();
        ParseError::new(token.start, token.end - token.start, message)
    }

    /// From `start` to the end of the last token read.
    fn since(&self, start: usize) -> Place {
        let last = self.next.checked_sub(1).and_then(|last| self.tokens.get(last));
        let end = last.map_or(start, |token| token.end);
        Place { offset: start, length: end.saturating_sub(start) }
    }
}

impl Parsed {
    fn start(&self) -> usize {
        match self {
            Parsed::Boolean(_, place) => place.offset,
            Parsed::Value(value) => value.place.offset,
        }
    }
}

/// Takes what was read for a value.
fn value_of(parsed: Parsed) -> Result<Value, ParseError> {
    match parsed {
        Parsed::Value(value) => Ok(value),
        Parsed::Boolean(_, place) => {
            let message = "expected a value, found a condition";
            Err(ParseError::new(place.offset, place.length, message))
        }
    }
}

/// Takes what was read for an operand of arithmetic.
fn operand_of(parsed: Parsed) -> Result<Value, ParseError> {
    let value = value_of(parsed)?;
    if is_operand(&value.kind) {
        return Ok(value);
    }
    let message =
        format!("arithmetic takes numbers, paths and functions, not {}", describe(&value.kind));
    Err(ParseError::new(value.place.offset, value.place.length, message))
}

fn comparison_of(token: &TokenKind) -> Option<CompareOp> {
    match token {
        TokenKind::Sign("==") => Some(CompareOp::Equal),
        TokenKind::Sign("!=") => Some(CompareOp::NotEqual),
        TokenKind::Sign("<") => Some(CompareOp::Less),
        TokenKind::Sign("<=") => Some(CompareOp::LessOrEqual),
        TokenKind::Sign(">") => Some(CompareOp::Greater),
        TokenKind::Sign(">=") => Some(CompareOp::GreaterOrEqual),
        _ => None,
    }
}

fn is_operand(kind: &ValueKind) -> bool {
    matches!(
        kind,
        ValueKind::Int(_)
            | ValueKind::Double(_)
            | ValueKind::Path(_)
            | ValueKind::Call(_)
            | ValueKind::Negated(_)
            | ValueKind::Math(..)
    )
}

fn describe(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nil",
        ValueKind::Bool(_) => "a boolean",
        ValueKind::Int(_) | ValueKind::Double(_) => "a number",
        ValueKind::Text(_) => "a string",
        ValueKind::Bytes(_) => "bytes",
        ValueKind::Enum(_) => "an enum",
        ValueKind::Path(_) => "a path",
        ValueKind::Call(_) => "a function",
        ValueKind::Negated(_) | ValueKind::Math(..) => "arithmetic",
        ValueKind::List(_) => "a list",
        ValueKind::Map(_) => "a map",
        ValueKind::Lambda(_) => "a lambda",
        ValueKind::Function(_) => "a function's name",
    }
}

#[cfg(test)]
mod tests;
