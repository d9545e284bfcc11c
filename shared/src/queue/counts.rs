//! What an exporter counts: the final outcome of every item.

use metrics::Counter;

use crate::metric_set;
use crate::telemetry::metrics::Descriptor;
use crate::wire::Signal;

metric_set! {
    /// Outcomes of spans.
    struct SpanMetrics ["exporter", "server_address", "server_port"];
    /// Number of spans successfully sent to destination.
    sent: Counter = "otelcol_exporter_sent_spans", "{span}";
    /// Number of spans in failed attempts to send to destination, after all retries.
    send_failed: Counter = "otelcol_exporter_send_failed_spans", "{span}";
}

metric_set! {
    /// Outcomes of data points.
    struct PointMetrics ["exporter", "server_address", "server_port"];
    /// Number of metric points successfully sent to destination.
    sent: Counter = "otelcol_exporter_sent_metric_points", "{datapoint}";
    /// Number of metric points in failed attempts to send to destination, after all retries.
    send_failed: Counter = "otelcol_exporter_send_failed_metric_points", "{datapoint}";
}

metric_set! {
    /// Outcomes of log records.
    struct RecordMetrics ["exporter", "server_address", "server_port"];
    /// Number of log records successfully sent to destination.
    sent: Counter = "otelcol_exporter_sent_log_records", "{record}";
    /// Number of log records in failed attempts to send to destination, after all retries.
    send_failed: Counter = "otelcol_exporter_send_failed_log_records", "{record}";
}

metric_set! {
    /// Spans that a queue had no room for.
    struct SpanEnqueueMetrics ["exporter"];
    /// Number of spans failed to be added to the sending queue.
    enqueue_failed: Counter = "otelcol_exporter_enqueue_failed_spans", "{span}";
}

metric_set! {
    /// Data points that a queue had no room for.
    struct PointEnqueueMetrics ["exporter"];
    /// Number of metric points failed to be added to the sending queue.
    enqueue_failed: Counter = "otelcol_exporter_enqueue_failed_metric_points", "{datapoint}";
}

metric_set! {
    /// Log records that a queue had no room for.
    struct RecordEnqueueMetrics ["exporter"];
    /// Number of log records failed to be added to the sending queue.
    enqueue_failed: Counter = "otelcol_exporter_enqueue_failed_log_records", "{record}";
}

metric_set! {
    /// State of a sending queue. Several queues with the same labels add up.
    pub struct QueueMetrics ["exporter", "data_type"];
    /// Current size of the sending queue in the unit of its sizer, what is being sent included.
    size: Gauge = "otelcol_exporter_queue_size", "{batch}";
    /// Fixed capacity of the sending queue in the unit of its sizer.
    capacity: Gauge = "otelcol_exporter_queue_capacity", "{batch}";
}

metric_set! {
    /// What an exporter is busy with.
    pub struct FlightMetrics ["exporter", "data_type"];
    /// Number of requests being sent or waiting for their next attempt.
    in_flight: Gauge = "otelcol_exporter_in_flight_requests", "{request}";
}

/// All metrics of this module.
pub const DESCRIPTORS: &[&[Descriptor]] = &[
    SpanMetrics::DESCRIPTORS,
    PointMetrics::DESCRIPTORS,
    RecordMetrics::DESCRIPTORS,
    SpanEnqueueMetrics::DESCRIPTORS,
    PointEnqueueMetrics::DESCRIPTORS,
    RecordEnqueueMetrics::DESCRIPTORS,
    QueueMetrics::DESCRIPTORS,
    FlightMetrics::DESCRIPTORS,
];

/// The counters of one exporter for its signal.
pub struct Counts {
    /// Items that the destination took.
    pub sent: Counter,
    /// Items that were given up.
    pub send_failed: Counter,
    /// Requests under way.
    pub flight: FlightMetrics,
}

impl Counts {
    /// Those of this exporter; `destination` adds the labels of where it sends to.
    pub fn new(exporter: &str, signal: Signal, destination: Option<&(String, u16)>) -> Self {
        let port = destination.map(|(_, port)| port.to_string());
        let mut labels = vec![("exporter", exporter)];
        if let (Some((address, _)), Some(port)) = (destination, &port) {
            labels.extend([("server_address", address.as_str()), ("server_port", port)]);
        }
        let (sent, send_failed) = match signal {
            Signal::Traces => {
                let metrics = SpanMetrics::new(&labels);
                (metrics.sent, metrics.send_failed)
            }
            Signal::Metrics => {
                let metrics = PointMetrics::new(&labels);
                (metrics.sent, metrics.send_failed)
            }
            Signal::Logs => {
                let metrics = RecordMetrics::new(&labels);
                (metrics.sent, metrics.send_failed)
            }
        };
        let flight = FlightMetrics::new(&[("exporter", exporter), ("data_type", signal.name())]);
        Self { sent, send_failed, flight }
    }
}

/// The counter of what a queue had no room for.
pub fn enqueue_failed(exporter: &str, signal: Signal) -> Counter {
    let labels = [("exporter", exporter)];
    match signal {
        Signal::Traces => SpanEnqueueMetrics::new(&labels).enqueue_failed,
        Signal::Metrics => PointEnqueueMetrics::new(&labels).enqueue_failed,
        Signal::Logs => RecordEnqueueMetrics::new(&labels).enqueue_failed,
    }
}
