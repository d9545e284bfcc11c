use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::processor::testing::{Probe, built};
use crate::queue::tests::context;
use crate::wire::{ResourceEntry, ScopeEntry, Span, Writer, resources};

/// A request of one span for each of these traces; 0 is none.
fn batch(traces: &[u8]) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            for trace in traces {
                scope.message(2, |span| {
                    if *trace > 0 {
                        span.bytes(1, &[*trace; 16]);
                    }
                    span.bytes(5, b"name");
                });
            }
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

/// The traces of the spans of each batch.
fn taken(probe: &Probe) -> Vec<Vec<u8>> {
    let traces = |batch: &Batch| {
        let scopes = resources(batch.bytes()).flat_map(ResourceEntry::scopes);
        let ids = scopes.flat_map(ScopeEntry::records).map(|span| Span::read(span).trace_id);
        ids.map(|id| id.first().copied().unwrap_or_default()).collect()
    };
    probe.taken().iter().map(traces).collect()
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

fn start(json: &Value) -> (Next, Probe) {
    let probe = Probe::default();
    (built::<GroupByTraceConfig>(json, &context(), &probe), probe)
}

#[tokio::test(start_paused = true)]
async fn spans_of_a_trace_go_on_together_when_it_has_waited() {
    let (processor, probe) = start(&json!({}));
    processor.consume(batch(&[1, 2, 1])).await.unwrap();
    pass(500).await;
    processor.consume(batch(&[3, 2])).await.unwrap();
    pass(499).await;
    assert!(taken(&probe).is_empty());
    pass(2).await;
    assert_eq!(taken(&probe), [[1, 1, 2, 2]]);
    pass(500).await;
    assert_eq!(taken(&probe), [[3]]);
}

#[tokio::test(start_paused = true)]
async fn spans_of_no_trace_do_not_wait() {
    let (processor, probe) = start(&json!({}));
    processor.consume(batch(&[0, 1])).await.unwrap();
    pass(1).await;
    assert_eq!(taken(&probe), [[0]]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_trace_makes_room_and_is_not_lost() {
    let (processor, probe) = start(&json!({"num_traces": 2}));
    processor.consume(batch(&[1, 2, 3])).await.unwrap();
    pass(1).await;
    assert_eq!(taken(&probe), [[1]]);
    let (processor, probe) = start(&json!({"max_buffer_bytes": 700}));
    processor.consume(batch(&[1, 2, 3])).await.unwrap();
    pass(1).await;
    assert_eq!(taken(&probe), [[1]]);
}

#[tokio::test(start_paused = true)]
async fn workers_share_the_traces() {
    let (processor, probe) = start(&json!({"num_workers": 3, "num_traces": 30}));
    processor.consume(batch(&[1, 2, 3, 4, 5, 1])).await.unwrap();
    processor.consume(batch(&[5, 3])).await.unwrap();
    pass(1001).await;
    let mut all = Vec::new();
    for part in taken(&probe) {
        let mut sorted = part.clone();
        sorted.sort_unstable();
        assert_eq!(part, sorted, "a trace is in one piece");
        all.extend(part);
    }
    all.sort_unstable();
    assert_eq!(all, [1, 1, 2, 3, 3, 4, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_releases_what_waits() {
    let (processor, probe) = start(&json!({"wait_duration": "1h"}));
    processor.consume(batch(&[1, 2, 1])).await.unwrap();
    processor.shutdown(clock::now() + Duration::from_secs(1)).await;
    assert_eq!(taken(&probe), [[1, 1, 2]]);
    let rejected = processor.consume(batch(&[1])).await.unwrap_err();
    assert_eq!(rejected.batch.items(), 1);
}

struct Stuck;

#[async_trait]
impl Consumer for Stuck {
    async fn consume(&self, _batch: Batch) -> Result<(), Rejected> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_in_time_is_counted() {
    let ctx = context();
    let (config, _, _) = section(&json!({}), GroupByTraceConfig::validate);
    let processor = config.build(&ctx, Arc::new(Stuck)).unwrap();
    processor.consume(batch(&[0, 1, 2])).await.unwrap();
    processor.consume(batch(&[3])).await.unwrap();
    pass(1).await;
    processor.shutdown(clock::now() + Duration::from_secs(3)).await;
    assert_eq!(ctx.losses.total(), 4);
}

#[test]
fn every_problem_is_named() {
    let json = json!({
        "num_traces": 0, "num_workers": 0, "discard_orphans": true, "store_on_disk": true,
        "max_buffer_bytes": 0,
    });
    let (_, problems, _) = section(&json, GroupByTraceConfig::validate);
    let expected = [
        "a::discard_orphans: not supported, as in the Collector",
        "a::store_on_disk: not supported, as in the Collector",
        "a::num_traces: must be at least 1",
        "a::num_workers: must be at least 1",
        "a::max_buffer_bytes: must be at least 1",
    ];
    assert_eq!(problems, expected);
}
