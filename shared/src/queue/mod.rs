//! What stands between a pipeline and a destination: queue, batcher, retry, timeout.
//!
//! `pipeline → [queue, batcher] → counting → retry → timeout → Sender`, as in the Collector's
//! exporter helper, so counters see the final outcome. `retry`, `batcher` and `split` are
//! pure; `deliver` and `sending` are the shells around them.
//!
//! Only what a destination did not take is tried again; what it took counts as sent at once.

pub(crate) mod batcher;
mod config;
mod counts;
pub(crate) mod deadline;
mod deliver;
pub(crate) mod partitions;
mod retry;
mod sending;
mod split;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

pub use config::{QueueBatchConfig, QueueConfig, RetryConfig, Sizer};
pub use counts::{Counts, DESCRIPTORS, QueueMetrics, enqueue_failed};
pub use retry::{Schedule, Verdict};
pub use split::split;

use crate::batch::Batch;
use crate::config::Section;
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::Context;
use deliver::{Delivery, Open, Owner};
use sending::SendingQueue;

/// Sends one batch to a destination, once.
#[async_trait]
pub trait Sender: Send + Sync {
    /// One attempt.
    ///
    /// # Errors
    /// [`Rejected`] with what was not delivered, classified for retry.
    async fn send(&self, batch: Batch) -> Result<Delivered, Rejected>;
}

/// What a destination said of a batch that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Items that the destination took the batch without (partial success); never retried.
    pub rejected_items: usize,
    /// What it said of them.
    pub message: String,
}

/// The settings of a chain, as an exporter's section gives them.
#[derive(Debug, Clone)]
pub struct ChainSettings {
    /// Time for one attempt; 0 is no limit.
    pub timeout: Duration,
    /// Whether and how to try again.
    pub retry: RetryConfig,
    /// The queue, if there is one.
    pub queue: Section<QueueConfig>,
    /// Labels of the sent and failed series besides `exporter`: `server_address`, `server_port`.
    pub destination: Option<(String, u16)>,
}

/// Puts queue, counting, retry and timeout in front of `sender`. To be called within a runtime.
///
/// With a queue, a batch is taken as soon as there is room for it, unless the queue waits for the
/// result; without one the caller waits for the outcome. A caller who gives up waiting without a
/// queue ends the attempt, and what was not delivered counts as failed.
pub fn chain(ctx: &Context, settings: ChainSettings, sender: Arc<dyn Sender>) -> Next {
    let ChainSettings { timeout, retry, queue, destination } = settings;
    let delivery = Arc::new(Delivery::new(ctx, sender, timeout, retry, destination.as_ref()));
    match queue.as_ref() {
        Some(queue) => {
            queue.want_metadata(&ctx.commons);
            Arc::new(SendingQueue::start(queue, ctx.signal, delivery))
        }
        None => Arc::new(Direct(delivery)),
    }
}

/// A chain without a queue.
struct Direct(Arc<Delivery>);

#[async_trait]
impl Consumer for Direct {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        Open::new(&self.0, batch, Owner::Caller).deliver().await
    }

    async fn shutdown(&self, _deadline: Instant) {
        self.0.stopping.cancel();
    }
}
