//! The plain values that a field of a section may hold: booleans, numbers, text, durations, lists
//! and maps. Nothing is converted but what the Collector converts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{Decode, expected};
use super::node::{Data, Node};
use super::problems::{Path, Problems};
use super::units;

impl Decode for bool {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match node.data {
            Data::Bool(value) => Some(value),
            _ => expected("true or false", node, at, problems),
        }
    }
}

macro_rules! decode_integer {
    ($($type:ty),+) => {
        $(
            impl Decode for $type {
                fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
                    let Data::Int(value) = node.data else {
                        return expected("an integer", node, at, problems);
                    };
                    match <$type>::try_from(value) {
                        Ok(value) => Some(value),
                        Err(_) => {
                            let (min, max) = (<$type>::MIN, <$type>::MAX);
                            problems.report(at, format!("{value} is out of range ({min} to {max})"));
                            None
                        }
                    }
                }
            }
        )+
    };
}
decode_integer!(u8, u16, u32, u64, usize, i32, i64);

impl Decode for f64 {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match node.data {
            #[allow(clippy::cast_precision_loss, reason = "settings are far below 2^53")]
            Data::Int(value) => Some(value as f64),
            Data::Float(value) => Some(value),
            _ => expected("a number", node, at, problems),
        }
    }
}

impl Decode for String {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::String(text) => Some(text.clone()),
            Data::List(_) | Data::Map(_) if node.text.is_none() => {
                expected("a string", node, at, problems)
            }
            // What is not text keeps the text it was written as, or came in a variable as.
            _ => Some(node.text.clone().unwrap_or_default()),
        }
    }

    /// A placeholder's empty text is null for other types, but text for this one.
    fn from_null(node: &Node) -> Option<Self> {
        node.text.clone()
    }
}

impl Decode for Duration {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::String(text) => match units::parse_duration(text) {
                Ok(duration) => Some(duration),
                Err(error) => {
                    problems.report(at, error.to_string());
                    None
                }
            },
            Data::Int(0) => Some(Duration::ZERO),
            _ => expected("a duration such as 500ms, 10s or 1h30m", node, at, problems),
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        T::decode(node, at, problems).map(Some)
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        T::decode(node, at, problems).map(Box::new)
    }
}

impl<T: Decode> Decode for Vec<T> {
    /// A list; text is split at commas, as the Collector does.
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::List(items) => {
                let before = problems.errors().len();
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.extend(T::decode(item, &at.index(index), problems));
                }
                (problems.errors().len() == before).then_some(values)
            }
            Data::String(text) => text
                .split(',')
                .map(|part| {
                    let part = Node { data: Data::String(part.to_owned()), ..node.clone() };
                    T::decode(&part, at, problems)
                })
                .collect(),
            _ => expected("a list", node, at, problems),
        }
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Data::Map(entries) = &node.data else {
            return expected("a map", node, at, problems);
        };
        let before = problems.errors().len();
        let mut map = BTreeMap::new();
        for entry in entries {
            if let Some(value) = T::decode(&entry.value, &at.key(&entry.key), problems) {
                map.insert(entry.key.clone(), value);
            }
        }
        (problems.errors().len() == before).then_some(map)
    }
}
