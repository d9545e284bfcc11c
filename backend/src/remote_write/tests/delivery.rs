//! Requests, their order, and what becomes of those that fail.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};
use shared::metadata::Wanted;
use shared::{Consumer, RejectedKind, clock};

use super::receiver::{Answer, Receiver};
use super::*;
use crate::remote_write::config::Message;
use crate::remote_write::exporter::RemoteWriteExporter;

const SECONDS: Duration = Duration::from_secs(30);

/// One that tries again at once.
fn quick(receiver: &Receiver) -> RemoteWriteConfig {
    let mut config = config(&receiver.url);
    config.retry_on_failure.initial_interval = Duration::from_millis(1);
    config.retry_on_failure.max_interval = Duration::from_millis(5);
    config
}

/// An exporter, and where its losses are counted.
fn start(config: &RemoteWriteConfig) -> (RemoteWriteExporter, Arc<Losses>) {
    let context = context();
    let losses = Arc::clone(&context.losses);
    (RemoteWriteExporter::start(config, &context).unwrap(), losses)
}

/// A sample of each of these series, at a time of its own.
fn sample(series: std::ops::Range<u32>, value: u32) -> Batch {
    let points = series.map(|series| {
        let mut point = point(f64::from(value), &[("series", &series.to_string())]);
        point.time_unix_nano = TIME + u64::from(value) * 1_000_000;
        point
    });
    batch(vec![entry(&[], vec![metric("m", "", gauge(points.collect()))])])
}

/// Waits until as many data points are lost, and asserts that no more are.
pub(super) async fn lost(losses: &Losses, points: u64) {
    while losses.total() < points {
        tokio::task::yield_now().await;
    }
    assert_eq!(losses.total(), points);
}

#[tokio::test]
async fn the_protocols_headers_are_set_and_others_go_on() {
    let receiver = Receiver::willing().await;
    for (message, content_type, version) in [
        (Message::V1, "application/x-protobuf", "0.1.0"),
        (Message::V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ] {
        let mut config = quick(&receiver);
        config.protobuf_message = message;
        let (exporter, losses) = start(&config);
        exporter.consume(sample(0..1, 1)).await.unwrap();
        exporter.shutdown(clock::now() + SECONDS).await;
        let request = receiver.requests().pop().unwrap();
        assert_eq!(request.headers["content-type"], content_type);
        assert_eq!(request.headers["x-prometheus-remote-write-version"], version);
        assert_eq!(request.headers["content-encoding"], "snappy");
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("tailrace/"));
        assert_eq!(losses.total(), 0);
    }
}

#[tokio::test]
async fn each_series_keeps_its_order_whatever_fails() {
    let receiver = Receiver::start(|number, samples| match number % 5 {
        0 => Answer::status(503),
        2 => Answer::status(429),
        3 => Answer::status(500),
        _ => Answer::written(samples),
    })
    .await;
    for message in [Message::V1, Message::V2] {
        let mut config = quick(&receiver);
        config.protobuf_message = message;
        config.namespace = format!("v{}", message as u8);
        let (exporter, losses) = start(&config);
        for value in 0..40 {
            exporter.consume(sample(0..20, value)).await.unwrap();
        }
        receiver.took((1 + message as usize) * 20 * 40).await;
        exporter.shutdown(clock::now() + SECONDS).await;
        assert_eq!(losses.total(), 0);
    }
    let values = receiver.values();
    assert_eq!(values.len(), 2 * 20);
    let expected: Vec<f64> = (0..40).map(f64::from).collect();
    for (series, values) in values {
        assert_eq!(values, expected, "{series}");
    }
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let receiver = Receiver::start(|number, samples| match number {
        0 => Answer::status(503).header("retry-after", 1),
        _ => Answer::written(samples),
    })
    .await;
    let (exporter, _) = start(&quick(&receiver));
    exporter.consume(sample(0..1, 1)).await.unwrap();
    let requests = receiver.came(2).await;
    let waited = requests[1].at - requests[0].at;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn requests_keep_below_the_configured_size() {
    let receiver = Receiver::willing().await;
    for message in [Message::V1, Message::V2] {
        let mut config = quick(&receiver);
        config.protobuf_message = message;
        config.max_batch_size_bytes = 2000;
        config.namespace = format!("v{}", message as u8);
        let (exporter, _) = start(&config);
        exporter.consume(sample(0..300, 1)).await.unwrap();
        exporter.shutdown(clock::now() + SECONDS).await;
    }
    let requests = receiver.requests();
    assert!(requests.len() > 20, "{}", requests.len());
    assert!(requests.iter().all(|request| request.size <= 2000));
    assert_eq!(receiver.values().len(), 2 * 300);
}

#[tokio::test]
async fn what_waits_leaves_in_common_requests() {
    // Each row has its first request answered when the second batch and all after it wait.
    let receiver = Receiver::start(|number, samples| match number {
        0..5 => Answer::status(503).header("retry-after", 1),
        _ => Answer::written(samples),
    })
    .await;
    let (exporter, _) = start(&quick(&receiver));
    for value in 0..50 {
        exporter.consume(sample(0..20, value)).await.unwrap();
    }
    receiver.took(50 * 20).await;
    let requests = receiver.requests().len();
    assert!(requests < 50, "{requests} requests for 50 batches");
}

#[tokio::test]
async fn a_refusal_is_final_and_counted() {
    let receiver = Receiver::start(|_, _| Answer::status(400)).await;
    let (exporter, losses) = start(&quick(&receiver));
    exporter.consume(sample(0..7, 1)).await.unwrap();
    exporter.shutdown(clock::now() + SECONDS).await;
    assert_eq!(losses.total(), 7);
    let requests = receiver.requests();
    let samples: usize = requests.iter().map(|request| request.samples.len()).sum();
    assert_eq!(samples, 7, "each was sent once");
}

#[tokio::test]
async fn what_cannot_be_delivered_for_too_long_is_given_up_and_counted() {
    let receiver = Receiver::start(|_, _| Answer::status(500)).await;
    let mut config = quick(&receiver);
    config.retry_on_failure.max_elapsed_time = Duration::from_millis(50);
    let (exporter, losses) = start(&config);
    exporter.consume(sample(0..7, 1)).await.unwrap();
    lost(&losses, 7).await;
    assert!(receiver.requests().len() > 1);
}

/// An exporter without a queue, and what became of a batch of 5 data points.
async fn outcome(config: &mut RemoteWriteConfig) -> Result<(), shared::Rejected> {
    config.remote_write_queue.enabled = false;
    config.retry_on_failure.enabled = false;
    let (exporter, losses) = start(config);
    let outcome = exporter.consume(sample(0..5, 1)).await;
    assert_eq!(losses.total(), 0, "the sender knows");
    outcome
}

#[tokio::test]
async fn without_a_queue_the_sender_learns_the_outcome() {
    let receiver = Receiver::willing().await;
    outcome(&mut quick(&receiver)).await.unwrap();
    for (status, kind) in [(503, RejectedKind::Retryable), (400, RejectedKind::Permanent)] {
        let receiver = Receiver::start(move |_, _| Answer::status(status)).await;
        let rejected = outcome(&mut quick(&receiver)).await.unwrap_err();
        assert_eq!((rejected.kind, rejected.batch.items()), (kind, 5));
        assert!(rejected.reason.contains(&status.to_string()), "{}", rejected.reason);
    }
    let mut config = quick(&receiver);
    drop(receiver);
    config.client.endpoint = "http://127.0.0.1:1/".to_owned();
    let rejected = outcome(&mut config).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Retryable);
}

#[tokio::test]
async fn a_receiver_of_the_first_version_is_found_out() {
    for (status, why) in [(415, "does not speak Remote-Write 2.0"), (204, "may have dropped")] {
        let receiver = Receiver::start(move |_, _| Answer::status(status)).await;
        let mut config = quick(&receiver);
        config.protobuf_message = Message::V2;
        let rejected = outcome(&mut config).await.unwrap_err();
        assert_eq!(rejected.kind, RejectedKind::Permanent);
        assert!(rejected.reason.contains(why), "{}", rejected.reason);
        assert!(rejected.reason.ends_with("set protobuf_message to prometheus.WriteRequest"));
    }
}

#[tokio::test]
async fn samples_that_the_receiver_did_not_write_are_counted() {
    let receiver = Receiver::start(|_, samples| Answer::written(&samples[1..])).await;
    let mut config = quick(&receiver);
    config.protobuf_message = Message::V2;
    config.max_batch_request_parallelism = Some(1);
    let (exporter, losses) = start(&config);
    exporter.consume(sample(0..5, 1)).await.unwrap();
    exporter.shutdown(clock::now() + SECONDS).await;
    assert_eq!(losses.total(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let receiver = Receiver::start(|_, _| Answer::status(503).header("retry-after", 60)).await;
    let mut config = quick(&receiver);
    config.remote_write_queue.queue_size = 2;
    let (exporter, losses) = start(&config);
    for value in 0..2 {
        exporter.consume(sample(0..1, value)).await.unwrap();
    }
    let rejected = exporter.consume(sample(0..1, 2)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.reason, "sending queue is full");
    assert_eq!(losses.total(), 0);
}

#[tokio::test]
async fn a_shutdown_sends_what_waits_and_counts_what_it_cannot() {
    let receiver = Receiver::willing().await;
    let (exporter, losses) = start(&quick(&receiver));
    for value in 0..20 {
        exporter.consume(sample(0..5, value)).await.unwrap();
    }
    exporter.shutdown(clock::now() + SECONDS).await;
    assert_eq!(losses.total(), 0);
    assert_eq!(receiver.took(100).await.len(), 100);

    let receiver = Receiver::start(|_, _| Answer::status(503).header("retry-after", 60)).await;
    let (exporter, losses) = start(&quick(&receiver));
    for value in 0..20 {
        exporter.consume(sample(0..5, value)).await.unwrap();
    }
    receiver.came(1).await;
    exporter.shutdown(clock::now() + SECONDS).await;
    assert_eq!(losses.total(), 100);
    let rejected = exporter.consume(sample(0..1, 21)).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Refused);
}

/// As if this sender had sent it.
fn of_tenant(batch: Batch, tenant: &'static str) -> Batch {
    let mut wanted = Wanted::default();
    wanted.header("x-tenant");
    let headers = [(HeaderName::from_static("x-tenant"), HeaderValue::from_static(tenant))];
    let metadata = wanted.of(&Uri::default(), &headers.into_iter().collect(), &Vec::new(), None);
    batch.with_metadata(metadata)
}

#[tokio::test]
async fn headers_of_senders_go_on_and_keep_requests_apart() {
    let receiver = Receiver::start(|number, samples| match number {
        0 => Answer::status(503).header("retry-after", 1),
        _ => Answer::written(samples),
    })
    .await;
    let mut config = quick(&receiver);
    config.include_metadata_keys = vec!["X-Tenant".to_owned()];
    config.max_batch_request_parallelism = Some(1);
    let (exporter, _) = start(&config);
    for (value, tenant) in [(0, "a"), (1, "a"), (2, "b"), (3, "b")] {
        exporter.consume(of_tenant(sample(0..1, value), tenant)).await.unwrap();
    }
    receiver.took(4).await;
    let requests = receiver.requests();
    let got: Vec<_> = requests
        .iter()
        .filter(|request| request.taken)
        .map(|request| (request.headers["x-tenant"].to_str().unwrap(), request.samples.len()))
        .collect();
    // The first was sent alone; what waited behind it leaves by tenant.
    assert!(got == [("a", 1), ("a", 1), ("b", 2)] || got == [("a", 2), ("b", 2)], "{got:?}");
}

#[tokio::test]
async fn metadata_of_the_first_version_is_sent_once_for_each_family_of_a_batch() {
    let receiver = Receiver::willing().await;
    let mut config = quick(&receiver);
    config.send_metadata = true;
    let (exporter, _) = start(&config);
    let metrics = vec![
        metric("calls", "s", counter(vec![point(1.0, &[]), point(1.0, &[("a", "b")])])),
        metric("depth", "", gauge(vec![point(1.0, &[])])),
    ];
    exporter.consume(batch(vec![entry(&[], metrics)])).await.unwrap();
    exporter.shutdown(clock::now() + SECONDS).await;
    let requests = receiver.requests();
    let mut families: Vec<_> = requests
        .iter()
        .flat_map(|request| &request.metadata)
        .map(|of| (of.family.as_str(), of.kind, of.help.as_str(), of.unit.as_str()))
        .collect();
    families.sort_unstable();
    let expected =
        [("calls_seconds_total", 1, "what it is", "seconds"), ("depth", 2, "what it is", "")];
    assert_eq!(families, expected);
}
