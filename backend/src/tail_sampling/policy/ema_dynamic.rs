//! `ema_dynamic`: keeps a share of all spans, rare kinds of traces more often than frequent ones.
//!
//! Keys as in contrib adaptivetailsamplingprocessor (`adaptive_percentage`), and after Refinery's
//! `EMADynamicSampler` what that lacks.

use std::time::Duration;

use shared::config::{Path, Problems};
use shared::config_struct;

use super::adaptive::{self, Ema, EmaSettings, Goal, KeysConfig};
use super::{Builder, PolicyConfig, Rule};

config_struct! {
    /// `ema_dynamic`.
    pub(super) struct EmaDynamicConfig {
        /// Share of the spans that is to be kept, in percent, over all keys.
        pub goal_percentage: f64 = 10.0,
    }
    flatten {
        /// What makes traces alike.
        pub keys: KeysConfig = KeysConfig::default(),
        /// How averages follow.
        pub averages: AveragesConfig = AveragesConfig::default(),
    }
}

config_struct! {
    /// How moving averages follow what is counted; of `ema_dynamic` and `ema_throughput`.
    pub(super) struct AveragesConfig {
        /// How often rates are made anew.
        pub adjustment_interval: Duration = Duration::from_secs(15),
        /// The share of the newest interval in an average, between 0 and 1.
        pub weight: f64 = 0.5,
        /// Ours, after Refinery: a key is forgotten when its average falls below so many spans; by
        /// default the weight, so that one span is remembered for one interval.
        pub age_out_value: Option<f64> = None,
        /// Ours, after Refinery: an interval ends early when it has seen this many times the spans of
        /// an average one; 0 or less turns that off.
        pub burst_multiple: f64 = 2.0,
        /// Ours, after Refinery: intervals after the start before that may happen.
        pub burst_detection_delay: u32 = 3,
    }
}

impl AveragesConfig {
    /// Reports everything that is wrong.
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.adjustment_interval < SHORTEST_INTERVAL {
            problems.report(&at.key("adjustment_interval"), "must be 100ms or more");
        }
        if !(self.weight > 0.0 && self.weight < 1.0) {
            problems.report(&at.key("weight"), "must be above 0 and below 1");
        }
        if self.age_out_value.is_some_and(|value| value.is_nan() || value <= 0.0) {
            problems.report(&at.key("age_out_value"), "must be above 0, or no key is forgotten");
        }
        let multiple = self.burst_multiple;
        if multiple.is_nan() || multiple > 0.0 && multiple <= 1.0 {
            let message = "must be above 1, as every interval would end early; 0 turns it off";
            problems.report(&at.key("burst_multiple"), message);
        }
    }

    /// The settings of a table.
    pub(super) fn settings(&self, goal: Goal, initial_rate: f64, max_keys: usize) -> EmaSettings {
        EmaSettings {
            goal,
            initial_rate,
            interval: self.adjustment_interval,
            weight: self.weight,
            age_out: self.age_out_value.unwrap_or(self.weight),
            burst_multiple: self.burst_multiple,
            burst_delay: self.burst_detection_delay.into(),
            max_keys,
        }
    }
}

/// Traces are judged every 50 ms.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl PolicyConfig for EmaDynamicConfig {
    const TYPE: &'static str = "ema_dynamic";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let goal = at.key("goal_percentage");
        adaptive::validate_percentage(self.goal_percentage, &goal, problems);
        self.keys.validate(at, problems);
        self.averages.validate(at, problems);
    }

    fn has_budget(&self) -> bool {
        true
    }

    fn is_stateful(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let rate = 100.0 / self.goal_percentage;
        let settings = self.averages.settings(Goal::Rate(rate), rate, self.keys.max_keys);
        adaptive::rule(self, &self.keys, Ema::new(settings), None, builder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::problems;

    #[test]
    fn all_mistakes_are_named() {
        assert_eq!(
            problems(
                "{name: a, type: ema_dynamic, ema_dynamic: {goal_percentage: 0, weight: 1, \
                 adjustment_interval: 10ms, age_out_value: 0, burst_multiple: 1, max_keys: 0, \
                 fingerprint_attributes: [http.route, 'scope.attributes[\"k\"]']}}"
            ),
            "policies::0::ema_dynamic::goal_percentage: must be above 0 and at most 100\n\
             policies::0::ema_dynamic::fingerprint_attributes::1: \"scope.attributes[\"k\"]\" names \
             no place; write span, resource, root or any before .attributes[\"k\"]\n\
             policies::0::ema_dynamic::max_keys: must be between 1 and 100000\n\
             policies::0::ema_dynamic::adjustment_interval: must be 100ms or more\n\
             policies::0::ema_dynamic::weight: must be above 0 and below 1\n\
             policies::0::ema_dynamic::age_out_value: must be above 0, or no key is forgotten\n\
             policies::0::ema_dynamic::burst_multiple: must be above 1, as every interval would end \
             early; 0 turns it off"
        );
        assert_eq!(
            problems("{name: a, type: ema_dynamic}"),
            "policies::0::ema_dynamic::fingerprint_attributes: must name at least one field"
        );
    }
}
