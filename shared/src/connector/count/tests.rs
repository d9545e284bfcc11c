//! Claims about the connector, with opentelemetry-proto as the oracle.

use std::collections::BTreeMap;
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1 as logs_v1;
use opentelemetry_proto::tonic::metrics::v1 as metrics_v1;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace_v1;
use prost::Message;

use super::*;
use crate::service::ComponentId;

/// Keeps what it is given, or refuses it.
#[derive(Default)]
struct Sink {
    refuses: bool,
    batches: Mutex<Vec<Batch>>,
}

#[async_trait]
impl Consumer for Sink {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if self.refuses {
            return Err(Rejected::refused(batch, "full"));
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }
}

fn start(config: &CountConfig, signal: Signal, sink: &Arc<Sink>) -> Next {
    let ctx = Context {
        id: ComponentId::parse("count").unwrap(),
        signal,
        output: Signal::Metrics,
        losses: Arc::default(),
        instance: "backend-0".into(),
        commons: Arc::default(),
    };
    config.build(&ctx, Arc::clone(sink) as Next).unwrap()
}

/// A metric that counts what fulfils one of `conditions`, by these attributes.
#[allow(clippy::unnecessary_wraps, reason = "as a section may have it")]
fn counting(
    name: &str,
    conditions: &[&str],
    attributes: &[(&str, Option<DefaultValue>)],
) -> Option<BTreeMap<String, MetricConfig>> {
    let attributes = attributes.iter().map(|(key, default_value)| AttributeConfig {
        key: (*key).to_owned(),
        default_value: default_value.clone(),
        ..AttributeConfig::default()
    });
    let metric = MetricConfig {
        description: "what it counts".to_owned(),
        conditions: conditions.iter().map(|text| (*text).to_owned()).collect(),
        attributes: attributes.collect(),
    };
    Some(BTreeMap::from([(name.to_owned(), metric)]))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

#[allow(clippy::unnecessary_wraps, reason = "as an entry may have it")]
fn resource(name: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", name)], ..Resource::default() })
}

fn span(name: &str, attributes: Vec<KeyValue>, events: &[&str]) -> trace_v1::Span {
    let event = |name: &&str| trace_v1::span::Event {
        name: (*name).to_owned(),
        ..trace_v1::span::Event::default()
    };
    trace_v1::Span {
        name: name.to_owned(),
        attributes,
        events: events.iter().map(event).collect(),
        ..trace_v1::Span::default()
    }
}

fn service(name: &str, spans: Vec<trace_v1::Span>) -> trace_v1::ResourceSpans {
    trace_v1::ResourceSpans {
        resource: resource(name),
        scope_spans: vec![trace_v1::ScopeSpans { spans, ..trace_v1::ScopeSpans::default() }],
        ..trace_v1::ResourceSpans::default()
    }
}

fn traces(resource_spans: Vec<trace_v1::ResourceSpans>) -> Batch {
    let request = ExportTraceServiceRequest { resource_spans };
    Batch::parse(Signal::Traces, request.encode_to_vec().into()).unwrap()
}

fn metrics(metrics: Vec<metrics_v1::Metric>) -> Batch {
    let scope_metrics =
        vec![metrics_v1::ScopeMetrics { metrics, ..metrics_v1::ScopeMetrics::default() }];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![metrics_v1::ResourceMetrics {
            resource: resource("s"),
            scope_metrics,
            ..metrics_v1::ResourceMetrics::default()
        }],
    };
    Batch::parse(Signal::Metrics, request.encode_to_vec().into()).unwrap()
}

fn gauge(name: &str, points: &[&str]) -> metrics_v1::Metric {
    let point = |zone: &&str| metrics_v1::NumberDataPoint {
        attributes: vec![text("zone", zone)],
        ..metrics_v1::NumberDataPoint::default()
    };
    let data_points = points.iter().map(point).collect();
    metrics_v1::Metric {
        name: name.to_owned(),
        data: Some(Data::Gauge(metrics_v1::Gauge { data_points })),
        ..metrics_v1::Metric::default()
    }
}

fn logs(severities: &[&str]) -> Batch {
    let record = |severity: &&str| logs_v1::LogRecord {
        severity_text: (*severity).to_owned(),
        ..logs_v1::LogRecord::default()
    };
    let log_records = severities.iter().map(record).collect();
    let request = ExportLogsServiceRequest {
        resource_logs: vec![logs_v1::ResourceLogs {
            resource: resource("s"),
            scope_logs: vec![logs_v1::ScopeLogs { log_records, ..logs_v1::ScopeLogs::default() }],
            ..logs_v1::ResourceLogs::default()
        }],
    };
    Batch::parse(Signal::Logs, request.encode_to_vec().into()).unwrap()
}

/// The counts of a batch: `service: metric{key=value}` and how many.
fn counts(batch: &Batch) -> Vec<(String, i64)> {
    assert_eq!(batch, &Batch::parse(Signal::Metrics, batch.bytes().clone()).unwrap());
    let request = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
    let mut counts = Vec::new();
    for entry in request.resource_metrics {
        let service = word(&entry.resource.unwrap().attributes[0]);
        for metric in entry.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let Some(Data::Sum(sum)) = metric.data else { panic!("counts are sums") };
            assert!(sum.is_monotonic && sum.aggregation_temporality == 1);
            for point in sum.data_points {
                let words: Vec<_> = point.attributes.iter().map(word).collect();
                let Some(AsInt(count)) = point.value else { panic!("counts are integers") };
                counts.push((format!("{service}: {}{{{}}}", metric.name, words.join(",")), count));
            }
        }
    }
    counts.sort();
    counts
}

fn word(attribute: &KeyValue) -> String {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(value)) => format!("int {value}"),
        Some(Value::DoubleValue(value)) => format!("double {value}"),
        Some(Value::BoolValue(value)) => format!("bool {value}"),
        other => panic!("{other:?} is not plain"),
    }
}

async fn check(config: &CountConfig, batch: Batch, expected: &[(&str, i64)]) {
    let sink = Arc::new(Sink::default());
    let count = start(config, batch.signal(), &sink);
    count.consume(batch).await.unwrap();
    let batches = sink.batches.lock().unwrap();
    let found: Vec<_> = batches.iter().flat_map(counts).collect();
    let found: Vec<_> = found.iter().map(|(series, count)| (series.as_str(), *count)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn everything_is_counted_by_default() {
    let config = CountConfig::default();
    let spans = vec![span("a", Vec::new(), &["x", "y"]), span("b", Vec::new(), &["z"])];
    check(
        &config,
        traces(vec![service("s", spans)]),
        &[("s: trace.span.count{}", 2), ("s: trace.span.event.count{}", 3)],
    )
    .await;
    check(
        &config,
        metrics(vec![gauge("a", &["1", "2"]), gauge("b", &["1"])]),
        &[("s: metric.count{}", 2), ("s: metric.datapoint.count{}", 3)],
    )
    .await;
    check(&config, logs(&["INFO", "ERROR"]), &[("s: log.record.count{}", 2)]).await;
    check(&config, traces(Vec::new()), &[]).await;
}

#[tokio::test]
async fn a_resource_is_counted_once_however_often_it_stands_there() {
    let entry = |name| service(name, vec![span("a", Vec::new(), &[])]);
    let batch = traces(vec![entry("s"), entry("t"), entry("s")]);
    let expected = [("s: trace.span.count{}", 2), ("t: trace.span.count{}", 1)];
    check(&CountConfig::default(), batch, &expected).await;
}

#[tokio::test]
async fn one_of_the_conditions_must_hold() {
    let config = CountConfig {
        spans: counting("mine", &["name == \"a\"", "attributes[\"k\"] == \"v\""], &[]),
        spanevents: counting("events", &["name == \"x\" and span.name == \"b\""], &[]),
        ..CountConfig::default()
    };
    let spans = vec![
        span("a", Vec::new(), &["x"]),
        span("b", vec![text("k", "v")], &["x", "y"]),
        span("c", Vec::new(), &["x"]),
    ];
    let expected = [("s: events{}", 1), ("s: mine{}", 2)];
    check(&config, traces(vec![service("s", spans)]), &expected).await;
    let config = CountConfig {
        metrics: counting("mine", &["name == \"a\""], &[]),
        datapoints: counting(
            "points",
            &["metric.name == \"b\"", "attributes[\"zone\"] == \"1\""],
            &[],
        ),
        logs: counting("errors", &["severity_text == \"ERROR\""], &[]),
        ..CountConfig::default()
    };
    check(
        &config,
        metrics(vec![gauge("a", &["1", "2"]), gauge("b", &["2"])]),
        &[("s: mine{}", 1), ("s: points{}", 2)],
    )
    .await;
    check(&config, logs(&["INFO", "ERROR", "ERROR"]), &[("s: errors{}", 2)]).await;
}

#[tokio::test]
async fn counts_are_told_apart_by_attributes_with_their_types() {
    let attributes = [
        ("code", Some(DefaultValue::Int(7))),
        ("zone", Some(DefaultValue::Text("none".to_owned()))),
        ("service.name", None),
    ];
    let config = CountConfig { spans: counting("n", &[], &attributes), ..CountConfig::default() };
    let code = |value| attribute("code", value);
    let spans = vec![
        span("a", vec![code(Value::IntValue(1)), text("zone", "z")], &[]),
        span("a", vec![code(Value::StringValue("1".to_owned()))], &[]),
        span("a", vec![code(Value::DoubleValue(0.5))], &[]),
        span("a", vec![code(Value::BoolValue(true))], &[]),
        span("a", vec![text("service.name", "mine")], &[]),
        span("a", vec![code(Value::IntValue(1)), text("zone", "z")], &[]),
    ];
    check(
        &config,
        traces(vec![service("s", spans)]),
        &[
            ("s: n{1,none,s}", 1),
            ("s: n{bool true,none,s}", 1),
            ("s: n{double 0.5,none,s}", 1),
            ("s: n{int 1,z,s}", 2),
            ("s: n{int 7,none,mine}", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_has_no_such_attribute_and_no_default_is_not_counted() {
    let empty = Some(DefaultValue::Text(String::new()));
    for default in [None, empty, Some(DefaultValue::Int(0)), Some(DefaultValue::Double(0.0))] {
        let spans = counting("n", &[], &[("k", default)]);
        let config = CountConfig { spans, spanevents: Some(BTreeMap::new()), ..Default::default() };
        let spans = vec![span("a", Vec::new(), &["x"]), span("b", vec![text("k", "v")], &[])];
        check(&config, traces(vec![service("s", spans)]), &[("s: n{v}", 1)]).await;
    }
}

#[tokio::test]
async fn a_condition_that_cannot_be_evaluated_does_not_hold() {
    let conditions = ["ParseJSON(name)[\"a\"] == 1", "name == \"b\""];
    let config = CountConfig { spans: counting("n", &conditions, &[]), ..CountConfig::default() };
    let spans = vec![span("no JSON", Vec::new(), &[]), span("b", Vec::new(), &[])];
    let batch = traces(vec![service("s", spans)]);
    let counter = Counter::new(&config, Signal::Traces).unwrap();
    let errors = counter.count(&batch).condition_errors;
    assert_eq!(errors, 2, "of both names");
    check(&config, batch, &[("s: n{}", 1)]).await;
}

#[tokio::test]
async fn intervals_follow_each_other_without_gaps() {
    let sink = Arc::new(Sink::default());
    let count = start(&CountConfig::default(), Signal::Logs, &sink);
    let begun = clock::unix_ns();
    for _ in 0..3 {
        count.consume(logs(&["INFO"])).await.unwrap();
    }
    let intervals: Vec<_> = sink
        .batches
        .lock()
        .unwrap()
        .iter()
        .map(|batch| {
            let request = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
            let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
            assert_eq!(metric.description, "The number of log records observed.");
            let Some(Data::Sum(sum)) = &metric.data else { panic!("counts are sums") };
            let point = &sum.data_points[0];
            (point.start_time_unix_nano, point.time_unix_nano)
        })
        .collect();
    for pair in intervals.windows(2) {
        assert_eq!(pair[0].1, pair[1].0);
    }
    assert!(intervals[0].0 <= begun && intervals.iter().all(|(start, end)| start < end));
}

#[tokio::test]
async fn what_the_next_consumer_refuses_can_come_again() {
    let sink = Arc::new(Sink { refuses: true, ..Sink::default() });
    let count = start(&CountConfig::default(), Signal::Logs, &sink);
    let rejected = count.consume(logs(&["INFO", "WARN"])).await.unwrap_err();
    assert_eq!((rejected.batch.signal(), rejected.batch.items()), (Signal::Logs, 2));
}
