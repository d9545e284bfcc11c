//! Values that conditions compare: how they are written, and how a span's attribute becomes one.

use std::borrow::Cow;
use std::cmp::Ordering;

use shared::config::{Data, Decode, Node, Path, Problems, expected};
use shared::config_enum;
use shared::wire::AnyValue;

/// A value with a type.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tail_sampling::policy) enum Scalar<'a> {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// UTF-8 by contract; not checked.
    Text(Cow<'a, [u8]>),
}

/// A scalar or a list of them, as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tail_sampling::policy) enum Value {
    /// One.
    One(Scalar<'static>),
    /// A list.
    Many(Vec<Scalar<'static>>),
}

config_enum! {
    /// What both sides of a comparison are made before it.
    pub(in crate::tail_sampling::policy) enum Datatype {
        /// Text.
        String = "string",
        /// A whole number; a fraction is cut off.
        Int = "int",
        /// A number.
        Float = "float",
        /// True or false; what is neither is false.
        Bool = "bool",
    }
}

impl<'a> Scalar<'a> {
    /// An attribute's value, if it is none of lists, maps and bytes.
    pub(super) fn of(value: AnyValue<'a>) -> Option<Self> {
        match value {
            AnyValue::Bool(value) => Some(Scalar::Bool(value)),
            AnyValue::Int(value) => Some(Scalar::Int(value)),
            AnyValue::Double(value) => Some(Scalar::Float(value)),
            AnyValue::String(text) => Some(Scalar::Text(Cow::Borrowed(text))),
            AnyValue::Empty | AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) => {
                None
            }
        }
    }

    /// The value as another type, if it can be that.
    pub(super) fn into_type(self, datatype: Datatype) -> Option<Self> {
        match (datatype, self) {
            (Datatype::String, value) => Some(Scalar::Text(value.into_text())),
            (Datatype::Bool, value) => {
                let yes: [&[u8]; 6] = [b"1", b"t", b"T", b"true", b"True", b"TRUE"];
                Some(Scalar::Bool(yes.contains(&&*value.into_text())))
            }
            (Datatype::Int | Datatype::Float, Scalar::Bool(_)) => None,
            (Datatype::Int, Scalar::Int(value)) => Some(Scalar::Int(value)),
            #[allow(clippy::cast_possible_truncation, reason = "the fraction is cut off")]
            (Datatype::Int, Scalar::Float(value)) => Some(Scalar::Int(value as i64)),
            (Datatype::Int, Scalar::Text(text)) => Some(Scalar::Int(parse(&text)?)),
            #[allow(clippy::cast_precision_loss, reason = "that is what is asked for")]
            (Datatype::Float, Scalar::Int(value)) => Some(Scalar::Float(value as f64)),
            (Datatype::Float, Scalar::Float(value)) => Some(Scalar::Float(value)),
            (Datatype::Float, Scalar::Text(text)) => Some(Scalar::Float(parse(&text)?)),
        }
    }

    /// The value as text.
    pub(super) fn into_text(self) -> Cow<'a, [u8]> {
        let text = match self {
            Scalar::Text(text) => return text,
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
        };
        Cow::Owned(text.into_bytes())
    }

    /// How two values compare; nothing when their types do not.
    #[allow(clippy::cast_precision_loss, reason = "a whole number beside a fraction")]
    pub(super) fn compare(&self, other: &Scalar<'_>) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
            (Scalar::Int(a), Scalar::Int(b)) => Some(a.cmp(b)),
            (Scalar::Int(a), Scalar::Float(b)) => (*a as f64).partial_cmp(b),
            (Scalar::Float(a), Scalar::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Scalar::Float(a), Scalar::Float(b)) => a.partial_cmp(b),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Value {
    /// All values.
    pub(super) fn all(&self) -> &[Scalar<'static>] {
        match self {
            Value::One(value) => std::slice::from_ref(value),
            Value::Many(values) => values,
        }
    }
}

impl Decode for Value {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Data::List(items) = &node.data else {
            return scalar(node, at, problems).map(Value::One);
        };
        let values = items.iter().enumerate();
        let values = values.map(|(index, item)| scalar(item, &at.index(index), problems));
        values.collect::<Option<Vec<_>>>().map(Value::Many)
    }
}

fn scalar(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Scalar<'static>> {
    match &node.data {
        Data::Bool(value) => Some(Scalar::Bool(*value)),
        Data::Int(value) => Some(Scalar::Int(*value)),
        Data::Float(value) => Some(Scalar::Float(*value)),
        Data::String(text) => Some(Scalar::Text(Cow::Owned(text.clone().into_bytes()))),
        Data::Null | Data::List(_) | Data::Map(_) => {
            expected("text, a number, true or false", node, at, problems)
        }
    }
}
