//! Connectors: where what one pipeline carries becomes the metrics of another.

pub mod count;
pub mod service_graph;
pub mod span_metrics;
