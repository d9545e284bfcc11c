//! What the exporter says of itself, besides what is counted for every exporter.

use shared::metric_set;
use shared::telemetry::metrics::Descriptor;

use super::reason::Reason;

metric_set! {
    /// What an exporter counts, named as in the Collector.
    pub(super) struct RemoteWriteMetrics ["exporter", "endpoint"];
    /// Number of requests that may be under way at a time.
    consumers: Gauge = "otelcol_exporter_prometheusremotewrite_consumers", "{consumer}";
    /// Number of batches of which something could not be translated.
    failed_translations: Counter =
        "otelcol_exporter_prometheusremotewrite_failed_translations", "1";
    /// Number of requests sent to the receiver, whatever came of them.
    sent_batches: Counter = "otelcol_exporter_prometheusremotewrite_sent_batches", "{batch}";
    /// Number of time series that data points were translated to.
    translated_time_series: Counter =
        "otelcol_exporter_prometheusremotewrite_translated_time_series", "1";
    /// Number of samples that the receiver said it wrote; Remote-Write 2.0 only.
    written_samples: Counter =
        "otelcol_exporter_prometheusremotewrite_written_samples", "{sample}";
    /// Number of histograms that the receiver said it wrote; Remote-Write 2.0 only.
    written_histograms: Counter =
        "otelcol_exporter_prometheusremotewrite_written_histograms", "{histogram}";
    /// Number of exemplars that the receiver said it wrote; Remote-Write 2.0 only.
    written_exemplars: Counter =
        "otelcol_exporter_prometheusremotewrite_written_exemplars", "{exemplar}";
}

metric_set! {
    /// What the write-ahead log counts, named as in the Collector.
    pub(super) struct WalMetrics ["exporter"];
    /// Number of bytes read from the write-ahead log.
    bytes_read: Counter = "otelcol_exporter_prometheusremotewrite_wal_bytes_read", "By";
    /// Number of bytes written to the write-ahead log.
    bytes_written: Counter = "otelcol_exporter_prometheusremotewrite_wal_bytes_written", "By";
    /// Number of batches in the write-ahead log that the receiver has not taken.
    lag: Gauge = "otelcol_exporter_prometheusremotewrite_wal_lag", "1";
    /// Time to read a batch from the write-ahead log.
    read_latency: Histogram = "otelcol_exporter_prometheusremotewrite_wal_read_latency", "ms";
    /// Number of batches read from the write-ahead log.
    reads: Counter = "otelcol_exporter_prometheusremotewrite_wal_reads", "1";
    /// Number of reads of the write-ahead log that failed.
    reads_failures: Counter = "otelcol_exporter_prometheusremotewrite_wal_reads_failures", "1";
    /// Time to write a batch to the write-ahead log.
    write_latency: Histogram = "otelcol_exporter_prometheusremotewrite_wal_write_latency", "ms";
    /// Number of batches written to the write-ahead log.
    writes: Counter = "otelcol_exporter_prometheusremotewrite_wal_writes", "1";
    /// Number of writes to the write-ahead log that failed.
    writes_failures: Counter = "otelcol_exporter_prometheusremotewrite_wal_writes_failures", "1";
    /// Number of batches that were refused because the write-ahead log was full. The name is
    /// ours.
    refused: Counter = "otelcol_exporter_prometheusremotewrite_wal_refused", "1";
    /// Number of places in the write-ahead log that could not be read and were passed over. The
    /// name is ours.
    corruptions: Counter = "otelcol_exporter_prometheusremotewrite_wal_corruptions", "1";
    /// Size of the write-ahead log on disk. The name is ours.
    size: Gauge = "otelcol_exporter_prometheusremotewrite_wal_size", "By";
}

metric_set! {
    /// Data points that did not arrive, by reason. The name is ours.
    pub(super) struct DroppedMetrics ["exporter", "reason"];
    /// Number of data points that were given up.
    points: Counter =
        "otelcol_exporter_prometheusremotewrite_dropped_metric_points", "{datapoint}";
}

/// All metrics of the exporter.
pub(crate) const DESCRIPTORS: &[&[Descriptor]] =
    &[RemoteWriteMetrics::DESCRIPTORS, WalMetrics::DESCRIPTORS, DroppedMetrics::DESCRIPTORS];

/// The counters of lost data points.
pub(super) struct Dropped([DroppedMetrics; Reason::ALL.len()]);

impl Dropped {
    pub(super) fn new(exporter: &str) -> Self {
        let of = |reason: Reason| {
            DroppedMetrics::new(&[("exporter", exporter), ("reason", reason.name())])
        };
        Self(Reason::ALL.map(of))
    }

    pub(super) fn add(&self, reason: Reason, points: usize) {
        self.0[reason as usize].points.increment(points as u64);
    }
}
