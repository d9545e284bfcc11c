//! What the exporter counts of its backends and of what it routes.

use std::time::Duration;

use shared::consumer::{Reached, Rejected, RejectedKind};
use shared::membership::resolver::{ResolutionMetrics, ResolverMetrics};
use shared::membership::routes::RingMetrics;
use shared::metric_set;
use shared::telemetry::metrics::Descriptor;
use shared::wire::Signal;

metric_set! {
    /// How long a backend takes.
    pub(super) struct LatencyMetrics expiring ["endpoint"];
    /// Response latency in ms for the backends: of one attempt, from sending to the answer.
    backend_latency: Histogram = "otelcol_loadbalancer_backend_latency", "ms";
    /// Time that a part of a request waited for its turn, before it was sent.
    backend_queue_time: Histogram = "otelcol_loadbalancer_backend_queue_time", "s";
}

metric_set! {
    /// What became of attempts.
    pub(super) struct OutcomeMetrics expiring ["endpoint", "success"];
    /// Number of successes and failures of attempts, by endpoint; a success was delivered.
    backend_outcome: Counter = "otelcol_loadbalancer_backend_outcome", "{outcomes}";
}

metric_set! {
    /// What became of what was sent to a backend. `outcome` is `delivered`, `rejected` (for good),
    /// `refused` (for now), `unanswered` (it may have it or not) or `unreachable`.
    pub(super) struct FateMetrics expiring ["endpoint", "outcome"];
    /// Number of spans, log records or data points in attempts, by what became of them.
    backend_items: Counter = "otelcol_loadbalancer_backend_items", "{items}";
    /// Number of attempts, by what became of them.
    backend_requests: Counter = "otelcol_loadbalancer_backend_requests", "{requests}";
    /// Uncompressed size of attempts, by what became of them.
    backend_bytes: Counter = "otelcol_loadbalancer_backend_bytes", "By";
}

metric_set! {
    /// The state of a backend.
    pub(super) struct StateMetrics expiring ["endpoint"];
    /// Whether keys may lead to the backend: 1, or 0 while it does not answer. Exporters that
    /// speak to it with different settings judge it each for itself and add up;
    /// `otelcol_loadbalancer_backends_passed_over` tells them apart.
    in_rotation: Gauge = "otelcol_loadbalancer_backend_in_rotation", "1";
    /// Number of times the backend went out of rotation.
    ejections: Counter = "otelcol_loadbalancer_backend_ejections", "{ejections}";
    /// Open connections to the backend.
    connections: Gauge = "otelcol_loadbalancer_backend_connections", "{connections}";
}

metric_set! {
    /// The state of what waits for a backend.
    pub(super) struct LaneMetrics expiring ["endpoint", "data_type"];
    /// Bytes held for the backend: what waits, is under way or is to be tried again; with each part
    /// of a request 512 that it takes besides.
    held_bytes: Gauge = "otelcol_loadbalancer_backend_queue_bytes", "By";
    /// How long ago the oldest part that waits for its turn was taken in.
    queue_age: Age = "otelcol_loadbalancer_backend_queue_age", "s";
    /// Requests under way to the backend.
    in_flight: Gauge = "otelcol_loadbalancer_backend_in_flight", "{requests}";
    /// Panics while sending to the backend; what they hit is tried again. Each is a bug to report.
    panics: Counter = "otelcol_loadbalancer_backend_panics", "{panics}";
}

metric_set! {
    /// What is routed.
    pub(super) struct RoutingMetrics ["exporter", "data_type"];
    /// Number of items routed without their routing key, which they lack.
    keyless: Counter = "otelcol_loadbalancer_keyless_items", "{items}";
    /// Number of items that waited for a backend which left or went out of rotation, routed anew.
    rerouted: Counter = "otelcol_loadbalancer_rerouted_items", "{items}";
    /// Number of items that were refused or had to wait because no backend was known.
    unroutable: Counter = "otelcol_loadbalancer_unroutable_items", "{items}";
    /// Number of items that may have reached a backend whose answer was lost; those that are sent
    /// again may be duplicates.
    possible_duplicates: Counter = "otelcol_loadbalancer_possible_duplicate_items", "{items}";
}

/// All metrics of this exporter, but for those of its queues.
pub(crate) const DESCRIPTORS: &[&[Descriptor]] = &[
    ResolutionMetrics::DESCRIPTORS,
    ResolverMetrics::DESCRIPTORS,
    RingMetrics::DESCRIPTORS,
    LatencyMetrics::DESCRIPTORS,
    OutcomeMetrics::DESCRIPTORS,
    FateMetrics::DESCRIPTORS,
    StateMetrics::DESCRIPTORS,
    LaneMetrics::DESCRIPTORS,
    RoutingMetrics::DESCRIPTORS,
];

/// What became of an attempt, or of items in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Rejected,
    Refused,
    Unanswered,
    Unreachable,
}

impl Outcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Delivered, "delivered"),
        (Self::Rejected, "rejected"),
        (Self::Refused, "refused"),
        (Self::Unanswered, "unanswered"),
        (Self::Unreachable, "unreachable"),
    ];

    pub(super) fn of(rejected: &Rejected) -> Self {
        match (rejected.reached, rejected.kind) {
            (Reached::Answered, RejectedKind::Permanent) => Self::Rejected,
            (Reached::Answered, _) => Self::Refused,
            (Reached::Unknown, _) => Self::Unanswered,
            (Reached::Nobody, _) => Self::Unreachable,
        }
    }
}

/// The counters of one backend.
pub(super) struct BackendMeter {
    latency: LatencyMetrics,
    succeeded: OutcomeMetrics,
    failed: OutcomeMetrics,
    /// In the order of [`Outcome::ALL`].
    fates: [FateMetrics; 5],
    pub(super) state: StateMetrics,
}

impl BackendMeter {
    pub(super) fn new(endpoint: &str) -> Self {
        let outcome =
            |success| OutcomeMetrics::new(&[("endpoint", endpoint), ("success", success)]);
        Self {
            latency: LatencyMetrics::new(&[("endpoint", endpoint)]),
            succeeded: outcome("true"),
            failed: outcome("false"),
            fates: Outcome::ALL.map(|(_, outcome)| {
                FateMetrics::new(&[("endpoint", endpoint), ("outcome", outcome)])
            }),
            state: StateMetrics::new(&[("endpoint", endpoint)]),
        }
    }

    /// What became of an attempt.
    pub(super) fn attempt(&self, outcome: Outcome, took: Duration, items: usize, bytes: usize) {
        self.latency.backend_latency.record(took.as_secs_f64() * 1e3);
        let success = match outcome {
            Outcome::Delivered => &self.succeeded,
            _ => &self.failed,
        };
        success.backend_outcome.increment(1);
        let fate = &self.fates[outcome as usize];
        fate.backend_requests.increment(1);
        fate.backend_bytes.increment(bytes as u64);
        fate.backend_items.increment(items as u64);
    }

    /// Items of an attempt that fared otherwise than the rest.
    pub(super) fn items(&self, outcome: Outcome, items: usize) {
        self.fates[outcome as usize].backend_items.increment(items as u64);
    }

    /// A part has waited so long.
    pub(super) fn waited(&self, time: Duration) {
        self.latency.backend_queue_time.record(time.as_secs_f64());
    }
}

impl LaneMetrics {
    pub(super) fn of(endpoint: &str, signal: Signal) -> Self {
        Self::new(&[("endpoint", endpoint), ("data_type", signal.name())])
    }
}
