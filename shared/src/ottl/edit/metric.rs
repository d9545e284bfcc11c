//! Editors of metrics.

use super::bytes::replace_data;
use super::{Planned, check_word, editor, optional, parameter};
use crate::ottl::Context;
use crate::ottl::draft::{Change, Part};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{Call, Function, Kind};
use crate::ottl::node::Env;
use crate::ottl::value::Value;
use crate::wire::{DataKind, Fields, Metric, Temporality, Writer};

pub(super) const EDITORS: &[Function] = &[
    editor("convert_sum_to_gauge", &[], |_, env| {
        let metric = env.view.metric()?;
        Ok(convert(metric, DataKind::Sum, DataKind::Gauge, |_| {}))
    })
    .only_in(Context::Metric),
    editor(
        "convert_gauge_to_sum",
        &[
            parameter("aggregation_temporality", Kind::LiteralText),
            parameter("monotonic", Kind::LiteralBool),
        ],
        |call, env| {
            let temporality = match call.text(0, env)?.as_bytes() {
                b"delta" => Temporality::Delta,
                _ => Temporality::Cumulative,
            };
            let is_monotonic = matches!(call.value(1, env)?, Value::Bool(true));
            let metric = env.view.metric()?;
            Ok(convert(metric, DataKind::Gauge, DataKind::Sum, |sum| {
                sum.varint(2, temporality.number());
                sum.varint(3, u64::from(is_monotonic));
            }))
        },
    )
    .prepared_by(|arguments| check_word(arguments, 0, &["delta", "cumulative"]))
    .only_in(Context::Metric),
    editor(
        "extract_count_metric",
        &[parameter("monotonic", Kind::LiteralBool), optional("suffix", Kind::LiteralText)],
        |call, env| extract(call, env, Extracted::Count),
    )
    .only_in(Context::Metric),
    editor(
        "extract_sum_metric",
        &[parameter("monotonic", Kind::LiteralBool), optional("suffix", Kind::LiteralText)],
        |call, env| extract(call, env, Extracted::Sum),
    )
    .only_in(Context::Metric),
];

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

/// What is taken out of histograms and summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extracted {
    Count,
    Sum,
}

/// A sum with a point for each of the metric's points.
///
/// Source: contrib `transformprocessor/internal/metrics/func_extract_sum_metric.go`.
fn extract<'a>(call: &'a Call, env: &Env<'a, '_>, what: Extracted) -> Planned {
    let metric = env.view.metric()?;
    let temporality = match metric.kind {
        Some(DataKind::Histogram | DataKind::ExponentialHistogram) => metric.temporality,
        Some(DataKind::Summary) => Temporality::Cumulative,
        _ => Temporality::Unspecified,
    };
    let (Some(kind), true) = (metric.kind, temporality != Temporality::Unspecified) else {
        return Err(EvalError::fixed(
            "takes a histogram with a temporality, an exponential one, or a summary",
        ));
    };
    let mut sum = Writer::new();
    for point in metric.points() {
        if let Some(point) = number_point(point, kind, what) {
            sum.bytes(1, point.as_slice());
        }
    }
    if sum.is_empty() {
        return Ok(None);
    }
    sum.varint(2, temporality.number());
    sum.varint(3, u64::from(matches!(call.value(0, env)?, Value::Bool(true))));
    let (suffix, unit) = match what {
        Extracted::Count => (&b"_count"[..], &b"1"[..]),
        Extracted::Sum => (&b"_sum"[..], metric.unit),
    };
    let given = call.value(1, env)?;
    let suffix = match &given {
        Value::Text(text) => text.as_bytes(),
        _ => suffix,
    };
    let mut extracted = Writer::new();
    extracted.bytes(1, &[metric.name, suffix].concat());
    extracted.bytes(2, metric.description);
    extracted.bytes(3, unit);
    extracted.bytes(DataKind::Sum.field(), sum.as_slice());
    Ok(Some(Change::Metric(extracted.into_vec())))
}

/// Count and sum stand under the same numbers in all three kinds, and so do the times. A histogram
/// may have no sum; a summary always has one.
fn number_point(point: &[u8], kind: DataKind, what: Extracted) -> Option<Writer> {
    use crate::wire::Value::{Bytes, Fixed64};
    let (mut count, mut sum) = (0, (kind == DataKind::Summary).then_some(0));
    let mut number = Writer::new();
    for field in Fields::new(point) {
        match (field.number, field.value) {
            (2 | 3, Fixed64(nanos)) => number.fixed64(field.number, nanos),
            (4, Fixed64(bits)) => count = bits,
            (5, Fixed64(bits)) => sum = Some(bits),
            (key, Bytes(attribute)) if key == kind.attributes_field() => number.bytes(7, attribute),
            _ => {}
        }
    }
    match what {
        Extracted::Count => number.fixed64(6, count),
        Extracted::Sum => number.fixed64(4, sum?),
    }
    Some(number)
}
