//! Claims about the connector, with opentelemetry-proto as the oracle.

mod dimensions;
mod limits;
mod metrics;
mod properties;
mod shell;
mod timelines;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::{Batch, Signal};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1 as metrics_v1;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace_v1;
use prost::Message;

use super::aggregate::Aggregator;
use super::collect::Collected;
use super::config::{DimensionConfig, SpanMetricsConfig};
use super::settings::Settings;

const SECOND: u64 = 1_000_000_000;
/// When the aggregators of these tests begin.
const BEGIN: u64 = 1_000 * SECOND;

fn aggregator(config: &SpanMetricsConfig) -> Aggregator {
    Aggregator::new(Settings::new(config, "backend-0".into()), BEGIN)
}

/// A configuration whose series have no more attributes than the test at hand needs.
fn bare(dimensions: &[&str]) -> SpanMetricsConfig {
    let exclude = ["span.kind", "status.code", "collector.instance.id"];
    SpanMetricsConfig {
        namespace: String::new(),
        exclude_dimensions: exclude.map(str::to_owned).into(),
        dimensions: dimensions.iter().map(|name| dimension(name, None)).collect(),
        initial_zero: false,
        ..SpanMetricsConfig::default()
    }
}

fn dimension(name: &str, default: Option<&str>) -> DimensionConfig {
    DimensionConfig {
        name: name.to_owned(),
        default: default.map(str::to_owned),
        ..DimensionConfig::default()
    }
}

fn glob(pattern: &str) -> DimensionConfig {
    DimensionConfig { glob: pattern.to_owned(), ..DimensionConfig::default() }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A span that lasts `millis`.
fn span(name: &str, millis: u64) -> trace_v1::Span {
    trace_v1::Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: name.to_owned(),
        start_time_unix_nano: SECOND,
        end_time_unix_nano: SECOND + millis * 1_000_000,
        ..trace_v1::Span::default()
    }
}

fn entry(attributes: Vec<KeyValue>, spans: Vec<trace_v1::Span>) -> trace_v1::ResourceSpans {
    trace_v1::ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![trace_v1::ScopeSpans { spans, ..trace_v1::ScopeSpans::default() }],
        ..trace_v1::ResourceSpans::default()
    }
}

fn service(name: &str, spans: Vec<trace_v1::Span>) -> trace_v1::ResourceSpans {
    entry(vec![text("service.name", name)], spans)
}

fn batch(resource_spans: Vec<trace_v1::ResourceSpans>) -> Batch {
    let request = ExportTraceServiceRequest { resource_spans };
    Batch::parse(Signal::Traces, request.encode_to_vec().into()).unwrap()
}

/// What a data point says.
#[derive(Debug, Clone, Default, PartialEq)]
struct Point {
    count: u64,
    sum: f64,
    buckets: Vec<u64>,
    start_ns: u64,
    time_ns: u64,
    /// Scale and offset, where buckets are of exponential width.
    exponential: Option<(i32, i32)>,
    /// The last byte of the trace id, the value and the time.
    exemplars: Vec<(u8, f64, u64)>,
}

fn exemplars(exemplars: &[metrics_v1::Exemplar]) -> Vec<(u8, f64, u64)> {
    let read = |exemplar: &metrics_v1::Exemplar| {
        let Some(metrics_v1::exemplar::Value::AsDouble(value)) = exemplar.value else {
            panic!("durations are doubles")
        };
        assert_eq!(exemplar.span_id.len(), 8);
        (exemplar.trace_id[15], value, exemplar.time_unix_nano)
    };
    exemplars.iter().map(read).collect()
}

/// All data points by `name{attributes}`, which must be unique; ` begins` follows for a zero at the
/// start, and ` ended` for a point without a value.
type Points = BTreeMap<String, Point>;

fn collect(aggregator: &Aggregator, now_ns: u64) -> Points {
    points(&flush(aggregator, now_ns).batches)
}

/// A flush that is delivered.
fn flush(aggregator: &Aggregator, now_ns: u64) -> Collected {
    let collected = aggregator.collect(now_ns);
    aggregator.mark_delivered(collected.flush);
    collected
}

/// Decodes with prost, which also refuses text that is no UTF-8.
fn points(batches: &[Batch]) -> Points {
    let mut points = Points::new();
    for batch in batches {
        let request = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
        let parsed = Batch::parse(Signal::Metrics, batch.bytes().clone()).unwrap();
        assert_eq!(parsed.items(), batch.items());
        for entry in request.resource_metrics {
            for scope in entry.scope_metrics {
                assert_eq!(scope.scope.unwrap().name, "spanmetricsconnector");
                for metric in scope.metrics {
                    add_points(&metric, &mut points);
                }
            }
        }
    }
    points
}

fn add_points(metric: &metrics_v1::Metric, points: &mut Points) {
    let mut add = |attributes: &[KeyValue], flags: u32, point: Point| {
        let mark = match (flags, point.time_ns == point.start_ns) {
            (0, true) if point.count == 0 => " begins",
            (0, _) => "",
            _ => " ended",
        };
        assert!(mark.is_empty() || point.count == 0, "{point:?}");
        let series = format!("{}{}{mark}", metric.name, labels(attributes));
        assert_eq!(points.insert(series.clone(), point), None, "{series} stands twice");
    };
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic);
            for point in &sum.data_points {
                let count = match point.value {
                    Some(AsInt(count)) => u64::try_from(count).unwrap(),
                    None => 0,
                    Some(_) => panic!("counts are integers"),
                };
                assert_eq!(point.value.is_none(), point.flags == 1);
                let (start_ns, time_ns) = (point.start_time_unix_nano, point.time_unix_nano);
                let exemplars = exemplars(&point.exemplars);
                let read = Point { count, start_ns, time_ns, exemplars, ..Point::default() };
                add(&point.attributes, point.flags, read);
            }
        }
        Data::Histogram(histogram) => {
            for point in &histogram.data_points {
                if point.flags == 0 {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                }
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                add(
                    &point.attributes,
                    point.flags,
                    Point {
                        count: point.count,
                        sum: point.sum.unwrap_or_default(),
                        buckets: point.bucket_counts.clone(),
                        start_ns: point.start_time_unix_nano,
                        time_ns: point.time_unix_nano,
                        exemplars: exemplars(&point.exemplars),
                        ..Point::default()
                    },
                );
            }
        }
        Data::ExponentialHistogram(histogram) => {
            for point in &histogram.data_points {
                let positive = point.positive.clone().unwrap_or_default();
                let in_buckets: u64 = positive.bucket_counts.iter().sum();
                assert_eq!(in_buckets + point.zero_count, point.count);
                add(
                    &point.attributes,
                    point.flags,
                    Point {
                        count: point.count,
                        sum: point.sum.unwrap_or_default(),
                        exponential: Some((point.scale, positive.offset)),
                        buckets: positive.bucket_counts,
                        start_ns: point.start_time_unix_nano,
                        time_ns: point.time_unix_nano,
                        exemplars: exemplars(&point.exemplars),
                    },
                );
            }
        }
        other => panic!("{other:?} was not asked for"),
    }
}

/// The attributes as `{key=value,…}`, in their order.
fn labels(attributes: &[KeyValue]) -> String {
    let mut text = String::from("{");
    for attribute in attributes {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(integer)) => format!("int {integer}"),
            Some(Value::BoolValue(flag)) => format!("bool {flag}"),
            other => format!("{other:?}"),
        };
        let comma = if text.len() > 1 { "," } else { "" };
        write!(text, "{comma}{}={value}", attribute.key).unwrap();
    }
    text + "}"
}

/// The counts of the series that `collect` gave.
fn counts(points: &Points) -> Vec<(&str, u64)> {
    points.iter().map(|(series, point)| (series.as_str(), point.count)).collect()
}
