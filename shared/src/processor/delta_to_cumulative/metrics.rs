//! What the processor says of itself, by the Collector's names where it has them.

use crate::metric_set;

use super::stream::DropReason;

metric_set! {
    /// The streams of a processor.
    pub(super) struct StreamMetrics ["processor"];
    /// Number of streams tracked.
    tracked: Gauge = "otelcol_deltatocumulative_streams_tracked", "{dps}";
    /// Upper limit of tracked streams; 0 is none.
    limit: Gauge = "otelcol_deltatocumulative_streams_limit", "{stream}";
    /// Duration after which inactive streams are dropped.
    max_stale: Gauge = "otelcol_deltatocumulative_streams_max_stale", "s";
    /// Number of bytes that the streams take.
    bytes: Gauge = "otelcol_deltatocumulative_streams_bytes", "By";
    /// Number of streams that were forgotten after a time without points.
    expired: Counter = "otelcol_deltatocumulative_streams_expired", "{stream}";
    /// Number of streams that began anew because the bounds of their histogram changed.
    resets: Counter = "otelcol_deltatocumulative_streams_reset", "{stream}";
    /// Number of data points that the next consumer did not take. Their deltas are added up, so
    /// the next points of their streams bring them.
    rejected: Counter = "otelcol_deltatocumulative_rejected_datapoints", "{datapoint}";
}

metric_set! {
    /// The points of a processor, by what became of them.
    pub(super) struct PointMetrics ["processor", "error"];
    /// Number of data points processed: with an empty error those that were added up, else those
    /// that were dropped.
    points: Counter = "otelcol_deltatocumulative_datapoints", "{datapoint}";
}

/// How points are counted.
pub(super) struct Points {
    added: PointMetrics,
    dropped: [PointMetrics; DropReason::ALL.len()],
}

impl Points {
    pub(super) fn new(processor: &str) -> Self {
        let points = |error| PointMetrics::new(&[("processor", processor), ("error", error)]);
        Self { added: points(""), dropped: DropReason::ALL.map(|reason| points(reason.name())) }
    }

    pub(super) fn add(&self, tally: &Tally) {
        self.added.points.increment(tally.added);
        for (metrics, count) in self.dropped.iter().zip(tally.dropped) {
            metrics.points.increment(count);
        }
    }
}

/// What became of the points of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) added: u64,
    /// By the order of [`DropReason::ALL`].
    pub(super) dropped: [u64; DropReason::ALL.len()],
    pub(super) resets: u64,
}

impl Tally {
    pub(super) fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub(super) fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }
}
