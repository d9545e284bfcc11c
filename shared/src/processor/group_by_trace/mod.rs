//! `groupbytrace`: holds spans for a while, so that those of a trace go on together.
//!
//! The sender is told that all is well as soon as its spans are in here; what the next component
//! then does not take is lost and counted. A trace that has to make room goes on before its time,
//! where the Collector drops it. Traces that go on at the same time go on in one batch, each whole.
//! Source: contrib processor/groupbytraceprocessor.

mod groups;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
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
use crate::queue::deadline::{passed, until};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::telemetry::memory::{self, Held};
use crate::telemetry::metrics::Descriptor;
use crate::wire::Signal;
use crate::{config_struct, metric_set};
use groups::{Groups, Limits, Released, TraceId};

config_struct! {
    /// `groupbytrace`.
    pub struct GroupByTraceConfig {
        /// How long a trace waits from its first span.
        pub wait_duration: Duration = Duration::from_secs(1),
        /// How many traces wait at once.
        pub num_traces: usize = 1_000_000,
        /// Tasks that share the traces among them, and these limits.
        pub num_workers: usize = 1,
        /// Not supported, as in the Collector.
        pub discard_orphans: bool = false,
        /// Not supported, as in the Collector.
        pub store_on_disk: bool = false,
        /// Ours: bytes of waiting traces. Default: a quarter of the process's memory.
        pub max_buffer_bytes: Option<usize> = None,
    }
}

metric_set! {
    /// What waits and what goes on.
    struct GroupMetrics ["processor"];
    /// Maximum number of traces to hold in the internal storage.
    conf_num_traces: Gauge = "otelcol_processor_groupbytrace_conf_num_traces", "1";
    /// Number of traces currently in the in-memory storage.
    num_traces_in_memory: Gauge = "otelcol_processor_groupbytrace_num_traces_in_memory", "1";
    /// Bytes of the traces currently in the in-memory storage.
    bytes_in_memory: Gauge = "otelcol_processor_groupbytrace_bytes_in_memory", "By";
    /// Spans released to the next consumer.
    spans_released: Counter = "otelcol_processor_groupbytrace_spans_released", "1";
    /// Traces released to the next consumer.
    traces_released: Counter = "otelcol_processor_groupbytrace_traces_released", "1";
    /// Traces evicted from the internal buffer: released before their time to make room.
    traces_evicted: Counter = "otelcol_processor_groupbytrace_traces_evicted", "1";
}

metric_set! {
    /// What is lost.
    struct DropMetrics ["processor", "data_type", "reason"];
    /// Number of items dropped because the next component did not take them (permanent,
    /// retryable, refused) or because the time for stopping was over (shutdown).
    dropped: Counter = "otelcol_processor_groupbytrace_dropped_items", "{item}";
}

/// All metrics of the processor.
pub const DESCRIPTORS: &[&[Descriptor]] = &[GroupMetrics::DESCRIPTORS, DropMetrics::DESCRIPTORS];

/// Batches that wait for a task.
const ROOM: usize = 16;
/// Traces that go on at the same time are joined up to this many spans.
const MAX_JOINED: usize = 8192;

impl ProcessorConfig for GroupByTraceConfig {
    const TYPE: &'static str = "groupbytrace";
    const SIGNALS: &'static [Signal] = &[Signal::Traces];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let mut report = |key: &str, is_wrong: bool, message: &str| {
            if is_wrong {
                problems.report(&at.key(key), message);
            }
        };
        report("discard_orphans", self.discard_orphans, "not supported, as in the Collector");
        report("store_on_disk", self.store_on_disk, "not supported, as in the Collector");
        report("num_traces", self.num_traces == 0, "must be at least 1");
        report("num_workers", self.num_workers == 0, "must be at least 1");
        let is_shared = self.num_workers > 0 && self.num_traces < self.num_workers;
        report("num_workers", is_shared, "must not be greater than num_traces");
        report("max_buffer_bytes", self.max_buffer_bytes == Some(0), "must be at least 1");
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(GroupByTrace::start(self, ctx, &next)))
    }
}

impl GroupByTraceConfig {
    /// Those of each worker.
    fn limits(&self) -> Limits {
        let memory = || usize::try_from(memory::limit() / 4).unwrap_or(usize::MAX);
        Limits {
            wait: self.wait_duration,
            traces: self.num_traces / self.num_workers,
            bytes: self.max_buffer_bytes.unwrap_or_else(memory) / self.num_workers,
        }
    }
}

/// The pipeline's end of the processor.
struct GroupByTrace {
    workers: Vec<mpsc::Sender<(Batch, Held)>>,
    stopping: CancellationToken,
    deadline: watch::Sender<Option<Instant>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl GroupByTrace {
    fn start(config: &GroupByTraceConfig, ctx: &Context, next: &Next) -> Self {
        let metrics = GroupMetrics::new(&[("processor", &ctx.id.to_string())]);
        #[allow(clippy::cast_precision_loss, reason = "gauges are doubles")]
        metrics.conf_num_traces.set(config.num_traces as f64);
        let drops = Arc::new(Drops::new(ctx, |labels| DropMetrics::new(labels).dropped));
        let (deadline, deadline_set) = watch::channel(None);
        let stopping = CancellationToken::new();
        let (mut workers, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..config.num_workers {
            let (worker, incoming) = mpsc::channel(ROOM);
            let grouping = Grouping {
                incoming,
                groups: Groups::new(config.limits()),
                gauged: Gauged::new(&metrics),
                ready: VecDeque::new(),
                sending: 0,
                next: Arc::clone(next),
                metrics: metrics.clone(),
                drops: Arc::clone(&drops),
                stopping: stopping.clone(),
            };
            workers.push(worker);
            tasks.push(tokio::spawn(grouping.run(deadline_set.clone())));
        }
        Self { workers, stopping, deadline, tasks: Mutex::new(tasks) }
    }
}

#[async_trait]
impl Consumer for GroupByTrace {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let workers = self.workers.len() as u64;
        let parts = batch.regroup_indexed(|span| {
            let id = TraceId::try_from(batch.trace_id(span)).unwrap_or_default();
            let worker = u64::from_be_bytes(*id.last_chunk().expect("16 bytes")) % workers;
            usize::try_from(worker).expect("a worker's number is small")
        });
        let mut left = Vec::new();
        for (worker, part) in parts {
            let held = Held::new(part.bytes().len());
            if let Err(mpsc::error::SendError((part, _))) =
                self.workers[worker].send((part, held)).await
            {
                left.push(part);
            }
        }
        match Batch::concat_all(left) {
            None => Ok(()),
            Some(left) => Err(Rejected::refused(left, "the processor is stopping")),
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        self.deadline.send_replace(Some(deadline));
        self.stopping.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                error!(%error, "a groupbytrace worker broke");
            }
        }
    }
}

/// A worker's part in the gauges, which all workers of a processor share.
struct Gauged {
    traces: Gauge,
    bytes: Gauge,
    told: (usize, usize),
    held: Held,
}

impl Gauged {
    fn new(metrics: &GroupMetrics) -> Self {
        let (traces, bytes) =
            (metrics.num_traces_in_memory.clone(), metrics.bytes_in_memory.clone());
        Self { traces, bytes, told: (0, 0), held: Held::default() }
    }

    #[allow(clippy::cast_precision_loss, reason = "gauges are doubles")]
    fn tell(&mut self, groups: &Groups) {
        let (traces, bytes) = (groups.len(), groups.bytes());
        self.traces.increment(traces as f64 - self.told.0 as f64);
        self.bytes.increment(bytes as f64 - self.told.1 as f64);
        self.told = (traces, bytes);
        self.held.resize(bytes);
    }
}

/// A task that holds traces and sends them on.
struct Grouping {
    incoming: mpsc::Receiver<(Batch, Held)>,
    groups: Groups,
    gauged: Gauged,
    /// What goes on next: traces, each in its parts.
    ready: VecDeque<Vec<Batch>>,
    /// Spans that the next component has been given and has not answered for.
    sending: usize,
    next: Next,
    metrics: GroupMetrics,
    drops: Arc<Drops>,
    stopping: CancellationToken,
}

impl Grouping {
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
            self.release().await;
            let due = self.groups.due();
            tokio::select! {
                () = stopping.cancelled() => break,
                () = until(due) => {}
                incoming = self.incoming.recv() => match incoming {
                    Some((batch, _held)) => self.take(&batch),
                    None => break,
                },
            }
        }
        self.incoming.close();
        while let Some((batch, _held)) = self.incoming.recv().await {
            self.take(&batch);
            self.release().await;
        }
        while let Some(parts) = self.groups.pop() {
            self.metrics.traces_released.increment(1);
            self.ready.push_back(parts);
        }
        self.send().await;
    }

    fn take(&mut self, batch: &Batch) {
        let now = clock::now();
        for (id, part) in batch.regroup(|span| TraceId::try_from(batch.trace_id(span)).ok()) {
            match id.filter(|id| *id != TraceId::default()) {
                Some(id) => self.groups.add(id, part, now),
                // It is of no trace, so there is nothing to wait for.
                None => self.ready.push_back(vec![part]),
            }
        }
    }

    /// Sends on what is due and what has to make room.
    async fn release(&mut self) {
        let now = clock::now();
        while let Some(Released { parts, is_evicted }) = self.groups.release(now) {
            self.metrics.traces_released.increment(1);
            self.metrics.traces_evicted.increment(u64::from(is_evicted));
            self.ready.push_back(parts);
        }
        self.send().await;
    }

    async fn send(&mut self) {
        while let Some(batch) = self.next_batch() {
            self.sending = batch.items();
            self.metrics.spans_released.increment(batch.items() as u64);
            if let Err(rejected) = self.next.consume(batch).await {
                self.drops.note(&rejected);
            }
            self.sending = 0;
        }
        self.gauged.tell(&self.groups);
    }

    /// Joins what goes on next, as far as it came with equal metadata.
    fn next_batch(&mut self) -> Option<Batch> {
        let mut parts = self.ready.pop_front()?;
        let mut items = items_of(&parts);
        while items < MAX_JOINED
            && let Some(trace) = self.ready.front()
            && trace.iter().all(|part| part.same_metadata(&parts[0]))
        {
            items += items_of(trace);
            parts.extend(self.ready.pop_front().unwrap_or_default());
        }
        Batch::concat_all(parts)
    }

    /// Counts everything that is left as dropped.
    fn abandon(mut self) {
        let mut items = self.sending;
        items += self.ready.iter().map(|trace| items_of(trace)).sum::<usize>();
        while let Some(parts) = self.groups.pop() {
            items += items_of(&parts);
        }
        while let Ok((batch, _)) = self.incoming.try_recv() {
            items += batch.items();
        }
        self.gauged.tell(&self.groups);
        self.drops.at_shutdown(items);
    }
}

fn items_of(parts: &[Batch]) -> usize {
    parts.iter().map(Batch::items).sum()
}
