//! Editors of spans.

use super::bytes::{put_entry, replace};
use super::{Planned, editor, literal, optional, parameter};
use crate::ottl::Context;
use crate::ottl::draft::{Change, Part};
use crate::ottl::functions::{Call, Function, Kind, Prepared};
use crate::ottl::node::Env;
use crate::ottl::value::Value;
use crate::semconv;
use crate::wire::Writer;

pub(super) const EDITORS: &[Function] = &[editor(
    "set_semconv_span_name",
    &[
        parameter("semconv_version", Kind::LiteralText),
        optional("original_span_name_attribute", Kind::LiteralText),
    ],
    set_semconv_span_name,
)
.prepared_by(|arguments| {
    super::check_word(arguments, 0, &[semconv::VERSION])?;
    match literal(arguments, 1) {
        Some(Value::Text(text)) if text.as_bytes().is_empty() => {
            Err((1, "must not be empty".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }
})
.only_in(&[Context::Span])];

fn set_semconv_span_name<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let span = env.view.span()?;
    let name = semconv::span_name(span);
    if *name == *span.name {
        return Ok(None);
    }
    let mut content = replace(span.raw, &[5], |span| span.bytes(5, &name));
    if let Value::Text(attribute) = call.value(1, env)? {
        content = put_entry(&content, 9, attribute.as_bytes(), |_| {
            let mut any = Writer::new();
            any.bytes(1, span.name);
            Ok(any.into_vec())
        })?;
    }
    Ok(Some(Change::Part(Part::Record, content)))
}
