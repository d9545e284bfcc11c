//! Editors of whole metrics: their kind, their scale, their copies.
//!
//! Source: contrib `transformprocessor/internal/metrics`.

use super::bytes::{replace, replace_data};
use super::{Planned, check_word, editor, number, optional, parameter};
use crate::ottl::Context;
use crate::ottl::draft::{Change, Part};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{self, Argument, Call, Function, Kind, Prepared};
use crate::ottl::node::Env;
use crate::ottl::value::Value;
use crate::wire::{self, DataKind, Field, Fields, Metric, Temporality, Writer};

pub(super) const EDITORS: &[Function] = &[
    editor("convert_sum_to_gauge", &[], |_, env| {
        let metric = env.view.metric()?;
        Ok(convert(metric, DataKind::Sum, DataKind::Gauge, |_| {}))
    })
    .only_in(&[Context::Metric]),
    editor(
        "convert_gauge_to_sum",
        &[TEMPORALITY, parameter("monotonic", Kind::LiteralBool)],
        |call, env| {
            let temporality = temporality(call, env)?;
            let is_monotonic = matches!(call.value(1, env)?, Value::Bool(true));
            let metric = env.view.metric()?;
            Ok(convert(metric, DataKind::Gauge, DataKind::Sum, |sum| {
                sum.varint(2, temporality.number());
                sum.varint(3, u64::from(is_monotonic));
            }))
        },
    )
    .prepared_by(check_temporality)
    .only_in(&[Context::Metric]),
    editor(
        "copy_metric",
        &[
            optional("name", Kind::Text),
            optional("description", Kind::Text),
            optional("unit", Kind::Text),
        ],
        copy,
    )
    .only_in(&[Context::Metric]),
    editor(
        "scale_metric",
        &[parameter("factor", Kind::LiteralNumber), optional("unit", Kind::Text)],
        scale,
    )
    .only_in(&[Context::Metric]),
];

/// The parameter of those that make sums.
pub(super) const TEMPORALITY: functions::Parameter =
    parameter("aggregation_temporality", Kind::LiteralText);

/// Of a call whose first parameter is [`TEMPORALITY`].
pub(super) fn check_temporality(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    check_word(arguments, 0, &["delta", "cumulative"])
}

/// The same, once it was checked.
pub(super) fn temporality<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Temporality, EvalError> {
    Ok(match call.text(0, env)?.as_bytes() {
        b"delta" => Temporality::Delta,
        _ => Temporality::Cumulative,
    })
}

/// The metric with its points in data of another kind; nothing if it is not of the first.
fn convert(
    metric: &Metric<'_>,
    from: DataKind,
    to: DataKind,
    more: impl FnOnce(&mut Writer),
) -> Option<Change> {
    if metric.kind != Some(from) {
        return None;
    }
    let mut data = Writer::new();
    metric.points().for_each(|point| data.bytes(1, point));
    more(&mut data);
    let content = replace_data(metric.raw, Some(to), data.as_slice());
    Some(Change::Part(Part::Record, content))
}

/// A metric like this one, with what is given in place of its own.
fn copy<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let mut metric = env.view.metric()?.raw.to_vec();
    for (index, field) in [(0, 1), (1, 2), (2, 3)] {
        if call.has(index) {
            let text = call.text(index, env)?;
            metric = replace(&metric, &[field], |metric| metric.bytes(field, text.as_bytes()));
        }
    }
    Ok(Some(Change::Metric(metric)))
}

/// The metric with all that is measured in its unit multiplied.
fn scale<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let metric = env.view.metric()?;
    let factor = number(&call.value(0, env)?)?;
    let Some(kind) = metric.kind else { return Ok(None) };
    if kind == DataKind::ExponentialHistogram {
        return Err(EvalError::fixed("exponential histograms cannot be scaled"));
    }
    let mut data = Writer::new();
    for field in metric.data_fields() {
        match (field.number, field.value) {
            (1, wire::Value::Bytes(point)) => {
                let scaled = rewrite(point, |field, new| scale_field(kind, field, factor, new));
                data.bytes(1, &scaled);
            }
            _ => data.raw(field.raw),
        }
    }
    let mut content = replace_data(metric.raw, Some(kind), data.as_slice());
    if call.has(1) {
        let unit = call.text(1, env)?;
        content = replace(&content, &[3], |metric| metric.bytes(3, unit.as_bytes()));
    }
    Ok(Some(Change::Part(Part::Record, content)))
}

/// The message with those fields as `write` writes them for which it returns true.
fn rewrite(message: &[u8], write: impl Fn(&Field<'_>, &mut Writer) -> bool) -> Vec<u8> {
    let (mut new, mut length) = (Writer::with_capacity(message.len()), 0);
    for field in Fields::new(message) {
        if !write(&field, &mut new) {
            new.raw(field.raw);
        }
        length += field.raw.len();
    }
    new.raw(message.get(length..).unwrap_or_default());
    new.into_vec()
}

/// A field of a data point.
fn scale_field(kind: DataKind, field: &Field<'_>, factor: f64, new: &mut Writer) -> bool {
    use DataKind::{Gauge, Histogram, Sum, Summary};
    use wire::Value::{Bytes, Fixed64};
    match (kind, field.number, field.value) {
        (Gauge | Sum, 6, Fixed64(bits)) => new.fixed64(6, scaled_integer(bits, factor)),
        // The value; sum, least and greatest value; the sum.
        (Gauge | Sum, 4, Fixed64(bits))
        | (Histogram, 5 | 11 | 12, Fixed64(bits))
        | (Summary, 5, Fixed64(bits)) => new.double(field.number, f64::from_bits(bits) * factor),
        (Histogram, 7, Fixed64(bits)) => new.double(7, f64::from_bits(bits) * factor),
        (Histogram, 7, Bytes(packed)) => {
            let (bounds, _) = packed.as_chunks::<8>();
            let scaled = bounds.iter().map(|bound| (f64::from_le_bytes(*bound) * factor).to_bits());
            new.packed_fixed64(7, scaled);
        }
        (Gauge | Sum, 5, Bytes(exemplar)) | (Histogram, 8, Bytes(exemplar)) => {
            let scaled = rewrite(exemplar, |value, new| {
                match (value.number, value.value) {
                    (3, Fixed64(bits)) => new.double(3, f64::from_bits(bits) * factor),
                    (6, Fixed64(bits)) => new.fixed64(6, scaled_integer(bits, factor)),
                    _ => return false,
                }
                true
            });
            new.bytes(field.number, &scaled);
        }
        (Summary, 6, Bytes(quantile)) => {
            let scaled = rewrite(quantile, |value, new| match (value.number, value.value) {
                (2, Fixed64(bits)) => {
                    new.double(2, f64::from_bits(bits) * factor);
                    true
                }
                _ => false,
            });
            new.bytes(6, &scaled);
        }
        _ => return false,
    }
    true
}

/// An integer stays one.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as the Collector: by way of a double, without what is behind the point"
)]
fn scaled_integer(bits: u64, factor: f64) -> u64 {
    let scaled = bits.cast_signed() as f64 * factor;
    (scaled as i64).cast_unsigned()
}
