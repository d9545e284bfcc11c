//! The value of a series, and what several of them make together.

use shared::wire::metric::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Number, NumberDataPoint, SummaryDataPoint,
};
use shared::wire::{DataKind, Metric, Temporality};

/// A data point as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) value: Value,
    /// 0 if unknown.
    pub(crate) start_ns: u64,
    pub(crate) time_ns: u64,
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
    /// Quantiles.
    Summary(Summary),
}

/// Counts in buckets. An exponential one has no bounds here, since the text format has no way to
/// write it; its count and sum are exact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// Each finite bound with the number of values up to it.
    pub(crate) buckets: Box<[(f64, u64)]>,
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
    /// Another metric of the same name has another type.
    TypeConflict,
    /// No room for a new series.
    MaxSeries,
    /// A metric without a name or without data, or bounds that do not ascend.
    Invalid,
}

impl Reason {
    pub(crate) const ALL: [Reason; 6] = [
        Reason::OutOfOrder,
        Reason::OverlappingDelta,
        Reason::Temporality,
        Reason::TypeConflict,
        Reason::MaxSeries,
        Reason::Invalid,
    ];

    /// The value of the label `reason`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reason::OutOfOrder => "out_of_order",
            Reason::OverlappingDelta => "overlapping_delta",
            Reason::Temporality => "unsupported_temporality",
            Reason::TypeConflict => "type_conflict",
            Reason::MaxSeries => "max_series",
            Reason::Invalid => "invalid",
        }
    }
}

impl Value {
    /// The type as it stands in the text.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Value::Counter(_) => "counter",
            Value::UpDown(_) | Value::Gauge(_) => "gauge",
            Value::Histogram(_) => "histogram",
            Value::Summary(_) => "summary",
        }
    }

    /// The label that the type adds to its samples.
    pub(crate) const fn last_label(&self) -> Option<&'static str> {
        match self {
            Value::Histogram(_) => Some("le"),
            Value::Summary(_) => Some("quantile"),
            _ => None,
        }
    }

    /// Whether the value of a writer that is gone must stay in the sum, or the sum would fall.
    pub(crate) const fn only_grows(&self) -> bool {
        matches!(self, Value::Counter(_) | Value::Histogram(_))
    }
}

impl Point {
    /// What both points make together: the sum, or the later one of what cannot be added.
    pub(crate) fn joined(&self, other: &Point) -> Point {
        let (early, late) =
            if self.time_ns <= other.time_ns { (self, other) } else { (other, self) };
        let value = match (&early.value, &late.value) {
            (Value::Counter(a), Value::Counter(b)) => Value::Counter(a + b),
            (Value::UpDown(a), Value::UpDown(b)) => Value::UpDown(a + b),
            (Value::Histogram(a), Value::Histogram(b)) => Value::Histogram(a.joined(b)),
            (_, late) => late.clone(),
        };
        Point { value, start_ns: self.start_ns.min(other.start_ns), time_ns: late.time_ns }
    }
}

impl Histogram {
    /// The sum of both, at the bounds that both have: there, and only there, it is exact.
    fn joined(&self, other: &Histogram) -> Histogram {
        let mut others = other.buckets.iter().peekable();
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for (bound, count) in &self.buckets {
            while others.next_if(|(other, _)| other < bound).is_some() {}
            if let Some((_, other)) = others.next_if(|(other, _)| other.total_cmp(bound).is_eq()) {
                buckets.push((*bound, count + other));
            }
        }
        Histogram {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            buckets: buckets.into(),
        }
    }
}

/// Reads a data point of `metric`, whose kind is `kind`.
pub(crate) fn read(metric: &Metric<'_>, kind: DataKind, raw: &[u8]) -> Read {
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
    Read::Point(Point { value, start_ns: point.start_ns, time_ns: point.time_ns }, temporality)
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
    with_temporality(metric, Point { value, start_ns: point.start_ns, time_ns: point.time_ns })
}

fn read_exponential(metric: &Metric<'_>, raw: &[u8]) -> Read {
    let point = ExponentialHistogramDataPoint::read(raw);
    if point.no_recorded_value {
        return Read::Ended;
    }
    let sum = point.sum.unwrap_or_default();
    let value = Value::Histogram(Histogram { count: point.count, sum, buckets: Box::default() });
    with_temporality(metric, Point { value, start_ns: point.start_ns, time_ns: point.time_ns })
}

fn read_summary(raw: &[u8]) -> Read {
    let point = SummaryDataPoint::read(raw);
    if point.no_recorded_value {
        return Read::Ended;
    }
    let quantiles = point.quantiles().collect();
    let value = Value::Summary(Summary { count: point.count, sum: point.sum, quantiles });
    let (start_ns, time_ns) = (point.start_ns, point.time_ns);
    Read::Point(Point { value, start_ns, time_ns }, Temporality::Cumulative)
}

fn with_temporality(metric: &Metric<'_>, point: Point) -> Read {
    match metric.temporality {
        Temporality::Unspecified => Read::Dropped(Reason::Temporality),
        temporality => Read::Point(point, temporality),
    }
}
