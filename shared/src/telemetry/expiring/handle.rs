//! The numbers that are counted, and how they are read.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics::IntoF64;

use crate::clock;
use crate::telemetry::bounds::bounds;
use crate::telemetry::metrics::Kind;

/// A counter; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn increment(&self, value: u64) {
        self.0.fetch_add(value, Relaxed);
    }

    /// What this handle and its clones have counted.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A gauge; clones share its value.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Float>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: impl IntoF64) {
        self.0.0.store(value.into_f64().to_bits(), Relaxed);
    }

    /// Adds to it.
    pub fn increment(&self, value: impl IntoF64) {
        self.0.add(value.into_f64());
    }

    /// Takes from it.
    pub fn decrement(&self, value: impl IntoF64) {
        self.0.add(-value.into_f64());
    }

    /// The value of this handle and its clones.
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

/// A gauge of the seconds since some moment, worked out when it is read. While it has no moment
/// it is 0.
#[derive(Debug, Clone)]
pub struct Age(Arc<AtomicI64>);

impl Age {
    const NOTHING: i64 = i64::MIN;

    /// Counts from `moment`, from now on: when the oldest item came, or the last answer.
    pub fn since(&self, moment: Instant) {
        self.0.store(nanos(moment), Relaxed);
    }

    /// There is nothing that could be old.
    pub fn clear(&self) {
        self.0.store(Self::NOTHING, Relaxed);
    }

    /// Seconds at `now`.
    pub fn get(&self, now: Instant) -> f64 {
        match self.0.load(Relaxed) {
            Self::NOTHING => 0.0,
            since => {
                let nanos = nanos(now).saturating_sub(since).max(0);
                Duration::from_nanos(nanos.unsigned_abs()).as_secs_f64()
            }
        }
    }
}

/// Nanoseconds from a moment that is fixed for the process; negative before it.
fn nanos(moment: Instant) -> i64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(clock::now);
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    match moment.checked_duration_since(epoch) {
        Some(after) => nanos(after),
        None => -nanos(epoch.saturating_duration_since(moment)),
    }
}

/// A histogram; clones record together.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// Inclusive, rising.
    bounds: &'static [f64],
    /// One more than there are bounds; not cumulative.
    counts: Box<[AtomicU64]>,
    sum: Float,
}

impl Histogram {
    /// Counts one value. Not a number is no value.
    pub fn record(&self, value: impl IntoF64) {
        let value = value.into_f64();
        if value.is_nan() {
            return;
        }
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.sum.add(value);
    }

    /// How many values this handle and its clones have counted.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }
}

/// The bits of a double.
#[derive(Debug, Default)]
struct Float(AtomicU64);

impl Float {
    fn add(&self, value: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + value).to_bits());
        self.0.fetch_update(Relaxed, Relaxed, sum).expect("there always is a sum");
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// A kind of handle. Only [`metric_set!`](crate::metric_set) needs it.
pub trait Handle: Sized {
    /// What its metric is for a scraper.
    const KIND: Kind;

    /// A handle of the metric `name`, and the number behind it.
    fn make(name: &'static str) -> (Self, Cell);
}

impl Handle for Counter {
    const KIND: Kind = Kind::Counter;

    fn make(_: &'static str) -> (Self, Cell) {
        let handle = Self::default();
        (handle.clone(), Cell(Number::Counter(handle)))
    }
}

impl Handle for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn make(_: &'static str) -> (Self, Cell) {
        let handle = Self::default();
        (handle.clone(), Cell(Number::Gauge(handle)))
    }
}

impl Handle for Age {
    const KIND: Kind = Kind::Gauge;

    fn make(_: &'static str) -> (Self, Cell) {
        let handle = Self(Arc::new(AtomicI64::new(Self::NOTHING)));
        (handle.clone(), Cell(Number::Age(handle)))
    }
}

impl Handle for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn make(name: &'static str) -> (Self, Cell) {
        let bounds = bounds(name);
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let handle = Self(Arc::new(Buckets { bounds, counts, sum: Float::default() }));
        (handle.clone(), Cell(Number::Histogram(handle)))
    }
}

/// The registry's own handle of a number.
#[derive(Debug)]
pub struct Cell(Number);

#[derive(Debug)]
enum Number {
    Counter(Counter),
    Gauge(Gauge),
    Age(Age),
    Histogram(Histogram),
}

impl Cell {
    /// Whether anybody but the registry holds it. Once nobody does, nobody ever will again, and
    /// all that they counted is visible here.
    pub(super) fn is_held(&mut self) -> bool {
        match &mut self.0 {
            Number::Counter(Counter(number)) => Arc::get_mut(number).is_none(),
            Number::Gauge(Gauge(number)) => Arc::get_mut(number).is_none(),
            Number::Age(Age(number)) => Arc::get_mut(number).is_none(),
            Number::Histogram(Histogram(number)) => Arc::get_mut(number).is_none(),
        }
    }

    pub(super) fn read(&self, now: Instant) -> Value {
        match &self.0 {
            Number::Counter(counter) => Value::Counter(counter.get()),
            Number::Gauge(gauge) => Value::Gauge(gauge.get()),
            Number::Age(age) => Value::Age(age.get(now)),
            Number::Histogram(Histogram(buckets)) => Value::Histogram(HistogramValue {
                bounds: buckets.bounds,
                counts: buckets.counts.iter().map(|count| count.load(Relaxed)).collect(),
                sum: buckets.sum.get(),
            }),
        }
    }
}

/// What a series shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Counter(u64),
    Gauge(f64),
    Age(f64),
    Histogram(HistogramValue),
}

/// What a histogram shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HistogramValue {
    pub(crate) bounds: &'static [f64],
    /// One more than there are bounds; not cumulative.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

impl Value {
    /// Adds the value of another set with the same labels. Values of two kinds cannot meet but
    /// where two sets declare one name differently; then the first is shown.
    pub(super) fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Counter(count), Value::Counter(more)) => *count = count.wrapping_add(*more),
            (Value::Gauge(value), Value::Gauge(more)) => *value += more,
            (Value::Age(age), Value::Age(other)) => *age = age.max(*other),
            (Value::Histogram(all), Value::Histogram(more)) => {
                for (count, more) in all.counts.iter_mut().zip(&more.counts) {
                    *count = count.wrapping_add(*more);
                }
                all.sum += more.sum;
            }
            _ => debug_assert!(false, "one name stands for two kinds of metric"),
        }
    }

    /// Whether it still holds when nobody counts any more.
    pub(super) fn outlives_its_holder(&self) -> bool {
        matches!(self, Value::Counter(_) | Value::Histogram(_))
    }
}
