//! Connectors: where the spans of one pipeline become the metrics of another.

pub mod service_graph;
pub mod span_metrics;
