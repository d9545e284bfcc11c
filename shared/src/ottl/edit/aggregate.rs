//! Editors that make one data point of several.
//!
//! Points become one if they agree in their attributes, their time and, of deltas, their start; of
//! histograms with explicit bounds also in these. They stand in the order of their first ones.
//!
//! Source: contrib `internal/coreinternal/aggregateutil`.

use std::borrow::Cow;
use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

use super::bytes::{Entry, entries, replace, replace_data, replace_entries};
use super::{Planned, check_word, editor, optional, parameter};
use crate::exponential_histogram::{DEFAULT_MAX_SIZE, ExponentialHistogram};
use crate::identity::hash_attributes;
use crate::ottl::Context;
use crate::ottl::draft::{Change, Part};
use crate::ottl::error::EvalError;
use crate::ottl::functions::{self, Argument, Call, Function, Kind, Prepared};
use crate::ottl::node::{Env, Node};
use crate::ottl::value::{Map, Text, Value};
use crate::wire::metric::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint,
};
use crate::wire::{Attributes, DataKind, Fields, Metric, Temporality, Writer};

pub(super) const EDITORS: &[Function] = &[
    editor(
        "aggregate_on_attributes",
        &[AGGREGATION, optional("attributes", Kind::Many(&Kind::LiteralText))],
        on_attributes,
    )
    .prepared_by(check_aggregation)
    .only_in(&[Context::Metric]),
    editor(
        "aggregate_on_attribute_value",
        &[
            AGGREGATION,
            parameter("attribute", Kind::LiteralText),
            parameter("values", Kind::Many(&Kind::LiteralText)),
            parameter("new_value", Kind::LiteralText),
        ],
        on_attribute_value,
    )
    .prepared_by(check_aggregation)
    .only_in(&[Context::Metric]),
];

const AGGREGATION: functions::Parameter = parameter("aggregation_function", Kind::LiteralText);

/// What becomes of several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregation {
    Sum,
    Mean,
    Min,
    Max,
    Median,
    Count,
}

fn check_aggregation(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    check_word(arguments, 0, &["sum", "mean", "min", "max", "median", "count"])
}

impl Aggregation {
    fn of<'a>(call: &'a Call, env: &Env<'a, '_>) -> Result<Self, EvalError> {
        Ok(match call.text(0, env)?.as_bytes() {
            b"mean" => Self::Mean,
            b"min" => Self::Min,
            b"max" => Self::Max,
            b"median" => Self::Median,
            b"count" => Self::Count,
            _ => Self::Sum,
        })
    }
}

/// Keeps the named attributes, or all, and aggregates.
fn on_attributes<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let keys = match call.has(1) {
        true => Some(texts(call.many(1), env)?),
        false => None,
    };
    aggregate(env.view.metric()?, Aggregation::of(call, env)?, |attributes| {
        let Some(keys) = &keys else { return false };
        let before = attributes.len();
        attributes.retain(|attribute| has(keys, attribute.key.as_bytes()));
        attributes.len() != before
    })
}

/// Writes one value for several of an attribute, and aggregates.
fn on_attribute_value<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let key = call.text(1, env)?;
    let values = texts(call.many(2), env)?;
    let new = call.text(3, env)?;
    aggregate(env.view.metric()?, Aggregation::of(call, env)?, |attributes| {
        let mut is_changed = false;
        for attribute in attributes.iter_mut().filter(|a| a.key.as_bytes() == key.as_bytes()) {
            if matches!(&attribute.value, Value::Text(text) if has(&values, text.as_bytes())) {
                attribute.set_value(Value::Text(Text::Owned(new.as_bytes().to_vec())));
                is_changed = true;
            }
        }
        is_changed
    })
}

fn texts<'a>(nodes: &'a [Node], env: &Env<'a, '_>) -> Result<Vec<Text<'a>>, EvalError> {
    nodes.iter().map(|node| functions::text(node.evaluate(env)?)).collect()
}

fn has(texts: &[Text<'_>], text: &[u8]) -> bool {
    texts.iter().any(|one| one.as_bytes() == text)
}

/// What tells points apart that stay apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    attributes: u128,
    time_ns: u64,
    /// 0 unless of deltas.
    start_ns: u64,
    /// A hash of the explicit bounds.
    bounds: u64,
}

/// The metric with one point for each group of points, after `edit` edited their attributes and
/// told whether it did.
fn aggregate(
    metric: &Metric<'_>,
    aggregation: Aggregation,
    edit: impl Fn(&mut Vec<Entry<'_>>) -> bool,
) -> Planned {
    let Some(kind) = metric.kind else { return Ok(None) };
    match kind {
        DataKind::Summary => return Err(EvalError::fixed("summaries cannot be aggregated")),
        DataKind::Histogram | DataKind::ExponentialHistogram if aggregation != Aggregation::Sum => {
            return Err(EvalError::fixed("of histograms there is only the sum"));
        }
        _ => {}
    }
    let mut groups: Vec<Vec<Cow<'_, [u8]>>> = Vec::new();
    let mut places = HashMap::new();
    for point in metric.points() {
        let field = kind.attributes_field();
        let mut attributes = entries(Map::Fields { message: point, number: field });
        let point = match edit(&mut attributes) {
            true => Cow::Owned(replace_entries(point, field, &attributes)?),
            false => Cow::Borrowed(point),
        };
        let key = Key::of(kind, &point, metric.temporality);
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(point),
            None => groups.push(vec![point]),
        }
    }
    let mut data = Writer::new();
    for group in groups {
        let point = match kind {
            DataKind::Histogram => merge_histograms(&group),
            DataKind::ExponentialHistogram => merge_exponential_histograms(&group),
            _ => merge_numbers(&group, aggregation),
        };
        data.bytes(1, &point);
    }
    for field in metric.data_fields().filter(|field| field.number != 1) {
        data.raw(field.raw);
    }
    let content = replace_data(metric.raw, Some(kind), data.as_slice());
    Ok(Some(Change::Part(Part::Record, content)))
}

impl Key {
    fn of(kind: DataKind, point: &[u8], temporality: Temporality) -> Self {
        // The times stand under the same numbers in all kinds, and read as those of a number.
        let NumberDataPoint { start_ns, time_ns, .. } = NumberDataPoint::read(point);
        let mut bounds = Xxh3::new();
        if kind == DataKind::Histogram {
            let point = HistogramDataPoint::read(point);
            point.explicit_bounds().for_each(|bound| bounds.update(&bound.to_le_bytes()));
        }
        Self {
            attributes: hash_attributes(Attributes::new(point, kind.attributes_field())),
            time_ns,
            start_ns: if temporality == Temporality::Delta { start_ns } else { 0 },
            bounds: bounds.digest(),
        }
    }
}

type Points<'a> = [Cow<'a, [u8]>];

/// The points as they are read; those without a value say nothing.
fn merge_numbers(points: &Points<'_>, aggregation: Aggregation) -> Vec<u8> {
    let said = || {
        points.iter().filter_map(|raw| {
            let point = NumberDataPoint::read(raw);
            let value = point.value.filter(|_| !point.no_recorded_value)?;
            Some((raw, point.start_ns, value))
        })
    };
    let values: Vec<Number> = said().map(|(_, _, value)| value).collect();
    let Some((first, _, _)) = said().next() else { return first_of(points) };
    if values.len() == 1 && aggregation != Aggregation::Count {
        return first.to_vec();
    }
    let start_ns = said().map(|(_, start_ns, _)| start_ns).min().unwrap_or_default();
    replace(first, &[2, 4, 5, 6], |point| {
        point.fixed64(2, start_ns);
        match combine(&values, aggregation) {
            Number::Int(value) => point.fixed64(6, value.cast_unsigned()),
            Number::Double(value) => point.double(4, value),
        }
        said().for_each(|(raw, _, _)| copy_fields(raw, 5, point));
    })
}

/// Of integers an integer.
fn combine(values: &[Number], aggregation: Aggregation) -> Number {
    let integers: Option<Vec<i64>> = values
        .iter()
        .map(|value| match value {
            Number::Int(value) => Some(*value),
            Number::Double(_) => None,
        })
        .collect();
    match integers {
        Some(integers) => Number::Int(combine_integers(integers, aggregation)),
        None => {
            let doubles = values.iter().map(|value| value.as_f64()).collect();
            Number::Double(combine_doubles(doubles, aggregation))
        }
    }
}

/// What is behind the point of a mean or median is left out, as in the Collector. There is at
/// least one value.
fn combine_integers(mut values: Vec<i64>, aggregation: Aggregation) -> i64 {
    let count = values.len() as i128;
    let sum = || values.iter().map(|value| i128::from(*value)).sum::<i128>();
    let combined = match aggregation {
        Aggregation::Sum => sum(),
        Aggregation::Mean => sum() / count,
        Aggregation::Min => values.iter().min().copied().unwrap_or_default().into(),
        Aggregation::Max => values.iter().max().copied().unwrap_or_default().into(),
        Aggregation::Count => count,
        Aggregation::Median => {
            values.sort_unstable();
            let (low, high) = middle(&values);
            i128::midpoint(low.into(), high.into())
        }
    };
    i64::try_from(combined).unwrap_or(if combined < 0 { i64::MIN } else { i64::MAX })
}

#[allow(clippy::cast_precision_loss, reason = "the number of points in a metric")]
fn combine_doubles(mut values: Vec<f64>, aggregation: Aggregation) -> f64 {
    let count = values.len() as f64;
    match aggregation {
        Aggregation::Sum => values.iter().sum(),
        Aggregation::Mean => values.iter().sum::<f64>() / count,
        Aggregation::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregation::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregation::Count => count,
        Aggregation::Median => {
            values.sort_unstable_by(f64::total_cmp);
            let (low, high) = middle(&values);
            f64::midpoint(low, high)
        }
    }
}

/// The two values in the middle, which are one if their number is odd.
fn middle<T: Copy + Default>(sorted: &[T]) -> (T, T) {
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
}

/// The points have the same bounds. Those that counted nothing say nothing; what one of the others
/// does not know of its sum, least and greatest value is not known of all.
fn merge_histograms(points: &Points<'_>) -> Vec<u8> {
    let said = || {
        let read = points.iter().map(|raw| (raw, HistogramDataPoint::read(raw)));
        read.filter(|(_, point)| point.count > 0)
    };
    let Some((first, _)) = said().next() else { return first_of(points) };
    if said().nth(1).is_none() {
        return first.to_vec();
    }
    let mut buckets: Vec<u64> = Vec::new();
    for (_, point) in said() {
        for (index, count) in point.bucket_counts().enumerate() {
            match buckets.get_mut(index) {
                Some(bucket) => *bucket = bucket.saturating_add(count),
                None => buckets.push(count),
            }
        }
    }
    let known = |of: fn(&HistogramDataPoint<'_>) -> Option<f64>, join: fn(f64, f64) -> f64| {
        let values: Option<Vec<f64>> = said().map(|(_, point)| of(&point)).collect();
        values.and_then(|values| values.into_iter().reduce(join))
    };
    replace(first, &[2, 4, 5, 6, 8, 11, 12], |new| {
        new.fixed64(2, said().map(|(_, point)| point.start_ns).min().unwrap_or_default());
        new.fixed64(4, said().map(|(_, point)| point.count).fold(0, u64::saturating_add));
        if let Some(sum) = known(|point| point.sum, |one, other| one + other) {
            new.double(5, sum);
        }
        new.packed_fixed64(6, buckets.into_iter());
        said().for_each(|(raw, _)| copy_fields(raw, 8, new));
        for (number, extreme) in
            [(11, known(|point| point.min, f64::min)), (12, known(|point| point.max, f64::max))]
        {
            if let Some(extreme) = extreme {
                new.double(number, extreme);
            }
        }
    })
}

/// The points may have any scale and any buckets: they get those of the coarsest.
fn merge_exponential_histograms(points: &Points<'_>) -> Vec<u8> {
    let said = || {
        let read = points.iter().map(|raw| (raw, ExponentialHistogramDataPoint::read(raw)));
        read.filter(|(_, point)| point.count > 0)
    };
    let Some((first, _)) = said().next() else { return first_of(points) };
    if said().nth(1).is_none() {
        return first.to_vec();
    }
    let sizes = said().flat_map(|(_, point)| [point.positive, point.negative]);
    let longest = sizes.map(|buckets| buckets.counts().count()).max().unwrap_or_default();
    let max_size = i32::try_from(longest.max(DEFAULT_MAX_SIZE as usize)).unwrap_or(i32::MAX);
    let mut merged = ExponentialHistogram::new(max_size);
    for (_, point) in said() {
        merged.merge(&ExponentialHistogram::from_point(&point, max_size));
    }
    replace(first, &[2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14], |new| {
        new.fixed64(2, said().map(|(_, point)| point.start_ns).min().unwrap_or_default());
        merged.write(new);
        said().for_each(|(raw, _)| copy_fields(raw, 11, new));
    })
}

fn first_of(points: &Points<'_>) -> Vec<u8> {
    points.first().map(|point| point.to_vec()).unwrap_or_default()
}

/// Copies the fields under `number`: exemplars.
fn copy_fields(message: &[u8], number: u32, new: &mut Writer) {
    for field in Fields::new(message).filter(|field| field.number == number) {
        new.raw(field.raw);
    }
}
