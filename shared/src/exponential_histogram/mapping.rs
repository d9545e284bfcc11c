//! From values to buckets and back, and the arithmetic of ranges of buckets.
//!
//! Indices of buckets are 32 bits wide in OTLP; they are computed with 64.

use super::MAX_SCALE;

/// Bits of a double's significand that are stored.
const SIGNIFICAND_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const EXPONENT_BIAS: i32 = f64::MAX_EXP - 1;

/// The index of the bucket that holds a magnitude, which is finite and above 0.
///
/// Scales above [`MAX_SCALE`] are taken as that. What is smaller than the smallest normal double
/// is taken as that.
#[allow(clippy::cast_possible_truncation, reason = "exponents have 11 bits, fractions are below 1")]
pub fn bucket_index(scale: i32, magnitude: f64) -> i32 {
    let scale = scale.min(MAX_SCALE);
    let bits = magnitude.max(f64::MIN_POSITIVE).to_bits();
    let exponent = (bits >> SIGNIFICAND_BITS) as i32 - EXPONENT_BIAS;
    let significand = bits & ((1 << SIGNIFICAND_BITS) - 1);
    // A power of two is the end of its bucket, exactly; logarithms would make that a guess.
    let is_power = significand == 0;
    if scale <= 0 {
        return (exponent - i32::from(is_power)) >> scale.unsigned_abs().min(i32::BITS - 1);
    }
    if is_power {
        return (exponent << scale) - 1;
    }
    // Only the fraction goes through a logarithm, so its error does not grow with the exponent,
    // and the index at a coarser scale is always this one, shifted.
    let fraction = f64::from_bits(significand | 1_f64.to_bits()).log2();
    let steps = 1_i32 << scale;
    let step = (fraction * f64::from(steps)) as i32;
    (exponent << scale) + step.min(steps - 1)
}

/// The upper bound of a bucket, which belongs to it.
pub fn upper_bound(scale: i32, index: impl Into<i64>) -> f64 {
    let index = index.into().saturating_add(1);
    if scale <= 0 {
        let exponent = i128::from(index) << scale.unsigned_abs().min(i32::BITS);
        return power_of_two(exponent);
    }
    let scale = scale.unsigned_abs().min(62);
    let (whole, part) = (index >> scale, index & ((1 << scale) - 1));
    (power_of_two(i128::from(whole)) * (to_f64(part) / to_f64(1 << scale)).exp2()).min(f64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "no scale in use has more steps than a double")]
fn to_f64(step: i64) -> f64 {
    step as f64
}

/// Two to this power, or the nearest finite double.
fn power_of_two(exponent: i128) -> f64 {
    match i32::try_from(exponent) {
        Ok(exponent) => 2_f64.powf(f64::from(exponent)).min(f64::MAX),
        Err(_) if exponent < 0 => 0.0,
        Err(_) => f64::MAX,
    }
}

/// A range of buckets, from the first to the last.
pub(super) type Range = (i64, i64);

/// The range at a scale that is coarser by `change`.
pub(super) fn shifted((low, high): Range, change: u32) -> Range {
    let change = change.min(i64::BITS - 1);
    (low >> change, high >> change)
}

/// The least range that holds both.
pub(super) fn join(one: Option<Range>, other: Range) -> Range {
    one.map_or(other, |one| (one.0.min(other.0), one.1.max(other.1)))
}

/// The same for two ranges that may be missing.
pub(super) fn common_range(one: Option<Range>, other: Option<Range>) -> Option<Range> {
    match other {
        Some(other) => Some(join(one, other)),
        None => one,
    }
}

/// How many times the number of buckets must be halved for a range to have at most `max_size`.
pub(super) fn halvings((mut low, mut high): Range, max_size: u32) -> u32 {
    let mut halvings = 0;
    while high - low >= i64::from(max_size) {
        (low, high) = (low >> 1, high >> 1);
        halvings += 1;
    }
    halvings
}
