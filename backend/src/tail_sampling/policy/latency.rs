//! `latency`: keeps traces by their time from the earliest start to the latest end.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Vote};

config_struct! {
    /// `latency`.
    pub(super) struct LatencyConfig {
        /// The shortest time kept, in milliseconds; exclusive when there is an upper bound.
        pub threshold_ms: u64 = 0,
        /// The longest time kept, in milliseconds, inclusive; 0 is no bound.
        pub upper_threshold_ms: u64 = 0,
    }
}

impl PolicyConfig for LatencyConfig {
    const TYPE: &'static str = "latency";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.upper_threshold_ms != 0 && self.upper_threshold_ms <= self.threshold_ms {
            problems.report(
                &at.key("upper_threshold_ms"),
                format!(
                    "must be above threshold_ms ({}), or no trace can match",
                    self.threshold_ms
                ),
            );
        }
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        builder.policy(Latency { lower: self.threshold_ms, upper: self.upper_threshold_ms })
    }
}

struct Latency {
    lower: u64,
    upper: u64,
}

impl Policy for Latency {
    /// The whole trace counts, where the Collector may stop at a prefix that is within the upper
    /// bound. Source: contrib v0.156 tailsamplingprocessor/internal/sampling/latency.go.
    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        let milliseconds = milliseconds(case);
        Ok(Vote::sampled_if(match self.upper {
            0 => milliseconds >= self.lower,
            upper => self.lower < milliseconds && milliseconds <= upper,
        }))
    }

    /// More spans only make a trace longer.
    fn foregone(&self, _marks: Marks, case: &Case<'_>) -> Option<Decision> {
        let milliseconds = milliseconds(case);
        match self.upper {
            0 if milliseconds >= self.lower => Some(Decision::Sampled),
            upper if upper > 0 && milliseconds > upper => Some(Decision::NotSampled),
            _ => None,
        }
    }
}

/// From the earliest start to the latest end.
fn milliseconds(case: &Case<'_>) -> u64 {
    match case.summary.start_ns {
        0 => 0,
        start => case.summary.end_ns.saturating_sub(start) / 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
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
    fn the_whole_trace_counts_in_any_order() {
        let config = "{type: latency, latency: {threshold_ms: 100, upper_threshold_ms: 200}}";
        check(config, "1..151; 140..400", NotSampled);
        check(config, "140..400; 1..151", NotSampled);
        check(config, "140..150; 1..10", Sampled);
    }

    #[test]
    fn a_start_that_is_not_set_tells_nothing() {
        let config = "{type: latency, latency: {threshold_ms: 100}}";
        check(config, "0..101; 50..60", NotSampled);
        check(config, "0..500", NotSampled);
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
