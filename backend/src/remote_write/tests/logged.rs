//! The exporter with a write-ahead log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::config::Section;
use shared::{Consumer, RejectedKind, clock};
use tempfile::TempDir;

use super::delivery::lost;
use super::receiver::{Answer, Receiver};
use super::*;
use crate::remote_write::exporter::RemoteWriteExporter;
use crate::remote_write::wal::WalConfig;

fn logged(directory: &TempDir, receiver: &Receiver) -> RemoteWriteConfig {
    let mut config = config(&receiver.url);
    config.retry_on_failure.initial_interval = Duration::from_millis(1);
    config.retry_on_failure.max_interval = Duration::from_millis(5);
    config.retry_on_failure.max_elapsed_time = Duration::from_millis(10);
    let directory = directory.path().to_str().unwrap().to_owned();
    config.wal = Section::on(WalConfig { directory, ..WalConfig::default() });
    config
}

fn start(config: &RemoteWriteConfig) -> (RemoteWriteExporter, Arc<Losses>) {
    let context = context();
    let losses = Arc::clone(&context.losses);
    (RemoteWriteExporter::start(config, &context).unwrap(), losses)
}

fn sample(value: u32) -> Batch {
    let points = (0..5).map(|series| {
        let mut point = point(f64::from(value), &[("series", &series.to_string())]);
        point.time_unix_nano = TIME + u64::from(value) * 1_000_000;
        point
    });
    batch(vec![entry(&[], vec![metric("m", "", gauge(points.collect()))])])
}

/// A receiver that takes what comes as long as this says so.
async fn switched() -> (Receiver, Arc<AtomicBool>) {
    let willing = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&willing);
    let receiver = Receiver::start(move |_, samples| match says.load(Ordering::Relaxed) {
        true => Answer::written(samples),
        false => Answer::status(503),
    });
    (receiver.await, willing)
}

fn assert_all(receiver: &Receiver, values: std::ops::Range<u32>) {
    let expected: Vec<f64> = values.map(f64::from).collect();
    let found = receiver.values();
    assert_eq!(found.len(), 5);
    for (series, values) in found {
        assert_eq!(values, expected, "{series}");
    }
}

#[tokio::test]
async fn what_a_killed_process_had_not_delivered_is_sent_by_the_next_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (receiver, willing) = switched().await;
    let (exporter, _) = start(&logged(&directory, &receiver));
    for value in 0..10 {
        exporter.consume(sample(value)).await.unwrap();
    }
    receiver.came(20).await; // long past max_elapsed_time
    exporter.kill().await;
    willing.store(true, Ordering::Relaxed);
    let (exporter, losses) = start(&logged(&directory, &receiver));
    exporter.consume(sample(10)).await.unwrap();
    receiver.took(11 * 5).await;
    exporter.shutdown(clock::now() + Duration::from_secs(30)).await;
    assert_all(&receiver, 0..11);
    assert_eq!(losses.total(), 0);
}

#[tokio::test]
async fn a_shutdown_leaves_what_cannot_be_delivered_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (receiver, willing) = switched().await;
    let (exporter, losses) = start(&logged(&directory, &receiver));
    for value in 0..10 {
        exporter.consume(sample(value)).await.unwrap();
    }
    exporter.shutdown(clock::now() + Duration::from_secs(30)).await;
    assert_eq!(losses.total(), 0, "what is in the log is not lost");
    let refused = exporter.consume(sample(10)).await.unwrap_err();
    assert_eq!(refused.kind, RejectedKind::Refused);
    drop(exporter);
    willing.store(true, Ordering::Relaxed);
    let (exporter, _) = start(&logged(&directory, &receiver));
    receiver.took(10 * 5).await;
    exporter.shutdown(clock::now() + Duration::from_secs(30)).await;
    assert_all(&receiver, 0..10);
    drop(exporter);
    // All was taken and noted: nothing is sent again.
    let sent = receiver.requests().len();
    let (exporter, _) = start(&logged(&directory, &receiver));
    exporter.consume(sample(10)).await.unwrap();
    receiver.took(11 * 5).await;
    exporter.shutdown(clock::now() + Duration::from_secs(30)).await;
    assert_all(&receiver, 0..11);
    assert!(receiver.requests().len() > sent);
}

#[tokio::test]
async fn what_the_receiver_refuses_is_counted_and_leaves_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| Answer::status(400)).await;
    let (exporter, losses) = start(&logged(&directory, &receiver));
    exporter.consume(sample(0)).await.unwrap();
    lost(&losses, 5).await;
    exporter.shutdown(clock::now() + Duration::from_secs(30)).await;
    assert_eq!(losses.total(), 5);
    drop(exporter);
    let requests = receiver.requests().len();
    let (exporter, _) = start(&logged(&directory, &receiver));
    exporter.shutdown(clock::now() + Duration::from_secs(30)).await;
    assert_eq!(receiver.requests().len(), requests);
}

#[tokio::test]
async fn a_full_log_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let (receiver, _) = switched().await;
    let mut config = logged(&directory, &receiver);
    let path = directory.path().to_str().unwrap().to_owned();
    config.wal =
        Section::on(WalConfig { directory: path, max_size_bytes: 2000, ..WalConfig::default() });
    let (exporter, losses) = start(&config);
    let mut value = 0;
    let rejected = loop {
        match exporter.consume(sample(value)).await {
            Ok(()) => value += 1,
            Err(rejected) => break rejected,
        }
    };
    assert!(value > 0);
    assert_eq!(rejected.kind, RejectedKind::Refused);
    assert_eq!(rejected.reason, "the write-ahead log is full");
    assert_eq!(losses.total(), 0);
}
