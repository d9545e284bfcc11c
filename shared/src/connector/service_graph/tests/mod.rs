//! Claims about the connector, with opentelemetry-proto as the oracle.

mod shell;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use otlp::span::SpanKind::{Client, Consumer, Internal, Producer, Server};
use proptest::prelude::*;
use prost::Message;

use super::config::StoreConfig;
use super::graph::{Graph, Observed};
use super::{Batch, ServiceGraphConfig, Signal};

const SECOND: u64 = 1_000_000_000;
const UNIX: u64 = 1_000 * SECOND;

fn graph(config: &ServiceGraphConfig) -> Graph {
    Graph::new(config, &"backend-0".into())
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A span of trace 1 that lasts `millis`. Id 0 is none.
fn span(kind: otlp::span::SpanKind, id: u8, parent: u8, millis: u64) -> otlp::Span {
    let bytes = |id: u8| if id == 0 { Vec::new() } else { vec![id; 8] };
    otlp::Span {
        trace_id: vec![1; 16],
        span_id: bytes(id),
        parent_span_id: bytes(parent),
        kind: kind.into(),
        start_time_unix_nano: SECOND,
        end_time_unix_nano: SECOND + millis * 1_000_000,
        ..otlp::Span::default()
    }
}

fn with(attributes: &[(&str, &str)], span: otlp::Span) -> otlp::Span {
    let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
    otlp::Span { attributes, ..span }
}

fn failing(span: otlp::Span) -> otlp::Span {
    otlp::Span { status: Some(otlp::Status { code: 2, ..otlp::Status::default() }), ..span }
}

/// Spans of a resource with these attributes.
fn entry(attributes: &[(&str, &str)], spans: Vec<otlp::Span>) -> otlp::ResourceSpans {
    let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
    otlp::ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![otlp::ScopeSpans { spans, ..otlp::ScopeSpans::default() }],
        ..otlp::ResourceSpans::default()
    }
}

fn service(name: &str, spans: Vec<otlp::Span>) -> otlp::ResourceSpans {
    entry(&[("service.name", name)], spans)
}

fn batch(resource_spans: Vec<otlp::ResourceSpans>) -> Batch {
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
}

/// All data points by `name{attributes}`, which must be unique, without what all names begin with.
type Points = BTreeMap<String, Point>;

fn points(batches: &[Batch]) -> Points {
    let mut points = Points::new();
    for batch in batches {
        let request = ExportMetricsServiceRequest::decode(batch.bytes().clone()).unwrap();
        let parsed = Batch::parse(Signal::Metrics, batch.bytes().clone()).unwrap();
        assert_eq!(parsed.items(), batch.items());
        for scope in request.resource_metrics.into_iter().flat_map(|entry| entry.scope_metrics) {
            assert_eq!(scope.scope.unwrap().name, "traces_service_graph");
            for metric in scope.metrics {
                let name = metric.name.strip_prefix("traces_service_graph_request_").unwrap();
                add_points(name, metric.data.unwrap(), &metric.unit, &mut points);
            }
        }
    }
    points
}

fn add_points(name: &str, data: Data, unit: &str, points: &mut Points) {
    let mut add = |attributes: &[KeyValue], point: Point| {
        let series = format!("{name}{}", labels(attributes));
        assert_eq!(points.insert(series.clone(), point), None, "{series} stands twice");
    };
    match data {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic && unit.is_empty());
            for point in sum.data_points {
                let Some(AsInt(count)) = point.value else { panic!("requests are integers") };
                let (start_ns, time_ns) = (point.start_time_unix_nano, point.time_unix_nano);
                let count = u64::try_from(count).unwrap();
                add(&point.attributes, Point { count, start_ns, time_ns, ..Point::default() });
            }
        }
        Data::Histogram(histogram) => {
            assert_eq!(unit, "s");
            for point in histogram.data_points {
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                add(
                    &point.attributes,
                    Point {
                        count: point.count,
                        sum: point.sum.unwrap(),
                        buckets: point.bucket_counts,
                        start_ns: point.start_time_unix_nano,
                        time_ns: point.time_unix_nano,
                    },
                );
            }
        }
        Data::ExponentialHistogram(histogram) => {
            assert_eq!(unit, "s");
            for point in histogram.data_points {
                add(
                    &point.attributes,
                    Point {
                        count: point.count,
                        sum: point.sum.unwrap(),
                        buckets: point.positive.unwrap_or_default().bucket_counts,
                        start_ns: point.start_time_unix_nano,
                        time_ns: point.time_unix_nano,
                    },
                );
            }
        }
        other => panic!("{other:?} was not asked for"),
    }
}

/// The attributes as `{value,…}` for those that all series have, and `key=value` for others.
fn labels(attributes: &[KeyValue]) -> String {
    let mut text = String::from("{");
    for attribute in attributes {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::BoolValue(false)) => continue,
            Some(Value::BoolValue(true)) => "true".to_owned(),
            other => panic!("{other:?} is no label"),
        };
        let comma = if text.len() > 1 { " " } else { "" };
        match attribute.key.as_str() {
            "client" => write!(text, "{value}->").unwrap(),
            "server" => write!(text, "{value}").unwrap(),
            "connection_type" if value.is_empty() => {}
            key => write!(text, "{comma}{key}={value}").unwrap(),
        }
    }
    text + "}"
}

fn collect(graph: &Graph) -> Points {
    points(&graph.collect(UNIX + SECOND))
}

/// The counts of requests.
fn requests(graph: &Graph) -> Vec<(String, u64)> {
    let points = collect(graph).into_iter();
    points
        .filter(|(series, _)| series.starts_with("total"))
        .map(|(series, point)| (series.strip_prefix("total").unwrap().to_owned(), point.count))
        .collect()
}

#[track_caller]
fn check(config: &ServiceGraphConfig, entries: Vec<otlp::ResourceSpans>, expected: &[(&str, u64)]) {
    let graph = graph(config);
    graph.observe(&batch(entries), 0, UNIX);
    graph.expire(2 * SECOND, UNIX);
    let found = requests(&graph);
    let found: Vec<_> = found.iter().map(|(series, count)| (series.as_str(), *count)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_client_and_a_server_make_a_request() {
    let graph = graph(&ServiceGraphConfig::default());
    let observed = graph.observe(
        &batch(vec![
            service("shop", vec![span(Client, 2, 1, 30), span(Internal, 3, 1, 5)]),
            service("cart", vec![failing(span(Server, 4, 2, 20))]),
        ]),
        0,
        UNIX,
    );
    assert_eq!(observed, Observed { new_edges: 1, ..Observed::default() });
    let points = collect(&graph);
    let point = |name: &str| points[&format!("{name}{{shop->cart failed=true}}")].clone();
    assert_eq!(points.len(), 4);
    let count = Point { count: 1, start_ns: UNIX, time_ns: UNIX + SECOND, ..Point::default() };
    assert_eq!((point("total"), point("failed_total")), (count.clone(), count));
    // 20 ms and 30 ms are above 10 ms and not above 50 ms.
    for (name, sum) in [("server", 0.02), ("client", 0.03)] {
        let latency = point(name);
        assert!((latency.sum - sum).abs() < 1e-12, "{name}: {}", latency.sum);
        assert_eq!((latency.count, latency.buckets[5], latency.buckets.len()), (1, 1, 17));
    }
    assert_eq!(graph.store().items(), 0);
}

#[test]
fn what_has_not_failed_has_no_failures() {
    let graph = graph(&ServiceGraphConfig::default());
    let spans = |id| {
        vec![service("a", vec![span(Client, id, 0, 1)]), service("b", vec![span(Server, 9, id, 1)])]
    };
    graph.observe(&batch(spans(1)), 0, UNIX);
    graph.observe(&batch(spans(2)), 0, UNIX);
    let points = collect(&graph);
    assert_eq!(points.keys().collect::<Vec<_>>(), ["client{a->b}", "server{a->b}", "total{a->b}"]);
    assert_eq!(points["total{a->b}"].count, 2);
}

#[test]
fn queues_and_databases_are_told_apart() {
    let config = ServiceGraphConfig::default();
    let database = with(&[("db.name", "orders")], span(Client, 5, 0, 7));
    let entries = vec![
        service("a", vec![span(Producer, 2, 0, 1), database]),
        service("b", vec![span(Consumer, 3, 2, 1)]),
    ];
    check(
        &config,
        entries,
        &[
            ("{a->b connection_type=messaging_system}", 1),
            ("{a->orders connection_type=database}", 1),
        ],
    );
    // The server's latency is what the client saw.
    let graph = graph(&config);
    let database = with(&[("db.name", "orders")], span(Client, 5, 0, 7));
    graph.observe(&batch(vec![service("a", vec![database])]), 0, UNIX);
    let points = collect(&graph);
    let sum = |name: &str| points[&format!("{name}{{a->orders connection_type=database}}")].sum;
    assert!((sum("server") - 0.007).abs() < 1e-12 && (sum("client") - 0.007).abs() < 1e-12);
    let named = ServiceGraphConfig {
        database_name_attributes: vec!["db.namespace".to_owned(), "db.name".to_owned()],
        ..config
    };
    let attributes = [("db.name", "old"), ("db.namespace", "new")];
    let entries = vec![service("a", vec![with(&attributes, span(Client, 5, 0, 7))])];
    check(&named, entries, &[("{a->new connection_type=database}", 1)]);
}

#[test]
fn a_side_without_spans_gets_a_name() {
    let config = ServiceGraphConfig {
        virtual_node_extra_label: true,
        database_name_attributes: vec!["db.namespace".to_owned()],
        ..ServiceGraphConfig::default()
    };
    let peers = [("db.system", "redis"), ("peer.service", "cache")];
    let entries = || {
        vec![
            // A server without a parent was called by a user.
            service("a", vec![span(Server, 2, 0, 1), span(Client, 3, 2, 1)]),
            service("b", vec![with(&peers, span(Client, 4, 2, 1))]),
            // One whose client's span did not come, was not.
            service("c", vec![span(Server, 5, 77, 1)]),
        ]
    };
    check(
        &config,
        entries(),
        &[
            ("{a->unknown connection_type=virtual_node virtual_node=server}", 1),
            ("{b->cache connection_type=virtual_node virtual_node=server}", 1),
            ("{user->a connection_type=virtual_node virtual_node=client}", 1),
        ],
    );
    let none = ServiceGraphConfig { virtual_node_peer_attributes: Vec::new(), ..config };
    check(&none, entries(), &[]);
    let graph = graph(&none);
    graph.observe(&batch(entries()), 0, UNIX);
    assert_eq!(graph.expire(SECOND, UNIX), Observed::default());
    assert_eq!(graph.expire(2 * SECOND, UNIX).expired_edges, 4);
}

#[test]
fn dimensions_are_of_both_sides_and_the_resource_counts_first() {
    let config = ServiceGraphConfig {
        dimensions: vec!["zone".to_owned(), "http.route".to_owned()],
        include_instance_id: true,
        ..ServiceGraphConfig::default()
    };
    let client = with(&[("zone", "span")], span(Client, 2, 0, 1));
    let server = with(&[("zone", "span"), ("http.route", "/cart")], span(Server, 3, 2, 1));
    let entries = vec![
        entry(&[("service.name", "a"), ("zone", "resource")], vec![client]),
        service("b", vec![server]),
    ];
    let series = "{a->b client_zone=resource server_zone=span server_http.route=/cart \
                  collector.instance.id=backend-0}";
    check(&config, entries, &[(series, 1)]);
}

#[test]
fn spans_without_a_service_and_those_without_room_are_counted() {
    let store = StoreConfig { max_items: 1, ..StoreConfig::default() };
    let graph = graph(&ServiceGraphConfig { store, ..ServiceGraphConfig::default() });
    let spans = || vec![span(Client, 2, 0, 1), span(Client, 3, 0, 1), span(Internal, 4, 0, 1)];
    let observed = graph.observe(&batch(vec![service("a", spans()), entry(&[], spans())]), 0, UNIX);
    let expected =
        Observed { new_edges: 1, dropped_spans: 1, skipped_spans: 2, ..Observed::default() };
    assert_eq!(observed, expected);
    let unnamed = graph.observe(&batch(vec![service("", spans())]), 0, UNIX);
    assert_eq!(unnamed, Observed { skipped_spans: 2, ..Observed::default() });
    assert!(graph.store().bytes() > 0);
    assert_eq!(graph.abandon(), Observed { expired_edges: 1, ..Observed::default() });
    assert_eq!((graph.store().items(), graph.store().bytes(), requests(&graph).len()), (0, 0, 0));
}

#[test]
fn requests_above_the_limit_count_in_one_series_and_idle_ones_are_forgotten() {
    let graph = graph(&ServiceGraphConfig { max_series: 1, ..ServiceGraphConfig::default() });
    let request = |server: &str, id, unix_ns| {
        let client = service("a", vec![span(Client, id, 0, 1)]);
        let server = service(server, vec![span(Server, 99, id, 1)]);
        graph.observe(&batch(vec![client, server]), 0, unix_ns)
    };
    assert_eq!(request("b", 1, UNIX).overflowed, 0);
    assert_eq!(request("c", 2, UNIX).overflowed, 1);
    assert_eq!(request("b", 3, UNIX + SECOND).overflowed, 0);
    let expected = [("{a->b}".to_owned(), 2), ("{otel.metric.overflow=true}".to_owned(), 1)];
    assert_eq!((requests(&graph), graph.series()), (expected.to_vec(), 1));
    let later = UNIX + SECOND + 15 * 60 * SECOND;
    assert_eq!((graph.expire_series(later - 1), graph.expire_series(later)), (0, 1));
    assert_eq!((requests(&graph).len(), graph.series()), (1, 0));
    // It begins anew, and is not forgotten before it was written.
    request("b", 4, later);
    assert_eq!(graph.expire_series(later + later), 0);
    let points = points(&graph.collect(later));
    assert_eq!((points["total{a->b}"].count, points["total{a->b}"].start_ns), (1, later));
}

#[test]
fn histograms_can_be_exponential_and_times_lie_in_the_past() {
    let graph = graph(&ServiceGraphConfig {
        exponential_histogram_max_size: 20,
        metrics_timestamp_offset: Duration::from_secs(3),
        ..ServiceGraphConfig::default()
    });
    for (id, millis) in [(1, 1000), (2, 2000), (3, 4000)] {
        let client = service("a", vec![span(Client, id, 0, millis)]);
        let server = service("b", vec![span(Server, 99, id, millis)]);
        graph.observe(&batch(vec![server, client]), 0, UNIX);
    }
    let points = points(&graph.collect(UNIX + 10 * SECOND));
    let point = &points["client{a->b}"];
    assert_eq!((point.count, point.time_ns), (3, UNIX + 7 * SECOND));
    assert!((point.sum - 7.0).abs() < 1e-12);
    assert_eq!(point.buckets.iter().filter(|count| **count == 1).count(), 3);
    assert!(point.buckets.len() <= 20);
}

#[test]
fn a_large_flush_is_cut_into_several_requests() {
    let graph = graph(&ServiceGraphConfig::default());
    let numbers: Vec<u16> = (1..=2_000).collect();
    let span_of = |kind, number: u16, parent: u16| {
        let id = |number: u16| [0, 0, 0, 0, 0, 1].iter().copied().chain(number.to_be_bytes());
        let span = span(kind, 1, 0, 1);
        let parent_span_id = if parent == 0 { Vec::new() } else { id(parent).collect() };
        otlp::Span { span_id: id(number).collect(), parent_span_id, ..span }
    };
    for number in numbers {
        let client = service("a", vec![span_of(Client, number, 0)]);
        let server = service(&number.to_string(), vec![span_of(Server, 9_999, number)]);
        graph.observe(&batch(vec![client, server]), 0, UNIX);
    }
    let batches = graph.collect(UNIX);
    assert!(batches.len() > 1 && batches.iter().all(|batch| batch.bytes().len() < 2 << 20));
    assert_eq!(points(&batches).len(), 3 * 2_000);
}

proptest! {
    /// Whatever the order in which the spans of requests come and however they are cut into
    /// batches, every request is counted once.
    #[test]
    fn every_pair_is_one_request(
        pairs in proptest::collection::vec((0..3_u8, 0..3_u8, any::<bool>()), 1..40),
        order in any::<prop::sample::Index>(),
        cut in 1..9_usize,
    ) {
        let graph = graph(&ServiceGraphConfig::default());
        let mut expected = BTreeMap::<String, u64>::new();
        let mut spans = Vec::new();
        for (id, (client, server, failed)) in (1..).zip(&pairs) {
            let mark = if *failed { " failed=true" } else { "" };
            *expected.entry(format!("{{c{client}->s{server}{mark}}}")).or_default() += 1;
            spans.push((format!("c{client}"), span(Client, id, 0, 1)));
            let server_span = span(Server, 200, id, 1);
            let server_span = if *failed { failing(server_span) } else { server_span };
            spans.push((format!("s{server}"), server_span));
        }
        let length = spans.len();
        spans.rotate_left(order.index(length));
        for spans in spans.chunks(cut) {
            let entries = spans.iter().map(|(name, span)| service(name, vec![span.clone()]));
            graph.observe(&batch(entries.collect()), 0, UNIX);
        }
        let expected: Vec<_> = expected.into_iter().collect();
        prop_assert_eq!(requests(&graph), expected);
        prop_assert_eq!(graph.store().items(), 0);
        prop_assert_eq!(graph.store().bytes(), 0);
    }
}
