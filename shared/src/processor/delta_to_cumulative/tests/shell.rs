//! The processor as a component.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::super::DeltaToCumulativeConfig;
use super::*;
use crate::service::{ComponentId, Context, Losses, ProcessorConfig};
use crate::{Consumer, Next, Rejected};

/// Keeps what it is given, or refuses it.
#[derive(Default)]
struct Sink {
    refuses: Mutex<bool>,
    batches: Mutex<Vec<Batch>>,
}

#[async_trait]
impl Consumer for Sink {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if *self.refuses.lock().unwrap() {
            return Err(Rejected::refused(batch, "full"));
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }
}

impl Sink {
    fn values(&self) -> Vec<i64> {
        let batches = std::mem::take(&mut *self.batches.lock().unwrap());
        let points = batches.into_iter().flat_map(|batch| sum_points(decoded(Some(batch))));
        points
            .map(|point| match point.value {
                Some(number_data_point::Value::AsInt(value)) => value,
                other => panic!("{other:?} is no integer"),
            })
            .collect()
    }
}

fn start(sink: &Arc<Sink>) -> Next {
    let ctx = Context {
        id: ComponentId::parse("delta_to_cumulative").unwrap(),
        signal: Signal::Metrics,
        output: Signal::Metrics,
        losses: Arc::new(Losses::default()),
        instance: "backend-0".into(),
        commons: Arc::default(),
    };
    DeltaToCumulativeConfig::default().build(&ctx, Arc::clone(sink) as Next).unwrap()
}

fn delta(start: u64, time: u64) -> Batch {
    metrics(vec![sum(vec![number(start, time, 1)])])
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_refused_is_told_by_the_next_one() {
    let sink = Arc::new(Sink::default());
    let processor = start(&sink);
    *sink.refuses.lock().unwrap() = true;
    processor.consume(delta(10, 20)).await.expect("the delta is in the total already");
    let gauge = named("g", Data::Gauge(otlp::Gauge { data_points: vec![number(0, 5, 1)] }));
    let refused = processor.consume(metrics(vec![gauge])).await;
    assert_eq!(refused.unwrap_err().batch.items(), 1, "what is not added up can come again");
    *sink.refuses.lock().unwrap() = false;
    processor.consume(delta(20, 30)).await.unwrap();
    assert_eq!(sink.values(), [2]);
    processor.consume(delta(20, 30)).await.expect("nothing is left of it");
    assert!(sink.values().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_forgotten_after_max_stale() {
    let sink = Arc::new(Sink::default());
    let processor = start(&sink);
    processor.consume(delta(10, 20)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(299)).await;
    processor.consume(delta(20, 30)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(375)).await;
    processor.consume(delta(30, 40)).await.unwrap();
    assert_eq!(sink.values(), [1, 2, 1]);
}
