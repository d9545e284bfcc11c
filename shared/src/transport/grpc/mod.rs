//! gRPC on hyper, with messages that stay bytes.

mod message;

mod answer;
pub mod client;
mod connection;

pub mod server;

use http::uri::PathAndQuery;

use crate::wire::Signal;

/// The path of a signal's `Export` method.
pub fn export_path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    })
}
