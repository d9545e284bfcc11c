//! The connector as a component: when it hands on, and what it does when that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::service::{ComponentId, ConnectorConfig, Context, Losses};
use crate::{Consumer, Next, Rejected, clock};
use async_trait::async_trait;

use super::*;

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

impl Sink {
    fn calls(&self) -> Vec<u64> {
        let batches = self.batches.lock().unwrap();
        batches.iter().map(|batch| points(std::slice::from_ref(batch))[CALLS].count).collect()
    }
}

const CALLS: &str = "calls{service.name=s,span.name=x}";

fn start(next: Next) -> (Next, Arc<Losses>) {
    let losses = Arc::new(Losses::default());
    let ctx = Context {
        id: ComponentId::parse("span_metrics").unwrap(),
        signal: Signal::Traces,
        output: Signal::Metrics,
        losses: Arc::clone(&losses),
        instance: "backend-0".into(),
        commons: Arc::default(),
    };
    (bare(&[]).build(&ctx, next).unwrap(), losses)
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
    let sink = Arc::new(Sink { refuses: true, ..Sink::default() });
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
