//! What was written: the tree of a condition or statement, before any name in it has a meaning.
//!
//! Printing a tree and parsing the text gives the same tree.

use std::fmt;

/// Where a node stands in the text: byte offset and length. All are equal, so that trees compare by
/// what they say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl PartialEq for Place {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// `editor(argument) where condition`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) editor: Call,
    pub(super) condition: Option<Boolean>,
}

/// Something true or false.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Boolean {
    Literal(bool),
    Call(Call),
    Compare(Box<Comparison>),
    Not(Box<Boolean>),
    /// Two or more.
    And(Vec<Boolean>),
    /// Two or more.
    Or(Vec<Boolean>),
}

/// Two values and what is asked of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Comparison {
    pub(super) left: Value,
    pub(super) operator: CompareOp,
    pub(super) right: Value,
}

/// A comparison's operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MathOp {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) kind: ValueKind,
}

/// The forms of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ValueKind {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Enum(Box<str>),
    Path(Path),
    Call(Call),
    Negated(Box<Value>),
    /// Operators of one precedence, from left to right.
    Math(Box<Value>, Vec<(MathOp, Value)>),
    List(Vec<Value>),
    Map(Vec<(Box<str>, Value)>),
    Lambda(Box<Lambda>),
    /// A function by its name, as an argument of an editor.
    Function(Box<str>),
}

impl Value {
    /// Whether the Collector holds the value for a literal: what functions may not take is then
    /// refused when the condition is read.
    pub(super) fn is_literal(&self) -> bool {
        match &self.kind {
            ValueKind::List(items) => items.iter().all(Value::is_literal),
            ValueKind::Map(entries) => entries.iter().all(|(_, value)| value.is_literal()),
            ValueKind::Path(_)
            | ValueKind::Call(_)
            | ValueKind::Negated(_)
            | ValueKind::Math(..)
            | ValueKind::Lambda(_)
            | ValueKind::Function(_) => false,
            _ => true,
        }
    }
}

/// `span.attributes["key"][0]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub(super) place: Place,
    /// One or more.
    pub(super) segments: Vec<Segment>,
}

/// A name of a path and the keys behind it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) name: Box<str>,
    pub(super) keys: Vec<Value>,
}

/// `Function(argument, name=argument)[key]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Of the name.
    pub(super) place: Place,
    pub(super) name: Box<str>,
    pub(super) arguments: Vec<Argument>,
    pub(super) keys: Vec<Value>,
}

/// A function's argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Argument {
    pub(super) name: Option<Box<str>>,
    pub(super) value: Value,
}

/// `(key, value) => body`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lambda {
    /// `_` for those that the body does not use.
    pub(super) parameters: Vec<Box<str>>,
    pub(super) body: Body,
}

/// What a lambda gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Value(Value),
    Boolean(Boolean),
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.editor)?;
        match &self.condition {
            Some(condition) => write!(f, " where {condition}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Boolean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Boolean], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                match (part, word) {
                    (Boolean::Or(_), _) | (Boolean::And(_), "and") => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Boolean::Literal(literal) => write!(f, "{literal}"),
            Boolean::Call(call) => write!(f, "{call}"),
            Boolean::Compare(comparison) => write!(f, "{comparison}"),
            Boolean::Not(inner) => match **inner {
                Boolean::Literal(_) | Boolean::Call(_) | Boolean::Compare(_) => {
                    write!(f, "not {inner}")
                }
                _ => write!(f, "not ({inner})"),
            },
            Boolean::And(parts) => joined(f, parts, "and"),
            Boolean::Or(parts) => joined(f, parts, "or"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.operator.sign(), self.right)
    }
}

impl CompareOp {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            CompareOp::Equal => "==",
            CompareOp::NotEqual => "!=",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
        }
    }
}

impl MathOp {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            MathOp::Add => "+",
            MathOp::Subtract => "-",
            MathOp::Multiply => "*",
            MathOp::Divide => "/",
        }
    }

    pub(super) const fn is_additive(self) -> bool {
        matches!(self, MathOp::Add | MathOp::Subtract)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ValueKind::Nil => f.write_str("nil"),
            ValueKind::Bool(literal) => write!(f, "{literal}"),
            ValueKind::Int(number) => write!(f, "{number}"),
            ValueKind::Double(number) => write_double(f, *number),
            ValueKind::Text(text) => write_text(f, text),
            ValueKind::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            ValueKind::Enum(symbol) | ValueKind::Function(symbol) => f.write_str(symbol),
            ValueKind::Path(path) => write!(f, "{path}"),
            ValueKind::Call(call) => write!(f, "{call}"),
            ValueKind::Negated(inner) => match inner.kind {
                ValueKind::Path(_) | ValueKind::Call(_) => write!(f, "-{inner}"),
                _ => write!(f, "-({inner})"),
            },
            ValueKind::Math(first, rest) => write_math(f, first, rest),
            ValueKind::List(items) => {
                f.write_str("[")?;
                write_list(f, items)?;
                f.write_str("]")
            }
            ValueKind::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    write_text(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
            ValueKind::Lambda(lambda) => {
                write!(f, "({}) => ", lambda.parameters.join(", "))?;
                match &lambda.body {
                    Body::Value(value) => write!(f, "{value}"),
                    Body::Boolean(boolean) => write!(f, "{boolean}"),
                }
            }
        }
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index > 0 { ", " } else { "" })?;
        write!(f, "{item}")?;
    }
    Ok(())
}

fn write_math(f: &mut fmt::Formatter<'_>, first: &Value, rest: &[(MathOp, Value)]) -> fmt::Result {
    let additive = rest.iter().any(|(operator, _)| operator.is_additive());
    let operand = |f: &mut fmt::Formatter<'_>, value: &Value| match &value.kind {
        ValueKind::Math(_, inner) if !additive || inner.iter().any(|(op, _)| op.is_additive()) => {
            write!(f, "({value})")
        }
        _ => write!(f, "{value}"),
    };
    operand(f, first)?;
    for (operator, value) in rest {
        write!(f, " {} ", operator.sign())?;
        operand(f, value)?;
    }
    Ok(())
}

/// A point must be there for the lexer to see a double, also before an exponent.
fn write_double(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    let digits = format!("{number:?}");
    match digits.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => {
            write!(f, "{mantissa}.0e{exponent}")
        }
        _ => f.write_str(&digits),
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            f.write_str(if index > 0 { "." } else { "" })?;
            f.write_str(&segment.name)?;
            write_keys(f, &segment.keys)?;
        }
        Ok(())
    }
}

fn write_keys(f: &mut fmt::Formatter<'_>, keys: &[Value]) -> fmt::Result {
    keys.iter().try_for_each(|key| write!(f, "[{key}]"))
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        write_list(f, &self.arguments)?;
        f.write_str(")")?;
        write_keys(f, &self.keys)
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        write!(f, "{}", self.value)
    }
}
