//! What the exporter says of itself, besides what is counted for every exporter.

use shared::metric_set;

metric_set! {
    /// What a Prometheus exporter counts. The names are ours.
    pub(crate) struct PrometheusMetrics ["exporter"];
    /// Number of series that are kept for scraping.
    series: Gauge = "otelcol_exporter_prometheus_series", "{series}";
    /// Number of series that came to share all their labels with another and are added up with
    /// it.
    merged: Counter = "otelcol_exporter_prometheus_merged_series", "{series}";
    /// Number of bytes that those series take.
    bytes: Gauge = "otelcol_exporter_prometheus_series_bytes", "By";
    /// Number of metrics that had another name than theirs at the last scrape, since a metric of
    /// another type has it.
    renamed: Gauge = "otelcol_exporter_prometheus_renamed_metrics", "{metric}";
    /// Number of scrapes that were refused, since so many were under way.
    refused_scrapes: Counter = "otelcol_exporter_prometheus_refused_scrapes", "{scrape}";
    /// Number of scrapes.
    scrapes: Counter = "otelcol_exporter_prometheus_scrapes", "{scrape}";
}

metric_set! {
    /// Data points that are not exposed, by reason.
    pub(crate) struct DroppedMetrics ["exporter", "reason"];
    /// Number of data points that were dropped.
    points: Counter = "otelcol_exporter_prometheus_dropped_metric_points", "{datapoint}";
}
