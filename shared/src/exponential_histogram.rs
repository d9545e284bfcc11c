//! Histograms with buckets of exponential width, which adapt to what they see.
//!
//! Bucket `i` holds the values in `(b^i, b^(i+1)]`, where `b = 2^(2^-scale)`. A histogram begins at
//! the finest scale; whenever a value would make it longer than its maximal size, neighbouring
//! buckets become one. So what it holds depends only on which values it saw, not on their order,
//! and histograms of parts merge to exactly the histogram of the whole (as long as nobody widens
//! the bucket of zeros).
//!
//! Source: OTLP's data model, and lightstep/go-expohisto for sizes, scales and empty histograms.

mod buckets;
mod explicit;
mod mapping;
#[cfg(test)]
mod tests;

pub use self::buckets::Buckets;
pub use self::explicit::{Spread, explicit_counts};
pub use self::mapping::{bucket_index, upper_bound};
use self::mapping::{common_range, halvings, join, shifted};
use crate::wire::Writer;
use crate::wire::metric::{self, ExponentialHistogramDataPoint};

/// The finest scale.
pub const MAX_SCALE: i32 = 20;
/// Buckets on each side of zero, unless somebody says otherwise.
pub const DEFAULT_MAX_SIZE: u32 = 160;
/// Fewer cannot hold both of two values.
const MIN_MAX_SIZE: u32 = 2;
/// More are never used, whatever somebody says.
const MAX_MAX_SIZE: u32 = 16_384;

/// A histogram of exponential buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialHistogram {
    /// Buckets that each side of zero may have.
    max_size: u32,
    /// Of both sides; [`MAX_SCALE`] while there are no buckets.
    scale: i32,
    /// Values not farther from zero than this count as zeros.
    zero_threshold: f64,
    zero_count: u64,
    count: u64,
    /// Unknown once a histogram without one was merged.
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    positive: Buckets,
    negative: Buckets,
}

impl ExponentialHistogram {
    /// An empty histogram with at most `max_size` buckets on each side of zero: 2 to 16384, other
    /// numbers are taken as the nearest of these, 0 and below as [`DEFAULT_MAX_SIZE`].
    pub fn new(max_size: i32) -> Self {
        let max_size = match u32::try_from(max_size) {
            Ok(0) | Err(_) => DEFAULT_MAX_SIZE,
            Ok(max_size) => max_size.clamp(MIN_MAX_SIZE, MAX_MAX_SIZE),
        };
        Self {
            max_size,
            scale: MAX_SCALE,
            zero_threshold: 0.0,
            zero_count: 0,
            count: 0,
            sum: Some(0.0),
            min: None,
            max: None,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    /// What a data point holds, its attributes and times aside; at a coarser scale if it has more
    /// than `max_size` buckets. Buckets that no double falls into may end up in others.
    pub fn from_point(point: &ExponentialHistogramDataPoint<'_>, max_size: i32) -> Self {
        let mut histogram = Self::new(max_size);
        histogram.count = point.count;
        histogram.zero_count = point.zero_count;
        (histogram.sum, histogram.min, histogram.max) = (point.sum, point.min, point.max);
        let threshold = point.zero_threshold;
        histogram.zero_threshold = if threshold.is_finite() { threshold.max(0.0) } else { 0.0 };
        let ranges = [occupied(&point.positive), occupied(&point.negative)];
        let finer = u32::try_from(point.scale.saturating_sub(MAX_SCALE)).unwrap_or(0);
        let change = ranges
            .map(|range| range.map(|range| shifted(range, finer)))
            .map(|range| range.map_or(0, |range| halvings(range, histogram.max_size)))
            .into_iter()
            .max()
            .unwrap_or(0)
            .saturating_add(finer);
        for (from, into) in
            [(&point.positive, &mut histogram.positive), (&point.negative, &mut histogram.negative)]
        {
            for (index, count) in (i64::from(from.offset)..).zip(from.counts()) {
                into.add(shifted((index, index), change).0, count);
            }
        }
        if ranges != [None, None] {
            histogram.scale = point.scale.saturating_sub_unsigned(change);
        }
        histogram
    }

    /// Counts `value` as often as `count` says, and tells whether it did: what is not finite is
    /// not counted.
    pub fn observe(&mut self, value: f64, count: u64) -> bool {
        if !value.is_finite() || count == 0 {
            return value.is_finite();
        }
        self.count = self.count.saturating_add(count);
        self.sum = self.sum.map(|sum| sum + value * as_f64(count));
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        let magnitude = value.abs();
        if magnitude <= self.zero_threshold {
            self.zero_count = self.zero_count.saturating_add(count);
            return true;
        }
        let index = i64::from(bucket_index(self.scale, magnitude));
        let side = if value > 0.0 { &self.positive } else { &self.negative };
        let change = halvings(join(side.range(), (index, index)), self.max_size);
        self.coarsen(change);
        let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        side.add(index >> change, count);
        true
    }

    /// Adds what `other` counted.
    ///
    /// A sum, minimum or maximum that one of them does not know is unknown then, unless that one
    /// counted nothing.
    pub fn merge(&mut self, other: &Self) {
        self.merge_statistics(other);
        if self.zero_threshold.to_bits() == other.zero_threshold.to_bits() {
            return self.merge_buckets(other);
        }
        let mut other = other.clone();
        self.widen_zeros(&mut other);
        self.merge_buckets(&other);
    }

    fn merge_statistics(&mut self, other: &Self) {
        if other.count > 0 {
            let known = |one: Option<f64>, other: Option<f64>, merge: fn(f64, f64) -> f64| {
                Some(merge(one?, other?))
            };
            if self.count == 0 {
                (self.sum, self.min, self.max) = (other.sum, other.min, other.max);
            } else {
                self.sum = known(self.sum, other.sum, |one, other| one + other);
                self.min = known(self.min, other.min, f64::min);
                self.max = known(self.max, other.max, f64::max);
            }
        }
        self.count = self.count.saturating_add(other.count);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
    }

    /// Brings both to the wider threshold of zero. A bucket that it falls into is counted as
    /// zeros as a whole, and the threshold is raised to that bucket's end.
    fn widen_zeros(&mut self, other: &mut Self) {
        let scale = self.scale.min(other.scale);
        self.limit_scale(scale);
        other.limit_scale(scale);
        let mut threshold = self.zero_threshold.max(other.zero_threshold);
        let mut last = i64::from(bucket_index(scale, threshold));
        if upper_bound(scale, last - 1) >= threshold {
            last -= 1; // It is a bucket's end, but rounding put it into the next.
        }
        let mut sides =
            [&mut self.positive, &mut self.negative, &mut other.positive, &mut other.negative];
        if sides.iter().any(|side| side.get(last) > 0) {
            threshold = threshold.max(upper_bound(scale, last));
        }
        let swallowed: u64 =
            sides.iter_mut().map(|side| side.take_until(last)).fold(0, u64::saturating_add);
        self.zero_count = self.zero_count.saturating_add(swallowed);
        (self.zero_threshold, other.zero_threshold) = (threshold, threshold);
        self.forget_idle_scale();
        other.forget_idle_scale();
    }

    fn merge_buckets(&mut self, other: &Self) {
        let scale = self.scale.min(other.scale);
        let (mine, theirs) = (distance(self.scale, scale), distance(other.scale, scale));
        let fit = |one: &Buckets, other: &Buckets| {
            let one = one.range().map(|range| shifted(range, mine));
            let other = other.range().map(|range| shifted(range, theirs));
            common_range(one, other).map_or(0, |range| halvings(range, self.max_size))
        };
        let change = fit(&self.positive, &other.positive).max(fit(&self.negative, &other.negative));
        let theirs = theirs.saturating_add(change);
        self.coarsen(mine.saturating_add(change));
        for (from, into) in
            [(&other.positive, &mut self.positive), (&other.negative, &mut self.negative)]
        {
            for (index, count) in from.iter() {
                into.add(shifted((index, index), theirs).0, count);
            }
        }
    }

    /// Makes the buckets, if there are any, coarser until the scale is at most `max_scale`.
    pub fn limit_scale(&mut self, max_scale: i32) {
        if !self.has_no_buckets() {
            self.coarsen(distance(self.scale, max_scale));
        }
    }

    /// Makes one bucket of `2^change` ones.
    fn coarsen(&mut self, change: u32) {
        if change > 0 {
            self.positive.coarsen(change);
            self.negative.coarsen(change);
            self.scale = self.scale.saturating_sub_unsigned(change);
        }
    }

    /// A histogram that has no buckets left may use the finest again.
    fn forget_idle_scale(&mut self) {
        if self.has_no_buckets() {
            self.scale = MAX_SCALE;
        }
    }

    fn has_no_buckets(&self) -> bool {
        self.positive.is_empty() && self.negative.is_empty()
    }

    /// Forgets everything that was counted.
    pub fn clear(&mut self) {
        *self = Self { max_size: self.max_size, ..Self::new(0) };
    }

    /// The scale; 0 while there are no buckets.
    pub fn scale(&self) -> i32 {
        match self.has_no_buckets() {
            true => 0,
            false => self.scale,
        }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, if it is known.
    pub fn sum(&self) -> Option<f64> {
        self.sum
    }

    /// The least of them, if it is known.
    pub fn min(&self) -> Option<f64> {
        self.min
    }

    /// The greatest of them, if it is known.
    pub fn max(&self) -> Option<f64> {
        self.max
    }

    /// Number of values that count as zeros.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// How far from zero such values may be.
    pub fn zero_threshold(&self) -> f64 {
        self.zero_threshold
    }

    /// Buckets of the values above zero.
    pub fn positive(&self) -> &Buckets {
        &self.positive
    }

    /// Buckets of the magnitudes of the values below zero.
    pub fn negative(&self) -> &Buckets {
        &self.negative
    }

    /// What it holds besides its own size, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.positive.heap_bytes() + self.negative.heap_bytes()
    }

    /// Writes the fields of an `ExponentialHistogramDataPoint`, its attributes and times aside.
    pub fn write(&self, point: &mut Writer) {
        point.fixed64(4, self.count);
        if let Some(sum) = self.sum {
            point.double(5, sum);
        }
        point.zigzag(6, i64::from(self.scale()));
        point.fixed64(7, self.zero_count);
        for (number, side) in [(8, &self.positive), (9, &self.negative)] {
            if !side.is_empty() {
                point.message(number, |buckets| {
                    buckets.zigzag(1, i64::from(side.offset()));
                    buckets.packed_varint(2, side.counts());
                });
            }
        }
        for (number, extreme) in [(12, self.min), (13, self.max)] {
            if let Some(extreme) = extreme {
                point.double(number, extreme);
            }
        }
        if self.zero_threshold > 0.0 {
            point.double(14, self.zero_threshold);
        }
    }
}

/// The first and the last index of buckets that hold something.
fn occupied(buckets: &metric::Buckets<'_>) -> Option<(i64, i64)> {
    let mut range = None;
    for (index, count) in (i64::from(buckets.offset)..).zip(buckets.counts()) {
        if count > 0 {
            range = Some(join(range, (index, index)));
        }
    }
    range
}

/// How many times buckets are halved in number on the way to a coarser scale.
fn distance(scale: i32, to: i32) -> u32 {
    u32::try_from(i64::from(scale) - i64::from(to)).unwrap_or(0)
}

#[allow(clippy::cast_precision_loss, reason = "sums are doubles")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
