//! Gives names their meaning: from what was written to what is evaluated.
//!
//! Expressions that depend on nothing but literals are computed here, once. One that fails stays as
//! it is, so that it fails on every record, as it does in the Collector.
//!
//! Source: contrib `pkg/ottl/{boolean_value,expression,functions}.go`: an `and` with a literal
//! `false` is false whatever stands beside it, and so is an `or` with a literal `true`.

use super::ast::{self, Body, Boolean, ValueKind};
use super::edit;
use super::error::ParseError;
use super::functions::{
    self, Action, Argument, Call, Depends, Function, Kind, Lambda, LambdaBody, Parameter,
};
use super::node::{Env, MapEntry, Node, Test};
use super::path::{self, Field, Prefixes, SpanField};
use super::scope::View;
use super::value::{Text, Value};
use super::{Context, Uses};
use crate::config::nearest;

/// Builds conditions and statements of one context.
pub(super) struct Builder {
    context: Context,
    prefixes: Prefixes,
    uses: Uses,
    /// The parameters of the lambdas around, from the outside.
    locals: Vec<Vec<Box<str>>>,
}

/// Builds a condition and tells what it reads.
pub(super) fn condition(
    condition: &Boolean,
    context: Context,
    prefixes: Prefixes,
) -> Result<(Test, Uses), ParseError> {
    let mut builder = Builder::new(context, prefixes);
    let (test, _) = builder.boolean(condition)?;
    Ok((test, builder.uses()))
}

/// Builds a statement and tells what it reads and changes.
pub(super) fn statement(
    statement: &ast::Statement,
    context: Context,
    prefixes: Prefixes,
) -> Result<(Call, Option<Test>, Uses), ParseError> {
    let mut builder = Builder::new(context, prefixes);
    let editor = builder.function(&statement.editor, edit::all())?;
    let editor = builder.assigned(editor, &statement.editor)?;
    let test = match &statement.condition {
        Some(condition) => match builder.boolean(condition)?.0 {
            Test::Constant(true) => None,
            test => Some(test),
        },
        None => None,
    };
    Ok((editor, test, builder.uses()))
}

impl Builder {
    fn new(context: Context, prefixes: Prefixes) -> Self {
        Self { context, prefixes, uses: Uses::default(), locals: Vec::new() }
    }

    fn uses(mut self) -> Uses {
        self.uses.paths.sort();
        self.uses.paths.dedup();
        self.uses
    }

    /// The test, and whether it is literally true or false: not only found to be.
    fn boolean(&mut self, boolean: &Boolean) -> Result<(Test, bool), ParseError> {
        match boolean {
            Boolean::Literal(value) => Ok((Test::Constant(*value), true)),
            Boolean::Call(call) => {
                let node = self.call(call)?;
                Ok((fold_test(Test::Call(node)), false))
            }
            Boolean::Compare(comparison) => {
                let literal = comparison.left.is_literal() && comparison.right.is_literal();
                let left = self.value(&comparison.left)?;
                let right = self.value(&comparison.right)?;
                Ok((fold_test(Test::Compare(left, comparison.operator, right)), literal))
            }
            Boolean::Not(inner) => match self.boolean(inner)? {
                (Test::Constant(value), literal) => Ok((Test::Constant(!value), literal)),
                (test, _) => Ok((Test::Not(Box::new(test)), false)),
            },
            Boolean::And(parts) => {
                let parts = self.parts(parts)?;
                Ok(join(parts, false, Test::And))
            }
            Boolean::Or(parts) => {
                let parts = self.parts(parts)?;
                Ok(join(parts, true, Test::Or))
            }
        }
    }

    fn parts(&mut self, parts: &[Boolean]) -> Result<Vec<(Test, bool)>, ParseError> {
        parts.iter().map(|part| self.boolean(part)).collect()
    }

    fn value(&mut self, value: &ast::Value) -> Result<Node, ParseError> {
        Ok(match &value.kind {
            ValueKind::Nil => Node::Constant(Value::Nil),
            ValueKind::Bool(literal) => Node::Constant(Value::Bool(*literal)),
            ValueKind::Int(number) => Node::Constant(Value::Int(*number)),
            ValueKind::Double(number) => Node::Constant(Value::Double(*number)),
            ValueKind::Text(text) => Node::Constant(owned_text(text)),
            ValueKind::Bytes(bytes) => Node::Constant(Value::Bytes(bytes.to_vec().into())),
            ValueKind::Enum(symbol) => {
                Node::Constant(Value::Int(self.symbol(symbol, value.place)?))
            }
            ValueKind::Path(path) => self.path(path)?,
            ValueKind::Call(call) => self.call(call)?,
            ValueKind::Negated(inner) => fold(Node::Negate(Box::new(self.value(inner)?))),
            ValueKind::Math(first, rest) => {
                let first = Box::new(self.value(first)?);
                let mut operands = Vec::with_capacity(rest.len());
                for (operator, operand) in rest {
                    operands.push((*operator, self.value(operand)?));
                }
                fold(Node::Math(first, operands))
            }
            ValueKind::List(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for item in items {
                    nodes.push(self.value(item)?);
                }
                fold(Node::List(nodes))
            }
            ValueKind::Map(entries) => fold(Node::Map(self.entries(entries)?)),
            ValueKind::Lambda(_) => {
                return Err(error(value.place, "a lambda can only be a function's argument"));
            }
            ValueKind::Function(name) => {
                return Err(error(
                    value.place,
                    format!(
                        "unexpected \"{name}\": a function needs parentheses, an enum is in \
                         capitals and a path in lower case"
                    ),
                ));
            }
        })
    }

    /// Of two entries with one key the last one counts, as in Go.
    fn entries(&mut self, entries: &[(Box<str>, ast::Value)]) -> Result<Vec<MapEntry>, ParseError> {
        let mut nodes: Vec<MapEntry> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let node = self.value(value)?;
            match nodes.iter_mut().find(|(other, _)| **other == *key.as_bytes()) {
                Some((_, earlier)) => *earlier = node,
                None => nodes.push((key.as_bytes().into(), node)),
            }
        }
        Ok(nodes)
    }

    fn symbol(&self, symbol: &str, place: ast::Place) -> Result<i64, ParseError> {
        let known = || self.context.enums();
        if let Some((_, value)) = known().find(|(name, _)| *name == symbol) {
            return Ok(value);
        }
        let hint = did_you_mean(symbol, known().map(|(name, _)| name));
        Err(error(place, format!("unknown enum \"{symbol}\"{hint}")))
    }

    fn path(&mut self, path: &ast::Path) -> Result<Node, ParseError> {
        if let Some((out, index)) = self.local(path) {
            let [segment] = path.segments.as_slice() else {
                return Err(error(path.place, "a parameter has keys, but nothing behind a point"));
            };
            let local = Node::Local { out, index };
            return Ok(match self.keys(&segment.keys)? {
                keys if keys.is_empty() => local,
                keys => Node::Index(Box::new(local), keys),
            });
        }
        let (field, name) = path::resolve(path, self.context, self.prefixes)?;
        self.uses.note(field, name);
        let keys = path.segments.last().map(|segment| segment.keys.as_slice()).unwrap_or_default();
        let keys = self.keys(keys)?;
        if let (Field::Span(SpanField::Attributes), Some(Node::Constant(Value::Text(key)))) =
            (field, keys.first())
        {
            self.uses.span_attributes.push(key.as_bytes().into());
        }
        Ok(Node::Field(field, keys))
    }

    /// The lambda's parameter that a path starts with; the innermost one of that name.
    fn local(&self, path: &ast::Path) -> Option<(usize, usize)> {
        let name = &path.segments.first()?.name;
        self.locals.iter().rev().enumerate().find_map(|(out, parameters)| {
            let index = parameters.iter().position(|parameter| parameter == name)?;
            Some((out, index))
        })
    }

    fn keys(&mut self, keys: &[ast::Value]) -> Result<Box<[Node]>, ParseError> {
        keys.iter().map(|key| self.value(key)).collect()
    }

    fn call(&mut self, call: &ast::Call) -> Result<Node, ParseError> {
        let function = self.function(call, functions::all())?;
        let node = fold(Node::Call(Box::new(self.assigned(function, call)?)));
        Ok(match self.keys(&call.keys)? {
            keys if keys.is_empty() => node,
            keys => fold(Node::Index(Box::new(node), keys)),
        })
    }

    /// A call of `function` with its arguments.
    fn assigned(
        &mut self,
        function: &'static Function,
        call: &ast::Call,
    ) -> Result<Call, ParseError> {
        let mut arguments = Vec::with_capacity(function.parameters.len());
        let mut places = Vec::with_capacity(function.parameters.len());
        for (parameter, given) in functions::assign(function, call)? {
            let (argument, place) = match given {
                Some(value) => (self.argument(parameter.kind, value)?, value.place),
                None => (Argument::Absent, call.place),
            };
            arguments.push(argument);
            places.push(place);
        }
        match function.depends {
            Depends::Arguments => {}
            Depends::Clock => self.uses.clock = true,
            Depends::Span => self.uses.span = true,
            Depends::Metric => self.uses.metric = true,
        }
        let prepared = (function.prepare)(&arguments).map_err(|(index, message)| {
            error(places.get(index).copied().unwrap_or(call.place), message)
        })?;
        Ok(Call { function, arguments, prepared })
    }

    fn function(
        &self,
        call: &ast::Call,
        known: impl Iterator<Item = &'static Function> + Clone,
    ) -> Result<&'static Function, ParseError> {
        let here = known.clone().filter(|function| function.is_in(self.context));
        if let Some(function) = here.clone().find(|function| *function.name == *call.name) {
            return Ok(function);
        }
        let what = match call.name.starts_with(|first: char| first.is_ascii_lowercase()) {
            true => "editor",
            false => "function",
        };
        let mut elsewhere = known;
        let message = match elsewhere.find(|function| *function.name == *call.name) {
            Some(Function { action: Action::Edit(_), .. }) => {
                format!("\"{}\" cannot be used in {} statements", call.name, self.context)
            }
            Some(_) => format!("\"{}\" cannot be used in {} conditions", call.name, self.context),
            None => {
                let hint = did_you_mean(&call.name, here.map(|function| function.name));
                format!("unknown {what} \"{}\"{hint}", call.name)
            }
        };
        Err(error(call.place, message))
    }

    fn argument(&mut self, kind: Kind, value: &ast::Value) -> Result<Argument, ParseError> {
        match (kind, &value.kind) {
            (Kind::Many(kind), ValueKind::List(items)) => {
                let mut nodes = Vec::with_capacity(items.len());
                for item in items {
                    nodes.push(self.checked(*kind, item)?);
                }
                Ok(Argument::Many(nodes))
            }
            (Kind::Many(_), _) => Err(error(value.place, "must be a list, as in [a, b]")),
            (Kind::Lambda(arity), ValueKind::Lambda(lambda)) => {
                self.lambda(lambda, arity, value.place).map(Argument::Lambda)
            }
            (Kind::Lambda(arity), _) => {
                let shape = ["() => …", "(a) => …", "(a, b) => …", "(a, b, c) => …"];
                let shape = shape.get(arity).copied().unwrap_or_default();
                Err(error(value.place, format!("must be a lambda, as in {shape}")))
            }
            (Kind::Target, ValueKind::Path(path)) => self.target(path),
            (Kind::Target, _) => Err(error(value.place, "must be a path that can be set")),
            (Kind::Function, ValueKind::Function(name) | ValueKind::Enum(name)) => {
                self.named_function(name, value.place)
            }
            (Kind::Function, _) => {
                Err(error(value.place, "must be a function's name, as in SHA256"))
            }
            _ => Ok(Argument::Value(self.checked(kind, value)?, value.is_literal())),
        }
    }

    /// What an editor changes.
    fn target(&mut self, path: &ast::Path) -> Result<Argument, ParseError> {
        match self.path(path)? {
            Node::Field(field, keys) => match field.unsettable() {
                None => Ok(Argument::Value(Node::Field(field, keys), false)),
                Some(problem) => Err(error(path.place, format!("{path} {problem}"))),
            },
            _ => Err(error(path.place, "a parameter cannot be set")),
        }
    }

    /// A function that is to be called with a string, as a lambda that does so.
    fn named_function(&mut self, name: &str, place: ast::Place) -> Result<Argument, ParseError> {
        let call = ast::Call { place, name: name.into(), arguments: Vec::new(), keys: Vec::new() };
        let function = self.function(&call, functions::all())?;
        let takes_text = |parameter: &Parameter| {
            matches!(parameter.kind, Kind::Any | Kind::Text | Kind::TextLike | Kind::BytesLike)
        };
        let [first, others @ ..] = function.parameters else {
            return Err(error(place, format!("\"{name}\" takes no argument")));
        };
        if !takes_text(first) || others.iter().any(|parameter| !parameter.optional) {
            let message = format!("\"{name}\" does not take a string alone");
            return Err(error(place, message));
        }
        let argument = Argument::Value(Node::Local { out: 0, index: 0 }, false);
        let absent = others.iter().map(|_| Argument::Absent);
        let arguments = std::iter::once(argument).chain(absent).collect::<Vec<_>>();
        let prepared =
            (function.prepare)(&arguments).map_err(|(_, message)| error(place, message))?;
        let node = Node::Call(Box::new(Call { function, arguments, prepared }));
        Ok(Argument::Lambda(Lambda { body: LambdaBody::Node(node) }))
    }

    /// An argument that is a literal has to be of the right type; others show when they are there.
    fn checked(&mut self, kind: Kind, value: &ast::Value) -> Result<Node, ParseError> {
        let node = self.value(value)?;
        match &node {
            Node::Constant(constant) if value.is_literal() => {
                kind.check(constant).map_err(|problem| error(value.place, problem.to_string()))?;
            }
            _ if kind.is_literal() => {
                return Err(error(value.place, format!("must be {}", kind.describe())));
            }
            _ => {}
        }
        Ok(node)
    }

    fn lambda(
        &mut self,
        lambda: &ast::Lambda,
        arity: usize,
        place: ast::Place,
    ) -> Result<Lambda, ParseError> {
        let given = lambda.parameters.len();
        if given != arity {
            let message = format!("the lambda must have {arity} parameters, not {given}");
            return Err(error(place, message));
        }
        self.locals.push(lambda.parameters.clone());
        let body = match &lambda.body {
            Body::Value(value) => self.value(value).map(LambdaBody::Node),
            Body::Boolean(boolean) => self.boolean(boolean).map(|(test, _)| LambdaBody::Test(test)),
        };
        self.locals.pop();
        Ok(Lambda { body: body? })
    }
}

/// Joins the parts of an `and` or `or`. `decisive` is the value that decides it alone.
fn join(parts: Vec<(Test, bool)>, decisive: bool, joined: fn(Vec<Test>) -> Test) -> (Test, bool) {
    let decides = |test: &Test| matches!(test, Test::Constant(value) if *value == decisive);
    if parts.iter().any(|(test, literal)| *literal && decides(test)) {
        return (Test::Constant(decisive), true);
    }
    let all_literal = parts.iter().all(|(_, literal)| *literal);
    let mut kept = Vec::new();
    for (test, _) in parts {
        if decides(&test) {
            // Found to be decisive: nothing behind it is reached, but what is before it may fail.
            kept.push(test);
            break;
        }
        if !matches!(test, Test::Constant(_)) {
            kept.push(test);
        }
    }
    match kept.len() {
        0 => (Test::Constant(!decisive), all_literal),
        1 => (kept.remove(0), false),
        _ => (joined(kept), false),
    }
}

fn fold_test(test: Test) -> Test {
    let constant = match &test {
        Test::Compare(left, _, right) => left.is_constant() && right.is_constant(),
        Test::Call(node) => node.is_constant(),
        _ => false,
    };
    if !constant {
        return test;
    }
    match test.evaluate(&Env { view: &View::EMPTY, locals: None }) {
        Ok(value) => Test::Constant(value),
        Err(_) => test,
    }
}

/// Computes a node of which all parts are constant.
fn fold(node: Node) -> Node {
    let constant = match &node {
        Node::Constant(_) | Node::Field(..) | Node::Local { .. } => false,
        Node::Call(call) => {
            call.function.depends == Depends::Arguments
                && call.arguments.iter().all(Argument::is_constant)
        }
        Node::Index(inner, keys) => inner.is_constant() && keys.iter().all(Node::is_constant),
        Node::Negate(inner) => inner.is_constant(),
        Node::Math(first, rest) => {
            first.is_constant() && rest.iter().all(|(_, operand)| operand.is_constant())
        }
        Node::List(items) => items.iter().all(Node::is_constant),
        Node::Map(entries) => entries.iter().all(|(_, value)| value.is_constant()),
    };
    if !constant {
        return node;
    }
    let value = node.evaluate(&Env { view: &View::EMPTY, locals: None }).map(Value::into_owned);
    match value {
        Ok(value) => Node::Constant(value),
        Err(_) => node,
    }
}

fn owned_text(text: &str) -> Value<'static> {
    Value::Text(Text::Owned(text.as_bytes().to_vec()))
}

fn error(place: ast::Place, message: impl Into<String>) -> ParseError {
    ParseError::new(place.offset, place.length, message)
}

fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(name, known).map(|near| format!(", did you mean \"{near}\"?")).unwrap_or_default()
}
