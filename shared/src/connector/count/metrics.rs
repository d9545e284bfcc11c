//! What the connector says of itself. The Collector's has no metrics, so the names are ours.

use crate::metric_set;

metric_set! {
    /// What a count connector counts.
    pub(super) struct CountMetrics ["connector", "data_type"];
    /// Number of spans, data points or log records that came in.
    items: Counter = "otelcol_connector_count_items", "{item}";
    /// Number of times a condition could not be evaluated, and so did not hold.
    condition_errors: Counter = "otelcol_connector_count_condition_errors", "{error}";
}
