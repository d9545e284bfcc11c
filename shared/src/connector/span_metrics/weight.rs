//! How many spans a span stands for, by the sampling threshold in its trace state.
//!
//! Source: contrib `connector/spanmetricsconnector/internal/metrics/adjusted_count.go`.

use crate::wire::trace_state::Otel;

use super::random::Random;

/// Thresholds are parts of this.
const ALL: u64 = 1 << 56;

/// How many spans a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Itself included.
    pub(crate) count: u64,
    /// Whether its trace state says so.
    pub(crate) extrapolated: bool,
}

impl Weight {
    /// A span that stands for itself.
    pub(crate) const ONE: Weight = Weight { count: 1, extrapolated: false };
}

/// Weighs spans one after the other.
///
/// A weight that is no whole number is rounded up or down at random, so that sums are right in the
/// mean. It is drawn once for a run of equal trace states, as in the Collector.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    trace_state: &'a [u8],
    weight: Weight,
}

impl<'a> Weights<'a> {
    pub(crate) const fn new() -> Self {
        Self { trace_state: &[], weight: Weight::ONE }
    }

    /// The weight of a span with this trace state.
    #[inline]
    pub(crate) fn weigh(&mut self, trace_state: &'a [u8], random: &mut Random) -> Weight {
        // The library's comparison of nothing with nothing takes as long as reading a span: a masked
        // load from where no memory is.
        if trace_state.is_empty() {
            (self.trace_state, self.weight) = (&[], Weight::ONE);
        } else if trace_state != self.trace_state {
            self.trace_state = trace_state;
            self.weight = draw(trace_state, random);
        }
        self.weight
    }
}

/// Exact: of the kept share as a fraction, the whole part, and one more as often as the rest says.
#[cold]
fn draw(trace_state: &[u8], random: &mut Random) -> Weight {
    let threshold = Otel::read(trace_state).and_then(|otel| otel.threshold);
    match threshold {
        Some(threshold @ ..ALL) => {
            let kept = ALL - threshold;
            let (whole, rest) = (ALL / kept, ALL % kept);
            let count = whole + u64::from(random.below(kept) < rest);
            Weight { count, extrapolated: true }
        }
        _ => Weight::ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trace_state: &str, count: u64, extrapolated: bool) {
        let weight = draw(trace_state.as_bytes(), &mut Random::new(1));
        assert_eq!(weight, Weight { count, extrapolated }, "{trace_state}");
    }

    #[test]
    fn a_threshold_makes_a_span_stand_for_several() {
        check("ot=th:0", 1, true);
        check("ot=th:8", 2, true);
        check("ot=th:c", 4, true);
        check("vendor=x,ot=rv:0123456789abcd;th:e", 8, true);
        check("ot=th:ffffffffffffff", ALL, true);
    }

    #[test]
    fn without_a_threshold_that_can_be_read_a_span_stands_for_itself() {
        for trace_state in ["", "vendor=x", "ot=rv:0123456789abcd", "ot=th:xyz", "ot=th:c;x", "==="]
        {
            check(trace_state, 1, false);
        }
    }

    #[test]
    fn fractions_are_right_in_the_mean() {
        let mut random = Random::new(3);
        // 3 of 4 are kept: each stands for 4/3.
        let counts = (0..30_000).map(|_| draw(b"ot=th:4", &mut random).count);
        let sum: u64 = counts.inspect(|count| assert!((1..=2).contains(count))).sum();
        assert!((39_500..40_500).contains(&sum), "{sum}");
    }

    #[test]
    fn a_run_of_equal_trace_states_is_drawn_once() {
        let (mut random, mut weights) = (Random::new(5), Weights::new());
        for _ in 0..100 {
            let first = weights.weigh(b"ot=th:5", &mut random);
            assert!((0..20).all(|_| weights.weigh(b"ot=th:5", &mut random) == first));
            assert_eq!(weights.weigh(b"", &mut random), Weight::ONE);
        }
    }
}
