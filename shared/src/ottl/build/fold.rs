//! Computes once what depends on nothing but literals.
//!
//! What fails stays as it is, so that it fails on every record, as it does in the Collector.
//!
//! Source: contrib `pkg/ottl/{boolean_value,expression,functions}.go`: an `and` with a literal
//! `false` is false whatever stands beside it, and so is an `or` with a literal `true`.

use super::super::functions::{Argument, Depends};
use super::super::node::{Env, Node, Test};
use super::super::scope::View;
use super::super::value::Value;

/// Joins the parts of an `and` or `or`. `decisive` is the value that decides it alone.
pub(super) fn join(
    parts: Vec<(Test, bool)>,
    decisive: bool,
    joined: fn(Vec<Test>) -> Test,
) -> (Test, bool) {
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

/// Decides a test of which all parts are constant.
pub(super) fn fold_test(test: Test) -> Test {
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
pub(super) fn fold(node: Node) -> Node {
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
