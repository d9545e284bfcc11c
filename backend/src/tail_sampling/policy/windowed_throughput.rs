//! `windowed_throughput`: keeps so many spans a second, of each kind of traces as many, and follows
//! changes within a second or so.
//!
//! Keys as in contrib adaptivetailsamplingprocessor (`adaptive_throughput`, `algorithm: windowed`).

use std::time::Duration;

use shared::config::{Path, Problems};
use shared::config_struct;

use super::adaptive::{self, KeysConfig, Window, WindowSettings};
use super::{Builder, PolicyConfig, Rule};

config_struct! {
    /// `windowed_throughput`.
    pub(super) struct WindowedThroughputConfig {
        /// Spans a second that are to be kept, over all keys.
        pub goal_throughput: f64 = 100.0,
        /// Share of the traces that is kept as long as the window has seen none, in percent.
        pub initial_sampling_percentage: f64 = 10.0,
        /// How often rates are made anew.
        pub update_frequency: Duration = Duration::from_secs(1),
        /// How far the window reaches back, in whole updates; by default 30.
        pub lookback_frequency: Option<Duration> = None,
        /// Ours: whether the goal is that of all backends together.
        pub cluster: bool = false,
    }
    flatten {
        /// What makes traces alike.
        pub keys: KeysConfig = KeysConfig::default(),
    }
}

/// Updates that a window reaches back if not configured.
const DEFAULT_SLOTS: u64 = 30;
/// And at most: each has counts of its own.
const MAX_SLOTS: u64 = 600;
/// Traces are judged every 50 ms.
const SHORTEST_UPDATE: Duration = Duration::from_millis(100);

impl WindowedThroughputConfig {
    /// How many updates the window reaches back.
    fn slots(&self) -> u64 {
        let update = self.update_frequency.as_nanos().max(1);
        let slots = |lookback: Duration| lookback.as_nanos() / update;
        self.lookback_frequency
            .map_or(DEFAULT_SLOTS, |lookback| u64::try_from(slots(lookback)).unwrap_or(u64::MAX))
    }
}

impl PolicyConfig for WindowedThroughputConfig {
    const TYPE: &'static str = "windowed_throughput";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let (goal, initial) = (at.key("goal_throughput"), at.key("initial_sampling_percentage"));
        adaptive::validate_throughput(self.goal_throughput, &goal, problems);
        adaptive::validate_percentage(self.initial_sampling_percentage, &initial, problems);
        if self.update_frequency < SHORTEST_UPDATE {
            problems.report(&at.key("update_frequency"), "must be 100ms or more");
        } else if !(1..=MAX_SLOTS).contains(&self.slots()) {
            let message = format!("must be between 1 and {MAX_SLOTS} times update_frequency");
            problems.report(&at.key("lookback_frequency"), message);
        }
        self.keys.validate(at, problems);
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
        let settings = WindowSettings {
            throughput: self.goal_throughput,
            initial_rate: 100.0 / self.initial_sampling_percentage,
            slot: self.update_frequency,
            slots: self.slots(),
            max_keys: self.keys.max_keys,
        };
        let tier = self.cluster.then(|| builder.terms().tier.clone());
        adaptive::rule(self, &self.keys, Window::new(settings), tier, builder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::problems;

    #[test]
    fn all_mistakes_are_named() {
        let at = "policies::0::windowed_throughput";
        assert_eq!(
            problems(
                "{name: a, type: windowed_throughput, windowed_throughput: {goal_throughput: -1, \
                 initial_sampling_percentage: 0, update_frequency: 1ms, fingerprint_attributes: [k]}}"
            ),
            format!(
                "{at}::goal_throughput: must be above 0\n\
                 {at}::initial_sampling_percentage: must be above 0 and at most 100\n\
                 {at}::update_frequency: must be 100ms or more"
            )
        );
        for lookback in ["999ms", "601s"] {
            let config = format!(
                "{{name: a, type: windowed_throughput, windowed_throughput: \
                 {{lookback_frequency: {lookback}, fingerprint_attributes: [k]}}}}"
            );
            let expected = format!(
                "{at}::lookback_frequency: must be between 1 and 600 times update_frequency"
            );
            assert_eq!(problems(&config), expected);
        }
    }
}
