//! `latency`: keeps traces by their time from the earliest start to the latest end.
//!
//! The Collector asks after each span, in the order of arrival, whether what it has seen so far is
//! in the range, and keeps the trace as soon as it is. So with an upper bound a trace may be kept
//! that turns out longer. Source: contrib tailsamplingprocessor/internal/sampling/latency.go.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::{
    Ballot, Builder, Case, Compat, Decision, Marks, Policy, PolicyConfig, Rule, Sight, Vote,
};
use crate::tail_sampling::trace::Summary;

config_struct! {
    /// `latency`.
    pub(super) struct LatencyConfig {
        /// Longer traces are kept, in milliseconds. Until v0.156 without an upper bound: such that
        /// are no shorter.
        pub threshold_ms: i64 = 0,
        /// The longest time kept, in milliseconds, inclusive; 0 is no bound.
        pub upper_threshold_ms: i64 = 0,
    }
}

impl PolicyConfig for LatencyConfig {
    const TYPE: &'static str = "latency";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.threshold_ms < 0 {
            problems.report(&at.key("threshold_ms"), "must not be negative");
        }
        if self.upper_threshold_ms != 0 && self.upper_threshold_ms <= self.threshold_ms {
            problems.report(
                &at.key("upper_threshold_ms"),
                format!(
                    "must be above threshold_ms ({}), or no trace can match",
                    self.threshold_ms
                ),
            );
        }
        if self.threshold_ms == 0 && self.upper_threshold_ms == 0 {
            problems.warn(at, "keeps every trace: neither threshold_ms nor an upper bound is set");
        }
    }

    fn marks(&self) -> usize {
        1
    }

    fn keeps_everything(&self) -> bool {
        self.threshold_ms == 0 && self.upper_threshold_ms == 0
    }

    fn is_stateful(&self) -> bool {
        self.upper_threshold_ms != 0
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let upper = Some(self.upper_threshold_ms).filter(|upper| *upper != 0);
        let inclusive = upper.is_none() && builder.terms().compat == Compat::V0156;
        let shortest = self.threshold_ms.saturating_add(i64::from(!inclusive));
        builder.policy(Latency { shortest, longest: upper.unwrap_or(i64::MAX) })
    }
}

/// Both bounds are inclusive, in whole milliseconds.
struct Latency {
    shortest: i64,
    longest: i64,
}

impl Policy for Latency {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        Marks::seen_if((self.shortest..=self.longest).contains(&milliseconds(sight.summary)))
    }

    fn evaluate(&self, marks: Marks, _case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(!marks.is_none()))
    }

    fn foregone(&self, marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        (!marks.is_none()).then_some(Decision::Sampled)
    }
}

/// From the earliest start to the latest end, cut to whole milliseconds towards zero.
fn milliseconds(summary: &Summary) -> i64 {
    let (start, end) = (summary.start_ns.cast_signed(), summary.end_ns.cast_signed());
    end.saturating_sub(start) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_all, problems};
    use super::*;
    use Decision::{NotSampled, Sampled};

    #[test]
    fn the_threshold_is_inclusive_without_an_upper_bound() {
        let config = "{type: latency, latency: {threshold_ms: 100}}";
        check(config, "1..101", Sampled);
        check(config, "1..100", NotSampled);
    }

    #[test]
    fn with_an_upper_bound_the_lower_is_exclusive_and_the_upper_inclusive() {
        let config = "{type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 200}}";
        check(config, "1..101", NotSampled);
        check(config, "1..102", Sampled);
        check(config, "1..201", Sampled);
        check(config, "1..202", NotSampled);
    }

    #[test]
    fn since_v0_157_the_threshold_is_exclusive_in_any_case() {
        let check = |trace, expected| {
            let policy = "{type: latency, latency: {threshold_ms: 100}}";
            check_all("compat: latest\n", &[policy], trace, expected);
        };
        check("1..101", NotSampled);
        check("1..102", Sampled);
    }

    #[test]
    fn what_has_arrived_is_asked_about_after_each_span() {
        let config = "{type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 200}}";
        check(config, "1..151; 140..400", Sampled);
        check(config, "140..400; 1..151", NotSampled);
        check(config, "140..150; 1..10", Sampled);
        let config = "{type: latency, latency: {threshold_ms: 300}}";
        check(config, "1..151; 140..400", Sampled);
        check(config, "140..400; 1..151", Sampled);
    }

    #[test]
    fn a_start_that_is_not_set_is_1970_until_the_next_span() {
        let config = "{type: latency, latency: {threshold_ms: 100}}";
        check(config, "0..101; 50..60", Sampled);
        check(config, "0..99; 50..130", NotSampled);
        check(config, "10..20; 0..50; 70..115", NotSampled);
        check(config, "50..40", NotSampled);
    }

    #[test]
    fn an_empty_range_is_refused() {
        assert_eq!(
            problems("{name: a, type: latency, latency: {threshold_ms: 9, upper_threshold_ms: 9}}"),
            "policies::0::latency::upper_threshold_ms: must be above threshold_ms (9), or no \
             trace can match"
        );
    }
}
