//! Samplers that adapt: traces with equal values of some fields have a rate together, which follows
//! from how many there are.
//!
//! In reading order: [`allocation`] shares a goal out among keys; [`ema`] and [`window`] count by key
//! and say what rate each has. Both are told the time and are exact for a given sequence of calls.
//! This file makes policies of them. All shards share the counts: a lock is held for one look at the
//! table a trace, and for the adjustment once an interval.
//!
//! Which traces of a key are kept is told by the traces' randomness and not by a throw of dice, so
//! every instance that has the same rate keeps the same traces.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shared::config::{Path, Problems};
use shared::telemetry::metrics::Descriptor;
use shared::wire::Resource;
use shared::{config_struct, metric_set};

use super::fingerprint::Fingerprint;
use super::randomness::{self, Randomness};
use super::{Ballot, Builder, Case, Marks, Notes, Policy, Rule, Sight};
use crate::tail_sampling::tier::TierSize;

mod allocation;

mod ema;
mod window;

pub(super) use ema::{Ema, EmaSettings, Goal};
pub(super) use window::{Window, WindowSettings};

/// A key of the table; nothing stands for all keys that are over the bound.
type Key = Option<u64>;

/// What traces of one key are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rated {
    /// One of so many is kept; 1 or more.
    pub(super) rate: f64,
    /// Whether the key found no room in the table.
    pub(super) over: bool,
    /// Whether the rates have just been made anew.
    pub(super) adjusted: bool,
}

/// What a table says of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// Keys that are told apart.
    pub(super) keys: usize,
    /// One span of so many is kept, over all keys.
    pub(super) overall_rate: f64,
}

/// Counts traces by key and says which rate each key has.
pub(super) trait Rates: Send {
    /// Counts a trace. `tier_share` is the part of the tier's goal that is ours.
    fn count(&mut self, key: u64, spans: u32, tier_share: f64, now: Instant) -> Rated;

    /// The rate of a key as of the last count.
    fn peek(&self, key: u64) -> f64;

    /// See [`Figures`].
    fn figures(&self) -> Figures;
}

config_struct! {
    /// What all adaptive samplers have in common.
    pub(super) struct KeysConfig {
        /// Which values make traces alike. Source: contrib adaptivetailsamplingprocessor/config.go.
        pub fingerprint_attributes: Vec<String> = Vec::new(),
        /// Ours, after Refinery: whether traces with different numbers of spans are never alike.
        pub use_trace_length: bool = false,
        /// Keys that are told apart; further ones are counted and rated together, as one.
        pub max_keys: usize = 500,
    }
}

/// How large `max_keys` may be: the table is gone through under a lock.
const MAX_KEYS: usize = 100_000;

impl KeysConfig {
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        Fingerprint::validate(&self.fingerprint_attributes, at, problems);
        if !(1..=MAX_KEYS).contains(&self.max_keys) {
            problems.report(&at.key("max_keys"), format!("must be between 1 and {MAX_KEYS}"));
        }
    }
}

/// Reports a percentage that keeps nothing, or more than there is.
pub(super) fn validate_percentage(percentage: f64, at: &Path<'_>, problems: &mut Problems) {
    if !(percentage > 0.0 && percentage <= 100.0) {
        problems.report(at, "must be above 0 and at most 100");
    }
}

/// Reports a throughput that is none.
pub(super) fn validate_throughput(throughput: f64, at: &Path<'_>, problems: &mut Problems) {
    if !(throughput > 0.0 && throughput.is_finite()) {
        problems.report(at, "must be above 0");
    }
}

/// Descriptors of the metrics of adaptive samplers.
pub(in crate::tail_sampling) const DESCRIPTORS: &[Descriptor] = Metrics::DESCRIPTORS;

metric_set! {
    /// Adaptive samplers.
    struct Metrics expiring ["policy"];
    /// Keys that the adaptive sampler tells apart, as of its last adjustment.
    keys: Gauge = "otelcol_processor_tail_sampling_adaptive_keys", "{key}";
    /// Number of traces that the adaptive sampler counted under no key of their own because it has max_keys of them.
    over_max_keys: Counter = "otelcol_processor_tail_sampling_adaptive_traces_over_max_keys", "{trace}";
    /// Spans for each span that the adaptive sampler means to keep, over all keys, as of its last adjustment.
    rate: Gauge = "otelcol_processor_tail_sampling_adaptive_sample_rate", "1";
}

/// A policy made of [`Rates`].
struct Adaptive<R> {
    fingerprint: Fingerprint,
    rates: Arc<Mutex<R>>,
    /// Who shares the goal, if anybody does.
    tier: Option<TierSize>,
    metrics: Metrics,
}

/// The rule of an adaptive sampler. With a tier each of its backends has an equal part of the goal.
///
/// As long as its `settings` stay the same, a change of the configuration leaves it what it counted.
pub(super) fn rule<R: Rates + 'static>(
    settings: &dyn fmt::Debug,
    keys: &KeysConfig,
    rates: R,
    tier: Option<TierSize>,
    builder: &mut Builder<'_>,
) -> Box<dyn Rule> {
    let rates = builder.kept(settings, || Mutex::new(rates));
    let metrics = Metrics::new(&[("policy", &builder.label())]);
    let fingerprint =
        Fingerprint::new(&keys.fingerprint_attributes, keys.use_trace_length, builder);
    builder.policy(Adaptive { fingerprint, rates, tier, metrics })
}

impl<R: Rates> Adaptive<R> {
    /// The table. What a panic left of it is as good as any: each entry is whole.
    fn table(&self) -> MutexGuard<'_, R> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::cast_precision_loss, reason = "a few thousand backends at most")]
    fn tier_share(&self) -> f64 {
        1.0 / self.tier.as_ref().map_or(1, TierSize::get) as f64
    }

    #[allow(clippy::cast_precision_loss, reason = "at most MAX_KEYS")]
    fn publish(&self, figures: Figures) {
        self.metrics.keys.set(figures.keys as f64);
        self.metrics.rate.set(figures.overall_rate);
    }
}

impl<R: Rates> Policy for Adaptive<R> {
    fn takes_notes(&self) -> bool {
        true
    }

    fn note(&self, sight: &Sight<'_>, notes: &mut Notes) {
        randomness::note(sight, notes);
        self.fingerprint.note(sight, notes);
    }

    fn note_resource(&self, resource: Resource<'_>, notes: &mut Notes) {
        self.fingerprint.note_resource(resource, notes);
    }

    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        let key = self.fingerprint.key(case);
        let (rated, figures) = {
            let mut table = self.table();
            let rated = table.count(key, case.summary.spans, self.tier_share(), case.now);
            (rated, rated.adjusted.then(|| table.figures()))
        };
        if let Some(figures) = figures {
            self.publish(figures);
        }
        self.metrics.over_max_keys.increment(rated.over.into());
        Ok(Randomness::of(case).keep(1.0 / rated.rate))
    }

    fn peek(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        let rate = self.table().peek(self.fingerprint.key(case));
        Ok(Randomness::of(case).keep(1.0 / rate))
    }

    fn is_pure(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
