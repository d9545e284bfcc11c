//! Editors that take a part of each data point of a metric for a metric of its own.
//!
//! Source: contrib `transformprocessor/internal/metrics`.

use super::metric::{TEMPORALITY, check_temporality, temporality};
use super::{Planned, editor, optional, parameter};
use crate::ottl::Context;
use crate::ottl::draft::Change;
use crate::ottl::error::EvalError;
use crate::ottl::functions::{self, Call, Function, Kind};
use crate::ottl::node::Env;
use crate::ottl::value::Value;
use crate::wire::metric::SummaryDataPoint;
use crate::wire::{self, DataKind, Fields, Metric, Temporality, Writer};

const MONOTONIC: functions::Parameter = parameter("monotonic", Kind::LiteralBool);
const SUFFIX: functions::Parameter = optional("suffix", Kind::LiteralText);

pub(super) const EDITORS: &[Function] = &[
    editor("extract_count_metric", &[MONOTONIC, SUFFIX], |call, env| {
        extract(call, env, Extracted::Count)
    })
    .only_in(&[Context::Metric]),
    editor("extract_sum_metric", &[MONOTONIC, SUFFIX], |call, env| {
        extract(call, env, Extracted::Sum)
    })
    .only_in(&[Context::Metric]),
    editor("convert_summary_count_val_to_sum", &[TEMPORALITY, MONOTONIC, SUFFIX], |call, env| {
        summary_value(call, env, Extracted::Count)
    })
    .prepared_by(check_temporality)
    .only_in(&[Context::Metric, Context::DataPoint]),
    editor("convert_summary_sum_val_to_sum", &[TEMPORALITY, MONOTONIC, SUFFIX], |call, env| {
        summary_value(call, env, Extracted::Sum)
    })
    .prepared_by(check_temporality)
    .only_in(&[Context::Metric, Context::DataPoint]),
    editor(
        "convert_summary_quantile_val_to_gauge",
        &[optional("attribute_key", Kind::LiteralText), SUFFIX],
        quantiles,
    )
    .only_in(&[Context::Metric]),
];

/// What is taken out of histograms and summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extracted {
    Count,
    Sum,
}

impl Extracted {
    const fn suffix(self) -> &'static str {
        match self {
            Extracted::Count => "_count",
            Extracted::Sum => "_sum",
        }
    }
}

/// A sum with a point for each of the metric's points.
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
    let points = metric.points().filter_map(|point| number_point(point, kind, what));
    let monotonic = call.value(0, env)?;
    let suffix = text_or(call, 1, env, what.suffix())?;
    let unit = match what {
        Extracted::Count => &b"1"[..],
        Extracted::Sum => metric.unit,
    };
    let data = sum_of(points, temporality, &monotonic);
    Ok(data.map(|data| named(metric, &suffix, unit, DataKind::Sum, &data)))
}

/// A sum of the counts or sums of a summary; of a data point alone, where statements are about
/// those.
fn summary_value<'a>(call: &'a Call, env: &Env<'a, '_>, what: Extracted) -> Planned {
    let metric = env.view.metric()?;
    if metric.kind != Some(DataKind::Summary) {
        return Ok(None);
    }
    let number_point = |point: &[u8]| number_point(point, DataKind::Summary, what);
    let temporality = temporality(call, env)?;
    let monotonic = call.value(1, env)?;
    let suffix = text_or(call, 2, env, what.suffix())?;
    let data = match env.view.index {
        Some(_) => {
            let point = number_point(env.view.inner()?);
            sum_of(point.into_iter(), temporality, &monotonic)
        }
        None => sum_of(metric.points().filter_map(number_point), temporality, &monotonic),
    };
    Ok(data.map(|data| named(metric, &suffix, metric.unit, DataKind::Sum, &data)))
}

/// A gauge with a point for each quantile, which says in an attribute which it is.
fn quantiles<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let metric = env.view.metric()?;
    if metric.kind != Some(DataKind::Summary) {
        return Ok(None);
    }
    let key = text_or(call, 0, env, "quantile")?;
    let suffix = text_or(call, 1, env, ".quantiles")?;
    let mut gauge = Writer::new();
    for summary in metric.points() {
        let point = SummaryDataPoint::read(summary);
        for (quantile, value) in point.quantiles() {
            gauge.message(1, |number| {
                for field in Fields::new(summary) {
                    let is_kept = matches!(field.number, 2 | 3)
                        || (field.number == 7 && !has_key(field.value.bytes(), &key));
                    if is_kept {
                        number.raw(field.raw);
                    }
                }
                number.string_attribute(7, &key, quantile_text(quantile).as_bytes());
                number.double(4, value);
            });
        }
    }
    let is_empty = gauge.is_empty();
    let gauge = named(metric, &suffix, metric.unit, DataKind::Gauge, gauge.as_slice());
    Ok((!is_empty).then_some(gauge))
}

fn has_key(attribute: Option<&[u8]>, key: &[u8]) -> bool {
    let mut fields = Fields::new(attribute.unwrap_or_default());
    fields.any(|field| field.number == 1 && field.value.bytes() == Some(key))
}

/// Two digits behind the point at least, but for 0 and 1.
fn quantile_text(quantile: f64) -> String {
    let text = quantile.to_string();
    match text.len() < 4 && text != "0" && text != "1" {
        true => text + "0",
        false => text,
    }
}

/// An optional literal.
fn text_or<'a>(
    call: &'a Call,
    index: usize,
    env: &Env<'a, '_>,
    default: &str,
) -> Result<Vec<u8>, EvalError> {
    Ok(match call.has(index) {
        true => call.text(index, env)?.into_vec(),
        false => default.as_bytes().to_vec(),
    })
}

/// The content of a sum; nothing without points.
fn sum_of(
    points: impl Iterator<Item = Writer>,
    temporality: Temporality,
    monotonic: &Value<'_>,
) -> Option<Vec<u8>> {
    let mut sum = Writer::new();
    points.for_each(|point| sum.bytes(1, point.as_slice()));
    if sum.is_empty() {
        return None;
    }
    sum.varint(2, temporality.number());
    sum.varint(3, u64::from(matches!(monotonic, Value::Bool(true))));
    Some(sum.into_vec())
}

/// A further metric, named after `metric`.
fn named(metric: &Metric<'_>, suffix: &[u8], unit: &[u8], kind: DataKind, data: &[u8]) -> Change {
    let mut new = Writer::new();
    new.bytes(1, &[metric.name, suffix].concat());
    new.bytes(2, metric.description);
    new.bytes(3, unit);
    new.bytes(kind.field(), data);
    Change::Metric(new.into_vec())
}

/// Count and sum stand under the same numbers in all three kinds, and so do the times. A histogram
/// may have no sum; a summary always has one.
fn number_point(point: &[u8], kind: DataKind, what: Extracted) -> Option<Writer> {
    use wire::Value::{Bytes, Fixed64};
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
