//! Editors of histograms' buckets: fewer of them, and explicit ones in place of exponential ones.
//!
//! Source: contrib `transformprocessor/internal/metrics`; the conversion as `pkg/expohisto/conversion`
//! does it, since what came before wrote as many counts as bounds, which is no histogram.

use super::bytes::{replace, replace_data};
use super::{Planned, check_word, editor, number, parameter};
use crate::exponential_histogram::{Spread, explicit_counts};
use crate::ottl::Context;
use crate::ottl::draft::{Change, Part};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{Argument, Call, Function, Kind, Prepared};
use crate::ottl::node::{Env, Node};
use crate::wire::metric::{ExponentialHistogramDataPoint, HistogramDataPoint};
use crate::wire::{self, DataKind, Fields, Writer};

/// Bounds nearer to each other than this are the same.
const SAME_BOUND: f64 = 1e-12;

pub(super) const EDITORS: &[Function] = &[
    editor("merge_histogram_buckets", &[parameter("bound", Kind::LiteralNumber)], merge)
        .only_in(&[Context::DataPoint]),
    editor(
        "convert_exponential_histogram_to_histogram",
        &[
            parameter("distribution_fn", Kind::LiteralText),
            parameter("explicit_bounds", Kind::Many(&Kind::LiteralNumber)),
        ],
        convert,
    )
    .prepared_by(check_bounds)
    .only_in(&[Context::Metric]),
];

/// The data point of a histogram without one of its bounds: two buckets become one.
fn merge<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    if env.view.metric()?.kind != Some(DataKind::Histogram) {
        return Ok(None);
    }
    let bound = number(&call.value(0, env)?)?;
    let raw = env.view.inner()?;
    let point = HistogramDataPoint::read(raw);
    let mut bounds: Vec<f64> = point.explicit_bounds().collect();
    let mut counts: Vec<u64> = point.bucket_counts().collect();
    let found = bounds.iter().position(|known| (known - bound).abs() < SAME_BOUND);
    let (Some(index), true) = (found, counts.len() == bounds.len() + 1) else { return Ok(None) };
    bounds.remove(index);
    let merged = counts.remove(index);
    if let Some(next) = counts.get_mut(index) {
        *next = next.saturating_add(merged);
    }
    let content = replace(raw, &[6, 7], |point| write_buckets(point, &counts, &bounds));
    Ok(Some(Change::Part(Part::Inner, content)))
}

fn write_buckets(point: &mut Writer, counts: &[u64], bounds: &[f64]) {
    point.packed_fixed64(6, counts.iter().copied());
    if !bounds.is_empty() {
        point.packed_fixed64(7, bounds.iter().map(|bound| bound.to_bits()));
    }
}

fn check_bounds(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    check_word(arguments, 0, &["upper", "midpoint", "uniform", "random"])?;
    let Some(Argument::Many(nodes)) = arguments.get(1) else { return Ok(Prepared::Nothing) };
    let bounds: Vec<f64> = nodes.iter().filter_map(constant).collect();
    match &bounds[..] {
        [] => Err((1, "must not be empty".to_owned())),
        bounds if !bounds.is_sorted_by(|one, next| one < next) => {
            Err((1, "must rise from each bound to the next".to_owned()))
        }
        _ => Ok(Prepared::Bounds(bounds)),
    }
}

/// A number that is written out.
fn constant(node: &Node) -> Option<f64> {
    match node {
        Node::Constant(value) => number(value).ok(),
        _ => None,
    }
}

/// The exponential histogram with explicit buckets instead.
fn convert<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let metric = env.view.metric()?;
    if metric.kind != Some(DataKind::ExponentialHistogram) {
        return Ok(None);
    }
    let Prepared::Bounds(bounds) = &call.prepared else {
        return Err(EvalError::fixed("there are no bounds"));
    };
    let spread = match call.text(0, env)?.as_bytes() {
        b"upper" => Spread::Upper,
        b"midpoint" => Spread::Midpoint,
        b"uniform" => Spread::Uniform,
        _ => Spread::Random,
    };
    let mut data = Writer::new();
    for field in metric.data_fields() {
        match (field.number, field.value) {
            (1, wire::Value::Bytes(raw)) => {
                let point = ExponentialHistogramDataPoint::read(raw);
                let counts = explicit_counts(&point, bounds, spread, rand::random)
                    .map_err(EvalError::fixed)?;
                data.message(1, |explicit| write_point(explicit, raw, &counts, bounds));
            }
            // The temporality.
            (2, _) => data.raw(field.raw),
            _ => {}
        }
    }
    let content = replace_data(metric.raw, Some(DataKind::Histogram), data.as_slice());
    Ok(Some(Change::Part(Part::Record, content)))
}

/// Writes a data point of explicit buckets with all that an exponential one says besides.
fn write_point(explicit: &mut Writer, exponential: &[u8], counts: &[u64], bounds: &[f64]) {
    use wire::Value::{Bytes, Fixed64};
    for field in Fields::new(exponential) {
        match (field.number, field.value) {
            (1, Bytes(attribute)) => explicit.bytes(9, attribute),
            // Times, count, sum and flags have the same numbers in both.
            (2..=5 | 10, _) => explicit.raw(field.raw),
            (11, Bytes(exemplar)) => explicit.bytes(8, exemplar),
            // The least and the greatest value.
            (12 | 13, Fixed64(bits)) => explicit.fixed64(field.number - 1, bits),
            _ => {}
        }
    }
    write_buckets(explicit, counts, bounds);
}
