//! What the OTLP receiver counts.

use crate::metric_set;
use crate::telemetry::metrics::Descriptor;
use crate::transport::listen::{CutMetrics, ListenerMetrics};

metric_set! {
    /// Spans that a receiver got.
    pub struct SpanMetrics ["receiver", "transport"];
    /// Number of spans successfully pushed into the pipeline.
    accepted: Counter = "otelcol_receiver_accepted_spans", "{span}";
    /// Number of spans that could not be pushed into the pipeline.
    refused: Counter = "otelcol_receiver_refused_spans", "{span}";
    /// Number of spans that failed to be processed by the receiver due to internal errors.
    failed: Counter = "otelcol_receiver_failed_spans", "{span}";
}

metric_set! {
    /// Data points that a receiver got.
    pub struct PointMetrics ["receiver", "transport"];
    /// Number of metric points successfully pushed into the pipeline.
    accepted: Counter = "otelcol_receiver_accepted_metric_points", "{datapoint}";
    /// Number of metric points that could not be pushed into the pipeline.
    refused: Counter = "otelcol_receiver_refused_metric_points", "{datapoint}";
    /// Number of metric points that failed to be processed by the receiver due to internal errors.
    failed: Counter = "otelcol_receiver_failed_metric_points", "{datapoint}";
}

metric_set! {
    /// Log records that a receiver got.
    pub struct RecordMetrics ["receiver", "transport"];
    /// Number of log records successfully pushed into the pipeline.
    accepted: Counter = "otelcol_receiver_accepted_log_records", "{record}";
    /// Number of log records that could not be pushed into the pipeline.
    refused: Counter = "otelcol_receiver_refused_log_records", "{record}";
    /// Number of log records that failed to be processed by the receiver due to internal errors.
    failed: Counter = "otelcol_receiver_failed_log_records", "{record}";
}

metric_set! {
    /// Requests that a receiver turned away.
    pub struct RefusalMetrics ["receiver", "transport", "reason"];
    /// Number of requests that were turned away, by reason.
    refused: Counter = "otelcol_receiver_refused_requests", "{request}";
}

/// The metrics of the OTLP receiver.
pub const DESCRIPTORS: &[&[Descriptor]] = &[
    SpanMetrics::DESCRIPTORS,
    PointMetrics::DESCRIPTORS,
    RecordMetrics::DESCRIPTORS,
    RefusalMetrics::DESCRIPTORS,
    ListenerMetrics::DESCRIPTORS,
    CutMetrics::DESCRIPTORS,
];
