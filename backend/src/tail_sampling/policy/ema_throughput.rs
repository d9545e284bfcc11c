//! `ema_throughput`: keeps so many spans a second, rare kinds of traces more often than frequent
//! ones.
//!
//! Keys as in contrib adaptivetailsamplingprocessor (`adaptive_throughput`), and after Refinery's
//! `EMAThroughputSampler` what that lacks.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::adaptive::{self, Ema, Goal, KeysConfig};
use super::ema_dynamic::AveragesConfig;
use super::{Builder, PolicyConfig, Rule};

config_struct! {
    /// `ema_throughput`.
    pub(super) struct EmaThroughputConfig {
        /// Spans a second that are to be kept, over all keys.
        pub goal_throughput: f64 = 100.0,
        /// Share of the traces that is kept until the first interval is over, in percent.
        pub initial_sampling_percentage: f64 = 10.0,
        /// Ours: whether the goal is that of all backends together.
        pub cluster: bool = false,
    }
    flatten {
        /// What makes traces alike.
        pub keys: KeysConfig = KeysConfig::default(),
        /// How averages follow.
        pub averages: AveragesConfig = AveragesConfig::default(),
    }
}

impl PolicyConfig for EmaThroughputConfig {
    const TYPE: &'static str = "ema_throughput";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let (goal, initial) = (at.key("goal_throughput"), at.key("initial_sampling_percentage"));
        adaptive::validate_throughput(self.goal_throughput, &goal, problems);
        adaptive::validate_percentage(self.initial_sampling_percentage, &initial, problems);
        self.keys.validate(at, problems);
        self.averages.validate(at, problems);
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
        let goal = Goal::Throughput(self.goal_throughput);
        let initial_rate = 100.0 / self.initial_sampling_percentage;
        let settings = self.averages.settings(goal, initial_rate, self.keys.max_keys);
        let tier = self.cluster.then(|| builder.terms().tier.clone());
        adaptive::rule(self, &self.keys, Ema::new(settings), tier, builder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::problems;

    #[test]
    fn all_mistakes_are_named() {
        assert_eq!(
            problems(
                "{name: a, type: ema_throughput, ema_throughput: {goal_throughput: 0, \
                 initial_sampling_percentage: 101, weight: 0}}"
            ),
            "policies::0::ema_throughput::goal_throughput: must be above 0\n\
             policies::0::ema_throughput::initial_sampling_percentage: must be above 0 and at most \
             100\n\
             policies::0::ema_throughput::fingerprint_attributes: must name at least one field\n\
             policies::0::ema_throughput::weight: must be above 0 and below 1"
        );
    }
}
