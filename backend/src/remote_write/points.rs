//! One data point as samples.

use shared::wire::DataKind;
use shared::wire::metric::{
    Exemplar as OtlpExemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Number,
    NumberDataPoint, SummaryDataPoint,
};

use super::native;
use super::reason::Reason;
use super::series::{Exemplar, Label, NativeHistogram, STALE, Value};
use super::translate::{Histograms, Settings};
use crate::prometheus::attribute_text::{lossy, text};

/// Longest labels of an exemplar together, in characters. Source: the specification of `OpenMetrics`.
const MAX_EXEMPLAR_LABELS: usize = 128;

/// What a data point says, at its time.
pub(super) struct Samples {
    pub(super) samples: Vec<Sample>,
    pub(super) time_ms: i64,
    /// 0 if unknown, and of a value that does not count from anywhere.
    pub(super) start_ms: i64,
}

/// A sample of one of its series.
pub(super) struct Sample {
    /// Behind the family's name.
    pub(super) suffix: &'static str,
    pub(super) extra: Option<(&'static str, String)>,
    pub(super) value: Value,
    pub(super) exemplars: Vec<Exemplar>,
}

impl Samples {
    /// A single sample.
    pub(super) fn one(value: Value, time_ms: i64) -> Self {
        Self { samples: vec![Sample::plain("", value)], time_ms, start_ms: 0 }
    }
}

impl Sample {
    fn plain(suffix: &'static str, value: Value) -> Self {
        Self { suffix, extra: None, value, exemplars: Vec::new() }
    }

    fn float(suffix: &'static str, value: f64) -> Self {
        Self::plain(suffix, Value::Float(value))
    }

    fn with(suffix: &'static str, name: &'static str, text: String, value: f64) -> Self {
        Self { extra: Some((name, text)), ..Self::float(suffix, value) }
    }
}

/// Reads a data point of this kind.
///
/// # Errors
/// Why it cannot be sent.
pub(super) fn read(settings: &Settings, kind: DataKind, raw: &[u8]) -> Result<Samples, Reason> {
    let (samples, at_ns, since_ns) = match kind {
        DataKind::Gauge | DataKind::Sum => {
            let point = NumberDataPoint::read(raw);
            let start_ns = if kind == DataKind::Sum { point.start_ns } else { 0 };
            (vec![number(settings, &point)?], point.time_ns, start_ns)
        }
        DataKind::Histogram => {
            let point = HistogramDataPoint::read(raw);
            (histogram(settings, &point)?, point.time_ns, point.start_ns)
        }
        DataKind::ExponentialHistogram => {
            let point = ExponentialHistogramDataPoint::read(raw);
            (vec![exponential(settings, &point)?], point.time_ns, point.start_ns)
        }
        DataKind::Summary => {
            let point = SummaryDataPoint::read(raw);
            (summary(&point), point.time_ns, point.start_ns)
        }
    };
    let (time_ms, start_ms) = (millis(at_ns), millis(since_ns));
    match time_ms {
        0 => Err(Reason::Invalid),
        _ => Ok(Samples { samples, time_ms, start_ms }),
    }
}

fn number(settings: &Settings, point: &NumberDataPoint<'_>) -> Result<Sample, Reason> {
    let value = match (point.no_recorded_value, point.value) {
        (true, _) => STALE,
        (false, Some(number)) => number.as_f64(),
        (false, None) => return Err(Reason::Invalid),
    };
    Ok(Sample { exemplars: exemplars(settings, point.exemplars()), ..Sample::float("", value) })
}

fn histogram(settings: &Settings, point: &HistogramDataPoint<'_>) -> Result<Vec<Sample>, Reason> {
    let bounds = bounds(point)?;
    let mut samples = match settings.histograms {
        Histograms::Classic | Histograms::Both => classic(settings, point, &bounds),
        Histograms::Native => Vec::new(),
    };
    if settings.histograms != Histograms::Classic {
        let histogram = match point.no_recorded_value {
            true => native::stale(),
            false => custom(point, bounds)?,
        };
        let exemplars = match settings.histograms {
            Histograms::Both => Vec::new(),
            _ => exemplars(settings, point.exemplars()),
        };
        let value = Value::Histogram(Box::new(histogram));
        samples.push(Sample { exemplars, ..Sample::plain("", value) });
    }
    Ok(samples)
}

fn custom(point: &HistogramDataPoint<'_>, bounds: Vec<f64>) -> Result<NativeHistogram, Reason> {
    let sum = point.sum.unwrap_or_default();
    let buckets = bounds.len() + 1;
    let counts: Vec<u64> = match point.bucket_counts().count() {
        // Without buckets, all is in the one that has no bound.
        0 => std::iter::repeat_n(0, bounds.len()).chain([point.count]).collect(),
        _ => point.bucket_counts().take(buckets).collect(),
    };
    native::from_bounds(bounds, counts.into_iter(), point.count, sum).ok_or(Reason::Invalid)
}

/// The finite bounds, which must ascend.
fn bounds(point: &HistogramDataPoint<'_>) -> Result<Vec<f64>, Reason> {
    let mut bounds: Vec<f64> = Vec::new();
    for bound in point.explicit_bounds() {
        if bound == f64::INFINITY {
            break;
        }
        if !bound.is_finite() || bounds.last().is_some_and(|last| *last >= bound) {
            return Err(Reason::Invalid);
        }
        bounds.push(bound);
    }
    Ok(bounds)
}

fn classic(settings: &Settings, point: &HistogramDataPoint<'_>, bounds: &[f64]) -> Vec<Sample> {
    let is_stale = point.no_recorded_value;
    let value = |count: u64| if is_stale { STALE } else { as_f64(count) };
    let mut samples = Vec::with_capacity(bounds.len() + 3);
    // A bucket series for each bound, also where a series ended and there are no counts.
    let mut counts = point.bucket_counts();
    let mut up_to = 0_u64;
    for bound in bounds {
        match counts.next() {
            Some(count) => up_to = up_to.saturating_add(count),
            None if is_stale => {}
            None => break,
        }
        samples.push(Sample::with("_bucket", "le", bound.to_string(), value(up_to)));
    }
    samples.push(Sample::with("_bucket", "le", "+Inf".to_owned(), value(point.count)));
    for exemplar in exemplars(settings, point.exemplars()) {
        let index = bounds.partition_point(|bound| *bound < exemplar.value);
        let last = samples.len() - 1;
        samples[index.min(last)].exemplars.push(exemplar);
    }
    match (is_stale, point.sum) {
        (true, _) => samples.push(Sample::float("_sum", STALE)),
        (false, Some(sum)) => samples.push(Sample::float("_sum", sum)),
        (false, None) => {}
    }
    samples.push(Sample::float("_count", value(point.count)));
    samples
}

fn exponential(
    settings: &Settings,
    point: &ExponentialHistogramDataPoint<'_>,
) -> Result<Sample, Reason> {
    let histogram = match point.no_recorded_value {
        true => native::stale(),
        false => native::from_exponential(point)?,
    };
    let exemplars = exemplars(settings, point.exemplars());
    Ok(Sample { exemplars, ..Sample::plain("", Value::Histogram(Box::new(histogram))) })
}

fn summary(point: &SummaryDataPoint<'_>) -> Vec<Sample> {
    let value = |value: f64| if point.no_recorded_value { STALE } else { value };
    let quantiles = point
        .quantiles()
        .map(|(quantile, found)| Sample::with("", "quantile", quantile.to_string(), value(found)));
    quantiles
        .chain([
            Sample::float("_sum", value(point.sum)),
            Sample::float("_count", value(as_f64(point.count))),
        ])
        .collect()
}

/// By time, as a receiver wants them.
fn exemplars<'a>(settings: &Settings, of: impl Iterator<Item = OtlpExemplar<'a>>) -> Vec<Exemplar> {
    let mut exemplars: Vec<_> =
        of.filter_map(|exemplar| read_exemplar(settings, &exemplar)).collect();
    exemplars.sort_by_key(|exemplar| exemplar.time_ms);
    exemplars
}

/// `None` when it has no value.
fn read_exemplar(settings: &Settings, exemplar: &OtlpExemplar<'_>) -> Option<Exemplar> {
    let value = exemplar.value.map(Number::as_f64)?;
    let ids = [("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)];
    let mut labels: Vec<Label> = ids
        .into_iter()
        .filter(|(_, id)| id.iter().any(|byte| *byte != 0))
        .map(|(name, id)| (name.to_owned(), hex(id)))
        .collect();
    let mut others: Vec<Label> = Vec::new();
    for (key, value) in exemplar.filtered_attributes() {
        let name = settings.rules.naming.label(&lossy(key)).into_owned();
        if !labels.iter().chain(&others).any(|(known, _)| *known == name) {
            others.push((name, text(value)));
        }
    }
    let length = |labels: &[Label]| -> usize {
        labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
    };
    // Where the trace is comes first; a receiver refuses labels that are too long.
    if length(&labels) + length(&others) <= MAX_EXEMPLAR_LABELS {
        labels.extend(others);
    }
    labels.sort();
    Some(Exemplar { labels, value, time_ms: millis(exemplar.time_ns) })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn millis(nanos: u64) -> i64 {
    (nanos / 1_000_000).cast_signed()
}

#[allow(clippy::cast_precision_loss, reason = "samples are doubles")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
