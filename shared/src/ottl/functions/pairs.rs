//! Strings of keys and values, read and written.
//!
//! Source: contrib pkg/ottl/ottlfuncs and internal/coreinternal/parseutils.

use std::collections::HashMap;

use super::types::Kind;
use super::{
    Argument, Call, Env, EvalError, Function, Parameter, Prepared, function, optional, parameter,
};
use crate::ottl::path::as_text;
use crate::ottl::value::{Map, Text, Value};

const DELIMITER: Parameter = optional("delimiter", Kind::LiteralText);
const PAIR_DELIMITER: Parameter = optional("pair_delimiter", Kind::LiteralText);

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "ParseKeyValue",
        &[parameter("target", Kind::Text), DELIMITER, PAIR_DELIMITER],
        |call, env| {
            let text = call.text(0, env)?;
            let delimiters = Delimiters::of(call, env)?;
            delimiters.read(text.as_bytes()).map(|entries| Value::Map(Map::Entries(entries)))
        },
    )
    .prepared_by(check_delimiters),
    function(
        "ToKeyValueString",
        &[
            parameter("target", Kind::Map),
            DELIMITER,
            PAIR_DELIMITER,
            optional("sort_output", Kind::LiteralBool),
        ],
        |call, env| {
            let mut entries = call.map(0, env)?.into_entries();
            if matches!(call.value(3, env)?, Value::Bool(true)) {
                entries.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
            }
            Delimiters::of(call, env)?.write(entries).map(|text| Value::Text(Text::Owned(text)))
        },
    )
    .prepared_by(check_delimiters),
];

/// What stands between a key and its value, and between pairs.
struct Delimiters<'a> {
    value: Text<'a>,
    pair: Text<'a>,
}

const USUAL: [&str; 2] = ["=", " "];

fn check_delimiters(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    let given = |index: usize| match arguments.get(index + 1).and_then(Argument::constant) {
        Some((Value::Text(text), _)) if !text.as_bytes().is_empty() => text.as_bytes(),
        _ => USUAL[index].as_bytes(),
    };
    if given(0) != given(1) {
        return Ok(Prepared::Nothing);
    }
    let place = if matches!(arguments.get(2), Some(Argument::Value(..))) { 2 } else { 1 };
    Err((place, "must not be the same between pairs as within them".to_owned()))
}

impl<'a> Delimiters<'a> {
    /// Those that were given; an empty one is none.
    fn of(call: &'a Call, env: &Env<'a, '_>) -> Result<Self, EvalError> {
        let given = |index: usize| match call.has(index + 1) {
            true => call.text(index + 1, env),
            false => Ok(Text::Borrowed(b"")),
        };
        let or_usual = |index: usize, text: Text<'a>| match text.as_bytes().is_empty() {
            true => Text::Borrowed(USUAL[index].as_bytes()),
            false => text,
        };
        Ok(Self { value: or_usual(0, given(0)?), pair: or_usual(1, given(1)?) })
    }

    /// Reads pairs. Quotes of both kinds are taken off, and no delimiter of pairs counts within;
    /// of equal keys the last counts.
    fn read(&self, text: &[u8]) -> Result<Vec<(Text<'a>, Value<'a>)>, EvalError> {
        if text.is_empty() {
            return Err(EvalError::fixed("the string is empty"));
        }
        let mut entries: Vec<(Text<'a>, Value<'a>)> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for pair in self.split(text)? {
            let delimiter = self.value.as_bytes();
            let at = pair.windows(delimiter.len()).position(|part| part == delimiter);
            let Some((key, value)) = at.and_then(|at| pair.split_at_checked(at)) else {
                return Err(EvalError::fixed("a pair has no delimiter between key and value"));
            };
            let value = value.get(delimiter.len()..).unwrap_or_default().trim_ascii();
            let (key, value) = (key.trim_ascii().to_vec(), Text::Owned(value.to_vec()));
            let place = *places.entry(key.clone()).or_insert(entries.len());
            match entries.get_mut(place) {
                Some((_, known)) => *known = Value::Text(value),
                None => entries.push((Text::Owned(key), Value::Text(value))),
            }
        }
        Ok(entries)
    }

    /// The pairs without their quotes; empty ones are left out.
    fn split(&self, text: &[u8]) -> Result<Vec<Vec<u8>>, EvalError> {
        let mut pairs = Vec::new();
        let (mut pair, mut quote, mut rest) = (Vec::new(), None, text);
        while let [byte, behind @ ..] = rest {
            if quote.is_none()
                && let Some(behind) = rest.strip_prefix(self.pair.as_bytes())
            {
                rest = behind;
                if !pair.is_empty() {
                    pairs.push(std::mem::take(&mut pair));
                }
                continue;
            }
            rest = behind;
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(*byte),
                (Some(open), byte) if open == *byte => quote = None,
                (_, byte) => pair.push(*byte),
            }
        }
        if quote.is_some() {
            return Err(EvalError::fixed("a quote is not closed"));
        }
        if !pair.is_empty() {
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn write(&self, entries: Vec<(Text<'_>, Value<'_>)>) -> Result<Vec<u8>, EvalError> {
        let mut text = Vec::new();
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(self.pair.as_bytes());
            }
            self.put(&mut text, key.as_bytes());
            text.extend_from_slice(self.value.as_bytes());
            self.put(&mut text, as_text(value)?.as_bytes());
        }
        Ok(text)
    }

    /// Writes a key or value, in quotes if a delimiter is in it.
    fn put(&self, text: &mut Vec<u8>, part: &[u8]) {
        let has = |delimiter: &[u8]| part.windows(delimiter.len()).any(|some| some == delimiter);
        let is_quoted = has(self.value.as_bytes()) || has(self.pair.as_bytes());
        if is_quoted {
            text.push(b'"');
        }
        for byte in part {
            if *byte == b'"' {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        if is_quoted {
            text.push(b'"');
        }
    }
}
