//! Editors that replace text.

use regex::bytes::Regex;

use super::{Argument, Planned, check_word, edit_map, editor, literal, optional, parameter};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{self, Call, Function, Kind, Parameter, Prepared};
use crate::ottl::glob::compile_glob;
use crate::ottl::node::Env;
use crate::ottl::path::store;
use crate::ottl::value::{Text, Value};

const TARGET: Parameter = parameter("target", Kind::Target);
const REPLACEMENT: Parameter = parameter("replacement", Kind::Text);
const FUNCTION: Parameter = optional("function", Kind::Function);
const FORMAT: Parameter = optional("replacement_format", Kind::Text);

pub(super) const EDITORS: &[Function] = &[
    editor(
        "replace_pattern",
        &[TARGET, parameter("regex_pattern", Kind::Text), REPLACEMENT, FUNCTION, FORMAT],
        replace_pattern,
    )
    .prepared_by(|arguments| {
        check_format(arguments, 4)?;
        functions::compile_literal(arguments, 1)
    }),
    editor(
        "replace_all_patterns",
        &[
            TARGET,
            parameter("mode", Kind::LiteralText),
            parameter("regex_pattern", Kind::Text),
            REPLACEMENT,
            FUNCTION,
            FORMAT,
        ],
        replace_all_patterns,
    )
    .prepared_by(|arguments| {
        check_word(arguments, 1, &["key", "value"])?;
        check_format(arguments, 5)?;
        functions::compile_literal(arguments, 2)
    }),
    editor(
        "replace_match",
        &[TARGET, parameter("pattern", Kind::Text), REPLACEMENT, FUNCTION, FORMAT],
        replace_match,
    )
    .prepared_by(|arguments| {
        check_format(arguments, 4)?;
        compile_literal_glob(arguments)
    }),
    editor(
        "replace_all_matches",
        &[TARGET, parameter("pattern", Kind::Text), REPLACEMENT, FUNCTION, FORMAT],
        replace_all_matches,
    )
    .prepared_by(|arguments| {
        check_format(arguments, 4)?;
        compile_literal_glob(arguments)
    }),
];

fn replace_pattern<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let Value::Text(text) = call.value(0, env)? else { return Ok(None) };
    let pattern = functions::pattern(call, 1, env)?;
    let replacement = call.text(2, env)?;
    if !pattern.is_match(text.as_bytes()) {
        return Ok(None);
    }
    let how = How { replacement: &replacement, function: 3, format: 4 };
    let new = how.replaced(&pattern, text.as_bytes(), call, env)?;
    let (field, keys) = call.target(0)?;
    store(field, keys, &Value::Text(Text::Owned(new)), env)
}

/// A key or value for which the function fails stays as it is.
fn replace_all_patterns<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let are_keys = call.text(1, env)?.as_bytes() == b"key";
    let replacement = call.text(3, env)?;
    let pattern = functions::pattern(call, 2, env)?;
    let how = How { replacement: &replacement, function: 4, format: 5 };
    edit_map(call, env, |entries| {
        let mut changed = false;
        for entry in entries.iter_mut() {
            let text = match (&entry.value, are_keys) {
                (_, true) => &entry.key,
                (Value::Text(text), false) => text,
                _ => continue,
            };
            if !pattern.is_match(text.as_bytes()) {
                continue;
            }
            let Ok(new) = how.replaced(&pattern, text.as_bytes(), call, env) else { continue };
            changed = true;
            match are_keys {
                true => entry.set_key(Text::Owned(new)),
                false => entry.set_value(Value::Text(Text::Owned(new))),
            }
        }
        if changed && are_keys {
            let mut seen = std::collections::BTreeSet::new();
            // Of keys that became equal the last one counts, at its own place.
            entries.reverse();
            entries.retain(|entry| seen.insert(entry.key.as_bytes().to_vec()));
            entries.reverse();
        }
        Ok(changed)
    })
}

fn replace_match<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let pattern = glob(call, env)?;
    let value = call.value(0, env)?;
    let replacement = whole_replacement(call, env)?;
    match value {
        Value::Text(text) if pattern.is_match(text.as_bytes()) => {
            let (field, keys) = call.target(0)?;
            store(field, keys, &Value::Text(replacement), env)
        }
        _ => Ok(None),
    }
}

fn replace_all_matches<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let pattern = glob(call, env)?;
    let replacement = whole_replacement(call, env)?;
    edit_map(call, env, |entries| {
        let mut changed = false;
        for entry in entries {
            if let Value::Text(text) = &entry.value
                && pattern.is_match(text.as_bytes())
            {
                entry.set_value(Value::Text(replacement.clone()));
                changed = true;
            }
        }
        Ok(changed)
    })
}

/// What comes in place of what a pattern finds.
struct How<'r, 'a> {
    replacement: &'r Text<'a>,
    /// The arguments that are the function and the format.
    function: usize,
    format: usize,
}

impl How<'_, '_> {
    /// `text` with everything that `pattern` finds replaced; `$1` and `${name}` stand for groups.
    fn replaced<'a>(
        &self,
        pattern: &Regex,
        text: &[u8],
        call: &'a Call,
        env: &Env<'a, '_>,
    ) -> Result<Vec<u8>, EvalError> {
        let mut new = Vec::with_capacity(text.len());
        let mut copied = 0;
        for captures in pattern.captures_iter(text) {
            let found = captures.get_match();
            let mut expanded = Vec::new();
            captures.expand(self.replacement.as_bytes(), &mut expanded);
            if call.has(self.function) {
                expanded = called(call, self.function, Text::Owned(expanded), env)?;
                expanded = formatted(call, self.format, expanded, env)?;
            }
            new.extend_from_slice(&text[copied..found.start()]);
            new.extend_from_slice(&expanded);
            copied = found.end();
        }
        new.extend_from_slice(&text[copied..]);
        Ok(new)
    }
}

/// The replacement of a whole text, through the function and the format.
fn whole_replacement<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Text<'a>, EvalError> {
    let replacement = call.text(2, env)?;
    match call.has(3) {
        false => Ok(replacement),
        true => {
            let replacement = called(call, 3, replacement, env)?;
            formatted(call, 4, replacement, env).map(Text::Owned)
        }
    }
}

fn called<'a>(
    call: &'a Call,
    function: usize,
    text: Text<'a>,
    env: &Env<'a, '_>,
) -> Result<Vec<u8>, EvalError> {
    match call.lambda(function, env, &[Value::Text(text)])? {
        Value::Text(text) => Ok(text.into_vec()),
        other => Err(EvalError::wrong_type("a string as replacement", other.type_name())),
    }
}

const BAD_FORMAT: &str = "must have one %s and no other verb";

fn formatted<'a>(
    call: &'a Call,
    format: usize,
    text: Vec<u8>,
    env: &Env<'a, '_>,
) -> Result<Vec<u8>, EvalError> {
    if !call.has(format) {
        return Ok(text);
    }
    let format = call.text(format, env)?;
    let (before, behind) = split_format(format.as_bytes())
        .ok_or(EvalError::fixed("a replacement format must have one %s and no other verb"))?;
    Ok([before, &text, behind].concat())
}

fn split_format(format: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = format.windows(2).position(|verb| verb == b"%s")?;
    let (before, behind) = (format.get(..at)?, format.get(at + 2..)?);
    (!before.contains(&b'%') && !behind.contains(&b'%')).then_some((before, behind))
}

fn check_format(arguments: &[Argument], index: usize) -> Result<(), (usize, String)> {
    match literal(arguments, index) {
        Some(Value::Text(format)) if split_format(format.as_bytes()).is_none() => {
            Err((index, BAD_FORMAT.to_owned()))
        }
        _ => Ok(()),
    }
}

fn compile_literal_glob(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    match literal(arguments, 1) {
        Some(Value::Text(pattern)) => match compile_glob(&pattern.to_str()) {
            Ok(pattern) => Ok(Prepared::Pattern(pattern)),
            Err(problem) => Err((1, problem)),
        },
        _ => Ok(Prepared::Nothing),
    }
}

fn glob<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<std::borrow::Cow<'a, Regex>, EvalError> {
    match &call.prepared {
        Prepared::Pattern(pattern) => Ok(std::borrow::Cow::Borrowed(pattern)),
        _ => compile_glob(&call.text(1, env)?.to_str())
            .map(std::borrow::Cow::Owned)
            .map_err(EvalError::detailed),
    }
}
