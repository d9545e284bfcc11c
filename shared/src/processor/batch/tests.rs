use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::consumer::RejectedKind;
use crate::metadata::testing::tenant;
use crate::queue::tests::{context, spans};

/// Notes the sizes of what it is given, and rejects or hangs if it is told to.
#[derive(Default)]
struct Probe {
    sizes: Mutex<Vec<usize>>,
    rejects: Option<RejectedKind>,
    hangs: bool,
}

#[async_trait]
impl Consumer for Probe {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.sizes.lock().unwrap().push(batch.items());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        match self.rejects {
            None => Ok(()),
            Some(kind) => Err(Rejected { kind, ..Rejected::refused(batch, "no") }),
        }
    }
}

struct Rig {
    processor: Next,
    probe: Arc<Probe>,
    ctx: Context,
}

impl Rig {
    fn new(json: &Value, probe: Probe) -> Self {
        let (config, problems, _) = section(json, BatchConfig::validate);
        assert_eq!(problems, [""; 0]);
        let (ctx, probe) = (context(), Arc::new(probe));
        let processor = config.build(&ctx, Arc::clone(&probe) as Next).unwrap();
        Self { processor, probe, ctx }
    }

    async fn consume(&self, sizes: &[usize]) {
        for size in sizes {
            self.processor.consume(spans(*size)).await.unwrap();
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.probe.sizes.lock().unwrap().clone()
    }
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(start_paused = true)]
async fn batches_are_sent_when_they_are_large_or_old_enough() {
    let rig = Rig::new(&json!({"send_batch_size": 5}), Probe::default());
    rig.consume(&[2, 4, 3]).await;
    pass(199).await;
    assert_eq!(rig.sizes(), [6]);
    pass(2).await;
    assert_eq!(rig.sizes(), [6, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_sends_at_once_and_still_splits() {
    let json = json!({"timeout": 0, "send_batch_size": 4, "send_batch_max_size": 4});
    let rig = Rig::new(&json, Probe::default());
    rig.consume(&[1, 6]).await;
    pass(1).await;
    assert_eq!(rig.sizes(), [1, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_what_waits() {
    let rig = Rig::new(&json!({}), Probe::default());
    rig.consume(&[1, 2]).await;
    rig.processor.shutdown(clock::now() + Duration::from_secs(1)).await;
    assert_eq!((rig.sizes(), rig.ctx.losses.total()), (vec![3], 0));
    assert!(rig.processor.consume(spans(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_next_component_does_not_take_is_lost_and_counted() {
    let rejects = Some(RejectedKind::Refused);
    let rig = Rig::new(&json!({"send_batch_size": 1}), Probe { rejects, ..Probe::default() });
    rig.consume(&[3, 4]).await;
    pass(1).await;
    assert_eq!(rig.ctx.losses.total(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_component_pushes_back_and_costs_no_more_than_the_deadline() {
    let rig = Rig::new(&json!({"send_batch_size": 1}), Probe { hangs: true, ..Probe::default() });
    let mut given = 0;
    while let Ok(outcome) =
        tokio::time::timeout(Duration::from_secs(1), rig.processor.consume(spans(2))).await
    {
        outcome.unwrap();
        given += 2;
        assert!(given < 10_000, "the processor should have pushed back");
    }
    let started = clock::now();
    rig.processor.shutdown(started + Duration::from_secs(3)).await;
    assert_eq!((clock::now() - started).as_secs(), 3);
    assert_eq!(rig.ctx.losses.total(), given);
}

#[tokio::test(start_paused = true)]
async fn batches_of_one_tenant_are_joined_and_tenants_are_limited() {
    let json = json!({
        "send_batch_size": 4, "metadata_keys": ["x-tenant"], "metadata_cardinality_limit": 2,
    });
    let rig = Rig::new(&json, Probe::default());
    let consume = async |name: &'static str, items: usize| {
        rig.processor.consume(spans(items).with_metadata(tenant(name))).await
    };
    consume("a", 3).await.unwrap();
    consume("b", 2).await.unwrap();
    let rejected = consume("c", 9).await.unwrap_err();
    assert_eq!(rejected.kind, RejectedKind::Permanent);
    assert_eq!(rejected.reason, "too many batcher metadata-value combinations");
    consume("a", 2).await.unwrap();
    pass(50).await;
    assert_eq!(rig.sizes(), [5]);
    rig.processor.shutdown(clock::now() + Duration::from_secs(1)).await;
    assert_eq!(rig.sizes(), [5, 2]);
}

#[test]
fn every_problem_is_named() {
    let json = json!({"send_batch_size": 9, "send_batch_max_size": 8, "metadata_keys": ["a", "A"]});
    assert_eq!(
        section(&json, BatchConfig::validate).1,
        [
            "a::send_batch_max_size: send_batch_max_size must be greater or equal to send_batch_size",
            "a::metadata_keys::1: duplicate entry in metadata_keys: \"a\" (case-insensitive)",
        ]
    );
}
