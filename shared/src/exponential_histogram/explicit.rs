//! Exponential buckets counted into explicit ones.
//!
//! Source: contrib `pkg/expohisto/conversion`.

use super::upper_bound;
use crate::wire::metric::{Buckets, ExponentialHistogramDataPoint};

/// Where the values of an exponential bucket are taken to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All at its end farther from negative infinity.
    Upper,
    /// All in the middle.
    Midpoint,
    /// Evenly.
    Uniform,
    /// Evenly, where what cannot be divided falls to chance.
    Random,
}

/// The number of values in each bucket between `bounds`, which rise; one more than there are.
/// `random` gives what chance decides by, with equal probability for all numbers.
///
/// # Errors
/// If the point contradicts itself.
pub fn explicit_counts(
    point: &ExponentialHistogramDataPoint<'_>,
    bounds: &[f64],
    spread: Spread,
    random: impl FnMut() -> u64,
) -> Result<Vec<u64>, &'static str> {
    let buckets = point.positive.counts().chain(point.negative.counts()).map(u128::from);
    if buckets.sum::<u128>() + u128::from(point.zero_count) != u128::from(point.count) {
        return Err("the buckets do not hold as many values as the count says");
    }
    let threshold = point.zero_threshold;
    if !threshold.is_finite() || threshold < 0.0 {
        return Err("the threshold of zero must be a number of 0 or more");
    }
    let mut explicit = Explicit { bounds, counts: vec![0; bounds.len() + 1], spread, random };
    explicit.add(-threshold, threshold, point.zero_count);
    for (lower, upper, count) in magnitudes(point.scale, &point.negative) {
        explicit.add(-upper, -lower, count);
    }
    for (lower, upper, count) in magnitudes(point.scale, &point.positive) {
        explicit.add(lower, upper, count);
    }
    Ok(explicit.counts)
}

/// The bounds of the buckets on one side, and what they hold. Empty ones are left out.
fn magnitudes(scale: i32, buckets: &Buckets<'_>) -> impl Iterator<Item = (f64, f64, u64)> {
    let indices = i64::from(buckets.offset)..;
    let filled = indices.zip(buckets.counts()).filter(|(_, count)| *count > 0);
    filled.map(move |(index, count)| {
        (upper_bound(scale, index - 1), upper_bound(scale, index), count)
    })
}

struct Explicit<'b, R> {
    bounds: &'b [f64],
    /// Together never more than the point's count, so that no sum overflows.
    counts: Vec<u64>,
    spread: Spread,
    random: R,
}

impl<R: FnMut() -> u64> Explicit<'_, R> {
    /// Counts the values of a bucket.
    fn add(&mut self, lower: f64, upper: f64, count: u64) {
        match self.spread {
            Spread::Upper => self.put(upper, count),
            Spread::Midpoint => self.put(lower / 2.0 + upper / 2.0, count),
            _ if lower >= upper => self.put(upper, count),
            Spread::Uniform => self.divide(lower, upper, count, u64::MAX),
            Spread::Random => {
                let offset = (self.random)();
                self.divide(lower, upper, count, offset);
            }
        }
    }

    /// Counts values that are all the same.
    fn put(&mut self, value: f64, count: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.count(place, count);
    }

    fn count(&mut self, place: usize, count: u64) {
        if let Some(counted) = self.counts.get_mut(place) {
            *counted += count;
        }
    }

    /// Counts values that lie evenly between two bounds. What lies below each explicit bound is
    /// rounded, up if `offset` is large, so that all parts together are the whole.
    fn divide(&mut self, lower: f64, upper: f64, count: u64, offset: u64) {
        // Halves, since the distance between two doubles may be more than a double holds.
        let width = upper / 2.0 - lower / 2.0;
        let mut place = self.bounds.partition_point(|bound| *bound <= lower);
        let mut counted = 0;
        while let Some(bound) = self.bounds.get(place).filter(|bound| **bound < upper) {
            let share = (bound / 2.0 - lower / 2.0) / width;
            let below = rounded(count, share, offset).max(counted);
            self.count(place, below - counted);
            counted = below;
            place += 1;
        }
        self.count(place, count - counted);
    }
}

/// A share of `count`, rounded up with a probability like its fraction if `offset` is random.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is between 0 and 1, and what is cut off is below a 64th bit"
)]
fn rounded(count: u64, share: f64, offset: u64) -> u64 {
    let share = (share * 2_f64.powi(64)) as u64;
    let scaled = u128::from(count) * u128::from(share) + u128::from(offset);
    (scaled >> 64) as u64
}

#[cfg(test)]
mod tests;
