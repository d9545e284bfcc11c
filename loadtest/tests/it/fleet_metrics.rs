//! Edges count spans, backends add up what they counted.

use std::collections::{BTreeMap, BTreeSet};

use loadtest::audit::calls;
use loadtest::oracle::{Policies, Policy};
use loadtest::plan::Plan;
use loadtest::testbed::cluster::{Cluster, Shape, until};
use loadtest::testbed::page::{Page, Sample};
use loadtest::testbed::process::{SPAN_METRICS, Tier};

use crate::common::{keeping_all, load, send, start, stop};

/// Two edges that count spans and send their deltas to the owners among three backends.
fn shape() -> Shape {
    Shape {
        edge_config: "edge-span-metrics.yaml",
        backend_config: "backend-span-metrics.yaml",
        ..keeping_all(2, 3)
    }
}

async fn wait_for_calls(cluster: &Cluster, spans: u64) {
    until("the backends have added up what the edges counted", async || {
        Ok(cluster.span_metrics().await?.sum("traces_span_metrics_calls") >= spans)
    })
    .await
    .unwrap();
}

/// The page of each backend.
async fn pages(cluster: &Cluster) -> Vec<Page> {
    let mut pages = Vec::new();
    for backend in &cluster.backends {
        pages.push(Page::fetch(backend.at(SPAN_METRICS)).await.unwrap());
    }
    pages
}

#[tokio::test]
async fn one_backend_has_the_exact_total_of_each_series_that_two_edges_count() {
    let cluster = start(shape()).await;
    let policies = Policies::new(vec![Policy::AlwaysSample]);
    let mut sent = load(cluster.clients().unwrap());
    // Slowly enough that both edges flush several times while spans come.
    sent.rate = Some(20_000);
    let truth = send(sent, Plan::new(31, 3_000), policies).await;
    wait_for_calls(&cluster, truth.spans).await;

    let found = calls(&cluster.span_metrics().await.unwrap());
    assert_eq!(found, truth.calls);
    for name in ["traces_span_metrics_calls", "traces_span_metrics_duration_milliseconds_count"] {
        let (mut total, mut owners) = (0, BTreeMap::<Vec<_>, usize>::new());
        let mut services: Vec<BTreeSet<String>> = Vec::new();
        for page in pages(&cluster).await {
            total += page.sum(name);
            for sample in page.series(name) {
                *owners.entry(sample.labels.clone()).or_default() += 1;
            }
            let service = |sample: &Sample| sample.label("service_name").to_owned();
            services.push(page.series(name).map(service).collect());
        }
        assert_eq!(total, truth.spans, "{name}");
        let shared: Vec<_> = owners.iter().filter(|(_, backends)| **backends > 1).collect();
        assert_eq!(shared, [], "{name}: series that two backends have");
        let used = services.iter().filter(|services| !services.is_empty()).count();
        assert!(used > 1, "services are spread over backends: {services:?}");
    }

    // Both edges counted every large series, so totals are of several writers.
    let points = cluster.telemetry(Tier::Backend).await.unwrap();
    let added =
        points.sum_where("otelcol_deltatocumulative_datapoints", |s| s.label("error").is_empty());
    let streams = points.sum("otelcol_deltatocumulative_streams_tracked");
    assert!(added > streams, "{added} points for {streams} streams");
    let dropped = points.sum("otelcol_deltatocumulative_datapoints") - added;
    assert_eq!(dropped, 0);
    stop(cluster).await;
}

/// What docs/fleet-metrics.md says of the saving. With `RUN_SLOW_TESTS=1` it takes as long as the
/// samples' flush interval makes it, and `--nocapture` shows the figures.
#[tokio::test]
async fn deltas_are_a_small_part_of_the_spans_that_they_count() {
    let mut shape = shape();
    // Only metrics go from edges to backends here, so that their bytes can be told.
    shape.edge_settings.push("service::pipelines::traces::exporters=[span_metrics]".to_owned());
    let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    if slow {
        shape.edge_settings.push("connectors::span_metrics::metrics_flush_interval=15s".to_owned());
    }
    let cluster = start(shape).await;
    let mut sent = load(cluster.clients().unwrap());
    sent.rate = Some(20_000);
    let policies = Policies::new(vec![Policy::AlwaysSample]);
    let traces = if slow { 100_000 } else { 6_000 };
    let truth = send(sent, Plan::new(32, traces), policies).await;
    wait_for_calls(&cluster, truth.spans).await;

    let edges = cluster.telemetry(Tier::Edge).await.unwrap();
    let bytes = edges.sum("otelcol_loadbalancer_backend_bytes");
    let backends = cluster.telemetry(Tier::Backend).await.unwrap();
    let points = backends.sum("otelcol_deltatocumulative_datapoints");
    let streams = backends.sum("otelcol_deltatocumulative_streams_tracked");
    let stream_bytes = backends.sum("otelcol_deltatocumulative_streams_bytes");
    println!(
        "{} spans of {} bytes became {points} points of {bytes} bytes, {streams} streams of {stream_bytes} bytes",
        truth.spans, truth.bytes
    );
    // Two edges flush every second here, and few spans come in one.
    assert!(bytes * 2 < truth.bytes, "{bytes} bytes of metrics for {} of spans", truth.bytes);
    stop(cluster).await;
}
