//! `span_metrics`: a connector that turns spans into metrics of calls and durations.
//!
//! ```text
//! batch ─▶ Aggregator ─▶ Counter ─▶ series of a resource        (consume: 64 stripes of resources)
//!            Reader: dimensions    Weights: trace states
//!            SelfTimes             Room: limits
//! tick  ─▶ Flusher ─▶ collect ─▶ Emitter ─▶ next consumer       (its own task)
//! ```
//! A pure core counts and collects; the shell here tells it the time, and hands its metrics on at
//! every `metrics_flush_interval` and once more when it stops.
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
mod names;
mod random;
mod reader;
mod self_time;
mod series;
mod settings;
#[cfg(test)]
mod tests;
mod units;
mod weight;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;

use crate::config::{Path, Problems};
use crate::service::{BuildError, ConnectorConfig, Context};
use crate::telemetry::metrics::Descriptor;
use crate::{Batch, Consumer, Next, Rejected, Signal, clock};

use self::aggregate::Aggregator;
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
    ctx: Context,
    aggregator: Arc<Aggregator>,
    metrics: SpanMetricsMetrics,
    skipped: SkippedMetrics,
    incomplete: UnmeasuredMetrics,
    unusable: UnmeasuredMetrics,
    overflowed: [OverflowMetrics; Limit::ALL.len()],
    stop: DropGuard,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl SpanMetrics {
    fn start(config: &SpanMetricsConfig, ctx: &Context, next: Next) -> Self {
        let id = ctx.id.to_string();
        let mut settings = Settings::new(config, Arc::clone(&ctx.instance));
        if config.exemplars.enabled && config.exemplars.sampled_only {
            let (traces, wait) = (ctx.commons.kept_traces(), &config.exemplars.sampled_wait);
            traces.want();
            settings.kept_only =
                Some(KeptOnly { traces: Arc::clone(traces), wait_ns: nanos(wait) });
        }
        let aggregator = Arc::new(Aggregator::new(settings, clock::unix_ns()));
        let metrics = SpanMetricsMetrics::new(&[("connector", &id)]);
        let flusher = Flusher::new(config, Arc::clone(&aggregator), metrics.clone(), ctx, next);
        let stop = CancellationToken::new();
        let task = tokio::spawn(flusher.run(config.metrics_flush_interval, stop.clone()));
        let unmeasured = |reason| UnmeasuredMetrics::new(&[("connector", &id), ("reason", reason)]);
        Self {
            ctx: ctx.clone(),
            aggregator,
            metrics,
            skipped: SkippedMetrics::new(&[("connector", &id), ("reason", NO_SERVICE)]),
            incomplete: unmeasured(INCOMPLETE),
            unusable: unmeasured(UNUSABLE),
            overflowed: overflow_metrics(&id),
            stop: stop.drop_guard(),
            task: Mutex::new(Some(task)),
        }
    }
}

#[async_trait]
impl Consumer for SpanMetrics {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let observed = self.aggregator.observe(&batch, clock::unix_ns());
        self.metrics.spans.increment(observed.counted + observed.no_service);
        self.skipped.spans.increment(observed.no_service);
        self.incomplete.spans.increment(observed.tally.incomplete);
        self.unusable.spans.increment(observed.tally.unusable);
        for (metrics, overflowed) in self.overflowed.iter().zip(observed.tally.overflowed) {
            metrics.observations.increment(overflowed);
        }
        Ok(())
    }

    async fn shutdown(&self, deadline: Instant) {
        self.stop.token().cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if tokio::time::timeout_at(deadline.into(), &mut task).await.is_err() {
            task.abort();
            let series = self.aggregator.series();
            self.ctx.losses.add(series.max(1));
            error!(connector = %self.ctx.id, series, "no time for the last flush of span metrics");
        }
    }
}
