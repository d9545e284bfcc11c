//! `rate_limiting`: keeps traces as long as their spans are within a rate.
//!
//! As the Collector does since v0.153. Source: contrib v0.156
//! `tailsamplingprocessor/internal/sampling/rate_limiting.go`.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::token_bucket::{self, Limit};
use super::{Builder, PolicyConfig, Rule};

config_struct! {
    /// `rate_limiting`.
    pub(super) struct RateLimitingConfig {
        /// Spans a second that may be kept in the long run.
        pub spans_per_second: i64 = 0,
        /// Spans that may be kept at once, and so the largest trace; 0 is twice the rate.
        pub burst_capacity: i64 = 0,
        /// Ours: whether the limits are those of all backends together.
        pub cluster: bool = false,
    }
}

impl RateLimitingConfig {
    fn limit(&self) -> Limit {
        Limit { rate: self.spans_per_second, burst: self.burst_capacity }
    }
}

impl PolicyConfig for RateLimitingConfig {
    const TYPE: &'static str = "rate_limiting";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.limit().validate("spans_per_second", at, problems);
    }

    fn has_budget(&self) -> bool {
        true
    }

    fn is_stateful(&self) -> bool {
        true
    }

    fn shares_tier(&self) -> bool {
        self.cluster
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        token_bucket::rule(
            self,
            self.limit(),
            self.cluster,
            |summary| summary.spans.into(),
            builder,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decision;
    use super::super::testing::{Subject, problems};

    #[test]
    fn spans_are_limited_and_a_larger_trace_never_passes() {
        let policy = Subject::new("{type: rate_limiting, rate_limiting: {spans_per_second: 10}}");
        assert!(!policy.keeps(0, 21));
        assert!(policy.keeps(0, 20));
        assert!(!policy.keeps(50, 1));
        assert!(policy.keeps(100, 1));
        assert_eq!(policy.foregone("0..1"), None);
    }

    #[test]
    fn what_a_later_policy_rejects_is_not_given_back() {
        let policy = |parts: &str| {
            Subject::new(&format!("{{type: and, and: {{and_sub_policy: [{parts}]}}}}"))
        };
        let limiter = "{type: rate_limiting, rate_limiting: {spans_per_second: 1}}";
        let flags = "{type: trace_flags}";
        let keeps =
            |policy: &Subject, trace| policy.vote(0, trace).unwrap().decision == Decision::Sampled;
        let first = policy(&[limiter, flags].join(", "));
        assert!(!keeps(&first, "0..1; 0..1"));
        assert!(!keeps(&first, "0..1 flags:0x1"));
        let last = policy(&[flags, limiter].join(", "));
        assert!(!keeps(&last, "0..1; 0..1"));
        assert!(keeps(&last, "0..1 flags:0x1; 0..1"));
    }

    #[test]
    fn the_capacity_may_be_set_and_shared() {
        let policy = Subject::new(
            "{type: rate_limiting, rate_limiting: \
             {spans_per_second: 10, burst_capacity: 12, cluster: true}}",
        );
        assert!(policy.keeps(0, 12));
        policy.tier.set(3);
        assert!(!policy.keeps(10_000, 5));
        assert!(policy.keeps(10_000, 4));
    }

    #[test]
    fn a_rate_must_be_set() {
        assert_eq!(
            problems("{name: a, type: rate_limiting}"),
            "policies::0::rate_limiting::spans_per_second: must be above 0, or no trace can pass"
        );
    }
}
