use opentelemetry_proto::tonic::metrics::v1 as otlp;
use otlp::exponential_histogram_data_point::Buckets as OtlpBuckets;
use proptest::prelude::*;
use prost::Message;

use super::*;

fn observed(values: &[f64], max_size: i32) -> ExponentialHistogram {
    let mut histogram = ExponentialHistogram::new(max_size);
    for value in values {
        assert!(histogram.observe(*value, 1));
    }
    histogram
}

fn filled(buckets: &Buckets) -> Vec<(i64, u64)> {
    buckets.iter().collect()
}

fn written(histogram: &ExponentialHistogram) -> Vec<u8> {
    let mut point = Writer::new();
    histogram.write(&mut point);
    point.into_vec()
}

fn read(point: &[u8], max_size: i32) -> ExponentialHistogram {
    ExponentialHistogram::from_point(&ExponentialHistogramDataPoint::read(point), max_size)
}

#[track_caller]
fn check(values: &[f64], max_size: i32, scale: i32, run: (i32, usize), buckets: &[(i64, u64)]) {
    let histogram = observed(values, max_size);
    assert_eq!(histogram.scale(), scale);
    assert_eq!((histogram.positive().offset(), histogram.positive().len()), run);
    assert_eq!(filled(histogram.positive()), buckets);
    assert!(histogram.negative().is_empty());
}

/// Source: real output of lightstep/go-expohisto.
#[test]
fn values_fall_into_the_buckets_of_the_original() {
    check(&[1.0], 160, 20, (-1, 1), &[(-1, 1)]);
    check(&[1.0, 2.0], 160, 7, (-1, 129), &[(-1, 1), (127, 1)]);
    check(&[1.0, 2.0, 4.0], 160, 6, (-1, 129), &[(-1, 1), (63, 1), (127, 1)]);
    check(&[1.0, 1000.0], 160, 3, (-1, 81), &[(-1, 1), (79, 1)]);
    check(&[1.0, 100_000.0], 160, 3, (-1, 134), &[(-1, 1), (132, 1)]);
    check(&[0.001, 60_000.0], 160, 2, (-40, 104), &[(-40, 1), (63, 1)]);
    check(&[1.0, 2.0, 4.0, 8.0], 4, 0, (-1, 4), &[(-1, 1), (0, 1), (1, 1), (2, 1)]);
    check(&[1.0, 2.0, 4.0, 8.0, 16.0], 4, -1, (-1, 3), &[(-1, 1), (0, 2), (1, 2)]);
    check(&[5e-324, 1e308], 160, -4, (-64, 128), &[(-64, 1), (63, 1)]);
}

#[test]
fn zeros_are_counted_apart() {
    check(&[0.0], 160, 0, (0, 0), &[]);
    assert_eq!(observed(&[0.0], 160).zero_count(), 1);
    let mut histogram = ExponentialHistogram::new(160);
    for value in [12.5, 100.0, 0.0, 3.7] {
        histogram.observe(value, 4);
    }
    assert_eq!(histogram.scale(), 5);
    assert_eq!((histogram.positive().offset(), histogram.positive().len()), (60, 153));
    assert_eq!(filled(histogram.positive()), [(60, 4), (116, 4), (212, 4)]);
    assert_eq!((histogram.zero_count(), histogram.count()), (4, 16));
    assert!((histogram.sum().unwrap() - 464.8).abs() < 1e-9);
    assert_eq!((histogram.min(), histogram.max()), (Some(0.0), Some(100.0)));
}

#[test]
fn sizes_that_make_no_sense_are_corrected() {
    let sizes = [-1, 0, 1, 2, 20, 16_384, i32::MAX];
    let corrected = sizes.map(|size| ExponentialHistogram::new(size).max_size);
    assert_eq!(corrected, [160, 160, 2, 2, 20, 16_384, 16_384]);
}

#[test]
fn what_is_no_number_is_not_counted() {
    let mut histogram = ExponentialHistogram::new(160);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!histogram.observe(value, 1));
    }
    assert_eq!(histogram, ExponentialHistogram::new(160));
}

#[test]
fn negative_values_have_buckets_of_their_own() {
    let histogram = observed(&[-1.0, -2.0, 4.0], 160);
    assert_eq!((histogram.scale(), filled(histogram.positive())), (7, vec![(255, 1)]));
    assert_eq!(filled(histogram.negative()), [(-1, 1), (127, 1)]);
    assert_eq!(
        (histogram.min(), histogram.max(), histogram.sum()),
        (Some(-2.0), Some(4.0), Some(1.0))
    );
}

#[test]
fn counters_are_as_wide_as_they_must_be() {
    let mut histogram = observed(&[1.0, 2.0], 160);
    let narrow = histogram.heap_bytes();
    assert!((129..200).contains(&narrow), "{narrow} bytes");
    for (value, count) in [(1.0, 254), (2.0, 0xffff), (1.0, 1 << 40), (2.0, u64::MAX)] {
        histogram.observe(value, count);
    }
    assert_eq!(filled(histogram.positive()), [(-1, (1 << 40) + 255), (127, u64::MAX)]);
    assert_eq!(histogram.count(), u64::MAX, "it stays there instead of starting anew");
}

#[test]
fn a_histogram_is_written_and_read_as_otlp_has_it() {
    let mut histogram = observed(&[0.0, -3.0, 1.0, 1.5, 700.0], 20);
    histogram.zero_threshold = 1e-9;
    let bytes = written(&histogram);
    let point = otlp::ExponentialHistogramDataPoint::decode(&bytes[..]).unwrap();
    assert_eq!((point.count, point.zero_count, point.scale), (5, 1, histogram.scale()));
    assert_eq!((point.min, point.max, point.sum), (Some(-3.0), Some(700.0), Some(699.5)));
    assert_eq!(point.zero_threshold.to_bits(), 1e-9_f64.to_bits());
    let positive = point.positive.unwrap();
    assert_eq!(positive.offset, histogram.positive().offset());
    assert_eq!(positive.bucket_counts, histogram.positive().counts().collect::<Vec<_>>());
    assert_eq!(point.negative.unwrap().bucket_counts, [1]);
    assert_eq!(read(&bytes, 20), histogram);
    assert_eq!(read(&written(&ExponentialHistogram::new(20)), 20), ExponentialHistogram::new(20));
}

#[test]
fn a_sum_that_one_side_does_not_know_is_unknown() {
    let mut unknown = observed(&[1.0], 160);
    (unknown.sum, unknown.min) = (None, None);
    let mut merged = observed(&[2.0], 160);
    merged.merge(&ExponentialHistogram::new(160));
    assert_eq!((merged.sum(), merged.min()), (Some(2.0), Some(2.0)));
    merged.merge(&unknown);
    assert_eq!((merged.sum(), merged.min(), merged.max()), (None, None, Some(2.0)));
    let mut empty = ExponentialHistogram::new(160);
    empty.merge(&unknown);
    assert_eq!((empty.sum(), empty.max()), (None, Some(1.0)));
}

#[test]
fn the_wider_threshold_of_zero_swallows_whole_buckets() {
    // At scale 0: 1 is in (0.5, 1], 3 in (2, 4], 10 in (8, 16].
    let mut fine = observed(&[-1.0, 1.0, 3.0, 10.0], 160);
    fine.limit_scale(0);
    let mut wide = observed(&[0.0, 10.0], 160);
    wide.zero_threshold = 3.0;
    let mut merged = fine.clone();
    merged.merge(&wide);
    assert_eq!(merged.zero_threshold().to_bits(), 4_f64.to_bits(), "the end of the bucket of 3");
    assert_eq!((merged.zero_count(), merged.count()), (4, 6));
    assert_eq!(filled(merged.positive()), [(3, 2)]);
    assert!(merged.negative().is_empty());

    // The other way round, and with a threshold that falls between filled buckets or on an end.
    let mut other = wide.clone();
    other.merge(&fine);
    assert_eq!((other.zero_threshold().to_bits(), other.zero_count()), (4_f64.to_bits(), 4));
    for (threshold, swallowed) in [(1.5, 2), (2.0, 2), (4.0, 3), (1.0, 2), (0.5, 0)] {
        wide.zero_threshold = threshold;
        let mut merged = fine.clone();
        merged.merge(&wide);
        let seen = (merged.zero_threshold().to_bits(), merged.zero_count());
        assert_eq!(seen, (threshold.to_bits(), swallowed + 1), "{threshold}");
    }
}

#[test]
fn the_scale_can_be_limited() {
    let mut histogram = observed(&[1.0, 1.1, 1.2], 160);
    let scale = histogram.scale();
    histogram.limit_scale(scale + 1);
    assert_eq!(histogram.scale(), scale);
    histogram.limit_scale(0);
    assert_eq!((histogram.scale(), filled(histogram.positive())), (0, vec![(-1, 1), (0, 2)]));
    let mut empty = ExponentialHistogram::new(160);
    empty.limit_scale(3);
    assert_eq!(empty, ExponentialHistogram::new(160));
}

/// What the definition of a bucket says, with logarithms: right but for rounding at the bounds.
#[track_caller]
fn assert_is_in_bucket(scale: i32, value: f64, index: i32) {
    let position = value.log2() * f64::from(scale).exp2();
    let slack = position.abs() * 1e-12 + 1e-6;
    let index = f64::from(index);
    assert!(index < position + slack, "{value} at {scale}: {index} begins above {position}");
    assert!(position - slack <= index + 1.0, "{value} at {scale}: {index} ends below {position}");
}

#[test]
fn bounds_of_powers_of_two_are_exact() {
    for scale in [-10, -3, 0, 1, 7, 20] {
        for exponent in [-1000, -8, 0, 8, 1000] {
            let power = f64::from(exponent).exp2();
            let index = bucket_index(scale, power);
            assert!(upper_bound(scale, index) >= power);
            if scale >= 0 {
                assert_eq!(upper_bound(scale, index).to_bits(), power.to_bits());
                assert_eq!(bucket_index(scale, power.next_up()), index + 1);
            }
        }
    }
    assert_eq!(upper_bound(-10, 0).to_bits(), f64::MAX.to_bits());
    assert_eq!(upper_bound(0, i32::MIN).to_bits(), 0);
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let magnitude = prop_oneof![1e-3..1e5_f64, 1.0..2.0_f64, Just(0.0), Just(4.0), any::<f64>()];
    let finite = magnitude.prop_filter("finite", |value| value.is_finite());
    // Sums of doubles depend on their order, so the values are few and their sum is not compared.
    proptest::collection::vec(finite, 0..60)
}

fn without_sum(mut histogram: ExponentialHistogram) -> ExponentialHistogram {
    histogram.sum = None;
    histogram
}

fn otlp_buckets() -> impl Strategy<Value = OtlpBuckets> {
    let offset = prop_oneof![-200..200_i32, any::<i32>(), Just(i32::MAX)];
    let counts = proptest::collection::vec(prop_oneof![Just(0), 0..9_u64, any::<u64>()], 0..300);
    (offset, counts).prop_map(|(offset, bucket_counts)| OtlpBuckets { offset, bucket_counts })
}

fn otlp_point() -> impl Strategy<Value = Vec<u8>> {
    let scale = prop_oneof![-10..=20_i32, any::<i32>()];
    let threshold = prop_oneof![Just(0.0), 0.0..9.0_f64, any::<f64>()];
    (scale, otlp_buckets(), otlp_buckets(), threshold, any::<u64>()).prop_map(
        |(scale, positive, negative, zero_threshold, count)| {
            otlp::ExponentialHistogramDataPoint {
                count,
                scale,
                positive: Some(positive),
                negative: Some(negative),
                zero_threshold,
                ..otlp::ExponentialHistogramDataPoint::default()
            }
            .encode_to_vec()
        },
    )
}

fn total(histogram: &ExponentialHistogram) -> u64 {
    let buckets = histogram.positive().counts().chain(histogram.negative().counts());
    buckets.fold(histogram.zero_count(), u64::saturating_add)
}

proptest! {
    #[test]
    fn every_value_is_where_the_definition_has_it(value in 1e-300..1e300_f64, scale in -10..=20) {
        let index = bucket_index(scale, value);
        assert_is_in_bucket(scale, value, index);
        prop_assert_eq!(bucket_index(scale - 1, value), index >> 1);
    }

    #[test]
    fn a_histogram_is_what_a_naive_one_would_be(values in values(), max_size in 2..200) {
        let histogram = observed(&values, max_size);
        // The finest scale at which the buckets of all values fit.
        let naive = |scale| {
            [1.0, -1.0].map(|sign| {
                let mut buckets = std::collections::BTreeMap::new();
                for value in values.iter().filter(|value| **value * sign > 0.0) {
                    let index = i64::from(bucket_index(scale, value.abs()));
                    *buckets.entry(index).or_insert(0) += 1_u64;
                }
                buckets
            })
        };
        let fits = |scale: &i32| naive(*scale).iter().all(|buckets| {
            let ends = buckets.first_key_value().zip(buckets.last_key_value());
            ends.is_none_or(|(first, last)| last.0 - first.0 < i64::from(max_size))
        });
        let scale = (-11..=20).rev().find(fits).unwrap();
        let [positive, negative] = naive(scale).map(|side| side.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(filled(histogram.positive()), positive.clone());
        prop_assert_eq!(filled(histogram.negative()), negative.clone());
        let empty = positive.is_empty() && negative.is_empty();
        prop_assert_eq!(histogram.scale(), if empty { 0 } else { scale });
        prop_assert_eq!(total(&histogram), values.len() as u64);
    }

    #[test]
    fn parts_in_any_order_merge_to_the_whole(
        values in values(), cut in 0..60_usize, max_size in 2..200,
    ) {
        let (one, other) = values.split_at(cut.min(values.len()));
        let mut merged = observed(other, max_size);
        merged.merge(&observed(one, max_size));
        prop_assert_eq!(without_sum(merged.clone()), without_sum(observed(&values, max_size)));
        let again = read(&written(&merged), max_size);
        prop_assert_eq!(again, merged);
    }

    #[test]
    fn any_points_merge_without_losing_a_count(
        one in otlp_point(), other in otlp_point(), max_size in 2..200, limit in any::<i32>(),
    ) {
        let mut merged = read(&one, max_size);
        let other = read(&other, max_size);
        let sum = total(&merged).saturating_add(total(&other));
        merged.merge(&other);
        // Counters that are full stay full, so a sum over them may be less.
        prop_assert!(total(&merged) == sum || sum == u64::MAX);
        for side in [merged.positive(), merged.negative()] {
            prop_assert!(side.len() <= usize::try_from(max_size).unwrap());
        }
        merged.limit_scale(limit);
        merged.observe(1.0, 1);
        prop_assert!(merged.positive().len() <= usize::try_from(max_size).unwrap());
    }
}
