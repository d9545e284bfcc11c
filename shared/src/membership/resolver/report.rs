//! What a resolver that asks others says of it: metrics and logs.

use std::fmt;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Meter;
use crate::clock;
use crate::membership::members::Change;
use crate::metric_set;
use crate::telemetry::thin::Thin;

metric_set! {
    /// What became of the lookups of a resolver.
    pub(super) struct LookupMetrics ["resolver", "outcome"];
    /// Number of lookups, by what became of them.
    num_lookups: Counter = "otelcol_loadbalancer_num_lookups", "{lookups}";
}

metric_set! {
    /// What is held back.
    pub(super) struct HoldMetrics ["resolver"];
    /// Number of times more than half of the backends were missing and held back for a while.
    num_shrinks_held: Counter = "otelcol_loadbalancer_num_shrinks_held", "{shrinks}";
}

metric_set! {
    /// How old the list of backends is, for each name that is resolved.
    pub(super) struct AgeMetrics ["resolver", "name"];
    /// Time since the list of backends was last known to be right, as of the last lookup.
    resolver_age: Gauge = "otelcol_loadbalancer_resolver_age", "s";
}

/// What became of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It found backends.
    Answered,
    /// What was asked for exists, and has no backend.
    Empty,
    /// There is no such name.
    NoSuchName,
    /// The server said that it has a problem.
    ServerFailure,
    /// There was no answer in time.
    TimedOut,
    /// Anything else: refused, unreachable, unreadable.
    Failed,
}

impl Outcome {
    const ALL: [(Self, &str); 6] = [
        (Self::Answered, "answered"),
        (Self::Empty, "empty"),
        (Self::NoSuchName, "nxdomain"),
        (Self::ServerFailure, "servfail"),
        (Self::TimedOut, "timeout"),
        (Self::Failed, "failed"),
    ];
}

/// The metrics and logs of a resolver that asks for one name.
pub(super) struct Report {
    name: String,
    meter: Meter,
    outcomes: [LookupMetrics; Outcome::ALL.len()],
    hold: HoldMetrics,
    age: AgeMetrics,
    /// When it was last known who the backends are; at first, when it began.
    last_known: Instant,
    failures: Thin,
    too_many: Thin,
}

impl Report {
    pub(super) fn new(resolver: &str, name: &str) -> Self {
        let outcome =
            |(_, outcome)| LookupMetrics::new(&[("resolver", resolver), ("outcome", outcome)]);
        Self {
            name: name.to_owned(),
            meter: Meter::new(resolver),
            outcomes: Outcome::ALL.map(outcome),
            hold: HoldMetrics::new(&[("resolver", resolver)]),
            age: AgeMetrics::new(&[("resolver", resolver), ("name", name)]),
            last_known: clock::now(),
            failures: Thin::new(),
            too_many: Thin::new(),
        }
    }

    /// A lookup found backends.
    pub(super) fn answered(&mut self) {
        self.meter.succeeded.num_resolutions.increment(1);
        self.count(Outcome::Answered);
        self.known();
    }

    /// It is known that the backends are those of before.
    pub(super) fn known(&mut self) {
        self.last_known = clock::now();
        self.note_age();
    }

    /// A lookup found none, and these are kept.
    pub(super) fn failed(&self, outcome: Outcome, reason: &dyn fmt::Display, backends: usize) {
        self.meter.failed.num_resolutions.increment(1);
        self.count(outcome);
        let age = self.note_age();
        if let Some(suppressed) = self.failures.pass(clock::now()) {
            let (name, age_s) = (&self.name, age.as_secs());
            warn!(name, %reason, backends, age_s, suppressed, "lookup failed, backends kept");
        }
    }

    /// A lookup found not all that it should have.
    pub(super) fn incomplete(&self) {
        self.meter.failed.num_resolutions.increment(1);
    }

    /// What a lookup changed, so that there are this many backends now.
    pub(super) fn changed<M: fmt::Debug>(&self, change: &Change<M>, backends: usize) {
        let name = &self.name;
        let passed_over = change.passed_over;
        self.meter.set.num_backends_over_limit.increment(passed_over as u64);
        if passed_over > 0
            && let Some(suppressed) = self.too_many.pass(clock::now())
        {
            warn!(name, passed_over, suppressed, "too many backends");
        }
        if let Some(missing) = change.held_back {
            self.hold.num_shrinks_held.increment(1);
            warn!(name, missing, backends, "more than half of the backends are missing, kept");
        }
        if change.any() {
            let (joined, left) = (&change.joined, &change.left);
            self.meter.updated(backends);
            info!(name, ?joined, ?left, backends, "backends changed");
        }
    }

    /// Time since the backends were last known.
    pub(super) fn note_age(&self) -> Duration {
        let age = clock::now().saturating_duration_since(self.last_known);
        self.age.resolver_age.set(age.as_secs_f64());
        age
    }

    fn count(&self, outcome: Outcome) {
        for ((known, _), metrics) in Outcome::ALL.iter().zip(&self.outcomes) {
            if *known == outcome {
                metrics.num_lookups.increment(1);
            }
        }
    }
}
