//! `always_sample`: keeps every trace.

use shared::config_struct;

use super::{Builder, Decision, Policy, PolicyConfig, Rule};
use crate::tail_sampling::trace::Summary;

config_struct! {
    /// `always_sample` has no settings.
    pub(super) struct AlwaysSampleConfig {}
}

impl PolicyConfig for AlwaysSampleConfig {
    const TYPE: &'static str = "always_sample";

    fn bits(&self) -> usize {
        0
    }

    fn build(&self, builder: &mut Builder) -> Box<dyn Rule> {
        builder.policy(AlwaysSample)
    }
}

struct AlwaysSample;

impl Policy for AlwaysSample {
    fn evaluate(&self, _observed: bool, _trace: &Summary) -> Decision {
        Decision::Sampled
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn every_trace_is_kept() {
        check("{type: always_sample}", "0..1", Decision::Sampled);
        check("{type: always_sample, always_sample: {}}", "0..1 error", Decision::Sampled);
    }
}
