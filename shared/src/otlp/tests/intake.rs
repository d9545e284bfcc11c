//! What a receiver counts.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::otlp::{Intake, Turned};

/// Runs `requests` through an intake; gives the lines of the counters that moved.
async fn counted(outcome: Outcome, requests: Vec<Bytes>) -> Vec<String> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let recording = Recording::new();
    recording.answer(outcome);
    let next: Next = recording;
    let outputs = BTreeMap::from([(Signal::Traces, next)]);
    let intake =
        metrics::with_local_recorder(&recorder, || Intake::new(&context().id, "grpc", &outputs));
    assert!(intake.takes(Signal::Traces) && !intake.takes(Signal::Logs));
    for request in requests {
        if let Err(Turned::Rejected(rejected)) = intake.take(Signal::Traces, request, None).await {
            drop(rejected);
        }
    }
    let page = page.render();
    let moved = page.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    let short = |line: &str| line.replace("{receiver=\"otlp/test\",transport=\"grpc\"", "{");
    let mut lines: Vec<_> = moved.filter(|line| !line.is_empty()).map(short).collect();
    lines.sort();
    lines
}

fn request(names: &[&str]) -> Bytes {
    traces(names).bytes().clone()
}

#[tokio::test]
async fn what_the_pipeline_took_is_accepted_and_empty_requests_do_not_count() {
    let requests = vec![request(&["a", "b"]), Bytes::new(), request(&["c"])];
    assert_eq!(counted(|_| Ok(()), requests).await, ["otelcol_receiver_accepted_spans{} 3"]);
}

#[tokio::test]
async fn what_the_pipeline_hands_back_is_refused_and_the_rest_accepted() {
    let half: Outcome = |batch| {
        let rest = traces(&["b"]);
        assert_eq!(batch.items(), 3);
        Err(Rejected::retryable(rest, "one backend is gone"))
    };
    let lines = counted(half, vec![request(&["a", "b", "c"])]).await;
    let expected = [
        "otelcol_receiver_accepted_spans{} 2",
        "otelcol_receiver_refused_requests{,reason=\"downstream\"} 1",
        "otelcol_receiver_refused_spans{} 1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn bytes_that_are_no_request_are_counted_by_reason() {
    let lines = counted(|_| Ok(()), vec![Bytes::from_static(&[0x0a, 5])]).await;
    assert_eq!(lines, ["otelcol_receiver_refused_requests{,reason=\"malformed\"} 1"]);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_items_refused() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let recording = Recording::new();
    recording.close_gate();
    let next: Next = Arc::<Recording>::clone(&recording);
    let outputs = BTreeMap::from([(Signal::Traces, next)]);
    let intake =
        metrics::with_local_recorder(&recorder, || Intake::new(&context().id, "grpc", &outputs));
    let intake = Arc::new(intake);
    let taking = tokio::spawn({
        let intake = Arc::clone(&intake);
        async move { intake.take(Signal::Traces, request(&["a", "b"]), None).await.is_ok() }
    });
    recording.arrived.acquire().await.unwrap().forget();
    taking.abort();
    assert!(taking.await.unwrap_err().is_cancelled());
    let page = page.render();
    for line in
        ["refused_spans{receiver=\"otlp/test\",transport=\"grpc\"} 2", "reason=\"canceled\"} 1"]
    {
        assert!(page.contains(line), "{line}\n{page}");
    }
}
