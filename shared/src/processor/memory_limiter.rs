//! `memory_limiter`: refuses data while the process uses too much memory.
//!
//! What is used is the larger of the resident set, sampled each `check_interval`, and of the bytes
//! that queues and buffers say they hold, looked at with every batch. The Collector compares Go's
//! heap and forces garbage collections; there is none here, so the `*_gc_interval_*` keys are
//! accepted and do nothing. A refusal asks the sender to come back after `check_interval`.
//!
//! All pipelines that name one id share one limiter. Source: collector internal/memorylimiter.

mod config;
mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

pub use config::{MemoryLimiterConfig, MemoryLimiterKeys};
pub use metrics::DESCRIPTORS;

use crate::batch::Batch;
use crate::consumer::{Consumer, Next, Rejected};
use crate::telemetry::memory::Announced;
use crate::telemetry::{memory, process};
use metrics::Counts;

/// What the sender is told.
const REASON: &str = "data refused due to high memory usage";

/// Where memory becomes too much, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Data is refused from here on.
    soft: u64,
    /// What the process must not reach; the room up to it is for what comes between two checks.
    hard: u64,
}

/// Whether data is refused. Told the readings.
#[derive(Debug, Clone, Copy)]
struct Watch {
    limits: Limits,
    refusing: bool,
}

/// What a reading changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Refusing,
    Resuming,
}

impl Watch {
    fn new(limits: Limits) -> Self {
        Self { limits, refusing: false }
    }

    /// Takes a reading.
    fn observe(&mut self, used: u64) -> Option<Change> {
        let refusing = used >= self.limits.soft;
        let change = match (self.refusing, refusing) {
            (false, true) => Some(Change::Refusing),
            (true, false) => Some(Change::Resuming),
            _ => None,
        };
        self.refusing = refusing;
        change
    }
}

/// The limiter of one id.
#[derive(Debug)]
struct Limiter {
    limits: Limits,
    check_interval: Duration,
    refusing: Arc<AtomicBool>,
    /// For whatever else sizes itself by the memory there is.
    _announced: Announced,
    _checks: AbortOnDropHandle<()>,
}

impl Limiter {
    /// Begins to check, in the current runtime; `read` tells what is used.
    fn start(limits: Limits, check_interval: Duration, read: fn() -> u64) -> Self {
        let refusing = Arc::new(AtomicBool::new(false));
        let checks = check(Watch::new(limits), check_interval, read, Arc::clone(&refusing));
        let checks = AbortOnDropHandle::new(tokio::spawn(checks));
        let announced = Announced::new(limits.hard);
        Self { limits, check_interval, refusing, _announced: announced, _checks: checks }
    }

    /// Whether this much more may come in.
    fn allows(&self, bytes: usize) -> bool {
        !self.refusing.load(Ordering::Relaxed)
            && memory::held_bytes().saturating_add(bytes as u64) < self.limits.soft
    }
}

async fn check(mut watch: Watch, every: Duration, read: fn() -> u64, refusing: Arc<AtomicBool>) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let used_bytes = read();
        let change = watch.observe(used_bytes);
        refusing.store(watch.refusing, Ordering::Relaxed);
        let Limits { soft, hard } = watch.limits;
        match change {
            Some(Change::Refusing) => {
                warn!(
                    used_bytes,
                    soft_limit_bytes = soft,
                    hard_limit_bytes = hard,
                    "memory usage is above soft limit, refusing data"
                );
            }
            Some(Change::Resuming) => {
                info!(used_bytes, "memory usage back within limits, resuming normal operation");
            }
            None => {}
        }
    }
}

/// What the process uses now.
fn used_bytes() -> u64 {
    process::rss().unwrap_or(0).max(memory::held_bytes())
}

/// A limiter's place in one pipeline.
struct Door {
    limiter: Arc<Limiter>,
    counts: Counts,
    next: Next,
}

#[async_trait]
impl Consumer for Door {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let items = batch.items() as u64;
        if !self.limiter.allows(batch.bytes().len()) {
            self.counts.refused(items);
            return Err(Rejected::refused(batch, REASON).retry_after(self.limiter.check_interval));
        }
        self.counts.accepted(items);
        self.next.consume(batch).await
    }

    async fn shutdown(&self, _deadline: Instant) {}
}

#[cfg(test)]
mod tests;
