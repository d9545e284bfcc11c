//! `service_graph` and `count` in real backends: what is sent, and what a scrape then shows.

use std::collections::BTreeMap;

use loadtest::testbed::cluster::{Cluster, client, until};
use loadtest::testbed::page::{Page, Sample, whole};
use loadtest::testbed::process::{GRPC, SPAN_METRICS, Tier};
use shared::Batch;
use shared::config::Compression;
use shared::wire::{Signal, Writer};

use crate::common::{keeping_all, start, stop};

const START_NS: u64 = 1_700_000_000_000_000_000;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

/// A span of a request. All times are whole eighths of a second, so that their sums are exact.
#[derive(Clone, Copy, Default)]
struct Half {
    trace: u32,
    span: u8,
    /// 0 is none.
    parent: u8,
    kind: u64,
    eighths: u32,
    fails: bool,
    attribute: Option<(&'static str, &'static str)>,
}

impl Half {
    fn write(&self, span: &mut Writer) {
        let mut trace_id = [0x5e; 16];
        trace_id[..4].copy_from_slice(&self.trace.wrapping_mul(0x9e37_79b1).to_be_bytes());
        span.bytes(1, &trace_id);
        span.bytes(2, &[self.span; 8]);
        if self.parent != 0 {
            span.bytes(4, &[self.parent; 8]);
        }
        span.bytes(5, b"request");
        span.varint(6, self.kind);
        span.fixed64(7, START_NS);
        span.fixed64(8, START_NS + u64::from(self.eighths) * 125_000_000);
        if let Some((key, text)) = self.attribute {
            span.string_attribute(9, key.as_bytes(), text.as_bytes());
        }
        if self.fails {
            span.message(15, |status| status.varint(3, 2));
        }
    }
}

/// The spans as one service sends them.
fn of_service(service: &str, halves: &[Half]) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", service.as_bytes());
        });
        entry.message(2, |scope| {
            for half in halves {
                scope.message(2, |span| half.write(span));
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

/// What tells series of the graph apart: client, server, `connection_type`, `failed`.
type Line = (String, String, String, bool);

/// What a series of the graph says.
#[derive(Debug, Default, Clone, PartialEq)]
struct Requests {
    total: u64,
    failed: u64,
    of_server: u64,
    of_client: u64,
    server_seconds: f64,
    client_seconds: f64,
}

fn line(client: &str, server: &str, connection: &str, failed: bool) -> Line {
    (client.to_owned(), server.to_owned(), connection.to_owned(), failed)
}

/// The graph that a page shows.
fn graph(page: &Page) -> BTreeMap<Line, Requests> {
    let mut found: BTreeMap<Line, Requests> = BTreeMap::new();
    let mut add = |name: &str, to: fn(&mut Requests, f64)| {
        for sample in page.series(name) {
            let failed = sample.label("failed") == "true";
            let label = |name| sample.label(name);
            let line = line(label("client"), label("server"), label("connection_type"), failed);
            to(found.entry(line).or_default(), sample.value);
        }
    };
    add("traces_service_graph_request", |requests, value| requests.total += whole(value));
    add("traces_service_graph_request_failed", |requests, value| requests.failed += whole(value));
    add("traces_service_graph_request_server_seconds_count", |requests, value| {
        requests.of_server += whole(value);
    });
    add("traces_service_graph_request_client_seconds_count", |requests, value| {
        requests.of_client += whole(value);
    });
    add("traces_service_graph_request_server_seconds_sum", |requests, value| {
        requests.server_seconds += value;
    });
    add("traces_service_graph_request_client_seconds_sum", |requests, value| {
        requests.client_seconds += value;
    });
    found
}

/// Settings of a backend that has a service graph beside its span metrics.
fn graph_settings(connector: &str) -> Vec<String> {
    vec![
        format!("connectors::service_graph={connector}"),
        "service::pipelines::traces/metrics::exporters=[spanmetrics, service_graph]".to_owned(),
        "service::pipelines::metrics::receivers=[spanmetrics, service_graph]".to_owned(),
    ]
}

const TRACES: u32 = 60;

/// A trace: the cart calls pay, which asks a database and leaves mail a message. In every sixth,
/// pay fails.
fn shop(trace: u32) -> [(&'static str, Half); 5] {
    let half = |span, parent, kind, eighths| Half {
        trace,
        span,
        parent,
        kind,
        eighths,
        ..Half::default()
    };
    let database = Some(("db.name", "ledger"));
    [
        ("cart", half(1, 0, CLIENT, 2)),
        ("pay", Half { fails: trace.is_multiple_of(6), ..half(2, 1, SERVER, 1) }),
        ("pay", Half { attribute: database, ..half(3, 2, CLIENT, 3) }),
        ("pay", half(4, 2, PRODUCER, 4)),
        ("mail", half(5, 4, CONSUMER, 8)),
    ]
}

/// The same as the graph should show it.
fn shop_graph() -> BTreeMap<Line, Requests> {
    let requests = |total: u32, failed: u32, server: f64, client: f64| Requests {
        total: total.into(),
        failed: failed.into(),
        of_server: total.into(),
        of_client: total.into(),
        server_seconds: server * f64::from(total),
        client_seconds: client * f64::from(total),
    };
    let failed = TRACES / 6;
    BTreeMap::from([
        (line("cart", "pay", "", false), requests(TRACES - failed, 0, 0.125, 0.25)),
        (line("cart", "pay", "", true), requests(failed, failed, 0.125, 0.25)),
        (line("pay", "ledger", "database", false), requests(TRACES, 0, 0.375, 0.375)),
        (line("pay", "mail", "messaging_system", false), requests(TRACES, 0, 1.0, 0.5)),
    ])
}

#[tokio::test]
async fn the_graphs_of_two_backends_add_up_to_the_requests_that_three_services_sent() {
    let mut shape = keeping_all(1, 2);
    shape.backend_settings.extend(graph_settings(
        "{metrics_flush_interval: 100ms, store: {max_items: 10000, ttl: 60s}}",
    ));
    let cluster = start(shape).await;
    let edge = cluster.clients().unwrap().remove(0);
    let spans: Vec<_> = (0..TRACES).flat_map(shop).collect();
    // Each service sends by itself; those who answer are heard of before those who ask, and after.
    for service in ["mail", "cart", "pay"] {
        let halves: Vec<Half> =
            spans.iter().filter(|(of, _)| *of == service).map(|(_, half)| *half).collect();
        for halves in halves.chunks(25) {
            edge.send(of_service(service, halves)).await.unwrap();
        }
    }

    until("every request is in the graph", async || {
        Ok(graph(&cluster.span_metrics().await?) == shop_graph())
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    for backend in &cluster.backends {
        let own = Page::fetch(backend.at(SPAN_METRICS)).await.unwrap();
        assert!(!graph(&own).is_empty(), "{} has no part of the graph", backend.name());
    }
    let page = cluster.span_metrics().await.unwrap();
    let answers = |le: &'static str| {
        page.sum_where("traces_service_graph_request_server_seconds_bucket", |sample| {
            sample.label("server") == "pay" && sample.label("le") == le
        })
    };
    assert_eq!((answers("0.1"), answers("0.2")), (0, TRACES.into()));

    let telemetry = cluster.telemetry(Tier::Backend).await.unwrap();
    assert_eq!(telemetry.sum("otelcol_connector_servicegraph_total_edges"), u64::from(TRACES) * 3);
    for nothing in ["expired_edges", "dropped_spans", "skipped_spans", "waiting_edges"] {
        let name = format!("otelcol_connector_servicegraph_{nothing}");
        assert_eq!(telemetry.sum(&name), 0, "{nothing}");
    }
    stop(cluster).await;
}

#[tokio::test]
async fn requests_of_which_one_half_came_expire_and_have_virtual_nodes() {
    let mut shape = keeping_all(1, 1);
    shape.backend_settings.extend(graph_settings(
        "{metrics_flush_interval: 100ms, store_expiration_loop: 100ms, store: {ttl: 100ms}, \
         virtual_node_extra_label: true}",
    ));
    let cluster = start(shape).await;
    let kinds = [
        // Called by no one who sends spans.
        (5, Half { kind: SERVER, ..Half::default() }),
        // Calls someone who sends none, and names them or not.
        (4, Half { kind: CLIENT, attribute: Some(("peer.service", "bank")), ..Half::default() }),
        (3, Half { kind: CLIENT, ..Half::default() }),
        // Its caller sends spans, but this one's did not come.
        (2, Half { kind: SERVER, parent: 9, ..Half::default() }),
    ];
    let halves: Vec<Half> = (1..)
        .zip(&kinds)
        .flat_map(|(kind, (count, half))| {
            (0..*count).map(move |index| Half {
                trace: kind * 100 + index,
                span: 1,
                eighths: 1,
                ..*half
            })
        })
        .collect();
    let edge = cluster.clients().unwrap().remove(0);
    edge.send(of_service("web", &halves)).await.unwrap();

    let expired = "otelcol_connector_servicegraph_expired_edges";
    until("all halves have expired", async || {
        Ok(cluster.telemetry(Tier::Backend).await?.sum(expired) == 14)
    })
    .await
    .unwrap();
    until("the virtual nodes are in the graph", async || {
        Ok(cluster.span_metrics().await?.sum("traces_service_graph_request") == 12)
    })
    .await
    .unwrap();
    let page = cluster.span_metrics().await.unwrap();
    let found: BTreeMap<_, _> = page
        .series("traces_service_graph_request")
        .map(|sample| {
            assert_eq!(sample.label("connection_type"), "virtual_node");
            let label = |name| sample.label(name);
            ((label("client"), label("server"), label("virtual_node")), whole(sample.value))
        })
        .collect();
    let expected = BTreeMap::from([
        (("user", "web", "client"), 5),
        (("web", "bank", "server"), 4),
        (("web", "unknown", "server"), 3),
    ]);
    assert_eq!(found, expected);
    let telemetry = cluster.telemetry(Tier::Backend).await.unwrap();
    assert_eq!(telemetry.sum("otelcol_connector_servicegraph_total_edges"), 14);
    stop(cluster).await;
}

/// A request with `count` records below a resource of that environment; `fill` writes one.
fn records(
    signal: Signal,
    environment: &str,
    count: u64,
    fill: impl Fn(&mut Writer, u64),
) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            resource.string_attribute(1, b"service.name", b"shop");
            resource.string_attribute(1, b"deployment.environment", environment.as_bytes());
        });
        entry.message(2, |scope| {
            (0..count).for_each(|index| scope.message(2, |record| fill(record, index)));
        });
    });
    Batch::parse(signal, writer.into_vec().into()).unwrap()
}

/// A span; every third has two events, one of them an exception.
fn span(span: &mut Writer, index: u64) {
    span.bytes(1, &[7; 16]);
    span.bytes(2, &(index + 1).to_be_bytes());
    span.bytes(5, b"work");
    if index.is_multiple_of(3) {
        span.message(11, |event| event.bytes(2, b"exception"));
        span.message(11, |event| event.bytes(2, b"retry"));
    }
}

/// A gauge of two points.
fn gauge(metric: &mut Writer, index: u64) {
    metric.bytes(1, b"temperature");
    metric.message(5, |gauge| {
        for point in 0..2 {
            gauge.message(1, |number| number.fixed64(6, index * 2 + point));
        }
    });
}

/// A log record; every fifth is an error.
fn log(record: &mut Writer, index: u64) {
    record.varint(2, if index.is_multiple_of(5) { 17 } else { 9 });
    record.message(5, |body| body.bytes(1, b"done"));
}

/// A backend whose `count` connector counts all signals, into totals on its page.
async fn counting() -> Cluster {
    let mut shape = keeping_all(0, 1);
    let connector = "connectors::count={\
         spans: {spans.by.environment: {attributes: [{key: deployment.environment}]}}, \
         spanevents: {exceptions: {conditions: ['name == \"exception\"']}}, \
         logs: {errors: {conditions: ['severity_number >= SEVERITY_NUMBER_ERROR']}}}";
    for setting in [
        connector,
        "processors::delta_to_cumulative={merge_writers: true}",
        "service::pipelines::traces/metrics::exporters=[count]",
        "service::pipelines::logs={receivers: [otlp], exporters: [count]}",
        "service::pipelines::metrics/incoming={receivers: [otlp], exporters: [count]}",
        "service::pipelines::metrics::receivers=[count]",
        "service::pipelines::metrics::processors=[delta_to_cumulative]",
        "connectors::spanmetrics=null",
    ] {
        shape.backend_settings.push(setting.to_owned());
    }
    start(shape).await
}

#[tokio::test]
async fn counts_of_all_signals_are_what_four_senders_sent_at_once() {
    let cluster = counting().await;
    let backend = &cluster.backends[0];
    let senders = (0..4_u64).map(|sender| {
        let client = client(backend.at(GRPC), Compression::None).unwrap();
        let environment = if sender == 0 { "test" } else { "production" };
        tokio::spawn(async move {
            for _ in 0..20 {
                client.send(records(Signal::Traces, environment, 30, span)).await.unwrap();
                client.send(records(Signal::Metrics, environment, 3, gauge)).await.unwrap();
                client.send(records(Signal::Logs, environment, 10, log)).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }

    let page = Page::fetch(backend.at(SPAN_METRICS)).await.unwrap();
    let of = |environment: &'static str| {
        move |sample: &Sample| sample.label("deployment_environment") == environment
    };
    let spans = "spans_by_environment";
    assert_eq!(page.sum_where(spans, of("test")), 20 * 30);
    assert_eq!(page.sum_where(spans, of("production")), 3 * 20 * 30);
    for (name, expected) in [
        (spans, 4 * 20 * 30),
        ("exceptions", 4 * 20 * 10),
        ("errors", 4 * 20 * 2),
        ("metric_count", 4 * 20 * 3),
        ("metric_datapoint_count", 4 * 20 * 6),
    ] {
        assert_eq!(page.sum(name), expected, "{name}");
    }
    // What is named for a kind of thing replaces its default metric.
    for absent in ["trace_span_count", "trace_span_event_count", "log_record_count"] {
        assert_eq!(page.series(absent).count(), 0, "{absent}");
    }
    let telemetry = backend.telemetry().await.unwrap();
    assert_eq!(telemetry.sum("otelcol_connector_count_items"), 4 * 20 * (30 + 6 + 10));
    assert_eq!(telemetry.sum("otelcol_connector_count_condition_errors"), 0);
    stop(cluster).await;
}
