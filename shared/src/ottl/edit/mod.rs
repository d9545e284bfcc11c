//! Editors: the functions that change something.
//!
//! An editor reads the record as it is and tells what one part of it becomes; the part is written
//! once, with everything that is not named as it stood.
//!
//! Source: contrib pkg/ottl/ottlfuncs and transformprocessor/internal.

mod aggregate;
mod buckets;
pub(super) mod bytes;
mod extract;
mod list;
mod map;
mod metric;
mod percentile;
mod replace;
mod span;

use super::draft::Change;
use super::error::EvalError;
use super::functions::{
    self, Action, Argument, Call, Edit, Function, Kind, Parameter, Prepared, optional, parameter,
};
use super::node::Env;
use super::path::{store, store_entries};
use super::value::Value;
use bytes::Entry;

/// What an editor does: a change, nothing, or it fails.
type Planned = Result<Option<Change>, EvalError>;

/// All editors.
pub(super) fn all() -> impl Iterator<Item = &'static Function> + Clone {
    [
        EDITORS,
        aggregate::EDITORS,
        buckets::EDITORS,
        extract::EDITORS,
        list::EDITORS,
        map::EDITORS,
        metric::EDITORS,
        percentile::EDITORS,
        replace::EDITORS,
        span::EDITORS,
    ]
    .into_iter()
    .flatten()
}

/// The rows of the tables are written with this.
const fn editor(name: &'static str, parameters: &'static [Parameter], edit: Edit) -> Function {
    Function::new(name, parameters, Action::Edit(edit))
}

const EDITORS: &[Function] = &[editor(
    "set",
    &[parameter("target", Kind::Target), parameter("value", Kind::Any)],
    |call, env| match call.value(1, env)? {
        // No field can be nil, so there is nothing to set.
        Value::Nil => Ok(None),
        value => {
            let (field, keys) = call.target(0)?;
            store(field, keys, &value, env)
        }
    },
)];

/// Changes the entries of the map that the first argument leads to; `edit` says whether it changed
/// any.
fn edit_map<'a>(
    call: &'a Call,
    env: &Env<'a, '_>,
    edit: impl FnOnce(&mut Vec<Entry<'a>>) -> Result<bool, EvalError>,
) -> Result<Option<Change>, EvalError> {
    let mut entries = bytes::entries(functions::map(call.value(0, env)?)?);
    if !edit(&mut entries)? {
        return Ok(None);
    }
    let (field, keys) = call.target(0)?;
    store_entries(field, keys, &entries, env).map(Some)
}

/// An argument that is written out.
fn literal(arguments: &[Argument], index: usize) -> Option<&Value<'static>> {
    arguments.get(index).and_then(Argument::constant).map(|(value, _)| value)
}

/// A number as a double.
fn number(value: &Value<'_>) -> Result<f64, EvalError> {
    match value {
        Value::Double(number) => Ok(*number),
        #[allow(clippy::cast_precision_loss, reason = "the Collector takes doubles only")]
        Value::Int(number) => Ok(*number as f64),
        other => Err(EvalError::wrong_type("a number", other.type_name())),
    }
}

/// An integer that must not be less than `least`.
fn check_int(
    arguments: &[Argument],
    index: usize,
    least: i64,
) -> Result<Option<i64>, (usize, String)> {
    match literal(arguments, index) {
        Some(Value::Int(number)) if *number < least => {
            Err((index, format!("must be {least} or more")))
        }
        Some(Value::Int(number)) => Ok(Some(*number)),
        _ => Ok(None),
    }
}

/// A string that must be one of `words`.
fn check_word(
    arguments: &[Argument],
    index: usize,
    words: &[&str],
) -> Result<Prepared, (usize, String)> {
    match literal(arguments, index) {
        Some(Value::Text(text)) if !words.iter().any(|word| word.as_bytes() == text.as_bytes()) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            Err((index, format!("must be one of {}", words.join(", "))))
        }
        _ => Ok(Prepared::Nothing),
    }
}
