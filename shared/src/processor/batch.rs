//! `batch`: joins batches until they are large or old enough.
//!
//! As in the Collector, the sender is told that all is well as soon as its batch is in here; it
//! waits while `Joining` is busy and its channel is full. What the next component then does not
//! take is lost, counted with the reason and logged. A `sending_queue` with `batch` does the same
//! without that loss, because it can try again. Source: collector processor/batchprocessor.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::drops::Drops;
use crate::batch::Batch;
use crate::clock;
use crate::config::{Path, Problems};
use crate::consumer::{Consumer, Next, Rejected};
use crate::queue::Sizer;
use crate::queue::batcher::{Cause, Joined, Limits};
use crate::queue::deadline::{passed, until};
use crate::queue::partitions::{Names, Partitions, Values};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::telemetry::memory::Held;
use crate::telemetry::metrics::Descriptor;
use crate::wire::Signal;
use crate::{config_struct, metric_set};

config_struct! {
    /// `batch`.
    pub struct BatchConfig {
        /// The longest a batch waits for others; 0 sends it at once.
        pub timeout: Duration = Duration::from_millis(200),
        /// Sent when it has this many items.
        pub send_batch_size: usize = 8192,
        /// Split above this many items; 0 is no limit.
        pub send_batch_max_size: usize = 0,
        /// Only batches whose senders gave the same values for these headers are joined.
        pub metadata_keys: Vec<String> = Vec::new(),
        /// Combinations of such values that are taken, over the life of the process; 0 is no limit.
        pub metadata_cardinality_limit: usize = 1000,
    }
}

metric_set! {
    /// What is sent on.
    struct SendMetrics ["processor"];
    /// Number of units in the batch.
    size: Histogram = "otelcol_processor_batch_batch_send_size", "{unit}";
    /// Number of bytes in batch that was sent.
    size_bytes: Histogram = "otelcol_processor_batch_batch_send_size_bytes", "By";
    /// Number of times the batch was sent due to a size trigger.
    size_trigger: Counter = "otelcol_processor_batch_batch_size_trigger_send", "{time}";
    /// Number of times the batch was sent due to a timeout trigger.
    timeout_trigger: Counter = "otelcol_processor_batch_timeout_trigger_send", "{time}";
    /// Number of distinct metadata value combinations being processed.
    cardinality: Gauge = "otelcol_processor_batch_metadata_cardinality", "{combination}";
}

metric_set! {
    /// What is lost.
    struct DropMetrics ["processor", "data_type", "reason"];
    /// Number of items dropped because the next component did not take them (permanent,
    /// retryable, refused) or because the time for stopping was over (shutdown).
    dropped: Counter = "otelcol_processor_batch_dropped_items", "{item}";
}

/// All metrics of the batch processor.
pub const DESCRIPTORS: &[&[Descriptor]] = &[SendMetrics::DESCRIPTORS, DropMetrics::DESCRIPTORS];

impl ProcessorConfig for BatchConfig {
    const TYPE: &'static str = "batch";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.send_batch_max_size > 0 && self.send_batch_max_size < self.send_batch_size {
            problems.report(
                &at.key("send_batch_max_size"),
                "send_batch_max_size must be greater or equal to send_batch_size",
            );
        }
        Names::validate(&self.metadata_keys, &at.key("metadata_keys"), problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(BatchProcessor::start(self, ctx, next)))
    }
}

impl BatchConfig {
    fn limits(&self) -> Limits {
        Limits {
            flush_timeout: self.timeout,
            min_size: if self.timeout.is_zero() { 0 } else { self.send_batch_size },
            max_size: self.send_batch_max_size,
            sizer: Sizer::Items,
        }
    }
}

/// The pipeline's end of the processor.
struct BatchProcessor {
    channel: mpsc::Sender<(Batch, Held)>,
    /// `None` when batches are not kept apart.
    combinations: Option<Combinations>,
    stopping: CancellationToken,
    deadline: watch::Sender<Option<Instant>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl BatchProcessor {
    fn start(config: &BatchConfig, ctx: &Context, next: Next) -> Self {
        let room = std::thread::available_parallelism().map_or(1, usize::from);
        let (channel, incoming) = mpsc::channel(room);
        let (deadline, deadline_set) = watch::channel(None);
        let stopping = CancellationToken::new();
        let names = Names::new(&config.metadata_keys);
        ctx.commons.want(|wanted| names.iter().for_each(|name| wanted.header(name)));
        let metrics = SendMetrics::new(&[("processor", &ctx.id.to_string())]);
        let combinations = match names.is_empty() {
            true => {
                metrics.cardinality.set(1.0);
                None
            }
            false => Some(Combinations {
                names: names.clone(),
                limit: config.metadata_cardinality_limit,
                seen: Mutex::default(),
                cardinality: metrics.cardinality.clone(),
            }),
        };
        let joining = Joining {
            incoming,
            batcher: Partitions::new(config.limits(), names),
            held: Held::default(),
            ready: VecDeque::new(),
            sending: 0,
            next,
            metrics,
            drops: Drops::new(ctx, |labels| DropMetrics::new(labels).dropped),
            stopping: stopping.clone(),
        };
        let task = Mutex::new(Some(tokio::spawn(joining.run(deadline_set))));
        Self { channel, combinations, stopping, deadline, task }
    }
}

#[async_trait]
impl Consumer for BatchProcessor {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        if let Some(combinations) = &self.combinations
            && !combinations.admit(&batch)
        {
            return Err(Rejected::permanent(batch, "too many batcher metadata-value combinations"));
        }
        let held = Held::new(batch.bytes().len());
        match self.channel.send((batch, held)).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendError((batch, _))) => {
                Err(Rejected::refused(batch, "the processor is stopping"))
            }
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        self.deadline.send_replace(Some(deadline));
        self.stopping.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            error!(%error, "the batch processor broke");
        }
    }
}

/// The combinations of metadata values that were seen.
struct Combinations {
    names: Names,
    limit: usize,
    seen: Mutex<BTreeSet<Values>>,
    cardinality: Gauge,
}

impl Combinations {
    /// Whether a batch is of a known combination, or there is room for one more.
    #[allow(clippy::cast_precision_loss, reason = "gauges are doubles")]
    fn admit(&self, batch: &Batch) -> bool {
        let values = self.names.values(batch);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.limit > 0 && seen.len() >= self.limit {
            return seen.contains(&values);
        }
        seen.insert(values);
        self.cardinality.set(seen.len() as f64);
        true
    }
}

/// The task that joins batches and sends them on.
struct Joining {
    incoming: mpsc::Receiver<(Batch, Held)>,
    batcher: Partitions<()>,
    /// Bytes in the batcher.
    held: Held,
    ready: VecDeque<Joined<()>>,
    /// Items that the next component has been given and has not answered for.
    sending: usize,
    next: Next,
    metrics: SendMetrics,
    drops: Drops,
    stopping: CancellationToken,
}

impl Joining {
    async fn run(mut self, mut deadline: watch::Receiver<Option<Instant>>) {
        tokio::select! {
            () = self.work() => return,
            () = passed(&mut deadline) => {}
        }
        self.abandon();
    }

    async fn work(&mut self) {
        let stopping = self.stopping.clone();
        loop {
            self.send_ready().await;
            let due = self.batcher.due();
            tokio::select! {
                () = stopping.cancelled() => break,
                () = until(due) => self.flush_due(),
                incoming = self.incoming.recv() => match incoming {
                    Some((batch, held)) => self.take(batch, held),
                    None => break,
                },
            }
        }
        self.incoming.close();
        while let Some((batch, held)) = self.incoming.recv().await {
            self.take(batch, held);
            self.send_ready().await;
        }
        self.flush();
        self.send_ready().await;
    }

    fn take(&mut self, batch: Batch, held: Held) {
        self.held.resize(self.held.bytes() + held.bytes());
        drop(held);
        self.ready.extend(self.batcher.push(batch, (), clock::now()));
    }

    fn flush_due(&mut self) {
        self.ready.extend(self.batcher.flush_due(clock::now()));
    }

    fn flush(&mut self) {
        self.ready.extend(self.batcher.flush());
    }

    async fn send_ready(&mut self) {
        while let Some(Joined { batch, cause, .. }) = self.ready.pop_front() {
            let bytes = batch.bytes().len();
            self.sending = batch.items();
            self.note(&batch, cause);
            if let Err(rejected) = self.next.consume(batch).await {
                self.drops.note(&rejected);
            }
            self.sending = 0;
            self.held.resize(self.held.bytes().saturating_sub(bytes));
        }
        if self.batcher.due().is_none() {
            // Splitting repeats headers, so the sum of the pieces is not that of the requests.
            self.held.resize(0);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "histograms are of doubles")]
    fn note(&self, batch: &Batch, cause: Cause) {
        self.metrics.size.record(batch.items() as f64);
        self.metrics.size_bytes.record(batch.bytes().len() as f64);
        match cause {
            Cause::Size => self.metrics.size_trigger.increment(1),
            Cause::Flush => self.metrics.timeout_trigger.increment(1),
        }
    }

    /// Counts everything that is left as dropped.
    fn abandon(mut self) {
        self.flush();
        let mut items = self.sending;
        items += self.ready.iter().map(|joined| joined.batch.items()).sum::<usize>();
        while let Ok((batch, _)) = self.incoming.try_recv() {
            items += batch.items();
        }
        self.drops.at_shutdown(items);
    }
}

#[cfg(test)]
mod tests;
