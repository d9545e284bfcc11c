//! The connector as a component: when it hands on, and what it does when that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::service::{ComponentId, ConnectorConfig, Context, Losses};
use crate::{Consumer, Next, Rejected, RejectedKind, clock};
use async_trait::async_trait;

use super::*;
use crate::connector::span_metrics::config::AggregationTemporality;

/// Keeps what it is given, or rejects it.
#[derive(Default)]
struct Sink {
    rejects: Mutex<Option<RejectedKind>>,
    batches: Mutex<Vec<Batch>>,
}

#[async_trait]
impl Consumer for Sink {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if let Some(kind) = *self.rejects.lock().unwrap() {
            return Err(Rejected { kind, ..Rejected::refused(batch, "full") });
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }
}

impl Sink {
    fn rejecting(kind: RejectedKind) -> Arc<Self> {
        let sink = Self::default();
        sink.reject(Some(kind));
        Arc::new(sink)
    }

    fn reject(&self, kind: Option<RejectedKind>) {
        *self.rejects.lock().unwrap() = kind;
    }

    fn calls(&self) -> Vec<u64> {
        let batches = self.batches.lock().unwrap();
        batches.iter().map(|batch| points(std::slice::from_ref(batch))[CALLS].count).collect()
    }
}

const CALLS: &str = "calls{service.name=s,span.name=x}";

fn start(next: Next) -> (Next, Arc<Losses>) {
    start_with(&bare(&[]), next)
}

fn start_with(config: &SpanMetricsConfig, next: Next) -> (Next, Arc<Losses>) {
    let losses = Arc::new(Losses::default());
    let ctx = Context {
        id: ComponentId::parse("span_metrics").unwrap(),
        signal: Signal::Traces,
        output: Signal::Metrics,
        losses: Arc::clone(&losses),
        instance: "backend-0".into(),
        commons: Arc::default(),
    };
    (config.build(&ctx, next).unwrap(), losses)
}

fn spans() -> Batch {
    batch(vec![service("s", vec![span("x", 1), span("x", 2)])])
}

#[tokio::test(start_paused = true)]
async fn metrics_are_handed_on_at_every_interval_and_once_more_at_the_end() {
    let sink = Arc::new(Sink::default());
    let (connector, losses) = start(Arc::clone(&sink) as Next);
    connector.consume(spans()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(sink.calls().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sink.calls(), [2]);
    connector.consume(spans()).await.unwrap();
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!(sink.calls(), [2, 4]);
    assert_eq!(losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_flush_loses_nothing_unless_it_was_the_last() {
    let sink = Sink::rejecting(RejectedKind::Refused);
    let (connector, losses) = start(Arc::clone(&sink) as Next);
    connector.consume(spans()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(losses.total(), 0);
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!(losses.total(), 2, "one point of calls, one of durations");
}

/// Never answers.
struct Stalled;

#[async_trait]
impl Consumer for Stalled {
    async fn consume(&self, _batch: Batch) -> Result<(), Rejected> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_at_its_deadline() {
    let (connector, losses) = start(Arc::new(Stalled));
    connector.consume(spans()).await.unwrap();
    let begun = clock::now();
    connector.shutdown(begun + Duration::from_secs(5)).await;
    assert_eq!(clock::now() - begun, Duration::from_secs(5));
    assert_eq!(losses.total(), 1);
}

fn deltas() -> SpanMetricsConfig {
    SpanMetricsConfig {
        aggregation_temporality: AggregationTemporality::Delta,
        metrics_flush_interval: Duration::from_secs(10),
        ..bare(&[])
    }
}

#[tokio::test(start_paused = true)]
async fn deltas_that_were_not_taken_are_handed_on_in_their_order_later() {
    let sink = Sink::rejecting(RejectedKind::Retryable);
    let (connector, losses) = start_with(&deltas(), Arc::clone(&sink) as Next);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..2 {
        connector.consume(spans()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    connector.consume(batch(vec![service("s", vec![span("x", 1)])])).await.unwrap();
    sink.reject(None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(sink.calls(), [2, 2, 1]);
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!((sink.calls().len(), losses.total()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_the_oldest_makes_room() {
    let sink = Sink::rejecting(RejectedKind::Refused);
    // Room for one flush, not for two.
    let config = SpanMetricsConfig { max_undelivered_bytes: 700, ..deltas() };
    let (connector, losses) = start_with(&config, Arc::clone(&sink) as Next);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for millis in 1..=3 {
        let count = usize::try_from(millis).unwrap();
        let spans = vec![span("x", millis); count];
        connector.consume(batch(vec![service("s", spans)])).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(losses.total(), 4, "two flushes of two points each");
    sink.reject(None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(sink.calls(), [3]);
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn deltas_that_can_never_be_taken_are_lost_at_once() {
    let sink = Sink::rejecting(RejectedKind::Permanent);
    let (connector, losses) = start_with(&deltas(), Arc::clone(&sink) as Next);
    tokio::time::sleep(Duration::from_secs(1)).await;
    connector.consume(spans()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(losses.total(), 2);
    sink.reject(None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(sink.calls().is_empty());
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn deltas_that_wait_at_the_end_are_lost_and_counted() {
    let sink = Sink::rejecting(RejectedKind::Refused);
    let (connector, losses) = start_with(&deltas(), Arc::clone(&sink) as Next);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..2 {
        connector.consume(spans()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!(losses.total(), 4);
}

#[tokio::test(start_paused = true)]
async fn new_settings_begin_anew_and_the_old_ones_hand_on_what_they_counted() {
    let sink = Arc::new(Sink::default());
    let (connector, losses) = start(Arc::clone(&sink) as Next);
    connector.consume(spans()).await.unwrap();
    let config = SpanMetricsConfig { metrics_flush_interval: Duration::from_secs(5), ..bare(&[]) };
    connector.reload(&config);
    connector.consume(batch(vec![service("s", vec![span("x", 1)])])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sink.calls(), [2]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(sink.calls(), [2, 1]);
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!((sink.calls(), losses.total()), (vec![2, 1, 1], 0));
}
