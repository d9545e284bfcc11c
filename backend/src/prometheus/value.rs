//! The value of a series, and what several of them make together.

use shared::exponential_histogram::{ExponentialHistogram, bucket_index};
use shared::wire::metric::{
    self, ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint,
    SummaryDataPoint,
};
use shared::wire::{DataKind, Metric, Temporality};

use super::exemplar::{Exemplar, Exemplars, newest};
use super::histogram::Histogram;

/// Buckets of an exponential histogram on either side of zero: twice what SDKs send, so that what
/// is added up keeps its resolution.
const MAX_BUCKETS: i32 = 320;

/// A data point as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) value: Value,
    /// 0 if unknown.
    pub(crate) start_ns: u64,
    pub(crate) time_ns: u64,
    /// At most one of each bucket, newest first.
    pub(crate) exemplars: Box<[Exemplar]>,
}

/// What a series holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A sum that only grows.
    Counter(f64),
    /// A sum that goes up and down.
    UpDown(f64),
    /// A last value.
    Gauge(f64),
    /// Counts in buckets.
    Histogram(Histogram),
    /// Counts in exponential buckets.
    Exponential(Box<ExponentialHistogram>),
    /// Quantiles.
    Summary(Summary),
}

/// The type of a family, as far as Prometheus knows it. Of two families that would have one name,
/// the one whose type is first here keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FamilyKind {
    Histogram,
    Summary,
    Counter,
    Gauge,
}

impl FamilyKind {
    /// All types in their order.
    pub(crate) const ALL: [FamilyKind; 4] =
        [FamilyKind::Histogram, FamilyKind::Summary, FamilyKind::Counter, FamilyKind::Gauge];

    /// Of the series that a metric becomes.
    pub(crate) fn of(metric: &Metric<'_>, kind: DataKind) -> Self {
        match kind {
            DataKind::Histogram | DataKind::ExponentialHistogram => FamilyKind::Histogram,
            DataKind::Summary => FamilyKind::Summary,
            DataKind::Sum if metric.monotonic => FamilyKind::Counter,
            DataKind::Sum | DataKind::Gauge => FamilyKind::Gauge,
        }
    }

    /// As it stands in the text.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            FamilyKind::Histogram => "histogram",
            FamilyKind::Summary => "summary",
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
        }
    }

    /// What its samples' names end with.
    pub(crate) const fn suffixes(self) -> &'static [&'static str] {
        match self {
            FamilyKind::Histogram => &["", "_bucket", "_sum", "_count"],
            FamilyKind::Summary => &["", "_sum", "_count"],
            FamilyKind::Counter | FamilyKind::Gauge => &[""],
        }
    }

    /// The label that the type adds to its samples.
    pub(crate) const fn last_label(self) -> Option<&'static str> {
        match self {
            FamilyKind::Histogram => Some("le"),
            FamilyKind::Summary => Some("quantile"),
            FamilyKind::Counter | FamilyKind::Gauge => None,
        }
    }
}

/// Quantiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) quantiles: Box<[(f64, f64)]>,
}

/// A data point as it was read.
pub(crate) enum Read {
    /// A value, and what it counts from.
    Point(Point, Temporality),
    /// The series ended.
    Ended,
    /// What cannot be exposed, and why.
    Dropped(Reason),
}

/// Why a data point is not exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Older than what is there.
    OutOfOrder,
    /// A delta that begins before the end of the last one.
    OverlappingDelta,
    /// A sum or histogram that does not say what it counts from, or a delta that may fall.
    Temporality,
    /// No room for a new series.
    MaxSeries,
    /// No room for so many bytes.
    MaxBytes,
    /// A metric without a name or without data, or bounds that do not ascend.
    Invalid,
}

impl Reason {
    pub(crate) const ALL: [Reason; 6] = [
        Reason::OutOfOrder,
        Reason::OverlappingDelta,
        Reason::Temporality,
        Reason::MaxSeries,
        Reason::MaxBytes,
        Reason::Invalid,
    ];

    /// The value of the label `reason`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reason::OutOfOrder => "out_of_order",
            Reason::OverlappingDelta => "overlapping_delta",
            Reason::Temporality => "unsupported_temporality",
            Reason::MaxSeries => "max_series",
            Reason::MaxBytes => "max_bytes",
            Reason::Invalid => "invalid",
        }
    }
}

impl Value {
    /// Whether the value of a writer that is gone must stay in the sum, or the sum would fall.
    pub(crate) const fn only_grows(&self) -> bool {
        matches!(self, Value::Counter(_) | Value::Histogram(_) | Value::Exponential(_))
    }

    /// What it holds besides its own size, in bytes.
    fn heap_bytes(&self) -> usize {
        match self {
            Value::Counter(_) | Value::UpDown(_) | Value::Gauge(_) => 0,
            Value::Histogram(histogram) => size_of_val(&*histogram.buckets),
            Value::Exponential(exponential) => {
                size_of::<ExponentialHistogram>() + exponential.heap_bytes()
            }
            Value::Summary(summary) => size_of_val(&*summary.quantiles),
        }
    }

    /// Tells buckets apart by the values in them: each has one exemplar.
    fn bucket(&self, value: f64) -> i64 {
        match self {
            Value::Histogram(histogram) => {
                let bucket = histogram.buckets.partition_point(|(bound, _)| *bound < value);
                i64::try_from(bucket).unwrap_or(i64::MAX)
            }
            Value::Exponential(_) if value == 0.0 => i64::MIN,
            // Powers of two, as in the text; those of negative values are numbered from below.
            Value::Exponential(_) => {
                let octave = i64::from(bucket_index(0, value.abs()));
                if value < 0.0 { i64::from(i32::MIN) - octave } else { octave }
            }
            _ => 0,
        }
    }
}

impl Point {
    pub(crate) fn new(value: Value, start_ns: u64, time_ns: u64) -> Self {
        Self { value, start_ns, time_ns, exemplars: Box::default() }
    }

    /// What both points make together: the sum, or the later one of what cannot be added.
    pub(crate) fn joined(&self, other: &Point) -> Point {
        let (early, late) =
            if self.time_ns <= other.time_ns { (self, other) } else { (other, self) };
        let value = match (&early.value, &late.value) {
            (Value::Counter(a), Value::Counter(b)) => Value::Counter(a + b),
            (Value::UpDown(a), Value::UpDown(b)) => Value::UpDown(a + b),
            (Value::Histogram(a), Value::Histogram(b)) => Value::Histogram(a.joined(b)),
            (Value::Exponential(a), Value::Exponential(b)) => {
                let mut both = a.clone();
                both.merge(b);
                Value::Exponential(both)
            }
            (Value::Histogram(a), Value::Exponential(b))
            | (Value::Exponential(b), Value::Histogram(a)) => {
                Value::Histogram(a.joined(&Histogram::of_exponential(b)))
            }
            (_, late) => late.clone(),
        };
        let (start_ns, time_ns) = (self.start_ns.min(other.start_ns), late.time_ns);
        let mut both = Point { value, start_ns, time_ns, exemplars: Box::default() };
        both.take_exemplars(self.exemplars.iter().chain(&other.exemplars));
        both
    }

    /// Keeps exemplars of the point before it, where it has none of its own.
    pub(crate) fn succeed(&mut self, last: &Point) {
        if !last.exemplars.is_empty() {
            let own = std::mem::take(&mut self.exemplars);
            self.take_exemplars(own.iter().chain(&last.exemplars));
        }
    }

    /// What it holds besides its own size, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let of = |exemplar: &Exemplar| size_of::<Exemplar>() + exemplar.labels.heap_bytes();
        self.value.heap_bytes() + self.exemplars.iter().map(of).sum::<usize>()
    }

    fn take_exemplars<'e>(&mut self, exemplars: impl Iterator<Item = &'e Exemplar>) {
        self.exemplars = newest(exemplars.cloned().collect(), |value| self.value.bucket(value));
    }
}

/// Reads a data point of `metric`, whose kind is `kind`.
pub(crate) fn read(metric: &Metric<'_>, kind: DataKind, raw: &[u8], exemplars: Exemplars) -> Read {
    let mut read = read_value(metric, kind, raw);
    if let (Read::Point(point, _), Exemplars::Kept) = (&mut read, exemplars) {
        let own: Vec<Exemplar> = match kind {
            DataKind::Sum if metric.monotonic => all(NumberDataPoint::read(raw).exemplars()),
            DataKind::Histogram => all(HistogramDataPoint::read(raw).exemplars()),
            DataKind::ExponentialHistogram => {
                all(ExponentialHistogramDataPoint::read(raw).exemplars())
            }
            DataKind::Sum | DataKind::Gauge | DataKind::Summary => Vec::new(),
        };
        if !own.is_empty() {
            point.take_exemplars(own.iter());
        }
    }
    read
}

fn all<'a>(exemplars: impl Iterator<Item = metric::Exemplar<'a>>) -> Vec<Exemplar> {
    exemplars.filter_map(|exemplar| Exemplar::read(&exemplar)).collect()
}

fn read_value(metric: &Metric<'_>, kind: DataKind, raw: &[u8]) -> Read {
    match kind {
        DataKind::Gauge | DataKind::Sum => read_number(metric, kind, raw),
        DataKind::Histogram => read_histogram(metric, raw),
        DataKind::ExponentialHistogram => read_exponential(metric, raw),
        DataKind::Summary => read_summary(raw),
    }
}

fn read_number(metric: &Metric<'_>, kind: DataKind, raw: &[u8]) -> Read {
    let point = NumberDataPoint::read(raw);
    if point.no_recorded_value {
        return Read::Ended;
    }
    let number = point.value.map_or(0.0, Number::as_f64);
    let (value, temporality) = match (kind, metric.temporality, metric.monotonic) {
        (DataKind::Gauge, _, _) => (Value::Gauge(number), Temporality::Cumulative),
        (_, Temporality::Unspecified, _) | (_, Temporality::Delta, false) => {
            return Read::Dropped(Reason::Temporality);
        }
        (_, temporality, true) => (Value::Counter(number), temporality),
        (_, temporality, false) => (Value::UpDown(number), temporality),
    };
    Read::Point(Point::new(value, point.start_ns, point.time_ns), temporality)
}

fn read_histogram(metric: &Metric<'_>, raw: &[u8]) -> Read {
    let point = HistogramDataPoint::read(raw);
    if point.no_recorded_value {
        return Read::Ended;
    }
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    let mut up_to = 0_u64;
    for (bound, count) in point.explicit_bounds().zip(point.bucket_counts()) {
        up_to = up_to.saturating_add(count);
        if bound == f64::INFINITY {
            break;
        }
        if !bound.is_finite() || buckets.last().is_some_and(|(last, _)| *last >= bound) {
            return Read::Dropped(Reason::Invalid);
        }
        buckets.push((bound, up_to));
    }
    let sum = point.sum.unwrap_or_default();
    let value = Value::Histogram(Histogram { count: point.count, sum, buckets: buckets.into() });
    with_temporality(metric, Point::new(value, point.start_ns, point.time_ns))
}

fn read_exponential(metric: &Metric<'_>, raw: &[u8]) -> Read {
    let point = ExponentialHistogramDataPoint::read(raw);
    if point.no_recorded_value {
        return Read::Ended;
    }
    let exponential = ExponentialHistogram::from_point(&point, MAX_BUCKETS);
    let value = Value::Exponential(Box::new(exponential));
    with_temporality(metric, Point::new(value, point.start_ns, point.time_ns))
}

fn read_summary(raw: &[u8]) -> Read {
    let point = SummaryDataPoint::read(raw);
    if point.no_recorded_value {
        return Read::Ended;
    }
    let quantiles = point.quantiles().collect();
    let value = Value::Summary(Summary { count: point.count, sum: point.sum, quantiles });
    Read::Point(Point::new(value, point.start_ns, point.time_ns), Temporality::Cumulative)
}

fn with_temporality(metric: &Metric<'_>, point: Point) -> Read {
    match metric.temporality {
        Temporality::Unspecified => Read::Dropped(Reason::Temporality),
        temporality => Read::Point(point, temporality),
    }
}
