//! What the connector says of itself, by the Collector's names where it has them.

use crate::metric_set;

metric_set! {
    /// What a service graph counts.
    pub(super) struct GraphMetrics ["connector"];
    /// Total number of unique edges.
    total_edges: Counter = "otelcol_connector_servicegraph_total_edges", "1";
    /// Number of edges that expired before finding its matching span.
    expired_edges: Counter = "otelcol_connector_servicegraph_expired_edges", "1";
    /// Number of spans dropped when trying to add edges.
    dropped_spans: Counter = "otelcol_connector_servicegraph_dropped_spans", "1";
    /// Number of spans of requests that were skipped because their resource has no service.name.
    skipped_spans: Counter = "otelcol_connector_servicegraph_skipped_spans", "{span}";
    /// Number of edges that wait for their other half.
    waiting_edges: Gauge = "otelcol_connector_servicegraph_waiting_edges", "{edge}";
    /// Number of bytes that they take.
    waiting_bytes: Gauge = "otelcol_connector_servicegraph_waiting_bytes", "By";
    /// Number of series, the overflow series aside.
    series: Gauge = "otelcol_connector_servicegraph_series", "{series}";
    /// Number of requests that found no series of their own and went to the overflow series.
    overflowed: Counter = "otelcol_connector_servicegraph_overflowed_requests", "{request}";
    /// Number of series that were forgotten after a time without requests.
    expired_series: Counter = "otelcol_connector_servicegraph_expired_series", "{series}";
    /// Number of data points that the next consumer did not take.
    rejected_points: Counter = "otelcol_connector_servicegraph_rejected_metric_points", "{datapoint}";
}
