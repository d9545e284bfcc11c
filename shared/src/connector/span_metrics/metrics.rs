//! What the connector says of itself. The Collector's has no metrics, so the names are ours.

use crate::metric_set;

metric_set! {
    /// What a span-metrics connector counts.
    pub(crate) struct SpanMetricsMetrics ["connector"];
    /// Number of spans that came in.
    spans: Counter = "otelcol_connector_spanmetrics_spans", "{span}";
    /// Number of observations that found no series of their own and went to an overflow series.
    overflowed: Counter = "otelcol_connector_spanmetrics_overflowed_observations", "{observation}";
    /// Number of series, overflow series aside.
    series: Gauge = "otelcol_connector_spanmetrics_series", "{series}";
    /// Number of resources.
    resources: Gauge = "otelcol_connector_spanmetrics_resources", "{resource}";
    /// Number of series that were forgotten after a time without spans, or to make room.
    expired: Counter = "otelcol_connector_spanmetrics_expired_series", "{series}";
    /// Number of data points that the next consumer did not take.
    rejected_points: Counter = "otelcol_connector_spanmetrics_rejected_metric_points", "{datapoint}";
    /// How long the last flush took, handing on included.
    flush_seconds: Gauge = "otelcol_connector_spanmetrics_flush_duration_seconds", "s";
}

metric_set! {
    /// Spans that were not counted in the connector's metrics, by reason.
    pub(crate) struct SkippedMetrics ["connector", "reason"];
    /// Number of spans that were skipped.
    spans: Counter = "otelcol_connector_spanmetrics_skipped_spans", "{span}";
}

/// The reason of spans whose resource has no `service.name`.
pub(crate) const NO_SERVICE: &str = "no_service_name";
