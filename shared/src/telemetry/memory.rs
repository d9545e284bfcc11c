//! How many bytes of data the process holds on purpose.
//!
//! Queues and buffers say what they hold with a [`Held`] each; the memory limiter and the
//! `otelcol_memory_held_bytes` gauge read the sum. Unlike the resident set, the sum falls at once
//! when data leaves.

use std::sync::atomic::{AtomicU64, Ordering};

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
