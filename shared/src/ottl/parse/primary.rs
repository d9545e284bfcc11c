//! What stands between operators: literals, paths, calls, lists, maps, lambdas, parentheses.

use super::super::ast::{Argument, Call, Lambda, Path, Segment};
use super::{
    Body, Boolean, ParseError, Parsed, Parser, TokenKind, Value, ValueKind, describe, is_operand,
    value_of,
};

impl Parser {
    pub(super) fn primary(&mut self) -> Result<Parsed, ParseError> {
        let start = self.token().start;
        let kind = match self.peek().clone() {
            TokenKind::Nil => self.literal(ValueKind::Nil),
            TokenKind::True => self.literal(ValueKind::Bool(true)),
            TokenKind::False => self.literal(ValueKind::Bool(false)),
            TokenKind::Int(number) => self.literal(ValueKind::Int(number)),
            TokenKind::Double(number) => self.literal(ValueKind::Double(number)),
            TokenKind::Text(text) => self.literal(ValueKind::Text(text)),
            TokenKind::Bytes(bytes) => self.literal(ValueKind::Bytes(bytes)),
            TokenKind::Word(word) => self.word(&word)?,
            TokenKind::Sign("(") if self.is_lambda() => self.nested(Self::lambda)?,
            TokenKind::Sign("(") => return self.nested(Self::group),
            TokenKind::Sign("[") => ValueKind::List(self.nested(|parser| parser.list("[", "]"))?),
            TokenKind::Sign("{") => self.nested(Self::map)?,
            found => {
                return Err(self.error_here(format!(
                    "expected a value or a condition, found {}",
                    found.describe()
                )));
            }
        };
        Ok(Parsed::Value(Value { place: self.since(start), kind }))
    }

    fn literal(&mut self, kind: ValueKind) -> ValueKind {
        self.advance();
        kind
    }

    /// A lower-case word starts a path, one in capitals is an enum, and a function is a word with a
    /// capital in front and parentheses behind.
    fn word(&mut self, word: &str) -> Result<ValueKind, ParseError> {
        let is_called = self.peek_second() == Some(&TokenKind::Sign("("));
        let is_capital = word.starts_with(|first: char| first.is_ascii_uppercase());
        match (is_capital, is_called) {
            (true, true) => Ok(ValueKind::Call(self.nested(Self::call)?)),
            (true, false) if !word.contains(|c: char| c.is_ascii_lowercase()) => {
                Ok(self.literal(ValueKind::Enum(word.into())))
            }
            (true, false) => Err(self.error_here(format!(
                "unexpected \"{word}\": a function needs parentheses, an enum is in capitals and a \
                 path in lower case"
            ))),
            (false, true) => Err(self.error_here(format!(
                "functions that give a value start with a capital letter, \"{word}\" does not"
            ))),
            (false, false) => Ok(ValueKind::Path(self.path()?)),
        }
    }

    fn path(&mut self) -> Result<Path, ParseError> {
        let start = self.token().start;
        let mut segments = Vec::new();
        loop {
            let name = match self.peek() {
                TokenKind::Word(word) if is_segment(word) => word.clone(),
                found => {
                    return Err(self.error_here(format!(
                        "expected a path in lower case, found {}",
                        found.describe()
                    )));
                }
            };
            self.advance();
            segments.push(Segment { name, keys: self.keys()? });
            if !self.take_sign(".") {
                return Ok(Path { place: self.since(start), segments });
            }
        }
    }

    fn keys(&mut self) -> Result<Vec<Value>, ParseError> {
        let mut keys = Vec::new();
        while self.take_sign("[") {
            keys.push(self.nested(Self::key)?);
            self.expect_sign("]")?;
        }
        Ok(keys)
    }

    fn key(&mut self) -> Result<Value, ParseError> {
        let parsed = self.sum()?;
        let key = value_of(parsed)?;
        match &key.kind {
            ValueKind::Text(_) => Ok(key),
            kind if is_operand(kind) && !matches!(kind, ValueKind::Double(_)) => Ok(key),
            kind => Err(ParseError::new(
                key.place.offset,
                key.place.length,
                format!("a key is a string or an integer, not {}", describe(kind)),
            )),
        }
    }

    fn call(&mut self) -> Result<Call, ParseError> {
        let start = self.token().start;
        let name = match self.peek() {
            TokenKind::Word(name) => name.clone(),
            found => return Err(self.error_here(format!("unexpected {}", found.describe()))),
        };
        self.advance();
        let place = self.since(start);
        self.expect_sign("(")?;
        let mut arguments = Vec::new();
        if !self.take_sign(")") {
            loop {
                arguments.push(self.argument()?);
                if self.take_sign(")") {
                    break;
                }
                self.expect_separator(")")?;
            }
        }
        Ok(Call { place, name, arguments, keys: self.keys()? })
    }

    fn argument(&mut self) -> Result<Argument, ParseError> {
        let name = match (self.peek(), self.peek_second()) {
            (TokenKind::Word(word), Some(TokenKind::Sign("="))) => Some(word.clone()),
            _ => None,
        };
        if name.is_some() {
            self.advance();
            self.advance();
        }
        if let Some(value) = self.function_name() {
            return Ok(Argument { name, value });
        }
        Ok(Argument { name, value: self.value()? })
    }

    /// A function that an editor is to call, by its name alone; one all in capitals is first taken
    /// for an enum.
    fn function_name(&mut self) -> Option<Value> {
        let start = self.token().start;
        let is_last = matches!(self.peek_second(), Some(TokenKind::Sign("," | ")")));
        let name = match self.peek() {
            TokenKind::Word(word)
                if is_last
                    && word.starts_with(|first: char| first.is_ascii_uppercase())
                    && word.contains(|c: char| c.is_ascii_lowercase()) =>
            {
                word.clone()
            }
            _ => return None,
        };
        self.advance();
        Some(Value { place: self.since(start), kind: ValueKind::Function(name) })
    }

    /// The call that a statement is.
    pub(super) fn editor(&mut self) -> Result<Call, ParseError> {
        let is_called = self.peek_second() == Some(&TokenKind::Sign("("));
        match self.peek() {
            TokenKind::Word(word) if is_called && is_segment(word) => {}
            TokenKind::Word(word) if is_called => {
                return Err(self.error_here(format!(
                    "a statement begins with an editor such as set; \"{word}\" only gives a value"
                )));
            }
            found => {
                return Err(self.error_here(format!(
                    "expected an editor, as in set(…), found {}",
                    found.describe()
                )));
            }
        }
        let call = self.nested(Self::call)?;
        match call.keys.is_empty() {
            true => Ok(call),
            false => Err(ParseError::new(
                call.place.offset,
                call.place.length,
                "an editor gives nothing that could have keys",
            )),
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        let parsed = self.either()?;
        value_of(parsed)
    }

    fn list(&mut self, open: &'static str, close: &'static str) -> Result<Vec<Value>, ParseError> {
        self.expect_sign(open)?;
        let mut items = Vec::new();
        if self.take_sign(close) {
            return Ok(items);
        }
        loop {
            items.push(self.value()?);
            if self.take_sign(close) {
                return Ok(items);
            }
            self.expect_separator(close)?;
        }
    }

    fn expect_separator(&mut self, close: &str) -> Result<(), ParseError> {
        if self.take_sign(",") {
            return Ok(());
        }
        let found = self.peek().describe();
        Err(self.error_here(format!("expected \",\" or \"{close}\", found {found}")))
    }

    /// The commas between entries may be left out.
    fn map(&mut self) -> Result<ValueKind, ParseError> {
        self.expect_sign("{")?;
        let mut entries = Vec::new();
        while !self.take_sign("}") {
            let key = match self.peek() {
                TokenKind::Text(key) => key.clone(),
                found => {
                    return Err(self.error_here(format!(
                        "expected a string as key or \"}}\", found {}",
                        found.describe()
                    )));
                }
            };
            self.advance();
            self.expect_sign(":")?;
            entries.push((key, self.value()?));
            self.take_sign(",");
        }
        Ok(ValueKind::Map(entries))
    }

    /// Parentheses around either a condition or arithmetic.
    fn group(&mut self) -> Result<Parsed, ParseError> {
        let start = self.token().start;
        self.expect_sign("(")?;
        let inner = self.either()?;
        self.expect_sign(")")?;
        let place = self.since(start);
        let value = match inner {
            Parsed::Boolean(boolean, _) => return Ok(Parsed::Boolean(boolean, place)),
            Parsed::Value(value) => value,
        };
        match value.kind {
            ValueKind::Bool(literal) => Ok(Parsed::Boolean(Boolean::Literal(literal), place)),
            kind if is_operand(&kind) => Ok(Parsed::Value(Value { place, kind })),
            kind => Err(ParseError::new(
                value.place.offset,
                value.place.length,
                format!("parentheses hold conditions and arithmetic, not {}", describe(&kind)),
            )),
        }
    }

    /// Whether `(a, b) =>` comes next.
    fn is_lambda(&self) -> bool {
        let mut rest = self.tokens.iter().skip(self.next + 1).map(|token| &token.kind);
        loop {
            match rest.next() {
                Some(TokenKind::Word(_) | TokenKind::Sign(",")) => {}
                Some(TokenKind::Sign(")")) => return rest.next() == Some(&TokenKind::Sign("=>")),
                _ => return false,
            }
        }
    }

    fn lambda(&mut self) -> Result<ValueKind, ParseError> {
        self.expect_sign("(")?;
        let mut parameters: Vec<Box<str>> = Vec::new();
        while !self.take_sign(")") {
            if !parameters.is_empty() {
                self.expect_separator(")")?;
            }
            let name = match self.peek() {
                TokenKind::Word(name) if is_segment(name) || &**name == "_" => name.clone(),
                found => {
                    return Err(self.error_here(format!(
                        "expected a parameter's name in lower case, found {}",
                        found.describe()
                    )));
                }
            };
            if &*name != "_" && parameters.contains(&name) {
                return Err(self.error_here(format!("two parameters are named \"{name}\"")));
            }
            parameters.push(name);
            self.advance();
        }
        self.expect_sign("=>")?;
        let body = match self.either()? {
            Parsed::Boolean(boolean, _) => Body::Boolean(boolean),
            Parsed::Value(value) => match value.kind {
                ValueKind::Lambda(_) => {
                    return Err(ParseError::new(
                        value.place.offset,
                        value.place.length,
                        "a lambda cannot give another lambda",
                    ));
                }
                _ => Body::Value(value),
            },
        };
        Ok(ValueKind::Lambda(Box::new(Lambda { parameters, body })))
    }
}

/// Whether a word may be a part of a path: a lower-case letter, then such, digits and underscores.
fn is_segment(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase())
        && !word.contains(|c: char| c.is_ascii_uppercase())
}
