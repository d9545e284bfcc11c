//! Histograms with explicit bounds, and exponential ones as such.

use shared::exponential_histogram::{Buckets, ExponentialHistogram, upper_bound};

/// Buckets of an exponential histogram that are written on either side of zero.
const MAX_CLASSIC: u32 = 64;

/// Counts in buckets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// Each finite bound with the number of values up to it.
    pub(crate) buckets: Box<[(f64, u64)]>,
}

impl Histogram {
    /// The sum of both, at the bounds that both have: there, and only there, it is exact.
    pub(crate) fn joined(&self, other: &Histogram) -> Histogram {
        let mut others = other.buckets.iter().peekable();
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for (bound, count) in &self.buckets {
            while others.next_if(|(other, _)| other < bound).is_some() {}
            if let Some((_, other)) = others.next_if(|(other, _)| other.total_cmp(bound).is_eq()) {
                buckets.push((*bound, count.saturating_add(*other)));
            }
        }
        Histogram {
            count: self.count.saturating_add(other.count),
            sum: self.sum + other.sum,
            buckets: buckets.into(),
        }
    }

    /// An exponential histogram with powers of two as bounds, or of four, sixteen and so on where
    /// there would be too many: bounds that stay when the histogram grows or gets coarser.
    pub(crate) fn of_exponential(exponential: &ExponentialHistogram) -> Self {
        let scale = exponential.scale();
        let mut coarse = scale.min(0);
        let sides = [exponential.negative(), exponential.positive()];
        while sides.iter().any(|side| octaves(side, scale, coarse) > i64::from(MAX_CLASSIC)) {
            coarse -= 1;
        }
        let mut ascending = Ascending::default();
        let negative = grouped(exponential.negative(), scale, coarse);
        if let Some((lowest, _)) = negative.last() {
            ascending.reach(-upper_bound(coarse, *lowest));
        }
        for (index, count) in negative.into_iter().rev() {
            ascending.add(-upper_bound(coarse, index - 1), count);
        }
        if exponential.zero_count() > 0 {
            ascending.add(exponential.zero_threshold(), exponential.zero_count());
        }
        let positive = grouped(exponential.positive(), scale, coarse);
        if let Some((first, _)) = positive.first() {
            ascending.reach(upper_bound(coarse, first - 1));
        }
        for (index, count) in positive {
            ascending.add(upper_bound(coarse, index), count);
        }
        Self {
            count: exponential.count(),
            sum: exponential.sum().unwrap_or_default(),
            buckets: ascending.buckets.into(),
        }
    }
}

/// Bounds on their way up, with the number of values up to each.
#[derive(Default)]
struct Ascending {
    up_to: u64,
    buckets: Vec<(f64, u64)>,
}

impl Ascending {
    fn reach(&mut self, bound: f64) {
        self.add(bound, 0);
    }

    fn add(&mut self, bound: f64, count: u64) {
        self.up_to = self.up_to.saturating_add(count);
        match self.buckets.last_mut() {
            Some((last, up_to)) if *last >= bound => *up_to = self.up_to,
            _ => self.buckets.push((bound, self.up_to)),
        }
    }
}

/// How many buckets there are at a coarser scale.
fn octaves(side: &Buckets, scale: i32, coarse: i32) -> i64 {
    let shift = scale.abs_diff(coarse).min(63);
    let first = i64::from(side.offset());
    let last = first + i64::try_from(side.len()).unwrap_or(i64::MAX) - 1;
    if side.is_empty() { 0 } else { (last >> shift) - (first >> shift) + 1 }
}

/// All buckets at a coarser scale, from the first to the last.
fn grouped(side: &Buckets, scale: i32, coarse: i32) -> Vec<(i64, u64)> {
    let shift = scale.abs_diff(coarse).min(63);
    let mut groups: Vec<(i64, u64)> = Vec::new();
    for (index, count) in (i64::from(side.offset())..).zip(side.counts()) {
        let index = index >> shift;
        match groups.last_mut() {
            Some((last, sum)) if *last == index => *sum = sum.saturating_add(count),
            _ => groups.push((index, count)),
        }
    }
    groups
}

/// The finest schema of native histograms, and the coarsest.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// As the Collector writes it where a histogram says none.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Empty buckets that are written out rather than skipped. Source: `client_golang` `histogram.go`.
const WRITTEN_GAP: i64 = 2;

/// A native histogram, as it stands in an exposition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Native {
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: u64,
    pub(crate) negative: Spans,
    pub(crate) positive: Spans,
}

/// Runs of buckets: how far each begins behind the last one, and how long it is; then what each
/// bucket has more than the one before.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Spans {
    pub(crate) spans: Vec<(i64, u64)>,
    pub(crate) deltas: Vec<i64>,
}

impl Native {
    /// `None` where buckets are coarser than any schema's.
    pub(crate) fn of_exponential(exponential: &ExponentialHistogram) -> Option<Self> {
        let scale = exponential.scale();
        if scale < *SCHEMAS.start() {
            return None;
        }
        let schema = scale.min(*SCHEMAS.end());
        let threshold = exponential.zero_threshold();
        Some(Self {
            schema,
            zero_threshold: if threshold > 0.0 { threshold } else { ZERO_THRESHOLD },
            zero_count: exponential.zero_count(),
            negative: Spans::new(grouped(exponential.negative(), scale, schema)),
            positive: Spans::new(grouped(exponential.positive(), scale, schema)),
        })
    }
}

impl Spans {
    fn new(buckets: Vec<(i64, u64)>) -> Self {
        let mut all = Self::default();
        // The bucket that would come next, and what the last one has.
        let (mut next, mut last) = (0, 0_i64);
        for (index, count) in buckets.into_iter().filter(|(_, count)| *count > 0) {
            // OTLP numbers a bucket by its lower bound, Prometheus by its upper one.
            let index = index + 1;
            let gap = index - next;
            match all.spans.last_mut() {
                Some((_, length)) if gap <= WRITTEN_GAP => {
                    for _ in 0..gap {
                        all.deltas.push(-last);
                        last = 0;
                        *length += 1;
                    }
                    *length += 1;
                }
                _ => all.spans.push((gap, 1)),
            }
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            all.deltas.push(count - last);
            (next, last) = (index + 1, count);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(values: &[f64]) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(160);
        for value in values {
            assert!(histogram.observe(*value, 1));
        }
        histogram
    }

    #[track_caller]
    fn check_classic(values: &[f64], expected: &[(f64, u64)]) {
        let classic = Histogram::of_exponential(&exponential(values));
        assert_eq!(*classic.buckets, *expected);
        assert_eq!(classic.count, u64::try_from(values.len()).unwrap());
    }

    #[test]
    fn an_exponential_histogram_is_read_by_powers_of_two() {
        check_classic(&[], &[]);
        check_classic(&[0.0], &[(0.0, 1)]);
        check_classic(&[1.0], &[(0.5, 0), (1.0, 1)]);
        check_classic(
            &[0.3, 1.5, 1.6, 5.0],
            &[(0.25, 0), (0.5, 1), (1.0, 1), (2.0, 3), (4.0, 3), (8.0, 4)],
        );
        check_classic(
            &[-3.0, -1.5, 0.0, 3.0],
            &[(-4.0, 0), (-2.0, 1), (-1.0, 2), (0.0, 3), (2.0, 3), (4.0, 4)],
        );
    }

    #[test]
    fn a_wide_histogram_has_bounded_buckets_and_all_its_values() {
        let classic = Histogram::of_exponential(&exponential(&[1e-200, 1.0, 1e200]));
        assert!(classic.buckets.len() <= 65, "{}", classic.buckets.len());
        assert_eq!(classic.buckets.last().map(|(_, count)| *count), Some(3));
        assert!(classic.buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1));
    }

    #[test]
    fn the_same_bounds_stay_while_a_histogram_gets_coarser() {
        let few: Vec<f64> = (1..20).map(f64::from).collect();
        let many: Vec<f64> = (1..5000).map(f64::from).collect();
        let (few, many) = (exponential(&few), exponential(&many));
        assert!(few.scale() > many.scale());
        let many = Histogram::of_exponential(&many);
        for bucket in Histogram::of_exponential(&few).buckets.iter().filter(|(at, _)| *at < 16.0) {
            assert!(many.buckets.contains(bucket), "{bucket:?}");
        }
    }

    #[test]
    fn far_buckets_begin_a_new_span() {
        let near = Spans::new(vec![(-3, 1), (-2, 0), (-1, 4), (0, 4)]);
        assert_eq!(near, Spans { spans: vec![(-2, 4)], deltas: vec![1, -1, 4, 0] });
        let far = Spans::new(vec![(-3, 1), (1, 2), (5, 1)]);
        assert_eq!(far, Spans { spans: vec![(-2, 1), (3, 1), (3, 1)], deltas: vec![1, 1, -1] });
    }
}
