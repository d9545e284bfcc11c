//! What the exporter counts of its backends and of what it routes.

use shared::membership::resolver::{ResolutionMetrics, ResolverMetrics};
use shared::membership::routes::RingMetrics;
use shared::metric_set;
use shared::telemetry::metrics::Descriptor;

metric_set! {
    /// How long a backend takes.
    pub(super) struct LatencyMetrics ["endpoint"];
    /// Response latency in ms for the backends: of one attempt, from sending to the answer.
    backend_latency: Histogram = "otelcol_loadbalancer_backend_latency", "ms";
}

metric_set! {
    /// What became of attempts.
    pub(super) struct OutcomeMetrics ["endpoint", "success"];
    /// Number of successes and failures of attempts, by endpoint; a success was delivered.
    backend_outcome: Counter = "otelcol_loadbalancer_backend_outcome", "{outcomes}";
}

metric_set! {
    /// What is routed.
    pub(super) struct RoutingMetrics ["exporter"];
    /// Number of spans routed without their routing key, which they lack; once for each attempt.
    keyless_spans: Counter = "otelcol_loadbalancer_keyless_spans", "{span}";
    /// Number of spans that the queue of a backend which left still held, routed anew.
    rerouted_spans: Counter = "otelcol_loadbalancer_rerouted_spans", "{span}";
    /// Number of spans not routed because no backend was known; once for each attempt.
    unroutable_spans: Counter = "otelcol_loadbalancer_unroutable_spans", "{span}";
}

/// All metrics of this exporter, but for those of its queues.
pub(crate) const DESCRIPTORS: &[&[Descriptor]] = &[
    ResolutionMetrics::DESCRIPTORS,
    ResolverMetrics::DESCRIPTORS,
    RingMetrics::DESCRIPTORS,
    LatencyMetrics::DESCRIPTORS,
    OutcomeMetrics::DESCRIPTORS,
    RoutingMetrics::DESCRIPTORS,
];

/// The counters of one backend.
pub(super) struct BackendMeter {
    pub(super) latency: LatencyMetrics,
    pub(super) succeeded: OutcomeMetrics,
    pub(super) failed: OutcomeMetrics,
}

impl BackendMeter {
    pub(super) fn new(endpoint: &str) -> Self {
        let outcome =
            |success| OutcomeMetrics::new(&[("endpoint", endpoint), ("success", success)]);
        Self {
            latency: LatencyMetrics::new(&[("endpoint", endpoint)]),
            succeeded: outcome("true"),
            failed: outcome("false"),
        }
    }
}
