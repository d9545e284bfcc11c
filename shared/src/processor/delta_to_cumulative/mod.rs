//! `delta_to_cumulative`: adds up the deltas of each stream, and hands on totals in their place.
//!
//! A pure core (`accumulator`) adds; the shell here tells it the time and forgets stale streams.
//! A batch leaves as it came, with each delta replaced by its stream's total so far; what holds no
//! deltas passes through.
//!
//! Where deltas of one stream come from several writers, as when several edges count spans of one
//! service, the Collector's rule does not help: it takes points that overlap for strays of another
//! process and drops them. With `merge_writers` every point is added, whatever its interval,
//! because each tells of other spans; only a point that equals one of the last few byte for byte,
//! times included, is taken for a second delivery and dropped.
//!
//! Source: contrib processor/deltatocumulativeprocessor.

mod accumulator;
mod config;
mod metrics;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use self::accumulator::{Accumulator, Limits};
pub use self::config::DeltaToCumulativeConfig;
use self::metrics::{PointMetrics, Points, StreamMetrics, Tally};
use self::stream::Order;
use crate::config::{Path, Problems};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::telemetry::memory::Held;
use crate::telemetry::metrics::Descriptor;
use crate::telemetry::thin::Thin;
use crate::{Batch, Consumer, Next, Rejected, RejectedKind, Signal, clock};

/// The metrics of the processor.
pub const DESCRIPTORS: &[&[Descriptor]] = &[StreamMetrics::DESCRIPTORS, PointMetrics::DESCRIPTORS];

impl ProcessorConfig for DeltaToCumulativeConfig {
    const TYPE: &'static str = "delta_to_cumulative";
    const ALIASES: &'static [&'static str] = &["deltatocumulative"];
    const SIGNALS: &'static [Signal] = &[Signal::Metrics];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(DeltaToCumulative::start(self, ctx, next)))
    }
}

/// The pipeline's end of the processor. Its task forgets stale streams; it ends with this.
struct DeltaToCumulative {
    totals: Arc<Totals>,
    points: Points,
    next: Next,
    processor: String,
    logged: Thin,
    stop: DropGuard,
}

/// What the pipeline and the task share.
struct Totals {
    accumulator: Accumulator,
    metrics: StreamMetrics,
    begun: Instant,
    held: Mutex<Held>,
}

impl DeltaToCumulative {
    fn start(config: &DeltaToCumulativeConfig, ctx: &Context, next: Next) -> Self {
        let processor = ctx.id.to_string();
        let metrics = StreamMetrics::new(&[("processor", &processor)]);
        metrics.limit.set(as_gauge(config.max_streams));
        metrics.max_stale.set(config.max_stale.as_secs_f64());
        let totals = Arc::new(Totals {
            accumulator: Accumulator::new(config.limits()),
            metrics,
            begun: clock::now(),
            held: Mutex::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(expire(Arc::clone(&totals), config.max_stale, stop.clone()));
        Self {
            totals,
            points: Points::new(&processor),
            next,
            processor,
            logged: Thin::new(),
            stop: stop.drop_guard(),
        }
    }

    fn note(&self, tally: &Tally) {
        self.points.add(tally);
        self.totals.metrics.resets.increment(tally.resets);
        self.totals.report();
    }

    /// The deltas are in the totals, so to try again would add them twice. The totals are not
    /// lost: the next points of the same streams tell them.
    fn note_rejected(&self, rejected: &Rejected) {
        let points = rejected.batch.items();
        self.totals.metrics.rejected.increment(points as u64);
        if let Some(suppressed) = self.logged.pass(clock::now()) {
            let (processor, permanent) =
                (&self.processor, rejected.kind == RejectedKind::Permanent);
            warn!(processor, points, permanent, error = %rejected, suppressed,
                "totals not taken, the next ones of the same streams repeat them");
        }
    }
}

#[async_trait]
impl Consumer for DeltaToCumulative {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let (batch, tally) = self.totals.accumulator.accumulate(batch, self.totals.now_ns());
        self.note(&tally);
        let Some(batch) = batch else { return Ok(()) };
        match self.next.consume(batch).await {
            // Nothing was added up, so the batch may come again.
            Err(rejected) if tally.added == 0 => Err(rejected),
            Err(rejected) => {
                self.note_rejected(&rejected);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn shutdown(&self, _deadline: Instant) {
        self.stop.token().cancel();
    }
}

impl Totals {
    fn now_ns(&self) -> u64 {
        nanos(clock::now().duration_since(self.begun))
    }

    fn report(&self) {
        let bytes = self.accumulator.bytes();
        self.metrics.tracked.set(as_gauge(self.accumulator.streams()));
        self.metrics.bytes.set(as_gauge(bytes));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).resize(bytes);
    }
}

/// Forgets streams between one and one and a quarter times `max_stale` after their last point.
async fn expire(totals: Arc<Totals>, max_stale: Duration, stop: CancellationToken) {
    let period = (max_stale / 4).clamp(Duration::from_millis(1), Duration::from_secs(60));
    let mut ticker = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticker.tick() => {}
        }
        let expired = totals.accumulator.expire(totals.now_ns(), nanos(max_stale));
        totals.metrics.expired.increment(expired);
        totals.report();
    }
}

impl DeltaToCumulativeConfig {
    fn limits(&self) -> Limits {
        let limit = |setting| if setting == 0 { usize::MAX } else { setting };
        Limits {
            streams: limit(self.max_streams),
            bytes: limit(self.max_bytes),
            order: match self.merge_writers {
                true => Order::ManyWriters { duplicate_window: self.duplicate_window },
                false => Order::OneWriter,
            },
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_gauge(count: usize) -> f64 {
    count as f64
}
