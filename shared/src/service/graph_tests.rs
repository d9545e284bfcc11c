//! Which components are built, how batches reach them, and the order in which they stop.

use super::*;
use crate::config::{Document, Process};
use crate::service::testing::{events, registry};

fn model(text: &str) -> Model {
    let document = Document::parse(text, &Process).unwrap();
    Model::read(document, &registry()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn around() -> Surroundings {
    Surroundings { losses: Arc::default(), instance: "here".into(), commons: Arc::default() }
}

async fn start(model: &Model) -> Result<Graph, BuildError> {
    let Built { mut graph, entries } = Graph::build(model, &around())?;
    graph.start_receivers(model, &entries, &around()).await?;
    Ok(graph)
}

fn soon() -> Instant {
    clock::now() + Duration::from_secs(10)
}

/// Spans go to a destination, and by a connector into the metrics of two more pipelines.
const JOINED: &str = "
receivers: {otlp: }
processors: {batch: , batch/2: }
exporters: {debug: , otlp_grpc: }
connectors: {span_metrics: }
service:
  pipelines:
    metrics: {receivers: [span_metrics, otlp], processors: [batch], exporters: [otlp_grpc]}
    metrics/2: {receivers: [span_metrics], exporters: [debug, otlp_grpc]}
    traces: {receivers: [otlp], processors: [batch, batch/2], exporters: [debug]}
    traces/2: {receivers: [otlp], exporters: [span_metrics]}
    traces/3: {receivers: [otlp], processors: [batch], exporters: [debug, span_metrics]}
";

#[tokio::test]
async fn exporters_start_first_and_receivers_last() {
    let model = model(JOINED);
    drop(start(&model).await.unwrap());
    let started: Vec<String> =
        events().into_iter().filter(|event| !event.starts_with("consume")).collect();
    assert_eq!(
        started,
        [
            "build debug (traces)",
            "build otlp_grpc (metrics)",
            "build debug (metrics)",
            "build batch (metrics)",
            "build span_metrics (traces to metrics)",
            "build batch (traces)",
            "build batch/2 (traces)",
            "build batch (traces)",
            "start otlp (traces)",
        ]
    );
}

#[tokio::test]
async fn a_batch_takes_every_way_through_the_pipelines() {
    let model = model(JOINED);
    drop(start(&model).await.unwrap());
    let mut consumed: Vec<String> = events()
        .into_iter()
        .filter_map(|event| Some(event.strip_prefix("consume ")?.into()))
        .collect();
    consumed.sort();
    assert_eq!(
        consumed,
        [
            "batch (metrics)",
            "batch (metrics)",
            "batch (metrics)",
            "batch (traces)",
            "batch (traces)",
            "batch/2 (traces)",
            "debug (metrics)",
            "debug (metrics)",
            "debug (traces)",
            "debug (traces)",
            "otlp_grpc (metrics)",
            "otlp_grpc (metrics)",
            "otlp_grpc (metrics)",
            "otlp_grpc (metrics)",
            "otlp_grpc (metrics)",
            "span_metrics (traces to metrics)",
            "span_metrics (traces to metrics)",
        ]
    );
}

#[tokio::test]
async fn everything_stops_once_and_upstream_first() {
    let model = model(JOINED);
    let graph = start(&model).await.unwrap();
    events();
    assert_eq!(graph.stop(soon()).await, Stopped::InTime);
    let stopped = events();
    assert_eq!(
        stopped[..6],
        [
            "stop otlp (traces)",
            "stop batch (traces)",
            "stop batch/2 (traces)",
            "stop batch (traces)",
            "stop span_metrics (traces to metrics)",
            "stop batch (metrics)",
        ]
    );
    let mut exporters = stopped[6..].to_vec();
    exporters.sort();
    assert_eq!(
        exporters,
        ["stop debug (metrics)", "stop debug (traces)", "stop otlp_grpc (metrics)"]
    );
}

#[tokio::test]
async fn receivers_say_where_they_listen() {
    let model = model(JOINED);
    let graph = start(&model).await.unwrap();
    let bound: Vec<String> = graph
        .addresses()
        .filter(|(.., bound)| !bound.is_empty())
        .map(|(kind, id, bound)| format!("{} {id} {bound:?}", kind.section()))
        .collect();
    assert_eq!(bound, ["receivers otlp [127.0.0.1:4317]"]);
}

#[tokio::test]
async fn a_receiver_that_cannot_start_is_named() {
    let model = model(&JOINED.replace("{otlp: }", "{otlp: {endpoint: taken}}"));
    let error = start(&model).await.err().unwrap();
    assert_eq!(error.to_string(), "failed to start \"otlp\" receiver: address already in use");
}

#[tokio::test(start_paused = true)]
async fn a_component_that_does_not_stop_is_left_behind() {
    let model = model(&JOINED.replace("batch/2: ", "batch/2: {linger: 1h}"));
    let graph = start(&model).await.unwrap();
    events();
    let before = clock::now();
    assert_eq!(graph.stop(soon()).await, Stopped::Overrun);
    assert!(clock::now() - before < Duration::from_secs(6), "half of the time, and a grace");
    assert_eq!(events().len(), 9, "all the others were stopped");
}

#[tokio::test]
async fn every_instance_of_a_component_takes_new_settings() {
    let model = model(JOINED);
    let graph = start(&model).await.unwrap();
    events();
    let other = self::model(&JOINED.replace("batch: ,", "batch: {limit: 7},"));
    let id = ComponentId::parse("batch").unwrap();
    graph.reload(Kind::Processor, &id, section(&other, Kind::Processor, &id));
    let mut told = events();
    told.sort();
    assert_eq!(
        told,
        [
            "limit Some(7) batch (metrics)",
            "limit Some(7) batch (traces)",
            "limit Some(7) batch (traces)"
        ]
    );
}
