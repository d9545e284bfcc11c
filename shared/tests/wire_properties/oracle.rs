//! The generated OTLP types as the oracle: what a full decoder makes of the same bytes.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::{DecodeError, Message};
use shared::Signal;

/// A decoded request of any signal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Request {
    pub(crate) fn decode(signal: Signal, bytes: &[u8]) -> Result<Self, DecodeError> {
        match signal {
            Signal::Traces => Message::decode(bytes).map(Request::Traces),
            Signal::Metrics => Message::decode(bytes).map(Request::Metrics),
            Signal::Logs => Message::decode(bytes).map(Request::Logs),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Request::Traces(request) => request.encode_to_vec(),
            Request::Metrics(request) => request.encode_to_vec(),
            Request::Logs(request) => request.encode_to_vec(),
        }
    }

    /// Spans, data points or log records.
    pub(crate) fn items(&self) -> usize {
        match self {
            Request::Traces(request) => {
                let scopes = request.resource_spans.iter().flat_map(|entry| &entry.scope_spans);
                scopes.map(|scope| scope.spans.len()).sum()
            }
            Request::Metrics(request) => {
                let scopes = request.resource_metrics.iter().flat_map(|entry| &entry.scope_metrics);
                scopes.flat_map(|scope| &scope.metrics).map(data_points).sum()
            }
            Request::Logs(request) => {
                let scopes = request.resource_logs.iter().flat_map(|entry| &entry.scope_logs);
                scopes.map(|scope| scope.log_records.len()).sum()
            }
        }
    }

    /// Every data point with its resource, scope and metric, as text.
    pub(crate) fn points(&self) -> Vec<String> {
        let Request::Metrics(request) = self else { return Vec::new() };
        let mut points = Vec::new();
        for entry in &request.resource_metrics {
            for scope in &entry.scope_metrics {
                let at = format!(
                    "{:?} {} {:?} {}",
                    entry.resource, entry.schema_url, scope.scope, scope.schema_url
                );
                for metric in &scope.metrics {
                    let (metric, of_metric) = without_points(metric.clone());
                    points.extend(of_metric.iter().map(|point| format!("{at} {metric:?} {point}")));
                }
            }
        }
        points
    }

    pub(crate) fn spans(&self) -> Vec<&Span> {
        let Request::Traces(request) = self else { return Vec::new() };
        let scopes = request.resource_spans.iter().flat_map(|entry| &entry.scope_spans);
        scopes.flat_map(|scope| &scope.spans).collect()
    }
}

fn data_points(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(metric::Data::Summary(summary)) => summary.data_points.len(),
    }
}

/// A metric without its data points, and those as text.
fn without_points(mut metric: Metric) -> (Metric, Vec<String>) {
    fn take<P: std::fmt::Debug>(points: &mut Vec<P>) -> Vec<String> {
        std::mem::take(points).iter().map(|point| format!("{point:?}")).collect()
    }
    let points = match &mut metric.data {
        None => Vec::new(),
        Some(metric::Data::Gauge(gauge)) => take(&mut gauge.data_points),
        Some(metric::Data::Sum(sum)) => take(&mut sum.data_points),
        Some(metric::Data::Histogram(histogram)) => take(&mut histogram.data_points),
        Some(metric::Data::ExponentialHistogram(histogram)) => take(&mut histogram.data_points),
        Some(metric::Data::Summary(summary)) => take(&mut summary.data_points),
    };
    (metric, points)
}
