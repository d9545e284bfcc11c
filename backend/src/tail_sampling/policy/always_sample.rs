//! `always_sample`: keeps every trace.

use shared::config_struct;

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Vote};

config_struct! {
    /// `always_sample` has no settings.
    pub(super) struct AlwaysSampleConfig {}
}

impl PolicyConfig for AlwaysSampleConfig {
    const TYPE: &'static str = "always_sample";

    fn keeps_everything(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        builder.policy(AlwaysSample)
    }
}

struct AlwaysSample;

impl Policy for AlwaysSample {
    fn evaluate(&self, _marks: Marks, _case: &Case<'_>) -> Ballot {
        Ok(Vote::of(Decision::Sampled))
    }

    fn foregone(&self, _marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        Some(Decision::Sampled)
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
