//! `bytes_limiting`: keeps traces as long as their bytes are within a rate.
//!
//! The bytes are those of spans. Traces leave sorted by resource and scope, so those headers belong
//! to no single trace; the Collector, which sends each trace by itself, counts them with every
//! request that a trace came in.
//!
//! Source: contrib v0.156 `tailsamplingprocessor/internal/sampling/bytes_limiting.go`.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::token_bucket::{self, Limit};
use super::{Builder, PolicyConfig, Rule};

config_struct! {
    /// `bytes_limiting`.
    pub(super) struct BytesLimitingConfig {
        /// Bytes a second that may be kept in the long run.
        pub bytes_per_second: i64 = 0,
        /// Bytes that may be kept at once, and so the largest trace; 0 is twice the rate.
        pub burst_capacity: i64 = 0,
        /// Ours: whether the limits are those of all backends together.
        pub cluster: bool = false,
    }
}

impl BytesLimitingConfig {
    fn limit(&self) -> Limit {
        Limit { rate: self.bytes_per_second, burst: self.burst_capacity }
    }
}

impl PolicyConfig for BytesLimitingConfig {
    const TYPE: &'static str = "bytes_limiting";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.limit().validate("bytes_per_second", at, problems);
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
        token_bucket::rule(self, self.limit(), self.cluster, |summary| summary.bytes, builder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Subject, problems};

    /// Bytes of a span of tests: id 18, start and end 9 each, and 3 for the framing.
    const SPAN: u64 = 39;

    #[test]
    fn bytes_are_limited_and_a_larger_trace_never_passes() {
        let policy = Subject::new(&format!(
            "{{type: bytes_limiting, bytes_limiting: {{bytes_per_second: {}}}}}",
            10 * SPAN
        ));
        assert!(!policy.keeps(0, 21));
        assert!(policy.keeps(0, 20));
        assert!(!policy.keeps(99, 1));
        assert!(policy.keeps(100, 1));
    }

    #[test]
    fn a_rate_must_be_set() {
        assert_eq!(
            problems("{name: a, type: bytes_limiting, bytes_limiting: {burst_capacity: 9}}"),
            "policies::0::bytes_limiting::bytes_per_second: must be above 0, or no trace can pass"
        );
    }
}
