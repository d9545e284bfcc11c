//! The connector as a component: when it hands on, and what it does when that fails.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::service::{ComponentId, ConnectorConfig, Context, Losses};
use crate::{Consumer, Next, Rejected, clock};

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
    /// The requests of each flush so far.
    fn flushes(&self) -> Vec<Vec<(String, u64)>> {
        let of = |batch: &Batch| {
            let points = points(std::slice::from_ref(batch)).into_iter();
            let totals = points.filter(|(series, _)| series.starts_with("total"));
            totals.map(|(series, point)| (series, point.count)).collect()
        };
        self.batches.lock().unwrap().iter().map(of).collect()
    }
}

fn start(config: &ServiceGraphConfig, sink: &Arc<Sink>) -> (Next, Arc<Losses>) {
    let losses = Arc::new(Losses::default());
    let ctx = Context {
        id: ComponentId::parse("service_graph").unwrap(),
        signal: Signal::Traces,
        output: Signal::Metrics,
        losses: Arc::clone(&losses),
        instance: "backend-0".into(),
        commons: Arc::default(),
    };
    (config.build(&ctx, Arc::clone(sink) as Next).unwrap(), losses)
}

fn request() -> Batch {
    batch(vec![
        service("a", vec![span(Client, 2, 0, 1)]),
        service("b", vec![span(Server, 3, 2, 1)]),
    ])
}

fn total(count: u64) -> Vec<(String, u64)> {
    vec![("total{a->b}".to_owned(), count)]
}

#[tokio::test(start_paused = true)]
async fn metrics_are_handed_on_at_every_interval_and_once_more_at_the_end() {
    let sink = Arc::new(Sink::default());
    let (connector, losses) = start(&ServiceGraphConfig::default(), &sink);
    connector.consume(request()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(sink.flushes().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sink.flushes(), [total(1)]);
    connector.consume(request()).await.unwrap();
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!(sink.flushes(), [total(1), total(2)]);
    assert_eq!(losses.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_an_interval_each_batch_is_followed_by_its_metrics() {
    let sink = Arc::new(Sink::default());
    let config = ServiceGraphConfig {
        metrics_flush_interval: Duration::ZERO,
        ..ServiceGraphConfig::default()
    };
    let (connector, _) = start(&config, &sink);
    connector.consume(request()).await.unwrap();
    connector.consume(request()).await.unwrap();
    assert_eq!(sink.flushes(), [total(1), total(2)]);
}

#[tokio::test(start_paused = true)]
async fn half_a_request_expires_by_itself() {
    let sink = Arc::new(Sink::default());
    let (connector, _) = start(&ServiceGraphConfig::default(), &sink);
    connector.consume(batch(vec![service("a", vec![span(Server, 2, 0, 1)])])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let series = "total{user->a connection_type=virtual_node}".to_owned();
    assert_eq!(sink.flushes(), [[(series, 1)]]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_flush_loses_nothing_unless_it_was_the_last() {
    let sink = Arc::new(Sink { refuses: true, ..Sink::default() });
    let (connector, losses) = start(&ServiceGraphConfig::default(), &sink);
    connector.consume(request()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(losses.total(), 0);
    connector.shutdown(clock::now() + Duration::from_secs(5)).await;
    assert_eq!(losses.total(), 3, "one point of requests, two of latencies");
}
