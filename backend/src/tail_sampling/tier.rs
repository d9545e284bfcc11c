//! How many backends there are: a budget of the whole tier is divided by that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::config::{Path, Problems};
use shared::config_struct;

config_struct! {
    /// Ours: `tier`, the backends that share the traffic.
    pub(crate) struct TierConfig {
        /// How many there are, this one included. A policy with `cluster: true` takes this part of
        /// its limits.
        pub size: usize = 1,
    }
}

impl TierConfig {
    /// Reports everything that is wrong.
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.size == 0 {
            problems.report(&at.key("size"), "must be above 0: this backend counts too");
        }
    }
}

/// The number of backends as it is known now. Clones tell the same.
#[derive(Debug, Clone)]
pub(super) struct TierSize(Arc<AtomicUsize>);

impl TierSize {
    /// So many.
    pub(super) fn new(backends: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(backends)))
    }

    /// How many there are; at least this one.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// There are so many now.
    #[cfg(test)]
    pub(super) fn set(&self, backends: usize) {
        self.0.store(backends, Ordering::Relaxed);
    }
}

impl Default for TierSize {
    /// This backend alone.
    fn default() -> Self {
        Self::new(1)
    }
}
