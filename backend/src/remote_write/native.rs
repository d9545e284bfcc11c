//! Native histograms: from exponential ones, and from classic ones with their own bounds.
//!
//! Source: contrib pkg/translator/prometheusremotewrite/histograms.go.

use shared::wire::metric::ExponentialHistogramDataPoint;

use super::reason::Reason;
use super::series::{Buckets, NativeHistogram, STALE};

/// The finest resolution of native histograms.
const MAX_SCHEMA: i32 = 8;
/// The coarsest.
const MIN_SCHEMA: i32 = -4;
/// The schema of histograms that have their own bounds.
const CUSTOM_BOUNDS: i32 = -53;
/// The zero threshold of a histogram that says none.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Empty buckets between two others that are cheaper to write than a span of their own.
const MAX_GAP: i64 = 2;

/// A series that ended.
pub(super) fn stale() -> NativeHistogram {
    NativeHistogram { sum: STALE, ..NativeHistogram::default() }
}

/// # Errors
/// When it is coarser than native histograms can be, or has bucket numbers beyond all values.
pub(super) fn from_exponential(
    point: &ExponentialHistogramDataPoint<'_>,
) -> Result<NativeHistogram, Reason> {
    if point.scale < MIN_SCHEMA {
        return Err(Reason::Scale);
    }
    let down = (point.scale - MAX_SCHEMA).clamp(0, 63);
    // Bucket i of OTLP ends where bucket i + 1 of Prometheus ends.
    let side = |offset: i32, counts: &mut dyn Iterator<Item = u64>| {
        let first = i64::from(offset);
        layout(counts.zip(first..).map(|(count, index)| ((index >> down) + 1, count)))
    };
    let (positive, negative) = (&point.positive, &point.negative);
    Ok(NativeHistogram {
        count: point.count,
        sum: point.sum.unwrap_or_default(),
        schema: point.scale.min(MAX_SCHEMA),
        zero_threshold: match point.zero_threshold {
            0.0 => ZERO_THRESHOLD,
            threshold => threshold,
        },
        zero_count: point.zero_count,
        negative: side(negative.offset, &mut negative.counts()).ok_or(Reason::Invalid)?,
        positive: side(positive.offset, &mut positive.counts()).ok_or(Reason::Invalid)?,
        custom_values: Vec::new(),
    })
}

/// One with these upper bounds and one count more than those.
pub(super) fn from_bounds(
    bounds: Vec<f64>,
    counts: impl Iterator<Item = u64>,
    count: u64,
    sum: f64,
) -> Option<NativeHistogram> {
    let positive = layout((0..).zip(counts))?;
    let schema = CUSTOM_BOUNDS;
    let custom_values = bounds;
    Some(NativeHistogram { count, sum, schema, positive, custom_values, ..Default::default() })
}

/// Spans of buckets, from counts by bucket number in ascending order; of those of one number the
/// sum. `None` when a number is out of range.
fn layout(counts: impl Iterator<Item = (i64, u64)>) -> Option<Buckets> {
    let mut buckets = Buckets::default();
    // The end of the last span, and the count of its last bucket.
    let (mut end, mut last) = (0_i64, 0_i64);
    let mut add = |index: i64, count: u64| {
        let gap = index - end;
        if buckets.spans.is_empty() || gap > MAX_GAP {
            buckets.spans.push((i32::try_from(gap).ok()?, 0));
        } else {
            for _ in 0..gap {
                push(&mut buckets, &mut last, 0);
            }
        }
        push(&mut buckets, &mut last, count.cast_signed());
        end = index + 1;
        Some(())
    };
    let mut open: Option<(i64, u64)> = None;
    for (index, count) in counts.filter(|(_, count)| *count > 0) {
        match &mut open {
            Some((number, sum)) if *number == index => *sum = sum.saturating_add(count),
            _ => {
                if let Some((number, sum)) = open.replace((index, count)) {
                    add(number, sum)?;
                }
            }
        }
    }
    if let Some((number, sum)) = open {
        add(number, sum)?;
    }
    Some(buckets)
}

fn push(buckets: &mut Buckets, last: &mut i64, count: i64) {
    if let Some((_, length)) = buckets.spans.last_mut() {
        *length += 1;
    }
    buckets.deltas.push(count.wrapping_sub(*last));
    *last = count;
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use shared::wire::Writer;

    use super::*;

    /// An exponential histogram with these positive counts.
    fn exponential(scale: i32, offset: i32, counts: &[u64]) -> Result<NativeHistogram, Reason> {
        let mut writer = Writer::new();
        writer.fixed64(4, counts.iter().sum::<u64>() + 1);
        writer.double(5, 3.5);
        writer.zigzag(6, i64::from(scale));
        writer.fixed64(7, 1);
        writer.message(8, |buckets| {
            buckets.zigzag(1, i64::from(offset));
            buckets.packed_varint(2, counts.iter().copied());
        });
        from_exponential(&ExponentialHistogramDataPoint::read(writer.as_slice()))
    }

    #[track_caller]
    fn check(scale: i32, offset: i32, counts: &[u64], spans: &[(i32, u32)], deltas: &[i64]) {
        let histogram = exponential(scale, offset, counts).unwrap();
        assert_eq!(histogram.positive.spans, spans);
        assert_eq!(histogram.positive.deltas, deltas);
        assert_eq!(histogram.schema, scale.min(8));
    }

    /// The Collector's own output for this input.
    #[test]
    fn a_finer_histogram_is_scaled_down() {
        check(10, -5, &[1, 0, 2, 0, 0, 2], &[(-1, 3)], &[1, 1, 0]);
        let histogram = exponential(10, -5, &[1, 0, 2, 0, 0, 2]).unwrap();
        assert_eq!((histogram.zero_count, histogram.count, histogram.sum), (1, 6, 3.5));
        assert_eq!(histogram.zero_threshold.to_bits(), 1e-128_f64.to_bits());
    }

    #[test]
    fn buckets_are_numbered_by_their_upper_bound() {
        check(0, 0, &[4], &[(1, 1)], &[4]);
        check(3, -1, &[4, 6], &[(0, 2)], &[4, 2]);
    }

    #[test]
    fn a_wide_gap_begins_a_span_and_a_narrow_one_does_not() {
        check(0, 0, &[1, 0, 0, 3], &[(1, 4)], &[1, -1, 0, 3]);
        check(0, 0, &[1, 0, 0, 0, 3], &[(1, 1), (3, 1)], &[1, 2]);
        check(0, 7, &[0, 0, 5, 0], &[(10, 1)], &[5]);
        check(0, 7, &[0, 0], &[], &[]);
    }

    #[test]
    fn the_coarsest_scale_is_minus_four() {
        check(-4, 0, &[1], &[(1, 1)], &[1]);
        assert_eq!(exponential(-5, 0, &[1]), Err(Reason::Scale));
    }

    #[test]
    fn bucket_numbers_beyond_all_values_are_refused() {
        assert_eq!(exponential(8, i32::MAX, &[1]), Err(Reason::Invalid));
        check(i32::MAX, i32::MAX, &[1], &[(1, 1)], &[1]);
    }

    #[test]
    fn no_value_is_lost_by_scaling_down() {
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..500 {
            let scale = rng.random_range(-4..=20);
            let offset = rng.random_range(-2000..2000);
            let counts: Vec<u64> = (0..rng.random_range(0..200))
                .map(|_| rng.random_range(0..4_u64).saturating_sub(2))
                .collect();
            let buckets = exponential(scale, offset, &counts).unwrap().positive;
            let lengths: u32 = buckets.spans.iter().map(|(_, length)| length).sum();
            assert_eq!(lengths as usize, buckets.deltas.len());
            let absolute = buckets.deltas.iter().scan(0, |count, delta| {
                *count += delta;
                Some(*count)
            });
            let sum: i64 = absolute.inspect(|count| assert!(*count >= 0)).sum();
            assert_eq!(sum.cast_unsigned(), counts.iter().sum::<u64>());
        }
    }

    #[test]
    fn explicit_bounds_become_custom_values() {
        let histogram = from_bounds(vec![1.0, 2.0], [3, 0, 4].into_iter(), 7, 9.0).unwrap();
        assert_eq!((histogram.schema, histogram.count, histogram.sum), (-53, 7, 9.0));
        assert_eq!(histogram.custom_values, [1.0, 2.0]);
        assert_eq!(histogram.positive, Buckets { spans: vec![(0, 3)], deltas: vec![3, -3, 4] });
    }
}
