//! Resident memory over a round.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::results::MemorySample;
use super::tree;

/// Reads resident memory now and then.
pub(super) struct Sampler {
    task: JoinHandle<()>,
    samples: Arc<Mutex<Vec<MemorySample>>>,
}

impl Sampler {
    /// Reads that of `pids` until it is finished.
    pub(super) fn start(pids: Vec<u32>, started: Instant) -> Self {
        let samples = Arc::<Mutex<Vec<MemorySample>>>::default();
        let task = tokio::spawn({
            let samples = Arc::clone(&samples);
            async move {
                let mut ticks = interval(Duration::from_millis(100));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                loop {
                    ticks.tick().await;
                    let at_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let sample = MemorySample { at_ms, rss_bytes: tree::resident(&pids) };
                    samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            }
        });
        Self { task, samples }
    }

    pub(super) async fn finish(self) -> Vec<MemorySample> {
        self.task.abort();
        // It was aborted, which is what this says.
        drop(self.task.await);
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
