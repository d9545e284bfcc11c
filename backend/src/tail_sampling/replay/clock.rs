//! The time of a recording.

use std::time::Duration;

use shared::wire::Span;
use shared::wire::export::{ResourceEntry, ScopeEntry, resources};
use shared::{Batch, clock};

use super::Simulated;

/// Tells when recorded requests came; see the [module](super)'s head.
#[derive(Debug)]
pub(super) struct Clock {
    epoch: Simulated,
    /// When the first request came.
    start_ns: Option<u64>,
    /// Time since then.
    passed_ns: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { epoch: clock::now(), start_ns: None, passed_ns: 0 }
    }

    /// The time when nothing had come yet.
    pub(super) fn epoch(&self) -> Simulated {
        self.epoch
    }

    /// When the last request came.
    pub(super) fn now(&self) -> Simulated {
        self.epoch + Duration::from_nanos(self.passed_ns)
    }

    /// Nanoseconds from the first request to the last.
    pub(super) fn passed_ns(&self) -> u64 {
        self.passed_ns
    }

    /// Where the wall clock stood at the epoch.
    pub(super) fn start_unix_ns(&self) -> u64 {
        self.start_ns.unwrap_or(0)
    }

    /// When the next request came.
    pub(super) fn time_of(&mut self, batch: &Batch) -> Simulated {
        if let Some(end_ns) = median_end(batch) {
            let start_ns = *self.start_ns.get_or_insert(end_ns);
            self.passed_ns = self.passed_ns.max(end_ns.saturating_sub(start_ns));
        }
        self.now()
    }
}

/// The median of the end times in a request, those that are 0 left out. So a few wrong ones, or one
/// old trace among many, do not move it.
fn median_end(batch: &Batch) -> Option<u64> {
    let scopes = resources(batch.bytes()).flat_map(ResourceEntry::scopes);
    let spans = scopes.flat_map(ScopeEntry::records);
    let ends = spans.map(|span| Span::read(span).end_ns).filter(|end_ns| *end_ns > 0);
    let mut ends: Vec<u64> = ends.collect();
    let middle = ends.len() / 2;
    match ends.is_empty() {
        true => None,
        false => Some(*ends.select_nth_unstable(middle).1),
    }
}
