use proptest::prelude::*;

use super::*;
use crate::wire::Writer;

const SPREADS: [Spread; 4] = [Spread::Upper, Spread::Midpoint, Spread::Uniform, Spread::Random];

/// A data point of this scale, with counts of buckets from an offset on.
#[derive(Debug, Default)]
struct Point {
    scale: i64,
    zeros: (f64, u64),
    positive: (i64, Vec<u64>),
    negative: (i64, Vec<u64>),
}

impl Point {
    fn count(&self) -> u64 {
        self.zeros.1 + self.positive.1.iter().sum::<u64>() + self.negative.1.iter().sum::<u64>()
    }

    fn write(&self) -> Vec<u8> {
        let mut point = Writer::new();
        point.fixed64(4, self.count());
        point.zigzag(6, self.scale);
        point.fixed64(7, self.zeros.1);
        for (field, (offset, counts)) in [(8, &self.positive), (9, &self.negative)] {
            point.message(field, |buckets| {
                buckets.zigzag(1, *offset);
                buckets.packed_varint(2, counts.iter().copied());
            });
        }
        point.double(14, self.zeros.0);
        point.into_vec()
    }

    fn spread(&self, bounds: &[f64], spread: Spread) -> Result<Vec<u64>, &'static str> {
        let raw = self.write();
        explicit_counts(&ExponentialHistogramDataPoint::read(&raw), bounds, spread, || 1 << 63)
    }
}

#[track_caller]
fn check(point: &Point, bounds: &[f64], expected: &[u64]) {
    for spread in SPREADS {
        let counts = point.spread(bounds, spread).unwrap();
        assert_eq!(counts, expected, "{spread:?} of {point:?}");
    }
}

#[test]
fn a_bucket_within_an_explicit_one_is_that_one() {
    check(&Point { positive: (0, vec![8]), ..Point::default() }, &[1.0, 2.0], &[0, 8, 0]);
    check(&Point { positive: (10, vec![5]), ..Point::default() }, &[1.0, 2.0, 3.0], &[0, 0, 0, 5]);
    check(&Point { zeros: (0.0, 3), ..Point::default() }, &[-1.0, 0.0, 1.0], &[0, 3, 0, 0]);
    // 165.9 to 166.9, and 194.4 to 195.4.
    let mut counts = vec![0; 30];
    (counts[0], counts[29]) = (1, 1);
    let timing = Point { scale: 7, positive: (944, counts), ..Point::default() };
    check(&timing, &[160.0, 170.0, 180.0, 190.0, 200.0], &[0, 1, 0, 0, 1, 0]);
    check(&timing, &[1.0, 2.0], &[0, 0, 2]);
    check(&timing, &[1000.0, 2000.0], &[2, 0, 0]);
}

#[test]
fn a_bucket_over_several_explicit_ones_goes_where_its_values_are_taken_to_lie() {
    // 32 to 64, 64 to 128 and 128 to 256.
    let point = Point { positive: (5, vec![10, 22, 12]), ..Point::default() };
    let bounds = [40.0, 50.0, 90.0, 130.0];
    let spread = |spread| point.spread(&bounds, spread).unwrap();
    assert_eq!(spread(Spread::Upper), [0, 0, 10, 22, 12]);
    assert_eq!(spread(Spread::Midpoint), [0, 10, 0, 22, 12]);
    // Of the first a quarter up to 40 and 5.6 up to 50, of the second 8.9 up to 90, of the third
    // 0.2 up to 130; all rounded up, or to the nearest by this chance.
    assert_eq!(spread(Spread::Uniform), [3, 3, 4 + 9, 13 + 1, 11]);
    assert_eq!(spread(Spread::Random), [3, 3, 4 + 9, 13, 12]);
}

#[test]
fn what_lies_below_zero_is_counted_there() {
    let point = Point { zeros: (1.0, 8), positive: (0, vec![4]), negative: (0, vec![4]), scale: 0 };
    let bounds = [-2.0, -1.0, 0.0, 1.0, 2.0];
    assert_eq!(point.spread(&bounds, Spread::Uniform).unwrap(), [0, 4, 4, 4, 4, 0]);
    let bounds = [-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0];
    let above = Point { positive: (0, vec![4, 5]), ..Point::default() };
    let below = Point { negative: (0, vec![4, 5]), ..Point::default() };
    let mut mirrored = below.spread(&bounds, Spread::Uniform).unwrap();
    mirrored.reverse();
    assert_eq!(mirrored, above.spread(&bounds, Spread::Uniform).unwrap());
}

#[test]
fn no_value_is_lost() {
    let points = [
        Point {
            scale: 3,
            zeros: (0.01, 7),
            positive: (-5, vec![2, 3, 5, 7]),
            negative: (-2, vec![4, 5]),
        },
        Point {
            scale: -10,
            zeros: (f64::MAX, 9),
            positive: (-1, vec![3, 4]),
            negative: (-1, vec![1, 2]),
        },
        Point { scale: 20, positive: (i64::from(i32::MAX), vec![1, 1]), ..Point::default() },
        Point { positive: (0, vec![u64::MAX]), ..Point::default() },
    ];
    for point in points {
        for spread in SPREADS {
            let counts = point.spread(&[-10.0, -0.1, 0.0, 0.1, 1.3, 10.0], spread).unwrap();
            assert_eq!(counts.iter().sum::<u64>(), point.count(), "{spread:?} of {point:?}");
        }
    }
}

fn any_side() -> impl Strategy<Value = (i64, Vec<u64>)> {
    let offset = any::<i32>().prop_map(i64::from);
    let offset = prop_oneof![-40_i64..40, offset];
    (offset, prop::collection::vec(0..1_u64 << 40, 0..12))
}

fn any_point() -> impl Strategy<Value = Point> {
    let scale = prop_oneof![-12_i64..22, any::<i32>().prop_map(i64::from)];
    let zeros = (prop_oneof![Just(0.0), 0.0..10.0, Just(f64::MAX)], 0..1_u64 << 40);
    (scale, zeros, any_side(), any_side()).prop_map(|(scale, zeros, positive, negative)| Point {
        scale,
        zeros,
        positive,
        negative,
    })
}

proptest! {
    #[test]
    fn no_value_of_any_point_is_lost(
        point in any_point(),
        mut bounds in prop::collection::vec(-1e9..1e9, 1..9),
        chance: u64,
    ) {
        bounds.sort_by(f64::total_cmp);
        let raw = point.write();
        let read = ExponentialHistogramDataPoint::read(&raw);
        for spread in SPREADS {
            let counts = explicit_counts(&read, &bounds, spread, || chance).unwrap();
            prop_assert_eq!(counts.iter().sum::<u64>(), point.count());
        }
    }
}

#[test]
fn a_point_that_contradicts_itself_is_an_error() {
    let mut raw = Point { positive: (0, vec![1]), ..Point::default() }.write();
    let mut count = Writer::new();
    count.fixed64(4, 2);
    raw.extend_from_slice(count.as_slice());
    let point = ExponentialHistogramDataPoint::read(&raw);
    let error = explicit_counts(&point, &[1.0], Spread::Upper, || 0);
    assert_eq!(error, Err("the buckets do not hold as many values as the count says"));
    for threshold in [-1.0, f64::NAN, f64::INFINITY] {
        let error =
            Point { zeros: (threshold, 0), ..Point::default() }.spread(&[1.0], Spread::Upper);
        assert_eq!(error, Err("the threshold of zero must be a number of 0 or more"));
    }
}
