//! How many bytes of data the process holds on purpose, and how much memory it may use.
//!
//! Queues and buffers say what they hold with a [`Held`] each; the memory limiter and the
//! `otelcol_memory_held_bytes` gauge read the sum. Unlike the resident set, the sum falls at once
//! when data leaves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{cgroup, process};

/// What a request takes besides its bytes while it is received or waits for its answer: its
/// stream, its task, its headers.
pub const REQUEST_UPKEEP: usize = 4 * 1024;

/// The limits that are in force.
static LIMITS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Memory that the process should keep within, in bytes: the tightest limit that was announced,
/// or else all there is.
pub fn limit() -> u64 {
    let limits = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
    limits.iter().copied().min().or_else(total).unwrap_or(u64::MAX)
}

/// Memory that there is for the process, in bytes; none where that cannot be told.
pub fn total() -> Option<u64> {
    match (cgroup::memory_limit(), process::machine_memory()) {
        (Some(limit), Some(machine)) => Some(limit.min(machine)),
        (limit, machine) => limit.or(machine),
    }
}

/// A limit that is in force until this is dropped.
#[derive(Debug)]
pub struct Announced(u64);

impl Announced {
    /// Announces a limit in bytes.
    pub fn new(bytes: u64) -> Self {
        LIMITS.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        Self(bytes)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut limits = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = limits.iter().position(|limit| *limit == self.0) {
            limits.swap_remove(index);
        }
    }
}

static HELD: AtomicU64 = AtomicU64::new(0);

/// Bytes held by all queues and buffers of the process.
pub fn held_bytes() -> u64 {
    HELD.load(Ordering::Relaxed)
}

/// Bytes that count as held until this is dropped.
#[derive(Debug, Default)]
pub struct Held {
    bytes: usize,
}

impl Held {
    /// Counts `bytes` as held.
    pub fn new(bytes: usize) -> Self {
        HELD.fetch_add(bytes as u64, Ordering::Relaxed);
        Self { bytes }
    }

    /// What this one counts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts `bytes` from now on, whatever it was before.
    pub fn resize(&mut self, bytes: usize) {
        // Adding first keeps the sum from dipping below what is really held.
        HELD.fetch_add(bytes as u64, Ordering::Relaxed);
        HELD.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(self.bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Far above what other tests of this binary hold at the same time.
    pub(crate) const BIG: usize = 1 << 50;

    /// Held by tests that look at the sum over the process.
    pub(crate) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[test]
    fn the_tightest_limit_counts_while_it_is_in_force() {
        // No other test of this binary announces so little.
        let loose = Announced::new(200);
        let tight = Announced::new(100);
        assert_eq!(limit(), 100);
        drop(tight);
        assert_eq!(limit(), 200);
        drop(loose);
        assert!(limit() > 200);
    }

    #[test]
    fn held_bytes_follow_the_guard() {
        let _alone = ALONE.blocking_lock();
        let mut held = Held::new(BIG);
        assert!(held_bytes() >= BIG as u64);
        held.resize(3 * BIG);
        assert!(held_bytes() >= 3 * BIG as u64);
        held.resize(BIG);
        assert!(held_bytes() < 2 * BIG as u64);
        drop(held);
        assert!(held_bytes() < BIG as u64);
    }
}
