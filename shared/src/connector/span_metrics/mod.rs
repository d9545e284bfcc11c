//! `span_metrics`: a connector that turns spans into metrics of calls and durations.
//!
//! ```text
//! batch ─▶ Aggregator ─▶ Counter ─▶ series of a resource        (consume: 64 stripes of resources)
//!            Reader: dimensions    Weights: trace states
//!            SelfTimes             Room: limits
//! tick  ─▶ Flusher ─▶ collect ─▶ Emitter ─▶ next consumer       (its own task)
//! ```
//! A pure core counts and collects; the shell here tells it the time, and hands its metrics on at
//! every `metrics_flush_interval`, and once more when it stops or its settings change.
//!
//! Source: contrib connector/spanmetricsconnector/connector.go.

mod aggregate;
mod body;
mod collect;
mod config;
mod counter;
mod emit;
mod exemplars;
mod flush;
mod glob;
mod key;
mod metrics;
mod random;
mod reader;
mod self_time;
mod series;
mod settings;
#[cfg(test)]
mod tests;
mod units;
mod weight;

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;

use crate::config::{Path, Problems};
use crate::service::{BuildError, ConnectorConfig, Context};
use crate::telemetry::metrics::Descriptor;
use crate::{Batch, Consumer, Next, Rejected, Signal, clock};

use self::aggregate::{Aggregator, Observed, lock};
pub use self::config::{DimensionConfig, GATES, SpanMetricsConfig};
use self::counter::Limit;
use self::exemplars::KeptOnly;
use self::flush::Flusher;
use self::metrics::{
    INCOMPLETE, NO_SERVICE, OverflowMetrics, ServiceOverflowMetrics, SkippedMetrics,
    SpanMetricsMetrics, UNUSABLE, UnmeasuredMetrics, overflow_metrics,
};
use self::settings::{Settings, nanos};

/// The metrics of the connector.
pub const DESCRIPTORS: &[&[Descriptor]] = &[
    SpanMetricsMetrics::DESCRIPTORS,
    SkippedMetrics::DESCRIPTORS,
    UnmeasuredMetrics::DESCRIPTORS,
    OverflowMetrics::DESCRIPTORS,
    ServiceOverflowMetrics::DESCRIPTORS,
];

impl ConnectorConfig for SpanMetricsConfig {
    const TYPE: &'static str = "span_metrics";
    const ALIASES: &'static [&'static str] = &["spanmetrics"];
    /// All keys: the connector begins anew.
    const LIVE: &'static [&'static str] = config::KEYS;
    const SIGNALS: &'static [(Signal, Signal)] = &[(Signal::Traces, Signal::Metrics)];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(SpanMetrics::start(self, ctx, next)))
    }
}

/// The connector. It ends with [`Consumer::shutdown`], or when this is dropped.
struct SpanMetrics {
    ctx: Context,
    next: Next,
    running: RwLock<Running>,
    /// Tasks of former settings, which may still be handing their last metrics on.
    former: Mutex<Vec<JoinHandle<()>>>,
    metrics: SpanMetricsMetrics,
    skipped: SkippedMetrics,
    incomplete: UnmeasuredMetrics,
    unusable: UnmeasuredMetrics,
    overflowed: [OverflowMetrics; Limit::ALL.len()],
}

/// What goes with one set of settings.
struct Running {
    aggregator: Arc<Aggregator>,
    /// Flushes, until `stop` is cancelled or dropped, and then once more.
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl SpanMetrics {
    fn start(config: &SpanMetricsConfig, ctx: &Context, next: Next) -> Self {
        let id = ctx.id.to_string();
        let metrics = SpanMetricsMetrics::new(&[("connector", &id)]);
        let running = Running::start(config, &metrics, ctx, Arc::clone(&next));
        let unmeasured = |reason| UnmeasuredMetrics::new(&[("connector", &id), ("reason", reason)]);
        Self {
            ctx: ctx.clone(),
            next,
            running: RwLock::new(running),
            former: Mutex::default(),
            metrics,
            skipped: SkippedMetrics::new(&[("connector", &id), ("reason", NO_SERVICE)]),
            incomplete: unmeasured(INCOMPLETE),
            unusable: unmeasured(UNUSABLE),
            overflowed: overflow_metrics(&id),
        }
    }

    /// Counts in the series of the present settings, which cannot change meanwhile.
    fn observe(&self, batch: &Batch) -> Observed {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.aggregator.observe(batch, clock::unix_ns())
    }
}

impl Running {
    fn start(
        config: &SpanMetricsConfig,
        metrics: &SpanMetricsMetrics,
        ctx: &Context,
        next: Next,
    ) -> Self {
        let mut settings = Settings::new(config, Arc::clone(&ctx.instance));
        if config.exemplars.enabled && config.exemplars.sampled_only {
            let (traces, wait) = (ctx.commons.kept_traces(), &config.exemplars.sampled_wait);
            traces.want();
            settings.kept_only =
                Some(KeptOnly { traces: Arc::clone(traces), wait_ns: nanos(wait) });
        }
        let aggregator = Arc::new(Aggregator::new(settings, clock::unix_ns()));
        let flusher = Flusher::new(config, Arc::clone(&aggregator), metrics.clone(), ctx, next);
        let stop = CancellationToken::new();
        let task = tokio::spawn(flusher.run(config.metrics_flush_interval, stop.clone()));
        Self { aggregator, task, stop: stop.drop_guard() }
    }
}

#[async_trait]
impl Consumer for SpanMetrics {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let observed = self.observe(&batch);
        self.metrics.spans.increment(observed.counted + observed.no_service);
        self.skipped.spans.increment(observed.no_service);
        self.incomplete.spans.increment(observed.tally.incomplete);
        self.unusable.spans.increment(observed.tally.unusable);
        for (metrics, overflowed) in self.overflowed.iter().zip(observed.tally.overflowed) {
            metrics.observations.increment(overflowed);
        }
        Ok(())
    }

    /// Begins anew with the new settings; what was counted by the old ones is handed on.
    fn reload(&self, section: &dyn Any) {
        let Some(config) = section.downcast_ref::<SpanMetricsConfig>() else { return };
        let new = Running::start(config, &self.metrics, &self.ctx, Arc::clone(&self.next));
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let Running { task, stop, .. } = std::mem::replace(&mut *running, new);
        drop(running);
        // Nobody counts by the old settings any more, so the last flush has everything.
        drop(stop);
        let mut former = lock(&self.former);
        former.retain(|task| !task.is_finished());
        former.push(task);
    }

    async fn shutdown(&self, deadline: Instant) {
        let mut tasks = std::mem::take(&mut *lock(&self.former));
        let series = {
            let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
            running.stop.token().cancel();
            tasks.push(std::mem::replace(&mut running.task, tokio::spawn(async {})));
            running.aggregator.series()
        };
        for mut task in tasks {
            if tokio::time::timeout_at(deadline.into(), &mut task).await.is_err() {
                task.abort();
                self.ctx.losses.add(series.max(1));
                error!(connector = %self.ctx.id, series, "no time for the last flush of span metrics");
            }
        }
    }
}
