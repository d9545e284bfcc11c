//! Claims about what a receiver gets.

mod delivery;
mod logged;
mod protocol;
mod receiver;
mod translation;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use shared::service::{ComponentId, Context, Losses};
use shared::{Batch, Signal};

use super::config::RemoteWriteConfig;

/// 2023-11-14 22:14:20.123 UTC, as in the Collector's examples.
const TIME: u64 = 1_700_000_060_123_000_000;
const TIME_MS: i64 = 1_700_000_060_123;
const START: u64 = 1_700_000_000_000_000_000;
const START_MS: i64 = 1_700_000_000_000;
const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

fn context() -> Context {
    Context {
        id: ComponentId::parse("prometheus_remote_write").unwrap(),
        signal: Signal::Metrics,
        output: Signal::Metrics,
        losses: Arc::new(Losses::default()),
        instance: "backend-0".into(),
        commons: Arc::default(),
    }
}

fn batch(resource_metrics: Vec<ResourceMetrics>) -> Batch {
    let request = ExportMetricsServiceRequest { resource_metrics };
    Batch::parse(Signal::Metrics, request.encode_to_vec().into()).unwrap()
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let text = |value: &str| AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

fn entry(resource: &[(&str, &str)], metrics: Vec<Metric>) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(Resource { attributes: attributes(resource), ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: "sc".to_owned(),
                version: "1.2".to_owned(),
                attributes: attributes(&[("team.name", "x"), ("name", "reserved")]),
                ..InstrumentationScope::default()
            }),
            metrics,
            schema_url: "https://s/1".to_owned(),
        }],
        ..ResourceMetrics::default()
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: "what it is".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn point(value: f64, pairs: &[(&str, &str)]) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(pairs),
        start_time_unix_nano: START,
        time_unix_nano: TIME,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

fn counter(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true })
}

fn config(endpoint: &str) -> RemoteWriteConfig {
    let mut config = RemoteWriteConfig { disable_scope_info: true, ..RemoteWriteConfig::default() };
    config.client.endpoint = endpoint.to_owned();
    config
}
