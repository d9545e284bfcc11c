//! `service_graph`: a connector that turns pairs of spans into metrics of the requests between
//! services.
//!
//! A pure core (`graph`) pairs and counts; the shell here tells it the time, and hands its
//! metrics on at every `metrics_flush_interval` and once more when it stops.
//!
//! ```text
//! spans ──▶ store: requests that one span told of ──▶ series: requests between two services
//!             │ ttl passes                        ▲
//!             └─▶ the missing side gets a name ───┘
//! ```
//!
//! Source: contrib connector/servicegraphconnector.

mod config;
mod edge;
mod emit;
mod graph;
mod metrics;
mod series;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, warn};

pub use self::config::ServiceGraphConfig;
use self::graph::{Graph, Observed};
use self::metrics::GraphMetrics;
use crate::config::{Path, Problems};
use crate::service::{BuildError, ConnectorConfig, Context};
use crate::telemetry::memory::Held;
use crate::telemetry::metrics::Descriptor;
use crate::{Batch, Consumer, Next, Rejected, Signal, clock};

/// The metrics of the connector.
pub const DESCRIPTORS: &[&[Descriptor]] = &[GraphMetrics::DESCRIPTORS];

impl ConnectorConfig for ServiceGraphConfig {
    const TYPE: &'static str = "service_graph";
    const ALIASES: &'static [&'static str] = &["servicegraph"];
    const SIGNALS: &'static [(Signal, Signal)] = &[(Signal::Traces, Signal::Metrics)];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(ServiceGraph::start(self, ctx, next)))
    }
}

/// The connector. Its task flushes and expires; it ends with [`Consumer::shutdown`], or when this
/// is dropped.
struct ServiceGraph {
    shared: Arc<Shared>,
    /// Whether each batch is followed by its metrics.
    flushes_each_batch: bool,
    stop: DropGuard,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the pipeline and the task share.
struct Shared {
    graph: Graph,
    metrics: GraphMetrics,
    next: Next,
    ctx: Context,
    begun: Instant,
    held: Mutex<Held>,
}

/// Whether another flush will follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Regular,
    Last,
}

impl ServiceGraph {
    fn start(config: &ServiceGraphConfig, ctx: &Context, next: Next) -> Self {
        let shared = Arc::new(Shared {
            graph: Graph::new(config, &ctx.instance),
            metrics: GraphMetrics::new(&[("connector", &ctx.id.to_string())]),
            next,
            ctx: ctx.clone(),
            begun: clock::now(),
            held: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(Arc::clone(&shared), Timers::new(config), stop.clone()));
        Self {
            shared,
            flushes_each_batch: config.metrics_flush_interval.is_zero(),
            stop: stop.drop_guard(),
            task: Mutex::new(Some(task)),
        }
    }
}

#[async_trait]
impl Consumer for ServiceGraph {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let shared = &self.shared;
        let observed = shared.graph.observe(&batch, shared.now_ns(), clock::unix_ns());
        shared.note(&observed);
        if self.flushes_each_batch {
            shared.flush(Flush::Regular).await;
        }
        Ok(())
    }

    async fn shutdown(&self, deadline: Instant) {
        self.stop.token().cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if tokio::time::timeout_at(deadline.into(), &mut task).await.is_err() {
            task.abort();
            let series = self.shared.graph.series();
            self.shared.ctx.losses.add(series);
            let connector = &self.shared.ctx.id;
            error!(%connector, series, "no time for the last flush of the service graph");
        }
    }
}

/// When the task does what.
struct Timers {
    /// None where each batch is flushed.
    flush: Option<Interval>,
    store: Interval,
    series: Interval,
}

impl Timers {
    fn new(config: &ServiceGraphConfig) -> Self {
        let interval = config.metrics_flush_interval;
        Self {
            flush: (!interval.is_zero()).then(|| every(interval)),
            store: every(config.store_expiration_loop),
            series: every(config.cache_loop),
        }
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// What a timer asks for.
enum Due {
    Flush,
    Store,
    Series,
}

async fn run(shared: Arc<Shared>, mut timers: Timers, stop: CancellationToken) {
    loop {
        let due = tokio::select! {
            () = stop.cancelled() => break,
            _ = timers.store.tick() => Due::Store,
            _ = timers.series.tick() => Due::Series,
            () = tick(&mut timers.flush) => Due::Flush,
        };
        match due {
            Due::Flush => shared.flush(Flush::Regular).await,
            Due::Store => {
                let observed = shared.graph.expire(shared.now_ns(), clock::unix_ns());
                shared.note(&observed);
            }
            Due::Series => {
                let expired = shared.graph.expire_series(clock::unix_ns());
                shared.metrics.expired_series.increment(expired);
            }
        }
    }
    shared.note(&shared.graph.abandon());
    shared.flush(Flush::Last).await;
}

impl Shared {
    /// Time since the connector began, which no change of the clock moves.
    fn now_ns(&self) -> u64 {
        let elapsed = clock::now().duration_since(self.begun);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    fn note(&self, observed: &Observed) {
        let metrics = &self.metrics;
        metrics.total_edges.increment(observed.new_edges);
        metrics.expired_edges.increment(observed.expired_edges);
        metrics.dropped_spans.increment(observed.dropped_spans);
        metrics.skipped_spans.increment(observed.skipped_spans);
        metrics.overflowed.increment(observed.overflowed);
        let store = self.graph.store();
        metrics.waiting_edges.set(as_gauge(store.items()));
        metrics.waiting_bytes.set(as_gauge(store.bytes()));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).resize(store.bytes());
    }

    async fn flush(&self, flush: Flush) {
        let mut rejected_points = 0;
        let mut first: Option<Rejected> = None;
        for batch in self.graph.collect(clock::unix_ns()) {
            if let Err(rejected) = self.next.consume(batch).await {
                rejected_points += rejected.batch.items();
                first.get_or_insert(rejected);
            }
        }
        self.metrics.series.set(as_gauge(self.graph.series()));
        if let Some(reason) = first {
            self.note_rejected(rejected_points, &reason, flush);
        }
    }

    /// The values are still there for the next flush, if there is one.
    fn note_rejected(&self, points: usize, reason: &Rejected, flush: Flush) {
        let connector = &self.ctx.id;
        self.metrics.rejected_points.increment(points as u64);
        match flush {
            Flush::Regular => {
                warn!(%connector, points, %reason, "service graph not taken, the next flush repeats it");
            }
            Flush::Last => {
                self.ctx.losses.add(points);
                error!(%connector, points, %reason, "service graph lost");
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_gauge(count: usize) -> f64 {
    count as f64
}
