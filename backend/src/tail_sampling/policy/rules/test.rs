//! What a condition asks of a value.

use regex::bytes::Regex;
use shared::config_enum;
use shared::ottl::regex::compile;
use shared::wire::AnyValue;

use super::value::{Datatype, Scalar, Value};

config_enum! {
    /// What is asked of a field.
    pub(in crate::tail_sampling::policy) enum Operator {
        /// It equals the value.
        Equal = "=",
        /// It is there and does not.
        NotEqual = "!=",
        /// It is greater.
        Greater = ">",
        /// It is not smaller.
        GreaterOrEqual = ">=",
        /// It is smaller.
        Less = "<",
        /// It is not greater.
        LessOrEqual = "<=",
        /// Its text begins with the value.
        StartsWith = "starts_with" | "starts-with",
        /// Its text has the value in it.
        Contains = "contains",
        /// It has not, or is not there.
        DoesNotContain = "does_not_contain" | "does-not-contain",
        /// It is there.
        Exists = "exists",
        /// It is not.
        NotExists = "not_exists" | "not-exists",
        /// Whether the trace has a root, as the value says.
        HasRootSpan = "has_root_span" | "has-root-span",
        /// Its text has a match of the regular expression in it.
        Matches = "matches",
        /// It equals one of the values.
        In = "in",
        /// It equals none of them, or is not there.
        NotIn = "not_in" | "not-in",
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) enum Test {
    /// Whether it is there.
    Exists(bool),
    /// One of the six comparisons.
    Compare(Operator, Scalar<'static>, Option<Datatype>),
    /// How it begins.
    StartsWith(Box<[u8]>),
    /// What is in it.
    Contains(Box<[u8]>),
    /// What is not in it.
    DoesNotContain(Box<[u8]>),
    /// What matches in it.
    Matches(Regex),
    /// What it is one of.
    In(Vec<Scalar<'static>>, Datatype),
    /// What it is none of.
    NotIn(Vec<Scalar<'static>>, Datatype),
}

impl Test {
    /// The test of an operator.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn new(
        operator: Operator,
        value: Option<&Value>,
        datatype: Option<Datatype>,
    ) -> Result<Self, String> {
        let value = match (operator, value) {
            (Operator::Exists | Operator::NotExists, None) => {
                return Ok(Test::Exists(operator == Operator::Exists));
            }
            (Operator::Exists | Operator::NotExists, Some(_)) => {
                return Err(format!("{} needs none", operator.name()));
            }
            (Operator::HasRootSpan, None) => return Ok(Test::Exists(true)),
            (_, None) => return Err("must be set".to_owned()),
            (_, Some(value)) => value,
        };
        if matches!(operator, Operator::In | Operator::NotIn) {
            // As in Refinery, which compares text if nothing else is said.
            let datatype = datatype.unwrap_or(Datatype::String);
            let values = value.all().iter().map(|value| typed(value, datatype));
            let values = values.collect::<Result<_, _>>()?;
            return Ok(match operator {
                Operator::In => Test::In(values, datatype),
                _ => Test::NotIn(values, datatype),
            });
        }
        let Value::One(value) = value else {
            return Err("must be one value; lists are for in and not_in".to_owned());
        };
        let text = || value.clone().into_text().into();
        Ok(match operator {
            Operator::StartsWith => Test::StartsWith(text()),
            Operator::Contains => Test::Contains(text()),
            Operator::DoesNotContain => Test::DoesNotContain(text()),
            Operator::Matches => {
                let pattern: Box<[u8]> = text();
                Test::Matches(compile(&String::from_utf8_lossy(&pattern))?)
            }
            Operator::HasRootSpan => match value {
                Scalar::Bool(wanted) => Test::Exists(*wanted),
                _ => return Err("must be true or false".to_owned()),
            },
            _ => {
                let value = match datatype {
                    Some(datatype) => typed(value, datatype)?,
                    None => value.clone(),
                };
                Test::Compare(operator, value, datatype)
            }
        })
    }

    /// Whether a field passes that has this value, or that is not there.
    pub(super) fn passes(&self, value: Option<AnyValue<'_>>) -> bool {
        let scalar = value.and_then(Scalar::of);
        let has =
            |text: &[u8]| scalar.clone().is_some_and(|scalar| contains(&scalar.into_text(), text));
        let is_in = |values: &[Scalar<'static>], datatype| {
            let scalar = scalar.clone().and_then(|scalar| scalar.into_type(datatype));
            scalar.is_some_and(|scalar| values.contains(&scalar))
        };
        match self {
            Test::Exists(wanted) => value.is_some() == *wanted,
            Test::Compare(operator, value, datatype) => {
                let scalar = match datatype {
                    Some(datatype) => scalar.and_then(|scalar| scalar.into_type(*datatype)),
                    None => scalar,
                };
                let ordering = scalar.and_then(|scalar| scalar.compare(value));
                ordering.is_some_and(|ordering| match operator {
                    Operator::Equal => ordering.is_eq(),
                    Operator::NotEqual => ordering.is_ne(),
                    Operator::Greater => ordering.is_gt(),
                    Operator::GreaterOrEqual => ordering.is_ge(),
                    Operator::Less => ordering.is_lt(),
                    Operator::LessOrEqual => ordering.is_le(),
                    _ => false,
                })
            }
            Test::StartsWith(text) => {
                scalar.is_some_and(|scalar| scalar.into_text().starts_with(text))
            }
            Test::Contains(text) => has(text),
            Test::DoesNotContain(text) => !has(text),
            Test::Matches(regex) => {
                scalar.is_some_and(|scalar| regex.is_match(&scalar.into_text()))
            }
            Test::In(values, datatype) => is_in(values, *datatype),
            Test::NotIn(values, datatype) => !is_in(values, *datatype),
        }
    }
}

fn typed(value: &Scalar<'static>, datatype: Datatype) -> Result<Scalar<'static>, String> {
    let typed = value.clone().into_type(datatype);
    typed.ok_or_else(|| format!("cannot be read as {}", datatype.name()))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use AnyValue::{Array, Bool, Double, Int, String};

    use super::*;

    fn text(text: &'static str) -> Scalar<'static> {
        Scalar::Text(Cow::Borrowed(text.as_bytes()))
    }

    fn one(value: Scalar<'static>) -> Value {
        Value::One(value)
    }

    /// Which of the values pass.
    #[track_caller]
    fn check(
        operator: Operator,
        value: impl Into<Option<Value>>,
        datatype: impl Into<Option<Datatype>>,
        passing: &[Option<AnyValue<'_>>],
        failing: &[Option<AnyValue<'_>>],
    ) {
        let value = value.into();
        let test = Test::new(operator, value.as_ref(), datatype.into()).unwrap();
        for value in passing {
            assert!(test.passes(*value), "{value:?} does not pass {test:?}");
        }
        for value in failing {
            assert!(!test.passes(*value), "{value:?} passes {test:?}");
        }
    }

    #[test]
    fn comparisons_are_between_values_of_one_kind() {
        let five = || one(Scalar::Int(5));
        check(
            Operator::Equal,
            five(),
            None,
            &[Some(Int(5)), Some(Double(5.0))],
            &[Some(Int(6)), Some(String(b"5")), None],
        );
        check(
            Operator::NotEqual,
            five(),
            None,
            &[Some(Int(6)), Some(Double(5.5))],
            &[Some(Int(5)), Some(String(b"6")), None],
        );
        check(Operator::Greater, five(), None, &[Some(Double(5.1))], &[Some(Int(5)), None]);
        check(Operator::GreaterOrEqual, five(), None, &[Some(Int(5))], &[Some(Double(4.9))]);
        check(Operator::Less, five(), None, &[Some(Int(4))], &[Some(Int(5)), Some(Bool(false))]);
        check(Operator::LessOrEqual, five(), None, &[Some(Int(5))], &[Some(Int(6))]);
        check(Operator::Less, one(text("b")), None, &[Some(String(b"a"))], &[Some(Int(1))]);
        check(
            Operator::Equal,
            one(Scalar::Bool(true)),
            None,
            &[Some(Bool(true))],
            &[Some(Bool(false)), Some(String(b"true")), Some(Array(b""))],
        );
    }

    #[test]
    fn a_datatype_makes_both_sides_alike() {
        let (equal, less) = (Operator::Equal, Operator::Less);
        check(
            equal,
            one(Scalar::Int(5)),
            Datatype::String,
            &[Some(Int(5)), Some(String(b"5"))],
            &[Some(String(b"5.0")), None],
        );
        check(
            less,
            one(text("10")),
            Datatype::Int,
            &[Some(String(b"9")), Some(Double(9.9))],
            &[Some(String(b"10")), Some(String(b"x"))],
        );
        check(
            less,
            one(Scalar::Int(1)),
            Datatype::Float,
            &[Some(String(b"0.5"))],
            &[Some(Bool(false))],
        );
        check(
            equal,
            one(Scalar::Bool(true)),
            Datatype::Bool,
            &[Some(String(b"T")), Some(Int(1))],
            &[Some(String(b"yes")), None],
        );
    }

    #[test]
    fn text_is_asked_for_parts() {
        let value = || one(text("ab"));
        check(
            Operator::StartsWith,
            value(),
            None,
            &[Some(String(b"abc"))],
            &[Some(String(b"cab")), None],
        );
        check(
            Operator::Contains,
            value(),
            None,
            &[Some(String(b"cabd"))],
            &[Some(String(b"acb")), None],
        );
        check(
            Operator::DoesNotContain,
            value(),
            None,
            &[Some(String(b"acb")), None],
            &[Some(String(b"cabd"))],
        );
        check(Operator::Contains, one(Scalar::Int(0)), None, &[Some(Int(503))], &[Some(Int(53))]);
        check(
            Operator::Matches,
            one(text("^a+$")),
            None,
            &[Some(String(b"aa"))],
            &[Some(String(b"ab")), None],
        );
    }

    #[test]
    fn a_list_is_compared_as_text_if_nothing_else_is_said() {
        let codes = || Value::Many(vec![Scalar::Int(500), text("503")]);
        check(
            Operator::In,
            codes(),
            None,
            &[Some(Int(503)), Some(String(b"500"))],
            &[Some(Int(501)), None],
        );
        check(Operator::NotIn, codes(), None, &[Some(Int(501)), None], &[Some(Int(500))]);
        check(Operator::In, codes(), Datatype::Float, &[Some(Double(500.0))], &[Some(Int(5))]);
        check(Operator::In, one(text("a")), None, &[Some(String(b"a"))], &[Some(String(b"b"))]);
    }

    #[test]
    fn what_is_there_exists_whatever_it_is() {
        check(Operator::Exists, None, None, &[Some(Array(b"")), Some(AnyValue::Empty)], &[None]);
        check(Operator::NotExists, None, None, &[None], &[Some(Int(0))]);
    }

    #[test]
    fn values_that_do_not_fit_are_explained() {
        let check = |operator, value: Option<Value>, datatype, expected: &str| {
            let error = Test::new(operator, value.as_ref(), datatype).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        let list = Some(Value::Many(vec![Scalar::Int(1)]));
        check(Operator::Exists, list.clone(), None, "exists needs none");
        check(Operator::Equal, None, None, "must be set");
        check(Operator::Equal, list, None, "lists are for in and not_in");
        check(Operator::Less, Some(one(text("x"))), Some(Datatype::Int), "cannot be read as int");
        check(Operator::In, Some(one(text("x"))), Some(Datatype::Float), "cannot be read as float");
        check(Operator::Matches, Some(one(text("("))), None, "bad pattern");
        check(Operator::HasRootSpan, Some(one(text("x"))), None, "must be true or false");
    }
}
