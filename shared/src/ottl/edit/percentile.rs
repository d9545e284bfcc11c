//! `extract_percentile_metric`: what share of values lies below, reckoned from buckets.
//!
//! Within a bucket values are taken as spread evenly; in exponential buckets their logarithms.
//!
//! Source: contrib `transformprocessor/internal/metrics/func_extract_percentile_metric.go`.

use super::{Planned, editor, literal, number, optional, parameter};
use crate::exponential_histogram::upper_bound;
use crate::ottl::Context;
use crate::ottl::draft::Change;
use crate::ottl::error::EvalError;
use crate::ottl::functions::{Argument, Call, Function, Kind, Prepared};
use crate::ottl::node::Env;
use crate::wire::metric::{ExponentialHistogramDataPoint, HistogramDataPoint};
use crate::wire::{DataKind, Fields, Writer};

pub(super) const EDITORS: &[Function] = &[editor(
    "extract_percentile_metric",
    &[parameter("percentile", Kind::LiteralNumber), optional("suffix", Kind::LiteralText)],
    extract,
)
.prepared_by(check_percentile)
.only_in(&[Context::Metric])];

const TOO_FEW: EvalError = EvalError::fixed("the buckets hold fewer values than the count says");
const NO_WIDTH: EvalError = EvalError::fixed("the bucket's bounds are beyond those of doubles");

fn check_percentile(arguments: &[Argument]) -> Result<Prepared, (usize, String)> {
    match literal(arguments, 0).map(number) {
        Some(Ok(percentile)) if percentile <= 0.0 || percentile >= 100.0 => {
            Err((0, "must be between 0 and 100".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }
}

/// A gauge with a point for each of the histogram's points that tells the percentile.
fn extract<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let metric = env.view.metric()?;
    let percentile = number(&call.value(0, env)?)?;
    let of: fn(&[u8], f64) -> Result<Option<f64>, EvalError> = match metric.kind {
        Some(DataKind::Histogram) => of_explicit,
        Some(DataKind::ExponentialHistogram) => of_exponential,
        _ => return Ok(None),
    };
    let attributes = metric.kind.map(DataKind::attributes_field);
    let mut gauge = Writer::new();
    for point in metric.points() {
        let Some(value) = of(point, percentile / 100.0)? else { continue };
        gauge.message(1, |new| {
            for field in Fields::new(point) {
                match field.value.bytes() {
                    None if matches!(field.number, 2 | 3) => new.raw(field.raw),
                    Some(attribute) if Some(field.number) == attributes => new.bytes(7, attribute),
                    _ => {}
                }
            }
            new.double(4, value);
        });
    }
    if gauge.is_empty() {
        return Ok(None);
    }
    let suffix = match call.has(1) {
        true => call.text(1, env)?.into_vec(),
        false => Vec::new(),
    };
    let label = format!("p{percentile}");
    let mut new = Writer::new();
    match suffix.is_empty() {
        true => new.bytes(1, &[metric.name, b"_", label.as_bytes()].concat()),
        false => new.bytes(1, &[metric.name, &suffix].concat()),
    }
    match metric.description {
        b"" => new.bytes(2, label.as_bytes()),
        description => new.bytes(2, &[description, b" (", label.as_bytes(), b")"].concat()),
    }
    new.bytes(3, metric.unit);
    new.bytes(DataKind::Gauge.field(), gauge.as_slice());
    Ok(Some(Change::Metric(new.into_vec())))
}

/// How many values lie up to the percentile.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the Collector: by way of a double, which is never negative"
)]
fn target(count: u64, share: f64) -> u64 {
    (count as f64 * share).ceil() as u64
}

/// The percentile of a data point with explicit buckets; nothing if they tell nothing.
fn of_explicit(raw: &[u8], share: f64) -> Result<Option<f64>, EvalError> {
    let point = HistogramDataPoint::read(raw);
    let buckets = point.bucket_counts().count();
    if point.count == 0 || buckets == 0 {
        return Ok(None);
    }
    if point.explicit_bounds().count() + 1 != buckets {
        return Err(EvalError::fixed("buckets and bounds do not belong together"));
    }
    let target = u128::from(target(point.count, share));
    let mut below = 0;
    let mut lower = None;
    // The last bucket has no upper bound.
    let uppers = point.explicit_bounds().map(Some).chain([None]);
    for (count, upper) in point.bucket_counts().zip(uppers) {
        let count = u128::from(count);
        if below + count >= target {
            return Ok(within(&point, lower, upper, ratio(target - below, count)));
        }
        below += count;
        lower = upper;
    }
    Err(TOO_FEW)
}

/// A place in the bucket between two bounds. Where one is missing, the least and the greatest
/// value stand in for them; values are taken as positive if there is no least.
fn within(
    point: &HistogramDataPoint<'_>,
    lower: Option<f64>,
    upper: Option<f64>,
    ratio: f64,
) -> Option<f64> {
    let (lower, upper) = match (lower, upper) {
        (Some(lower), Some(upper)) => (lower, upper),
        (None, Some(upper)) => match point.min.filter(|min| *min < upper) {
            Some(min) => (min, upper),
            None if upper < 0.0 => return Some(upper),
            None => (0.0, upper),
        },
        (Some(lower), None) => match point.max.filter(|max| *max > lower) {
            Some(max) => (lower, max),
            None => return Some(lower),
        },
        (None, None) => (point.min?, point.max?),
    };
    Some(lower + ratio * (upper - lower))
}

/// The percentile of a data point with exponential buckets; nothing if they tell nothing.
fn of_exponential(raw: &[u8], share: f64) -> Result<Option<f64>, EvalError> {
    let point = ExponentialHistogramDataPoint::read(raw);
    let has = |counts: &mut dyn Iterator<Item = u64>| counts.next().is_some();
    let has_negative = has(&mut point.negative.counts());
    let has_positive = has(&mut point.positive.counts());
    if point.count == 0 || (point.zero_count == 0 && !has_negative && !has_positive) {
        return Ok(None);
    }
    let target = u128::from(target(point.count, share));
    let negatives: u128 = point.negative.counts().map(u128::from).sum();
    if target <= negatives {
        return of_negative(&point, negatives - target).map(Some);
    }
    let target = target - negatives;
    let zeros = u128::from(point.zero_count);
    if target <= zeros {
        let threshold = point.zero_threshold;
        let lower = if has_positive && !has_negative { 0.0 } else { -threshold };
        let upper = if has_negative && !has_positive { 0.0 } else { threshold };
        return Ok(Some(lower + ratio(target, zeros) * (upper - lower)));
    }
    let (target, mut below) = (target - zeros, 0);
    for (index, count) in (i64::from(point.positive.offset)..).zip(point.positive.counts()) {
        let count = u128::from(count);
        if below + count >= target {
            return logarithmic(point.scale, index, ratio(target - below, count)).map(Some);
        }
        below += count;
    }
    Err(TOO_FEW)
}

/// The value in the buckets below zero that so many others lie above.
fn of_negative(point: &ExponentialHistogramDataPoint<'_>, above: u128) -> Result<f64, EvalError> {
    let mut nearer = 0;
    let mut found = Err(TOO_FEW);
    for (index, count) in (i64::from(point.negative.offset)..).zip(point.negative.counts()) {
        let count = u128::from(count);
        if nearer <= above && count > 0 {
            found = Ok((index, ratio(above - nearer, count)));
        }
        nearer += count;
    }
    let (index, ratio) = found?;
    logarithmic(point.scale, index, ratio).map(|magnitude| -magnitude)
}

/// A magnitude within an exponential bucket.
fn logarithmic(scale: i32, index: i64, ratio: f64) -> Result<f64, EvalError> {
    let (lower, upper) = (upper_bound(scale, index - 1), upper_bound(scale, index));
    if lower <= 0.0 || lower >= upper {
        return Err(NO_WIDTH);
    }
    Ok((lower.log2() + (upper.log2() - lower.log2()) * ratio).exp2())
}

/// A part of what a bucket holds, from 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "percentiles are doubles")]
fn ratio(part: u128, of: u128) -> f64 {
    part as f64 / of as f64
}
