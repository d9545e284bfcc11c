//! `span_metrics`: a connector that turns spans into metrics of calls and durations.
//!
//! A pure core ([`aggregate`]) counts; the shell here tells it the time, and hands its metrics on
//! at every `metrics_flush_interval` and once more when it stops.
//!
//! Source: contrib connector/spanmetricsconnector/connector.go.

mod aggregate;
mod config;
mod emit;
mod key;
mod metrics;
mod series;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Path, Problems};
use crate::service::{BuildError, ConnectorConfig, Context};
use crate::telemetry::metrics::Descriptor;
use crate::{Batch, Consumer, Next, Rejected, Signal, clock};
use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, warn};

use self::aggregate::Aggregator;
use self::config::AggregationTemporality;
pub use self::config::SpanMetricsConfig;
use self::metrics::{NO_SERVICE, SkippedMetrics, SpanMetricsMetrics};
use self::settings::Settings;

/// The metrics of the connector.
pub const DESCRIPTORS: &[&[Descriptor]] =
    &[SpanMetricsMetrics::DESCRIPTORS, SkippedMetrics::DESCRIPTORS];

impl ConnectorConfig for SpanMetricsConfig {
    const TYPE: &'static str = "span_metrics";
    const ALIASES: &'static [&'static str] = &["spanmetrics"];
    const SIGNALS: &'static [(Signal, Signal)] = &[(Signal::Traces, Signal::Metrics)];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(SpanMetrics::start(self, ctx, next)))
    }
}

/// The connector. Its task flushes; it ends with [`Consumer::shutdown`], or when this is dropped.
struct SpanMetrics {
    flusher: Arc<Flusher>,
    skipped: SkippedMetrics,
    stop: DropGuard,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Hands metrics on.
struct Flusher {
    aggregator: Aggregator,
    metrics: SpanMetricsMetrics,
    next: Next,
    ctx: Context,
    temporality: AggregationTemporality,
}

/// Whether another flush will follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Regular,
    Last,
}

impl SpanMetrics {
    fn start(config: &SpanMetricsConfig, ctx: &Context, next: Next) -> Self {
        let id = ctx.id.to_string();
        let settings = Settings::new(config, Arc::clone(&ctx.instance));
        let flusher = Arc::new(Flusher {
            aggregator: Aggregator::new(settings, clock::unix_ns()),
            metrics: SpanMetricsMetrics::new(&[("connector", &id)]),
            next,
            ctx: ctx.clone(),
            temporality: config.aggregation_temporality,
        });
        let stop = CancellationToken::new();
        let interval = config.metrics_flush_interval;
        let task = tokio::spawn(run(Arc::clone(&flusher), interval, stop.clone()));
        Self {
            flusher,
            skipped: SkippedMetrics::new(&[("connector", &id), ("reason", NO_SERVICE)]),
            stop: stop.drop_guard(),
            task: Mutex::new(Some(task)),
        }
    }
}

#[async_trait]
impl Consumer for SpanMetrics {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let observed = self.flusher.aggregator.observe(&batch, clock::unix_ns());
        let metrics = &self.flusher.metrics;
        metrics.spans.increment(observed.counted + observed.no_service);
        metrics.overflowed.increment(observed.overflowed);
        self.skipped.spans.increment(observed.no_service);
        Ok(())
    }

    async fn shutdown(&self, deadline: Instant) {
        self.stop.token().cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if tokio::time::timeout_at(deadline.into(), &mut task).await.is_err() {
            task.abort();
            let series = self.flusher.aggregator.series();
            self.flusher.ctx.losses.add(series);
            error!(connector = %self.flusher.ctx.id, series, "no time for the last flush of span metrics");
        }
    }
}

async fn run(flusher: Arc<Flusher>, interval: Duration, stop: CancellationToken) {
    let mut ticker = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticker.tick() => flusher.flush(Flush::Regular).await,
        }
    }
    flusher.flush(Flush::Last).await;
}

impl Flusher {
    async fn flush(&self, flush: Flush) {
        let begun = clock::now();
        let collected = self.aggregator.collect(clock::unix_ns());
        let mut rejections: Vec<Rejected> = Vec::new();
        for batch in collected.batches {
            if let Err(rejected) = self.next.consume(batch).await {
                rejections.push(rejected);
            }
        }
        if let Some(first) = rejections.first() {
            let points = rejections.iter().map(|rejected| rejected.batch.items()).sum();
            self.note_rejected(points, first, flush);
        }
        self.metrics.expired.increment(collected.expired);
        self.metrics.series.set(as_gauge(self.aggregator.series()));
        self.metrics.resources.set(as_gauge(self.aggregator.resources()));
        self.metrics.flush_seconds.set(clock::now().duration_since(begun).as_secs_f64());
    }

    /// Cumulative values are still there for the next flush; a delta, or the last value, is not.
    fn note_rejected(&self, points: usize, first: &Rejected, flush: Flush) {
        let (connector, reason) = (&self.ctx.id, first);
        self.metrics.rejected_points.increment(points as u64);
        if self.temporality == AggregationTemporality::Cumulative && flush == Flush::Regular {
            warn!(%connector, points, %reason, "span metrics not taken, the next flush repeats them");
        } else {
            self.ctx.losses.add(points);
            error!(%connector, points, %reason, "span metrics lost");
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_gauge(count: usize) -> f64 {
    count as f64
}
