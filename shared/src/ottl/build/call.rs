//! Finds the function of a call, and gives the call its arguments: each parameter tells what may
//! stand for it.

use super::super::ast::{self, Body, ValueKind};
use super::super::error::ParseError;
use super::super::functions::{
    self, Action, Argument, Call, Depends, Function, Kind, Lambda, LambdaBody, Parameter,
};
use super::super::node::Node;
use super::{Builder, did_you_mean, error};

impl Builder {
    /// A call of `function` with its arguments.
    pub(super) fn assigned(
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

    /// The function of this name, of those that are `known`, if the context has it.
    pub(super) fn function(
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
