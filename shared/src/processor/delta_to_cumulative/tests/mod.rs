//! Claims about the processor, with opentelemetry-proto as the oracle.

mod merging;
mod shell;
mod values;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{self as otlp, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::accumulator::{Accumulator, Limits};
use super::metrics::Tally;
use super::stream::{DropReason, Order};
use crate::{Batch, Signal};

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

fn accumulator(order: Order) -> Accumulator {
    Accumulator::new(Limits { streams: usize::MAX, bytes: usize::MAX, order })
}

fn one_writer() -> Accumulator {
    accumulator(Order::OneWriter)
}

fn many_writers() -> Accumulator {
    accumulator(Order::ManyWriters { duplicate_window: 4 })
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A delta of an interval.
fn number(start: u64, time: u64, value: i64) -> otlp::NumberDataPoint {
    otlp::NumberDataPoint {
        attributes: vec![text("k", "v")],
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(number_data_point::Value::AsInt(value)),
        ..otlp::NumberDataPoint::default()
    }
}

fn sum(points: Vec<otlp::NumberDataPoint>) -> otlp::Metric {
    named(
        "calls",
        Data::Sum(otlp::Sum {
            data_points: points,
            aggregation_temporality: DELTA,
            is_monotonic: true,
        }),
    )
}

fn named(name: &str, data: Data) -> otlp::Metric {
    otlp::Metric { name: name.to_owned(), data: Some(data), ..otlp::Metric::default() }
}

fn entry(metrics: Vec<otlp::Metric>) -> otlp::ResourceMetrics {
    otlp::ResourceMetrics {
        resource: Some(Resource {
            attributes: vec![text("service.name", "s")],
            ..Resource::default()
        }),
        scope_metrics: vec![otlp::ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: "lib".to_owned(),
                ..InstrumentationScope::default()
            }),
            metrics,
            ..otlp::ScopeMetrics::default()
        }],
        ..otlp::ResourceMetrics::default()
    }
}

fn batch(resource_metrics: Vec<otlp::ResourceMetrics>) -> Batch {
    let request = ExportMetricsServiceRequest { resource_metrics };
    Batch::parse(Signal::Metrics, request.encode_to_vec().into()).unwrap()
}

fn metrics(metrics: Vec<otlp::Metric>) -> Batch {
    batch(vec![entry(metrics)])
}

/// The metrics of a batch, which is what it says it is.
fn decoded(batch: Option<Batch>) -> Vec<otlp::Metric> {
    let Some(batch) = batch else { return Vec::new() };
    assert_eq!(batch, Batch::parse(Signal::Metrics, batch.bytes().clone()).unwrap());
    let request = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|entry| entry.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

fn sum_points(metrics: Vec<otlp::Metric>) -> Vec<otlp::NumberDataPoint> {
    let mut points = Vec::new();
    for metric in metrics {
        let Some(Data::Sum(sum)) = metric.data else { panic!("only sums were given") };
        assert_eq!(sum.aggregation_temporality, CUMULATIVE);
        points.extend(sum.data_points);
    }
    points
}

/// Start, time and value of each total that points of one stream become.
fn totals(
    accumulator: &Accumulator,
    points: Vec<otlp::NumberDataPoint>,
) -> (Vec<(u64, u64, i64)>, Tally) {
    let (batch, tally) = accumulator.accumulate(metrics(vec![sum(points)]), 0);
    let points = sum_points(decoded(batch)).into_iter().map(|point| {
        let Some(number_data_point::Value::AsInt(value)) = point.value else {
            panic!("integers stay integers")
        };
        (point.start_time_unix_nano, point.time_unix_nano, value)
    });
    (points.collect(), tally)
}

fn dropped(reason: DropReason) -> Tally {
    let mut tally = Tally::default();
    tally.drop(reason);
    tally
}
