//! What a memory limiter counts, also under the names that it had before v0.155 of the Collector,
//! which dashboards and autoscalers still ask for.

use metrics::Counter;

use crate::metric_set;
use crate::telemetry::metrics::Descriptor;
use crate::wire::Signal;

metric_set! {
    /// Spans at the door.
    struct SpanMetrics ["processor"];
    /// Number of spans successfully pushed into the next component in the pipeline.
    accepted: Counter = "otelcol_processor_memory_limiter_accepted_spans", "{span}";
    /// Number of spans that were rejected by the memory limiter.
    refused: Counter = "otelcol_processor_memory_limiter_refused_spans", "{span}";
    /// Former name of `otelcol_processor_memory_limiter_accepted_spans`.
    former_accepted: Counter = "otelcol_processor_accepted_spans", "{span}";
    /// Former name of `otelcol_processor_memory_limiter_refused_spans`.
    former_refused: Counter = "otelcol_processor_refused_spans", "{span}";
}

metric_set! {
    /// Data points at the door.
    struct PointMetrics ["processor"];
    /// Number of metric points successfully pushed into the next component in the pipeline.
    accepted: Counter = "otelcol_processor_memory_limiter_accepted_metric_points", "{datapoint}";
    /// Number of metric points that were rejected by the memory limiter.
    refused: Counter = "otelcol_processor_memory_limiter_refused_metric_points", "{datapoint}";
    /// Former name of `otelcol_processor_memory_limiter_accepted_metric_points`.
    former_accepted: Counter = "otelcol_processor_accepted_metric_points", "{datapoint}";
    /// Former name of `otelcol_processor_memory_limiter_refused_metric_points`.
    former_refused: Counter = "otelcol_processor_refused_metric_points", "{datapoint}";
}

metric_set! {
    /// Log records at the door.
    struct RecordMetrics ["processor"];
    /// Number of log records successfully pushed into the next component in the pipeline.
    accepted: Counter = "otelcol_processor_memory_limiter_accepted_log_records", "{record}";
    /// Number of log records that were rejected by the memory limiter.
    refused: Counter = "otelcol_processor_memory_limiter_refused_log_records", "{record}";
    /// Former name of `otelcol_processor_memory_limiter_accepted_log_records`.
    former_accepted: Counter = "otelcol_processor_accepted_log_records", "{record}";
    /// Former name of `otelcol_processor_memory_limiter_refused_log_records`.
    former_refused: Counter = "otelcol_processor_refused_log_records", "{record}";
}

/// All metrics of the memory limiter.
pub const DESCRIPTORS: &[&[Descriptor]] =
    &[SpanMetrics::DESCRIPTORS, PointMetrics::DESCRIPTORS, RecordMetrics::DESCRIPTORS];

/// The counters for one signal, each with its former name.
pub(super) struct Counts {
    accepted: [Counter; 2],
    refused: [Counter; 2],
}

impl Counts {
    pub(super) fn new(processor: &str, signal: Signal) -> Self {
        macro_rules! counts {
            ($set:ident) => {{
                let metrics = $set::new(&[("processor", processor)]);
                Self {
                    accepted: [metrics.accepted, metrics.former_accepted],
                    refused: [metrics.refused, metrics.former_refused],
                }
            }};
        }
        match signal {
            Signal::Traces => counts!(SpanMetrics),
            Signal::Metrics => counts!(PointMetrics),
            Signal::Logs => counts!(RecordMetrics),
        }
    }

    pub(super) fn accepted(&self, items: u64) {
        self.accepted.iter().for_each(|counter| counter.increment(items));
    }

    pub(super) fn refused(&self, items: u64) {
        self.refused.iter().for_each(|counter| counter.increment(items));
    }
}
