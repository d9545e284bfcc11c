//! How decisions came about.

use std::sync::OnceLock;

use metrics::Counter;

use super::sampler::{Policy, Trouble, Verdict};
use crate::metric_set;
use crate::service::Context;
use crate::telemetry::metrics::Descriptor;
use crate::wire::Signal;

metric_set! {
    /// Decisions on spans.
    struct TraceMetrics ["policy", "sampled"];
    /// Count of traces that were sampled or not.
    sampled: Counter = "otelcol_processor_probabilistic_sampler_count_traces_sampled", "1";
}

metric_set! {
    /// Decisions on log records.
    struct LogMetrics ["policy", "sampled"];
    /// Count of logs that were sampled or not.
    sampled: Counter = "otelcol_processor_probabilistic_sampler_count_logs_sampled", "1";
}

metric_set! {
    /// Items that could not be judged by their randomness.
    struct TroubleMetrics ["processor", "otel_signal", "reason"];
    /// Number of items that could not be judged by their randomness.
    errors: Counter = "otelcol_processor_probabilistic_sampler_errors", "{item}";
}

/// All metrics of the sampler.
pub const DESCRIPTORS: &[&[Descriptor]] =
    &[TraceMetrics::DESCRIPTORS, LogMetrics::DESCRIPTORS, TroubleMetrics::DESCRIPTORS];

const POLICIES: [Policy; Policy::COUNT] = [
    Policy::MissingRandomness,
    Policy::TraceIdHash,
    Policy::TraceIdW3c,
    Policy::SamplingRandomness,
    Policy::SamplingPriority,
    Policy::Attribute,
];

const TROUBLES: [(Trouble, &str); 5] = [
    (Trouble::Unreadable, "unreadable"),
    (Trouble::MissingRandomness, "missing_randomness"),
    (Trouble::RandomnessInUse, "randomness_in_use"),
    (Trouble::ThresholdInUse, "threshold_in_use"),
    (Trouble::InconsistentThreshold, "inconsistent_threshold"),
];

/// What one batch comes to, in the order of the enums.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rejected and sampled items of each policy.
    decisions: [[u64; 2]; POLICIES.len()],
    troubles: [u64; TROUBLES.len()],
}

impl Tally {
    pub(super) fn note(&mut self, verdict: &Verdict) {
        self.decisions[verdict.policy as usize][usize::from(verdict.is_sampled)] += 1;
        if let Some(trouble) = verdict.trouble {
            self.troubles[trouble as usize] += 1;
        }
    }
}

/// The counters of a processor. As in the Collector, there is one of decisions when the first
/// decision of its kind was made.
pub(super) struct Counts {
    signal: Signal,
    attribute: String,
    decisions: [[OnceLock<Counter>; 2]; POLICIES.len()],
    troubles: [Counter; TROUBLES.len()],
}

impl Counts {
    pub(super) fn new(ctx: &Context, attribute: &str) -> Self {
        let processor = ctx.id.to_string();
        let trouble = |(_, reason): (Trouble, &str)| {
            let signal = ctx.signal.name();
            let labels = [("processor", &*processor), ("otel_signal", signal), ("reason", reason)];
            TroubleMetrics::new(&labels).errors
        };
        Self {
            signal: ctx.signal,
            attribute: attribute.to_owned(),
            decisions: Default::default(),
            troubles: TROUBLES.map(trouble),
        }
    }

    pub(super) fn add(&self, tally: &Tally) {
        for (policy, items) in POLICIES.into_iter().zip(tally.decisions) {
            for (is_sampled, items) in [false, true].into_iter().zip(items) {
                if items > 0 {
                    let counter = &self.decisions[policy as usize][usize::from(is_sampled)];
                    counter.get_or_init(|| self.counter(policy, is_sampled)).increment(items);
                }
            }
        }
        for (counter, items) in self.troubles.iter().zip(tally.troubles) {
            counter.increment(items);
        }
    }

    fn counter(&self, policy: Policy, is_sampled: bool) -> Counter {
        let sampled = if is_sampled { "true" } else { "false" };
        let labels = [("policy", policy.name(&self.attribute)), ("sampled", sampled)];
        match self.signal {
            Signal::Logs => LogMetrics::new(&labels).sampled,
            Signal::Traces | Signal::Metrics => TraceMetrics::new(&labels).sampled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_are_in_the_order_of_the_enums() {
        for (index, policy) in POLICIES.into_iter().enumerate() {
            assert_eq!(policy as usize, index);
        }
        for (index, (trouble, _)) in TROUBLES.into_iter().enumerate() {
            assert_eq!(trouble as usize, index);
        }
    }
}
