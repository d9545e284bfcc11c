//! What tests of processors share.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;

use crate::batch::Batch;
use crate::config::testing::section;
use crate::consumer::{Consumer, Next, Rejected};
use crate::queue::tests::context;
use crate::service::{Context, ProcessorConfig};

/// Takes everything.
#[derive(Clone, Default)]
pub(crate) struct Probe(Arc<Mutex<Vec<Batch>>>);

impl Probe {
    /// What was taken since the last call.
    pub(crate) fn taken(&self) -> Vec<Batch> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Consumer for Probe {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.lock().unwrap().push(batch);
        Ok(())
    }
}

/// The processor of a section that must be valid, in front of `probe`.
#[track_caller]
pub(crate) fn built<C: ProcessorConfig>(json: &Value, ctx: &Context, probe: &Probe) -> Next {
    let (config, problems, _) = section(json, C::validate);
    assert_eq!(problems, [""; 0]);
    config.build(ctx, Arc::new(probe.clone())).unwrap()
}

/// What becomes of a batch; `None` if nothing is passed on.
pub(crate) async fn process<C: ProcessorConfig>(
    json: &Value,
    batch: Batch,
    probe: &Probe,
) -> Option<Batch> {
    let ctx = Context { signal: batch.signal(), output: batch.signal(), ..context() };
    built::<C>(json, &ctx, probe).consume(batch).await.unwrap();
    let mut taken = probe.taken();
    assert!(taken.len() < 2, "one batch in, one batch out");
    taken.pop()
}
