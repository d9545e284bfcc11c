//! Hands metrics on at every interval, and what the next consumer did not take once more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::service::Context;
use crate::telemetry::memory::Held;
use crate::{Batch, Next, Rejected, RejectedKind, clock};

use super::aggregate::Aggregator;
use super::collect::Collected;
use super::config::{AggregationTemporality, SpanMetricsConfig};
use super::metrics::{Offenders, SpanMetricsMetrics};

/// Hands metrics on. Its task owns it.
pub(super) struct Flusher {
    pub(super) aggregator: Arc<Aggregator>,
    pub(super) metrics: SpanMetricsMetrics,
    pub(super) ctx: Context,
    next: Next,
    temporality: AggregationTemporality,
    max_undelivered_bytes: usize,
    /// Deltas that the next consumer did not take, in their order.
    undelivered: VecDeque<Batch>,
    offenders: Offenders,
    held: Held,
}

/// Whether another flush will follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Regular,
    Last,
}

impl Flusher {
    pub(super) fn new(
        config: &SpanMetricsConfig,
        aggregator: Arc<Aggregator>,
        metrics: SpanMetricsMetrics,
        ctx: &Context,
        next: Next,
    ) -> Self {
        Self {
            aggregator,
            metrics,
            ctx: ctx.clone(),
            next,
            temporality: config.aggregation_temporality,
            max_undelivered_bytes: config.max_undelivered_bytes,
            undelivered: VecDeque::new(),
            offenders: Offenders::new(&ctx.id.to_string()),
            held: Held::default(),
        }
    }

    /// Flushes at every interval, and once more when told to stop.
    pub(super) async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut ticker = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticker.tick() => self.flush(Flush::Regular).await,
            }
        }
        self.flush(Flush::Last).await;
    }

    async fn flush(&mut self, flush: Flush) {
        let begun = clock::now();
        let Some(collected) = self.collect().await else { return };
        self.offenders.note(collected.overflowed);
        self.metrics.expired.increment(collected.expired);
        self.show();
        let first = match self.temporality {
            AggregationTemporality::Cumulative => self.hand_on(collected.batches, flush).await,
            AggregationTemporality::Delta => self.hand_on_in_order(collected.batches, flush).await,
        };
        if first.is_none() {
            self.aggregator.mark_delivered(collected.flush);
        }
        self.show();
        self.metrics.flush_seconds.set(clock::now().duration_since(begun).as_secs_f64());
    }

    /// Collects on a thread of its own kind: hundreds of thousands of series take their time.
    async fn collect(&self) -> Option<Collected> {
        let aggregator = Arc::clone(&self.aggregator);
        let collect = move || aggregator.collect(clock::unix_ns());
        match tokio::task::spawn_blocking(collect).await {
            Ok(collected) => Some(collected),
            Err(error) => {
                error!(connector = %self.ctx.id, %error, "collecting span metrics broke down");
                None
            }
        }
    }

    /// Hands cumulative values on. Those that are not taken are still there for the next flush,
    /// unless there is none. The first rejection.
    async fn hand_on(&mut self, batches: Vec<Batch>, flush: Flush) -> Option<Rejected> {
        let mut first = None;
        for batch in batches {
            let Err(rejected) = self.next.consume(batch).await else { continue };
            let (connector, reason) = (&self.ctx.id, &rejected);
            let points = rejected.batch.items() + rejected.dropped_items;
            self.metrics.rejected_points.increment(points as u64);
            match flush {
                Flush::Regular => {
                    warn!(%connector, points, %reason, "span metrics not taken, the next flush repeats them");
                }
                Flush::Last => self.lose(points, &rejected),
            }
            first = first.or(Some(rejected));
        }
        first
    }

    /// Hands deltas on, after those that wait. From the first that may be taken later they all
    /// wait, so that the order stays. The first rejection.
    async fn hand_on_in_order(&mut self, batches: Vec<Batch>, flush: Flush) -> Option<Rejected> {
        self.undelivered.extend(batches);
        let mut first = None;
        while let Some(batch) = self.undelivered.pop_front() {
            let Err(rejected) = self.next.consume(batch).await else { continue };
            let points = rejected.batch.items() + rejected.dropped_items;
            self.metrics.rejected_points.increment(points as u64);
            if rejected.dropped_items > 0 {
                self.lose(rejected.dropped_items, &rejected);
            }
            if rejected.kind == RejectedKind::Permanent {
                self.lose(rejected.batch.items(), &rejected);
                first = first.or(Some(rejected));
                continue;
            }
            self.undelivered.push_front(rejected.batch.clone());
            let bound = if flush == Flush::Last { 0 } else { self.max_undelivered_bytes };
            self.forget_beyond(bound, &rejected);
            if !self.undelivered.is_empty() {
                let (connector, reason) = (&self.ctx.id, &rejected);
                warn!(%connector, points, %reason, "span metrics not taken, they wait for the next flush");
            }
            first = first.or(Some(rejected));
            break;
        }
        first
    }

    /// Gives the oldest up of what waits until no more than `bytes` are left.
    fn forget_beyond(&mut self, bytes: usize, rejected: &Rejected) {
        let mut points = 0;
        while self.undelivered_bytes() > bytes
            && let Some(batch) = self.undelivered.pop_front()
        {
            points += batch.items();
        }
        if points > 0 {
            self.lose(points, rejected);
        }
    }

    fn undelivered_bytes(&self) -> usize {
        self.undelivered.iter().map(|batch| batch.bytes().len()).sum()
    }

    fn lose(&self, points: usize, reason: &Rejected) {
        let connector = &self.ctx.id;
        self.ctx.losses.add(points);
        self.metrics.lost_points.increment(points as u64);
        error!(%connector, points, %reason, "span metrics lost");
    }

    /// Shows the state.
    fn show(&mut self) {
        let (bytes, undelivered_bytes) = (self.aggregator.bytes(), self.undelivered_bytes());
        self.held.resize(bytes + undelivered_bytes);
        self.metrics.series.set(as_gauge(self.aggregator.series()));
        self.metrics.series_bytes.set(as_gauge(bytes));
        self.metrics.resources.set(as_gauge(self.aggregator.resources()));
        self.metrics.undelivered_bytes.set(as_gauge(undelivered_bytes));
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_gauge(count: usize) -> f64 {
    count as f64
}
